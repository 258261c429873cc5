//! Who holds which task until when, and what is due.

use avtomatika::base::TaskId;
use avtomatika::domain::task::Answer;
use avtomatika::domain::{Job, Lease, Task, TaskStatus};
use avtomatika::engine::{Effect, Guard};
use avtomatika::store::{CommitError, Due};
use futures::future::join_all;
use uuid::Uuid;

use crate::Store;
use crate::fixtures::*;

async fn queue(store: &Store, n: u16) -> (Job, Task) {
    let job = job(n);
    let task = task(&job, None, 1);
    store
        .commit(commit(job.clone(), vec![put(&task)], vec![]))
        .await
        .expect("commits");
    (job, task)
}

pub async fn gives_a_task_to_one_worker(store: Store) {
    let (_, task) = queue(&store, 1).await;
    let given = store
        .lease_task(&task.id, lease("w1", 1000))
        .await
        .expect("leases");
    let given = given.expect("is queued");
    assert_eq!(
        (given.status, &given.lease),
        (TaskStatus::Leased, &Some(lease("w1", 1000)))
    );
    assert_eq!(given.spec, task.spec);
    assert_eq!(store.load_task(&task.id).await.expect("loads"), Some(given));
    assert_eq!(
        store
            .lease_task(&task.id, lease("w2", 1000))
            .await
            .expect("answers"),
        None
    );
    assert_eq!(
        store
            .lease_task(&task.id, lease("w1", 1000))
            .await
            .expect("answers"),
        None
    );
    let unknown = TaskId::new("task-unknown");
    assert_eq!(
        store
            .lease_task(&unknown, lease("w1", 1))
            .await
            .expect("answers"),
        None
    );
}

pub async fn gives_a_task_to_one_of_many_rivals(store: Store) {
    let (_, task) = queue(&store, 1).await;
    let workers: Vec<String> = (0..50).map(|n| format!("w{n}")).collect();
    let polls = workers
        .iter()
        .map(|worker| store.lease_task(&task.id, lease(worker, 1000)));
    let given: Vec<Task> = join_all(polls)
        .await
        .into_iter()
        .filter_map(|r| r.expect("leases"))
        .collect();
    assert_eq!(given.len(), 1);
    assert_eq!(
        store.load_task(&task.id).await.expect("loads"),
        given.into_iter().next()
    );
}

pub async fn extends_what_the_worker_holds(store: Store) {
    let (_, mine) = queue(&store, 1).await;
    let (_, other) = queue(&store, 2).await;
    let (_, queued) = queue(&store, 3).await;
    store
        .lease_task(&mine.id, lease("w1", 100))
        .await
        .expect("leases")
        .expect("is queued");
    store
        .lease_task(&other.id, lease("w2", 100))
        .await
        .expect("leases")
        .expect("is queued");
    let named = [
        other.id.clone(),
        mine.id.clone(),
        queued.id.clone(),
        "task-unknown".into(),
    ];
    let held = store
        .extend_leases(&"w1".into(), &named, at(500))
        .await
        .expect("extends");
    assert_eq!(held, std::slice::from_ref(&mine.id));
    assert_eq!(
        store.due(at(499), 9).await.expect("reads").tasks.len(),
        1,
        "only the other's"
    );
    let earlier = store
        .extend_leases(&"w1".into(), &named, at(200))
        .await
        .expect("extends");
    assert_eq!(earlier, held, "it is held all the same");
    let stored = store
        .load_task(&mine.id)
        .await
        .expect("loads")
        .expect("is there");
    assert_eq!(
        stored.lease,
        Some(lease("w1", 500)),
        "an older heartbeat takes nothing away"
    );
    let far = store
        .extend_leases(&"w1".into(), &named, at(9_000_000))
        .await
        .expect("extends");
    assert_eq!(far.len(), 1);
    let stored = store
        .load_task(&mine.id)
        .await
        .expect("loads")
        .expect("is there");
    assert_eq!(stored.due_at(), Some(at(1_000_000)), "the deadline stands");
}

