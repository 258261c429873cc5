//! Listings, counts, purging, closing.

use std::collections::BTreeMap;
use std::sync::Arc;

use avtomatika::base::JobId;
use avtomatika::domain::{EventKind, Job, JobStatus};
use avtomatika::engine::{Effect, Signal};
use avtomatika::store::{CommitError, Delivery, Due, JobQuery, MessageKind, StoreError};

use crate::Store;
use crate::fixtures::*;

async fn put_job(store: &Store, job: Job) {
    store
        .commit(commit(job, vec![], vec![]))
        .await
        .expect("commits");
}

async fn list(store: &Store, query: JobQuery) -> Vec<JobId> {
    let jobs = store.list(query).await.expect("lists");
    jobs.into_iter().map(|job| job.id).collect()
}

fn ids(numbers: &[u16]) -> Vec<JobId> {
    numbers.iter().map(|n| job_id(*n)).collect()
}

pub async fn lists_newest_first_with_a_cursor(store: Store) {
    for n in [3, 1, 5, 2, 4] {
        put_job(&store, job(n)).await;
    }
    let page = |after: Option<u16>, limit| JobQuery {
        after: after.map(job_id),
        limit,
        ..JobQuery::default()
    };
    assert_eq!(list(&store, page(None, 9)).await, ids(&[5, 4, 3, 2, 1]));
    assert_eq!(list(&store, page(None, 2)).await, ids(&[5, 4]));
    assert_eq!(list(&store, page(Some(4), 2)).await, ids(&[3, 2]));
    assert_eq!(list(&store, page(Some(1), 2)).await, ids(&[]));
    assert_eq!(list(&store, page(Some(900), 9)).await.len(), 5);
    assert_eq!(list(&store, page(None, 0)).await, ids(&[]));
    let skipping = |skip, after| JobQuery {
        skip,
        ..page(after, 2)
    };
    assert_eq!(list(&store, skipping(1, None)).await, ids(&[4, 3]));
    assert_eq!(list(&store, skipping(1, Some(4))).await, ids(&[2, 1]));
    assert_eq!(list(&store, skipping(4, None)).await, ids(&[1]));
    assert_eq!(list(&store, skipping(5, None)).await, ids(&[]));
    assert_eq!(
        store.list(page(None, 1)).await.expect("lists"),
        [job(5)],
        "whole records"
    );
}

