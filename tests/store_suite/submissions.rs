//! What guards a new job: its idempotency key, its client's quota.

use avtomatika::engine::Guard;
use avtomatika::store::{CommitError, Committed, KnownKey};
use futures::future::join_all;

use crate::Store;
use crate::fixtures::*;

pub async fn refuses_a_second_job_under_one_key(store: Store) {
    let first = commit(keyed(1, "k"), vec![], vec![key_guard("k", "f1")]);
    store.commit(first).await.expect("commits");
    let second = commit(
        keyed(2, "k"),
        vec![put(&task(&keyed(2, "k"), None, 1))],
        vec![key_guard("k", "f2")],
    );
    match store.commit(second).await {
        Err(CommitError::KeyTaken {
            job_id: known,
            fingerprint,
        }) => {
            assert_eq!((known, fingerprint.as_str()), (keyed_id(1, "k"), "f1"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.load(keyed_id(2, "k")).await.expect("loads"), None);
    assert_eq!(
        store.open_tasks(keyed_id(2, "k"), 9).await.expect("reads"),
        vec![]
    );
    let known = KnownKey {
        job_id: keyed_id(1, "k"),
        fingerprint: "f1".to_owned(),
    };
    let acme = "acme".into();
    assert_eq!(
        store.find_by_key(&acme, "k", NOW).await.expect("reads"),
        Some(known)
    );
    assert_eq!(
        store
            .find_by_key(&"other".into(), "k", NOW)
            .await
            .expect("reads"),
        None
    );
    assert_eq!(
        store.find_by_key(&acme, "k2", NOW).await.expect("reads"),
        None
    );
}

pub async fn makes_one_job_of_a_hundred_submissions_with_one_key(store: Store) {
    let submissions = (0..100).map(|n| {
        let guards = vec![key_guard("k", "f"), quota_guard("acme", "2026-11", 50)];
        store.commit(commit(keyed(n, "k"), vec![], guards))
    });
    let results = join_all(submissions).await;
    let made: Vec<u16> = (0..100)
        .filter(|n| results[usize::from(*n)].is_ok())
        .collect();
    assert_eq!(made.len(), 1, "{made:?}");
    for result in &results {
        match result {
            Ok(_) => {}
            Err(CommitError::KeyTaken { job_id: known, .. }) => {
                assert_eq!(*known, keyed_id(made[0], "k"));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(
        store
            .counts(None)
            .await
            .expect("counts")
            .values()
            .sum::<u64>(),
        1
    );
}

pub async fn frees_a_key_when_its_time_is_over(store: Store) {
    store
        .commit(commit(keyed(1, "k"), vec![], vec![key_guard("k", "f")]))
        .await
        .expect("commits");
    let over = at(86_400_000);
    let acme = "acme".into();
    assert_eq!(
        store.find_by_key(&acme, "k", over).await.expect("reads"),
        None
    );
    let mut again = commit(keyed(2, "k"), vec![], vec![key_guard("k", "f")]);
    again.now = over;
    if let Guard::Idempotency { key, .. } = &mut again.guards[0] {
        key.until = over.after_ms(1000);
    }
    store.commit(again).await.expect("the key is free again");
    let known = store
        .find_by_key(&acme, "k", over)
        .await
        .expect("reads")
        .expect("is known");
    assert_eq!(known.job_id, keyed_id(2, "k"));
}

pub async fn counts_a_quota_exactly(store: Store) {
    let submissions = (0..40).map(|n| {
        let guards = vec![quota_guard("acme", "2026-11", 25)];
        store.commit(commit(job(n), vec![], guards))
    });
    let results = join_all(submissions).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 25);
    let refused = |r: &&Result<Committed, CommitError>| {
        matches!(r, Err(CommitError::QuotaExceeded { limit: 25 }))
    };
    assert_eq!(results.iter().filter(refused).count(), 15);
    for (n, client, month) in [(100, "acme", "2026-12"), (101, "other", "2026-11")] {
        let guards = vec![quota_guard(client, month, 1)];
        store
            .commit(commit(job(n), vec![], guards))
            .await
            .expect("is another quota");
    }
    let none = commit(job(102), vec![], vec![quota_guard("third", "2026-11", 0)]);
    assert!(matches!(
        store.commit(none).await,
        Err(CommitError::QuotaExceeded { limit: 0 })
    ));
}

pub async fn takes_no_quota_for_a_refused_commit(store: Store) {
    let quota = || quota_guard("acme", "2026-11", 2);
    let key = || key_guard("k", "f");
    store
        .commit(commit(keyed(1, "k"), vec![], vec![quota(), key()]))
        .await
        .expect("commits");
    for guards in [vec![quota(), key()], vec![key(), quota()]] {
        let refused = store.commit(commit(keyed(2, "k"), vec![], guards)).await;
        assert!(
            matches!(refused, Err(CommitError::KeyTaken { .. })),
            "{refused:?}"
        );
    }
    assert!(matches!(
        store
            .commit(commit(keyed(1, "k"), vec![], vec![quota()]))
            .await,
        Err(CommitError::Conflict)
    ));
    store
        .commit(commit(job(3), vec![], vec![quota()]))
        .await
        .expect("one is left");
    // A request that is repeated has its place already.
    let repeated = commit(keyed(2, "k"), vec![], vec![key(), quota()]);
    assert!(matches!(
        store.commit(repeated).await,
        Err(CommitError::KeyTaken { .. })
    ));
    // A refused key is not taken either.
    let refused = commit(keyed(4, "k2"), vec![], vec![key_guard("k2", "f"), quota()]);
    assert!(matches!(
        store.commit(refused).await,
        Err(CommitError::QuotaExceeded { limit: 2 })
    ));
    assert_eq!(
        store
            .find_by_key(&"acme".into(), "k2", NOW)
            .await
            .expect("reads"),
        None
    );
}