pub async fn takes_an_undelivered_task_back(store: Store) {
    let (_, task) = queue(&store, 1).await;
    let numbered = |number: u128| Lease {
        id: Uuid::from_u128(number),
        ..lease("w1", 100)
    };
    let give_back = |number: u128| store.release_task(&task.id, Uuid::from_u128(number));
    assert_eq!(give_back(1).await.expect("answers"), None, "it is queued");
    for number in [1, 2] {
        store
            .lease_task(&task.id, numbered(number))
            .await
            .expect("leases")
            .expect("is queued");
        let other = give_back(3 - number).await.expect("answers");
        assert_eq!(other, None, "the same worker's, but another lease");
        let leased = store.leased_tasks(&"w1".into()).await.expect("reads");
        assert_eq!(leased.len(), 1);
        let back = give_back(number).await.expect("releases");
        assert_eq!(back.as_ref(), Some(&task), "as it was");
        assert_eq!(give_back(number).await.expect("answers"), None, "once");
        let queued = store.queued_tasks(None, 9).await.expect("reads");
        assert_eq!(queued, std::slice::from_ref(&task));
        assert_eq!(store.leased_tasks(&"w1".into()).await.expect("reads"), []);
    }
    assert!(
        store
            .lease_task(&task.id, lease("w2", 100))
            .await
            .expect("leases")
            .is_some()
    );
}

pub async fn lists_queued_and_leased_tasks(store: Store) {
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(queue(&store, n).await.1.id);
    }
    ids.sort();
    let read = async |after: Option<&TaskId>, limit| -> Vec<TaskId> {
        let tasks = store.queued_tasks(after, limit).await.expect("reads");
        tasks.into_iter().map(|task| task.id).collect()
    };
    assert_eq!(read(None, 9).await, ids);
    assert_eq!(read(None, 3).await, ids[..3]);
    assert_eq!(read(Some(&ids[2]), 9).await, ids[3..]);
    assert_eq!(read(Some(&ids[6]), 9).await, []);
    for id in [&ids[4], &ids[1]] {
        store
            .lease_task(id, lease("w1", 100))
            .await
            .expect("leases")
            .expect("is queued");
    }
    store
        .lease_task(&ids[0], lease("w10", 100))
        .await
        .expect("leases")
        .expect("is queued");
    assert_eq!(read(None, 9).await.len(), 4);
    let leased = store.leased_tasks(&"w1".into()).await.expect("reads");
    let leased: Vec<_> = leased.into_iter().map(|task| task.id).collect();
    assert_eq!(leased, [ids[1].clone(), ids[4].clone()]);
}

pub async fn reads_tasks_together(store: Store) {
    let mut ids = Vec::new();
    for n in [3, 1, 2] {
        ids.push(queue(&store, n).await.1.id);
    }
    let leased = store.lease_task(&ids[1], lease("w1", 100)).await;
    assert!(leased.expect("leases").is_some());
    ids.insert(1, "task-unknown".into());
    let found = store.load_tasks(&ids).await.expect("reads");
    let found: Vec<_> = found.iter().map(|task| (&task.id, task.status)).collect();
    let expected = [
        (&ids[0], TaskStatus::Queued),
        (&ids[2], TaskStatus::Leased),
        (&ids[3], TaskStatus::Queued),
    ];
    assert_eq!(
        found, expected,
        "in the order asked, without what is not there"
    );
    assert_eq!(store.load_tasks(&[]).await.expect("reads"), []);
}