/// Puts six jobs that differ by what a listing can ask for.
async fn put_six(store: &Store) {
    for n in 1..=6 {
        let mut job = job(n);
        if n % 2 == 0 {
            job.client.id = "other".into();
        }
        if n > 3 {
            job.status = JobStatus::WaitingForHuman;
            "review".clone_into(&mut job.blueprint);
        }
        let team = if n < 5 { "blue" } else { "red" };
        job.labels = labels(&[("team", team)]);
        if n == 2 {
            job.labels = labels(&[("team", team), ("tier", "gold' OR 1=1 --")]);
        }
        put_job(store, job).await;
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let text = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(text).collect()
}

/// What to change of a query for everything, and the jobs to be listed then.
type Case = (fn(&mut JobQuery), &'static [u16]);

pub async fn filters(store: Store) {
    put_six(&store).await;
    let human = JobStatus::WaitingForHuman;
    let cases: [Case; 10] = [
        (|q| q.client = Some("other".into()), &[6, 4, 2]),
        (|q| q.client = Some("nobody".into()), &[]),
        (
            |q| q.statuses = vec![JobStatus::WaitingForHuman],
            &[6, 5, 4],
        ),
        (
            |q| q.statuses = JobStatus::ALL.to_vec(),
            &[6, 5, 4, 3, 2, 1],
        ),
        (|q| q.statuses = vec![JobStatus::Failed], &[]),
        (|q| q.blueprint = Some("review".to_owned()), &[6, 5, 4]),
        (
            |q| (q.created_from, q.created_to) = (Some(at(3)), Some(at(5))),
            &[4, 3],
        ),
        (|q| q.labels = labels(&[("team", "red")]), &[6, 5]),
        (|q| q.labels = labels(&[("tier", "gold' OR 1=1 --")]), &[2]),
        (
            |q| q.labels = labels(&[("team", "red"), ("tier", "gold' OR 1=1 --")]),
            &[],
        ),
    ];
    for (change, expected) in cases {
        let mut query = JobQuery {
            limit: 9,
            ..JobQuery::default()
        };
        change(&mut query);
        assert_eq!(
            list(&store, query.clone()).await,
            ids(expected),
            "{query:?}"
        );
    }
    let everything = JobQuery {
        client: Some("other".into()),
        statuses: vec![human],
        blueprint: Some("review".to_owned()),
        labels: labels(&[("team", "red")]),
        created_from: Some(at(1)),
        created_to: Some(at(100)),
        after: Some(job_id(7)),
        skip: 0,
        limit: 1,
    };
    assert_eq!(list(&store, everything).await, ids(&[6]));
    // A status filter follows the job.
    put_job(&store, ended(&job(1), JobStatus::Failed, at(1))).await;
    let statuses = vec![JobStatus::Failed];
    assert_eq!(
        list(
            &store,
            JobQuery {
                statuses,
                limit: 9,
                ..JobQuery::default()
            }
        )
        .await,
        ids(&[1])
    );
}

pub async fn counts_by_status(store: Store) {
    assert_eq!(store.counts(None).await.expect("counts"), BTreeMap::new());
    for n in 1..=5 {
        let mut job = job(n);
        job.client.id = if n < 3 { "acme" } else { "other" }.into();
        put_job(&store, job).await;
    }
    put_job(&store, ended(&job(1), JobStatus::Finished, at(9))).await;
    let counts = |pairs: &[(JobStatus, u64)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
    let waiting = JobStatus::WaitingForWorker;
    let all = counts(&[(waiting, 4), (JobStatus::Finished, 1)]);
    assert_eq!(store.counts(None).await.expect("counts"), all);
    let acme = counts(&[(waiting, 1), (JobStatus::Finished, 1)]);
    assert_eq!(
        store.counts(Some(&"acme".into())).await.expect("counts"),
        acme
    );
    assert_eq!(
        store.counts(Some(&"nobody".into())).await.expect("counts"),
        BTreeMap::new()
    );
}

pub async fn purges_what_is_over(store: Store) {
    let blue = |n| Job {
        labels: labels(&[("team", "blue")]),
        ..job(n)
    };
    for n in 1..=4 {
        let job = blue(n);
        let effects = vec![
            put(&task(&job, None, 1)),
            Effect::Record(Arc::new(event(&job, 0, EventKind::JobCreated))),
            Effect::SendWebhook(Box::new(webhook(&job, u128::from(n)))),
        ];
        let written = store
            .commit(commit(job, effects, vec![]))
            .await
            .expect("commits")
            .outbox;
        store
            .settle_outbox(written[0], Delivery::Delivered, NOW)
            .await
            .expect("settles");
    }
    put_job(&store, ended(&blue(1), JobStatus::Finished, at(200))).await;
    put_job(&store, ended(&blue(2), JobStatus::Cancelled, at(100))).await;
    put_job(&store, ended(&blue(3), JobStatus::Failed, at(900))).await;
    assert_eq!(store.purge(at(99), 9).await.expect("purges"), ids(&[]));
    assert_eq!(
        store.purge(at(200), 9).await.expect("purges"),
        ids(&[2, 1]),
        "oldest first"
    );
    for n in [1, 2] {
        assert_eq!(store.load(job_id(n)).await.expect("loads"), None);
        let task = task(&job(n), None, 1);
        assert_eq!(store.load_task(&task.id).await.expect("loads"), None);
        assert_eq!(store.by_job(job_id(n), None, 9).await.expect("reads"), []);
        assert_eq!(store.deliveries(job_id(n), 9).await.expect("reads"), []);
    }
    assert_eq!(
        store.by_job(job_id(3), None, 9).await.expect("reads").len(),
        1
    );
    assert_eq!(
        store.deliveries(job_id(4), 9).await.expect("reads").len(),
        1
    );
    assert!(
        store.load(job_id(4)).await.expect("loads").is_some(),
        "has not ended"
    );
    let query = JobQuery {
        labels: labels(&[("team", "blue")]),
        limit: 9,
        ..JobQuery::default()
    };
    assert_eq!(list(&store, query).await, ids(&[4, 3]));
}

pub async fn forgets_keys_at_their_own_time(store: Store) {
    let made = commit(keyed(1, "k1"), vec![], vec![key_guard("k1", "f")]);
    store.commit(made).await.expect("commits");
    let job = keyed(1, "k1");
    put_job(&store, ended(&job, JobStatus::Finished, at(200))).await;
    assert_eq!(store.purge(at(200), 9).await.expect("purges"), [job.id]);
    let acme = "acme".into();
    let known = store.find_by_key(&acme, "k1", NOW).await.expect("reads");
    assert_eq!(known.expect("outlives its job").job_id, job.id);
    store.purge(at(86_400_000), 9).await.expect("purges");
    assert_eq!(
        store.find_by_key(&acme, "k1", NOW).await.expect("reads"),
        None
    );
}

pub async fn purges_in_bounded_portions(store: Store) {
    // More rows than one of SQLite's steps deletes.
    let big = job(1);
    let lines = (0..1300).map(|n| Effect::Record(Arc::new(event(&big, n, EventKind::Log))));
    let tasks = (0..700).map(|branch| put(&task(&big, Some(branch), 1)));
    let effects = lines.chain(tasks).collect();
    store
        .commit(commit(big.clone(), effects, vec![]))
        .await
        .expect("commits");
    put_job(&store, ended(&big, JobStatus::Finished, at(1))).await;
    for n in 2..=5 {
        put_job(&store, job(n)).await;
        put_job(
            &store,
            ended(&job(n), JobStatus::Finished, at(i64::from(n))),
        )
        .await;
    }
    assert_eq!(store.purge(at(99), 2).await.expect("purges"), ids(&[1, 2]));
    assert_eq!(store.by_job(big.id, None, 9).await.expect("reads"), []);
    assert_eq!(store.branches(big.id, 1).await.expect("reads"), []);
    assert_eq!(store.queued_tasks(None, 9).await.expect("reads"), []);
    assert_eq!(
        store.purge(at(99), 9).await.expect("purges"),
        ids(&[3, 4, 5])
    );
    assert_eq!(store.purge(at(99), 9).await.expect("purges"), ids(&[]));
}

pub async fn waits_with_purging_for_pending_messages(store: Store) {
    put_job(&store, job(1)).await;
    let tell = Effect::Signal(Signal::CancelChild {
        child: job_id(9),
        reason: String::new(),
    });
    let last = commit(
        ended(&job(1), JobStatus::Cancelled, at(1)),
        vec![tell],
        vec![],
    );
    let written = store.commit(last).await.expect("commits").outbox;
    assert_eq!(store.purge(at(9), 9).await.expect("purges"), ids(&[]));
    store
        .settle_outbox(written[0], Delivery::Delivered, at(9))
        .await
        .expect("settles");
    assert_eq!(store.purge(at(9), 9).await.expect("purges"), ids(&[1]));
}

pub async fn finds_nothing_in_an_empty_store(store: Store) {
    store.health().await.expect("is well");
    assert_eq!(store.load(job_id(1)).await.expect("loads"), None);
    assert_eq!(
        store
            .load_task(&"task-unknown".into())
            .await
            .expect("loads"),
        None
    );
    assert_eq!(store.due(at(1), 9).await.expect("reads"), Due::default());
    for kind in [MessageKind::Signal, MessageKind::Webhook] {
        let taken = store.take_outbox(kind, at(1), at(2), 9).await;
        assert_eq!(taken.expect("claims"), []);
    }
    assert_eq!(store.list_workers().await.expect("reads"), []);
    assert_eq!(store.purge(at(1), 9).await.expect("purges"), []);
    assert!(store.data_stores("render").await.expect("reads").is_empty());
}

pub async fn closes(store: Store) {
    put_job(&store, job(1)).await;
    store.close().await;
    store.close().await;
    let is_closed = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(is_closed(
        store.load(job_id(1)).await.expect_err("is closed")
    ));
    assert!(is_closed(store.health().await.expect_err("is closed")));
    assert!(is_closed(
        store.list_workers().await.expect_err("is closed")
    ));
    let refused = store.commit(commit(job(2), vec![], vec![])).await;
    assert!(matches!(
        refused,
        Err(CommitError::Store(StoreError::Unavailable(_)))
    ));
}
