//! Messages: claimed, delivered, tried again, given up.

use avtomatika::base::Timestamp;
use avtomatika::domain::Job;
use avtomatika::engine::{Effect, Guard, Signal};
use avtomatika::store::{CommitError, Delivery, Message, MessageKind};
use futures::future::join_all;
use uuid::Uuid;

use crate::Store;
use crate::fixtures::*;

fn signal(n: u16) -> Signal {
    Signal::CancelChild {
        child: job_id(n),
        reason: "enough".to_owned(),
    }
}

const SIGNAL: MessageKind = MessageKind::Signal;
const WEBHOOK: MessageKind = MessageKind::Webhook;

async fn next_of(store: &Store, kind: MessageKind) -> Option<Timestamp> {
    store.next_outbox(kind).await.expect("reads")
}

async fn write(store: &Store, job: &Job, effects: Vec<Effect>, due_ms: i64) -> Vec<Uuid> {
    let mut commit = commit(job.clone(), effects, vec![]);
    commit.outbox_due = at(due_ms);
    store.commit(commit).await.expect("commits").outbox
}

pub async fn hands_out_what_is_due_and_claims_it(store: Store) {
    assert_eq!(next_of(&store, SIGNAL).await, None);
    let late = write(&store, &job(1), vec![Effect::Signal(signal(9))], 50).await;
    let hook = webhook(&job(2), 5);
    let effects = vec![
        Effect::Signal(signal(8)),
        Effect::SendWebhook(Box::new(hook.clone())),
    ];
    let early = write(&store, &job(2), effects, 10).await;
    for kind in [SIGNAL, WEBHOOK] {
        assert_eq!(next_of(&store, kind).await, Some(at(10)));
    }
    let take = async |kind: MessageKind, now: i64, until: i64, limit: u32| {
        store
            .take_outbox(kind, at(now), at(until), limit)
            .await
            .expect("claims")
    };
    for kind in [SIGNAL, WEBHOOK] {
        assert_eq!(take(kind, 9, 99, 9).await, []);
    }
    let first = take(SIGNAL, 10, 100, 1).await;
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].id, first[0].attempts, first[0].created_at),
        (early[0], 0, NOW)
    );
    assert_eq!(first[0].message, Message::Signal(signal(8)));
    let hooks = take(WEBHOOK, 10, 70, 9).await;
    assert_eq!(hooks.len(), 1, "one kind is not found among the other");
    assert_eq!(hooks[0].id, early[1]);
    assert_eq!(hooks[0].message, Message::Webhook(Box::new(hook)));
    let fourth = write(&store, &job(3), vec![Effect::Signal(signal(7))], 40).await;
    let rest = take(SIGNAL, 60, 100, 9).await;
    let ids: Vec<Uuid> = rest.iter().map(|item| item.id).collect();
    assert_eq!(ids, [fourth[0], late[0]], "oldest first");
    assert_eq!(take(SIGNAL, 99, 200, 9).await, [], "all are claimed");
    assert_eq!(next_of(&store, SIGNAL).await, Some(at(100)));
    assert_eq!(next_of(&store, WEBHOOK).await, Some(at(70)));
    assert_eq!(
        take(SIGNAL, 100, 200, 9).await.len(),
        3,
        "the claims are over"
    );
    assert_eq!(take(WEBHOOK, 70, 200, 9).await.len(), 1);
    let open = store.outbox_length(9).await.expect("counts");
    assert!(open.is_none_or(|open| open == 4), "{open:?}");
}

