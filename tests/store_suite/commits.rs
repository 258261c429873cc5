//! What is stored together, and what keeps a commit from being stored.

use std::sync::Arc;

use avtomatika::base::Timestamp;
use avtomatika::domain::EventKind;
use avtomatika::domain::task::Answer;
use avtomatika::engine::{Effect, Guard, Signal};
use avtomatika::store::{CommitError, Committed};
use futures::future::join_all;

use crate::Store;
use crate::fixtures::*;

pub async fn stores_a_job_with_everything_that_goes_with_it(store: Store) {
    let mut job = job(1);
    job.labels.insert("team".to_owned(), "blue".to_owned());
    job.wake_at = Some(at(5));
    let task = task(&job, None, 1);
    let hook = webhook(&job, 9);
    let cancel = Signal::CancelChild {
        child: job_id(2),
        reason: "enough".to_owned(),
    };
    let line = event(&job, 0, EventKind::JobCreated);
    let committed = store
        .commit(commit(
            job.clone(),
            vec![
                put(&task),
                Effect::Record(Arc::new(line.clone())),
                Effect::Signal(cancel),
                Effect::SendWebhook(Box::new(hook.clone())),
            ],
            vec![],
        ))
        .await
        .expect("commits");
    assert_eq!(committed.outbox.len(), 2);
    assert_eq!(committed.outbox[1], hook.id);
    assert_eq!(store.load(job.id).await.expect("loads"), Some(job.clone()));
    assert_eq!(store.load_task(&task.id).await.expect("loads"), Some(task));
    assert_eq!(
        store.by_job(job.id, None, 10).await.expect("reads"),
        vec![line]
    );
    assert_eq!(
        store.deliveries(job.id, 10).await.expect("reads")[0].id,
        hook.id
    );
}

pub async fn refuses_another_revision(store: Store) {
    let first = job(1);
    store
        .commit(commit(first.clone(), vec![], vec![]))
        .await
        .expect("commits");
    let mut late = commit(next(&first), vec![put(&task(&first, None, 1))], vec![]);
    std::sync::Arc::make_mut(&mut late.job).revision = 3;
    late.expected_revision = 2;
    for refused in [commit(first.clone(), vec![], vec![]), late] {
        let error = store.commit(refused).await.expect_err("is refused");
        assert!(matches!(error, CommitError::Conflict), "{error}");
    }
    assert_eq!(
        store.load(first.id).await.expect("loads"),
        Some(first.clone())
    );
    assert_eq!(store.open_tasks(first.id, 9).await.expect("reads"), vec![]);
    let mut unknown = commit(next(&job(2)), vec![], vec![]);
    unknown.expected_revision = 1;
    assert!(matches!(
        store.commit(unknown).await,
        Err(CommitError::Conflict)
    ));
}

pub async fn lets_one_of_many_rivals_win(store: Store) {
    let first = job(1);
    store
        .commit(commit(first.clone(), vec![], vec![]))
        .await
        .expect("commits");
    let rivals = (0..50).map(|n| {
        let mut rival = next(&first);
        rival.state = format!("state-{n}");
        let line = Effect::Record(Arc::new(event(&rival, n, EventKind::StateStarted)));
        store.commit(commit(rival, vec![line], vec![]))
    });
    let results = join_all(rivals).await;
    let winners: Vec<usize> = (0..50).filter(|n| results[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert!(
        results
            .iter()
            .all(|r| matches!(r, Ok(_) | Err(CommitError::Conflict)))
    );
    let stored = store
        .load(first.id)
        .await
        .expect("loads")
        .expect("is there");
    assert_eq!(stored.state, format!("state-{}", winners[0]));
    let lines = store.by_job(first.id, None, 100).await.expect("reads");
    assert_eq!(lines.len(), 1, "the losers left nothing behind");
}

pub async fn guards_a_task_by_its_holder(store: Store) {
    let job = job(1);
    let task = task(&job, None, 1);
    store
        .commit(commit(job.clone(), vec![put(&task)], vec![]))
        .await
        .expect("commits");
    let guarded = |worker: &str| {
        let guard = Guard::TaskHeldBy {
            id: task.id.clone(),
            worker: worker.into(),
        };
        let end = Effect::EndTask {
            id: task.id.clone(),
            answer: Answer::SuccessTransition,
            report: None,
        };
        commit(next(&job), vec![end], vec![guard])
    };
    let is_changed = |result| match result {
        Err(CommitError::TaskChanged(id)) => id == task.id,
        _ => false,
    };
    assert!(
        is_changed(store.commit(guarded("w1")).await),
        "nobody holds it"
    );
    store
        .lease_task(&task.id, lease("w1", 1000))
        .await
        .expect("leases")
        .expect("is queued");
    assert!(
        is_changed(store.commit(guarded("w2")).await),
        "another holds it"
    );
    store.commit(guarded("w1")).await.expect("its holder may");
    let mut again = guarded("w1");
    again.expected_revision = 2;
    std::sync::Arc::make_mut(&mut again.job).revision = 3;
    assert!(is_changed(store.commit(again).await), "it has ended");
}

pub async fn guards_a_task_by_its_due_time(store: Store) {
    let job = job(1);
    let mut task = task(&job, None, 1);
    task.dispatch_deadline = Some(at(10));
    store
        .commit(commit(job.clone(), vec![put(&task)], vec![]))
        .await
        .expect("commits");
    let expiring = |now: Timestamp| {
        let guard = Guard::TaskDue {
            id: task.id.clone(),
            now,
        };
        commit(next(&job), vec![], vec![guard])
    };
    let refused = store.commit(expiring(at(9))).await;
    assert!(
        matches!(refused, Err(CommitError::TaskChanged(_))),
        "{refused:?}"
    );
    store
        .lease_task(&task.id, lease("w1", 50))
        .await
        .expect("leases")
        .expect("is queued");
    assert!(
        store.commit(expiring(at(49))).await.is_err(),
        "the lease counts now"
    );
    let held = store
        .extend_leases(&"w1".into(), std::slice::from_ref(&task.id), at(90))
        .await;
    assert_eq!(held.expect("extends").len(), 1);
    assert!(
        store.commit(expiring(at(50))).await.is_err(),
        "a heartbeat came between"
    );
    store.commit(expiring(at(90))).await.expect("is due");
    let unknown = Guard::TaskDue {
        id: "task-unknown".into(),
        now: NOW,
    };
    let mut refused = commit(next(&next(&job)), vec![], vec![unknown]);
    refused.expected_revision = 2;
    assert!(matches!(
        store.commit(refused).await,
        Err(CommitError::TaskChanged(_))
    ));
}

pub async fn guards_a_child_by_its_parent(store: Store) {
    let parent = job(1);
    let awaited_at = |child: u16, revision| {
        let guard = Guard::JobAt {
            id: parent.id,
            revision,
        };
        commit(job(child), vec![], vec![guard])
    };
    let is_refused = |result: Result<Committed, CommitError>| match result {
        Err(CommitError::OtherJobChanged(id)) => id == parent.id,
        _ => false,
    };
    assert!(
        is_refused(store.commit(awaited_at(2, 1)).await),
        "no such job"
    );
    store
        .commit(commit(parent.clone(), vec![], vec![]))
        .await
        .expect("commits");
    store
        .commit(awaited_at(2, 1))
        .await
        .expect("the parent has not moved");
    store
        .commit(commit(next(&parent), vec![], vec![]))
        .await
        .expect("commits");
    assert!(
        is_refused(store.commit(awaited_at(3, 1)).await),
        "the parent has moved"
    );
    assert_eq!(store.load(job_id(3)).await.expect("loads"), None);
}
