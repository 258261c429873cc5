//! Workers, reputation, tokens, nonces.

use avtomatika::base::{Timestamp, WorkerId};
use avtomatika::domain::worker::WorkerStatus;
use avtomatika::store::rules::REPUTATION_KEPT_MS;
use avtomatika::store::{RefreshOutcome, TokenKind, TokenRecord};
use futures::future::join_all;
use uuid::Uuid;

use crate::Store;
use crate::fixtures::*;

fn token(hash: &str, kind: TokenKind, family: u128, expires_ms: i64) -> TokenRecord {
    TokenRecord {
        hash: hash.to_owned(),
        kind,
        worker: "w1".into(),
        family: Uuid::from_u128(family),
        expires_at: at(expires_ms),
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

pub async fn keeps_reputation_across_registrations(store: Store) {
    let stored = store.put_worker(worker("w1", 100)).await.expect("stores");
    assert_eq!(stored, worker("w1", 100));
    let lowered = store
        .adjust_reputation(&"w1".into(), -0.3)
        .await
        .expect("changes");
    assert!(near(lowered, 0.7), "{lowered}");
    let mut again = worker("w1", 900);
    again.registered_at = at(50);
    let stored = store.put_worker(again).await.expect("stores");
    assert!(near(stored.reputation, 0.7));
    assert_eq!((stored.registered_at, stored.expires_at), (at(50), at(900)));
    assert_eq!(store.list_workers().await.expect("reads"), [stored]);
}

pub async fn lets_a_heartbeat_change_all_but_two_things(store: Store) {
    store.put_worker(worker("w1", 100)).await.expect("stores");
    store
        .adjust_reputation(&"w1".into(), -0.5)
        .await
        .expect("changes");
    let mut beat = worker("w1", 800);
    beat.status = WorkerStatus::Busy;
    beat.registered_at = at(77);
    beat.last_seen = at(60);
    beat.hot_skills = vec!["resize".to_owned()];
    beat.current_tasks = vec!["task-1".into()];
    store.beat(beat.clone()).await.expect("stores");
    let known = store.list_workers().await.expect("reads").remove(0);
    beat.registered_at = NOW;
    beat.reputation = 0.5;
    assert_eq!(known, beat);
    store.beat(worker("w2", 100)).await.expect("is ignored");
    assert_eq!(store.list_workers().await.expect("reads").len(), 1);
}

pub async fn extends_lives_and_changes_nothing_else(store: Store) {
    let registered = worker("w1", 100);
    store.put_worker(registered.clone()).await.expect("stores");
    store.put_worker(worker("w2", 300)).await.expect("stores");
    let until = [("w1", 200), ("w2", 200), ("w3", 200)];
    let until = until.map(|(id, ms)| (WorkerId::new(id), at(ms)));
    store.extend_workers(until.to_vec()).await.expect("stores");
    let known = store.list_workers().await.expect("reads");
    let expiries: Vec<_> = known
        .iter()
        .map(|w| (w.id.as_str(), w.expires_at))
        .collect();
    assert_eq!(
        expiries,
        [("w1", at(200)), ("w2", at(300))],
        "never shorter, never new"
    );
    assert_eq!(known[0].skills, registered.skills);
    let gone = store.forget_workers(at(201)).await.expect("forgets");
    assert_eq!(gone, [WorkerId::new("w1")]);
}

pub async fn forgets_the_expired_but_not_their_reputation(store: Store) {
    for (id, expires) in [("w3", 100), ("w1", 50), ("w2", 200)] {
        store.put_worker(worker(id, expires)).await.expect("stores");
    }
    let names: Vec<WorkerId> = store
        .list_workers()
        .await
        .expect("reads")
        .into_iter()
        .map(|w| w.id)
        .collect();
    assert_eq!(names, ["w1", "w2", "w3"].map(WorkerId::new));
    store
        .adjust_reputation(&"w1".into(), -0.25)
        .await
        .expect("changes");
    assert_eq!(store.forget_workers(at(50)).await.expect("forgets"), []);
    let gone = store.forget_workers(at(101)).await.expect("forgets");
    assert_eq!(gone, ["w1", "w3"].map(WorkerId::new));
    assert_eq!(store.list_workers().await.expect("reads").len(), 1);
    let back = store.put_worker(worker("w1", 500)).await.expect("stores");
    assert!(near(back.reputation, 0.75));
}

pub async fn forgets_a_reputation_long_after_its_worker(store: Store) {
    let kept_ms = REPUTATION_KEPT_MS;
    let ids = ["w1", "w2"].map(WorkerId::from);
    store.put_worker(worker("w1", 100)).await.expect("stores");
    let stays = worker("w2", 3 * kept_ms);
    store.put_worker(stays).await.expect("stores");
    for id in &ids {
        let changed = store.adjust_reputation(id, -0.25).await;
        changed.expect("changes");
    }
    let gone = store.forget_workers(at(101)).await.expect("forgets");
    assert_eq!(gone, [ids[0].clone()]);
    // What is heard of it afterwards does not keep it longer.
    let changed = store.adjust_reputation(&ids[0], -0.25).await;
    assert!(near(changed.expect("changes"), 0.5));
    let soon = at(100 + kept_ms);
    assert_eq!(store.forget_workers(soon).await.expect("forgets"), []);
    let back = worker("w1", 200 + kept_ms);
    let back = store.put_worker(back).await.expect("stores");
    assert!(near(back.reputation, 0.5), "just in time");
    let soon = at(101 + kept_ms);
    assert_eq!(store.forget_workers(soon).await.expect("forgets"), []);
    let listed = store.list_workers().await.expect("reads");
    let reputations: Vec<f64> = listed.iter().map(|worker| worker.reputation).collect();
    assert!(near(reputations[0], 0.5) && near(reputations[1], 0.75));
    let late = at(201 + 2 * kept_ms);
    let gone = store.forget_workers(late).await.expect("forgets");
    assert_eq!(gone, [ids[0].clone()]);
    let back = store.put_worker(worker("w1", 4 * kept_ms)).await;
    assert!(near(back.expect("stores").reputation, 1.0));
    let kept = store.list_workers().await.expect("reads").remove(1);
    assert!(near(kept.reputation, 0.75), "its worker has never gone");
}

pub async fn keeps_reputation_within_bounds(store: Store) {
    let w1: WorkerId = "w1".into();
    store.put_worker(worker("w1", 100)).await.expect("stores");
    for (delta, expected) in [
        (0.5, 1.0),
        (-0.4, 0.6),
        (f64::NAN, 0.6),
        (-7.0, 0.0),
        (0.125, 0.125),
        (9.0, 1.0),
    ] {
        let seen = store.adjust_reputation(&w1, delta).await.expect("changes");
        assert!(near(seen, expected), "{delta}: {seen}");
        let listed = store.list_workers().await.expect("reads")[0].reputation;
        assert!(near(listed, expected), "{delta}: {listed}");
    }
    join_all((0..50).map(|_| store.adjust_reputation(&w1, -0.01))).await;
    let listed = store.list_workers().await.expect("reads")[0].reputation;
    assert!(near(listed, 0.5), "no change is lost: {listed}");
    let stranger = store
        .adjust_reputation(&"w9".into(), -0.25)
        .await
        .expect("changes");
    assert!(near(stranger, 0.75));
    assert_eq!(store.list_workers().await.expect("reads").len(), 1);
    let known = store.put_worker(worker("w9", 100)).await.expect("stores");
    assert!(near(known.reputation, 0.75));
}

pub async fn finds_access_tokens(store: Store) {
    let access = token("a", TokenKind::Access, 1, 100);
    let refresh = token("r", TokenKind::Refresh, 1, 900);
    store
        .put_tokens(vec![access.clone(), refresh])
        .await
        .expect("stores");
    assert_eq!(
        store.find_access_token("a").await.expect("reads"),
        Some(access)
    );
    assert_eq!(
        store.find_access_token("r").await.expect("reads"),
        None,
        "is no access token"
    );
    assert_eq!(store.find_access_token("x").await.expect("reads"), None);
}

pub async fn takes_a_refresh_token_once(store: Store) {
    let w1: WorkerId = "w1".into();
    let refresh = token("r1", TokenKind::Refresh, 1, 900);
    let first = vec![token("a1", TokenKind::Access, 1, 100), refresh.clone()];
    store.put_tokens(first).await.expect("stores");
    let other_family = vec![token("a9", TokenKind::Access, 2, 100)];
    store.put_tokens(other_family).await.expect("stores");
    let take = async |hash: &str, worker: &WorkerId, now: Timestamp| {
        store
            .take_refresh_token(hash, worker, now)
            .await
            .expect("answers")
    };
    assert_eq!(take("r1", &"w2".into(), NOW).await, RefreshOutcome::Unknown);
    assert_eq!(take("a1", &w1, NOW).await, RefreshOutcome::Unknown);
    assert_eq!(
        take("r1", &w1, at(900)).await,
        RefreshOutcome::Unknown,
        "past its time"
    );
    assert_eq!(
        take("r1", &w1, at(899)).await,
        RefreshOutcome::Taken(refresh)
    );
    let second = token("r2", TokenKind::Refresh, 1, 900);
    let pair = vec![token("a2", TokenKind::Access, 1, 100), second];
    store.put_tokens(pair).await.expect("stores");
    assert!(
        store
            .find_access_token("a2")
            .await
            .expect("reads")
            .is_some()
    );
    assert_eq!(take("r1", &w1, NOW).await, RefreshOutcome::Reused);
    for hash in ["a1", "a2"] {
        assert_eq!(
            store.find_access_token(hash).await.expect("reads"),
            None,
            "{hash}"
        );
    }
    assert_eq!(take("r2", &w1, NOW).await, RefreshOutcome::Unknown);
    assert_eq!(take("r1", &w1, NOW).await, RefreshOutcome::Unknown);
    assert!(
        store
            .find_access_token("a9")
            .await
            .expect("reads")
            .is_some(),
        "another family"
    );
}

pub async fn revokes_a_family_for_good(store: Store) {
    let w1: WorkerId = "w1".into();
    store
        .put_tokens(vec![token("r1", TokenKind::Refresh, 1, 900)])
        .await
        .expect("stores");
    let rivals = join_all((0..10).map(|_| store.take_refresh_token("r1", &w1, NOW))).await;
    let taken = |r: &&Result<RefreshOutcome, _>| matches!(r, Ok(RefreshOutcome::Taken(_)));
    assert_eq!(rivals.iter().filter(taken).count(), 1);
    let reused = |r: &&Result<RefreshOutcome, _>| matches!(r, Ok(RefreshOutcome::Reused));
    assert_eq!(rivals.iter().filter(reused).count(), 1);
    // The winner's new pair comes too late: its family is worth nothing any more.
    store
        .put_tokens(vec![token("a2", TokenKind::Access, 1, 900)])
        .await
        .expect("answers");
    assert_eq!(store.find_access_token("a2").await.expect("reads"), None);
}

pub async fn remembers_nonces(store: Store) {
    let w1: WorkerId = "w1".into();
    let remember = async |worker: &WorkerId, nonce: &str, now: i64, until: i64| {
        store
            .remember_nonce(worker, nonce, at(now), at(until))
            .await
            .expect("answers")
    };
    let knows = async |worker: &WorkerId, nonce: &str, now: i64| {
        let known = store.knows_nonce(worker, nonce, at(now)).await;
        known.expect("answers")
    };
    assert!(!knows(&w1, "n", 0).await, "asking remembers nothing");
    assert!(remember(&w1, "n", 0, 100).await);
    assert!(knows(&w1, "n", 99).await);
    assert!(!knows(&w1, "n", 100).await, "forgotten at its time");
    assert!(!knows(&"w2".into(), "n", 50).await, "another worker's");
    assert!(!remember(&w1, "n", 50, 150).await);
    assert!(
        remember(&"w2".into(), "n", 50, 150).await,
        "another worker's"
    );
    assert!(remember(&w1, "m", 50, 150).await);
    assert!(remember(&w1, "n", 100, 200).await, "forgotten at its time");
    assert!(!remember(&w1, "n", 199, 300).await);
    let (from, until) = (at(0), at(100));
    let rivals = join_all((0..20).map(|_| store.remember_nonce(&w1, "r", from, until))).await;
    assert_eq!(
        rivals.into_iter().filter(|r| matches!(r, Ok(true))).count(),
        1
    );
}

pub async fn purges_secrets(store: Store) {
    let w1: WorkerId = "w1".into();
    let tokens = vec![
        token("a1", TokenKind::Access, 1, 100),
        token("a2", TokenKind::Access, 2, 101),
    ];
    store.put_tokens(tokens).await.expect("stores");
    assert!(
        store
            .remember_nonce(&w1, "n1", NOW, at(100))
            .await
            .expect("answers")
    );
    assert!(
        store
            .remember_nonce(&w1, "n2", NOW, at(101))
            .await
            .expect("answers")
    );
    assert!(
        store
            .find_access_token("a1")
            .await
            .expect("reads")
            .is_some()
    );
    store.purge_secrets(at(100)).await.expect("purges");
    assert_eq!(store.find_access_token("a1").await.expect("reads"), None);
    assert!(
        store
            .find_access_token("a2")
            .await
            .expect("reads")
            .is_some()
    );
    assert!(
        store
            .remember_nonce(&w1, "n1", NOW, at(100))
            .await
            .expect("answers"),
        "forgotten"
    );
    assert!(
        !store
            .remember_nonce(&w1, "n2", NOW, at(100))
            .await
            .expect("answers")
    );
}