pub async fn puts_off_the_end_of_claims(store: Store) {
    let effects = (1..=4).map(|n| Effect::Signal(signal(n))).collect();
    let ids = write(&store, &job(1), effects, 0).await;
    let take = async |now: i64, until: i64| {
        let items = store.take_outbox(SIGNAL, at(now), at(until), 9).await;
        let ids = items.expect("claims").into_iter().map(|item| item.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(take(0, 10).await.len(), 4);
    store
        .settle_outbox(ids[1], Delivery::Delivered, at(1))
        .await
        .expect("settles");
    let later = Delivery::Retry {
        at: at(90),
        reason: "busy".to_owned(),
    };
    store
        .settle_outbox(ids[2], later, at(1))
        .await
        .expect("settles");
    let unknown = Uuid::from_u128(7);
    let extended = [ids[0], ids[1], ids[2], unknown];
    store
        .extend_outbox(&extended, at(50))
        .await
        .expect("extends");
    assert_eq!(take(49, 60).await, [ids[3]], "the one that was left out");
    assert_eq!(take(50, 80).await, [ids[0]]);
    assert_eq!(take(90, 99).await.len(), 3, "the settled one never comes");
}

pub async fn settles_a_signal(store: Store) {
    let ids = write(&store, &job(1), vec![Effect::Signal(signal(9))], 0).await;
    let again = Delivery::Retry {
        at: at(500),
        reason: "busy".to_owned(),
    };
    store
        .settle_outbox(ids[0], again, at(1))
        .await
        .expect("settles");
    assert_eq!(next_of(&store, SIGNAL).await, Some(at(500)));
    let item = store
        .take_outbox(SIGNAL, at(500), at(600), 9)
        .await
        .expect("claims")
        .remove(0);
    assert_eq!((item.id, item.attempts), (ids[0], 1));
    store
        .settle_outbox(ids[0], Delivery::Delivered, at(2))
        .await
        .expect("settles");
    assert_eq!(next_of(&store, SIGNAL).await, None);
    store
        .settle_outbox(ids[0], Delivery::Delivered, at(3))
        .await
        .expect("twice is once");
    store
        .settle_outbox(Uuid::from_u128(77), Delivery::Delivered, at(3))
        .await
        .expect("ignored");
    assert_eq!(store.deliveries(job_id(1), 9).await.expect("reads"), []);
    let ids = write(&store, &job(2), vec![Effect::Signal(signal(9))], 0).await;
    let dead = Delivery::Dead {
        reason: "no such job".to_owned(),
    };
    store
        .settle_outbox(ids[0], dead, at(2))
        .await
        .expect("settles");
    assert_eq!(
        store
            .take_outbox(SIGNAL, at(9999), at(9999), 9)
            .await
            .expect("claims"),
        []
    );
}

pub async fn settles_a_signal_with_the_step_that_answers_it(store: Store) {
    let hook = webhook(&job(1), 5);
    let effects = vec![
        Effect::Signal(signal(2)),
        Effect::SendWebhook(Box::new(hook)),
    ];
    let ids = write(&store, &job(1), effects, 10).await;
    let answer = |job: &Job, id: Uuid| {
        let mut answer = commit(job.clone(), vec![], vec![]);
        answer.settles = Some(id);
        answer
    };
    let mut refused = answer(&job(2), ids[0]);
    refused.guards = vec![Guard::JobAt {
        id: job_id(1),
        revision: 9,
    }];
    let error = store.commit(refused).await.expect_err("the guard fails");
    assert!(matches!(error, CommitError::OtherJobChanged(_)), "{error}");
    for kind in [SIGNAL, WEBHOOK] {
        let claimed = store.take_outbox(kind, at(10), at(20), 9).await;
        let claimed = claimed.expect("claims").len();
        assert_eq!(claimed, 1, "what is refused settles nothing");
    }

    let first = answer(&job(2), ids[0]);
    store.commit(first).await.expect("a claim does not matter");
    let again = answer(&next(&job(2)), ids[0]);
    store.commit(again).await.expect("twice is once");
    let of_webhook = answer(&next(&next(&job(2))), ids[1]);
    store.commit(of_webhook).await.expect("commits");
    let left = store.take_outbox(SIGNAL, at(20), at(30), 9).await;
    assert_eq!(left.expect("claims"), []);
    let left = store.take_outbox(WEBHOOK, at(20), at(30), 9).await;
    let left: Vec<Uuid> = left.expect("claims").iter().map(|item| item.id).collect();
    assert_eq!(left, [ids[1]], "a webhook has to be sent");
}

pub async fn keeps_a_log_of_webhooks(store: Store) {
    let job = job(1);
    let effects = (1..=3)
        .map(|n| Effect::SendWebhook(Box::new(webhook(&job, n))))
        .collect::<Vec<_>>();
    let ids = write(&store, &job, effects, 0).await;
    assert_eq!(ids, [1, 2, 3].map(|n| message_id(&job, n)));
    let retry = |reason: &str| Delivery::Retry {
        at: at(700),
        reason: reason.to_owned(),
    };
    let dead = Delivery::Dead {
        reason: "gone".to_owned(),
    };
    let tries = [
        (0, retry("500")),
        (0, Delivery::Delivered),
        (1, retry("502")),
        (1, dead),
        // Too late: it has been given up.
        (1, Delivery::Delivered),
        (2, retry("503")),
    ];
    for (ms, (index, delivery)) in (1..).zip(tries) {
        store
            .settle_outbox(ids[index], delivery, at(ms))
            .await
            .expect("settles");
    }
    let log = store.deliveries(job.id, 9).await.expect("reads");
    let seen: Vec<_> = log
        .iter()
        .map(|r| {
            (
                r.id,
                r.status.as_str(),
                r.attempts,
                r.last_error.as_deref(),
                r.updated_at,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (ids[0], "delivered", 2, Some("500"), at(2)),
            (ids[1], "dead", 2, Some("gone"), at(4)),
            (ids[2], "pending", 1, Some("503"), at(700)),
        ]
    );
    assert_eq!(
        (log[0].event.as_str(), log[0].job_id),
        ("job_finished", job.id)
    );
    assert_eq!(log[0].url, "https://client.example/hook");
    assert_eq!(store.deliveries(job.id, 2).await.expect("reads"), log[..2]);
    assert_eq!(store.deliveries(job_id(2), 9).await.expect("reads"), []);
    let next = next_of(&store, WEBHOOK).await;
    assert_eq!(next, Some(at(700)), "one is pending");
}

pub async fn does_not_share_a_claim(store: Store) {
    for n in 0..30 {
        write(&store, &job(n), vec![Effect::Signal(signal(n))], 0).await;
    }
    let pumps = (0..10).map(|_| store.take_outbox(SIGNAL, at(1), at(100), 5));
    let mut seen = Vec::new();
    for claimed in join_all(pumps).await {
        seen.extend(claimed.expect("claims").into_iter().map(|item| item.id));
    }
    let claims = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((claims, seen.len()), (30, 30));
}

pub async fn derives_ids_of_signals(store: Store) {
    let same = vec![Effect::Signal(signal(9)), Effect::Signal(signal(9))];
    let first = write(&store, &job(1), same.clone(), 0).await;
    let second = write(&store, &next(&job(1)), same.clone(), 0).await;
    let other = write(&store, &job(2), same, 0).await;
    let mut all = [first, second, other].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6, "each place has an id of its own");
    // A webhook that is sent again under its own id is one webhook.
    let hook = Effect::SendWebhook(Box::new(webhook(&job(3), 5)));
    write(&store, &job(3), vec![hook.clone()], 0).await;
    let again = write(&store, &next(&job(3)), vec![hook], 0).await;
    assert_eq!(again, [message_id(&job(3), 5)]);
    assert_eq!(
        store.deliveries(job_id(3), 9).await.expect("reads").len(),
        1
    );
}