pub async fn tells_what_is_due(store: Store) {
    for (n, wake) in [
        (1, Some(30)),
        (2, Some(10)),
        (3, None),
        (4, Some(10)),
        (5, Some(99)),
    ] {
        let mut job = job(n);
        job.wake_at = wake.map(at);
        let mut task = task(&job, None, 1);
        task.dispatch_deadline = wake.map(|ms| at(ms + 5));
        store
            .commit(commit(job, vec![put(&task)], vec![]))
            .await
            .expect("commits");
    }
    let task_id = |n| task(&job(n), None, 1).id;
    let check = async |ms: i64, limit: u32, jobs: &[u16], tasks: &[u16], next: Option<i64>| {
        let Due {
            jobs: seen_jobs,
            tasks: seen_tasks,
            next: seen_next,
        } = store.due(at(ms), limit).await.expect("reads");
        let ids: Vec<_> = jobs.iter().map(|n| job_id(*n)).collect();
        assert_eq!(seen_jobs, ids, "at {ms}");
        let mut expected: Vec<_> = tasks.iter().map(|n| task_id(*n)).collect();
        let mut seen: Vec<_> = seen_tasks.into_iter().map(|task| task.id).collect();
        // Tasks that are due at the same time come in the order of their ids.
        expected.sort();
        seen.sort();
        assert_eq!(seen, expected, "at {ms}");
        assert_eq!(seen_next, next.map(at), "at {ms}");
    };
    check(9, 9, &[], &[], Some(10)).await;
    check(10, 9, &[2, 4], &[], Some(15)).await;
    check(15, 9, &[2, 4], &[2, 4], Some(30)).await;
    check(
        15,
        1,
        &[2],
        &[if task_id(2) < task_id(4) { 2 } else { 4 }],
        Some(10),
    )
    .await;
    check(1000, 9, &[2, 4, 1, 5], &[1, 2, 4, 5], None).await;
    // What a commit changes is due by its new time only.
    let mut woken = next(&job(2));
    woken.wake_at = None;
    store
        .commit(commit(woken, vec![], vec![]))
        .await
        .expect("commits");
    check(10, 9, &[4], &[], Some(15)).await;
}

pub async fn lets_either_the_result_or_the_expiry_win(store: Store) {
    for n in 0..20 {
        let (job, task) = queue(&store, n).await;
        store
            .lease_task(&task.id, lease("w1", 100))
            .await
            .expect("leases")
            .expect("is queued");
        let end = |answer| Effect::EndTask {
            id: task.id.clone(),
            answer,
            report: None,
        };
        let result = commit(
            next(&job),
            vec![end(Answer::SuccessTransition)],
            vec![Guard::TaskHeldBy {
                id: task.id.clone(),
                worker: "w1".into(),
            }],
        );
        let expiry = commit(
            next(&job),
            vec![end(Answer::None)],
            vec![Guard::TaskDue {
                id: task.id.clone(),
                now: at(100),
            }],
        );
        let outcomes = join_all([store.commit(result), store.commit(expiry)]).await;
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
        assert!(
            outcomes
                .iter()
                .all(|o| matches!(o, Ok(_) | Err(CommitError::Conflict)))
        );
        let stored = store
            .load_task(&task.id)
            .await
            .expect("loads")
            .expect("is kept");
        let expected = outcomes[0].is_ok().then_some(Answer::SuccessTransition);
        assert_eq!(
            stored.answer, expected,
            "nobody was answered when the deadline won"
        );
    }
}

pub async fn guards_a_task_by_its_lease(store: Store) {
    let (job, task) = queue(&store, 1).await;
    let guarded = |lease: u128| {
        let guard = Guard::TaskLeasedBy {
            id: task.id.clone(),
            lease: Uuid::from_u128(lease),
        };
        commit(next(&job), vec![], vec![guard])
    };
    let is_refused = async |lease: u128| {
        let refused = store.commit(guarded(lease)).await;
        matches!(refused, Err(CommitError::TaskChanged(id)) if id == task.id)
    };
    let give = async |id: u128| {
        let lease = Lease {
            id: Uuid::from_u128(id),
            ..lease("w1", 1000)
        };
        let given = store.lease_task(&task.id, lease).await;
        given.expect("leases").expect("is queued");
    };
    assert!(is_refused(1).await, "nobody has it");
    give(1).await;
    assert!(is_refused(2).await, "its worker has it by another");
    let released = store.release_task(&task.id, Uuid::from_u128(1)).await;
    released.expect("releases").expect("is leased");
    assert!(is_refused(1).await, "that one is over");
    give(2).await;
    assert!(is_refused(1).await, "its worker has it again, by another");
    store.commit(guarded(2)).await.expect("by this one");
}
