//! Fan-outs: branches that are held, released, ended, and read again.

use avtomatika::domain::task::Answer;
use avtomatika::domain::{Object, Task, TaskReport, TaskStatus};
use avtomatika::engine::Effect;
use serde_json::json;

use crate::Store;
use crate::fixtures::*;

fn held(job: &avtomatika::domain::Job, branch: u32) -> Task {
    Task {
        status: TaskStatus::Held,
        ..task(job, Some(branch), 1)
    }
}

fn report() -> TaskReport {
    let data = json!({"n": 0.1}).as_object().cloned().expect("an object");
    TaskReport::success(data)
}

fn end(task: &Task, report: Option<TaskReport>) -> Effect {
    Effect::EndTask {
        id: task.id.clone(),
        answer: Answer::ParallelBranchAccepted,
        report,
    }
}

pub async fn releases_held_branches(store: Store) {
    let job = job(1);
    let mut tasks: Vec<Task> = (0..6).map(|branch| held(&job, branch)).collect();
    tasks[0].status = TaskStatus::Queued;
    tasks[2].dispatch_deadline = Some(at(100));
    tasks[2].result_deadline = Some(at(200));
    let mut elsewhere = held(&job, 2);
    elsewhere.visit = 9;
    elsewhere.id = "another-visit".into();
    let effects = tasks.iter().chain([&elsewhere]).map(put).collect();
    store
        .commit(commit(job.clone(), effects, vec![]))
        .await
        .expect("commits");
    assert_eq!(store.queued_tasks(None, 9).await.expect("reads").len(), 1);

    let mut release = commit(
        next(&job),
        vec![Effect::ReleaseBranches {
            visit: 1,
            from: 0,
            to: 4,
        }],
        vec![],
    );
    release.now = at(50);
    let released = store.commit(release).await.expect("commits").released;
    let branches: Vec<_> = released.iter().map(|task| task.branch).collect();
    assert_eq!(branches, [Some(1), Some(2), Some(3)]);
    assert!(
        released
            .iter()
            .all(|task| task.status == TaskStatus::Queued)
    );
    assert_eq!(
        released[1].dispatch_deadline,
        Some(at(150)),
        "its wait begins now"
    );
    assert_eq!(released[1].due_at(), Some(at(150)));
    for task in &released {
        assert_eq!(
            store.load_task(&task.id).await.expect("loads").as_ref(),
            Some(task)
        );
    }
    assert_eq!(store.queued_tasks(None, 9).await.expect("reads").len(), 4);
    let due = store.due(at(150), 9).await.expect("reads");
    // A store may have left values out of them.
    let seen: Vec<_> = due.tasks.iter().map(|t| (&t.id, t.due_at())).collect();
    assert_eq!(seen, [(&released[1].id, Some(at(150)))]);
}

pub async fn ends_open_tasks_and_names_their_holders(store: Store) {
    let job = job(1);
    let mut tasks: Vec<Task> = (0..4).map(|branch| task(&job, Some(branch), 1)).collect();
    tasks[3].status = TaskStatus::Held;
    store
        .commit(commit(job.clone(), tasks.iter().map(put).collect(), vec![]))
        .await
        .expect("commits");
    for (branch, worker) in [(2, "w2"), (0, "w1")] {
        let given = store
            .lease_task(&tasks[branch].id, lease(worker, 1000))
            .await;
        assert!(given.expect("leases").is_some());
    }
    let effects = vec![
        end(&tasks[0], Some(report())),
        Effect::EndTasks { visit: 1 },
    ];
    let committed = store
        .commit(commit(next(&job), effects, vec![]))
        .await
        .expect("commits");
    assert_eq!(committed.ended_leases, [("w2".into(), tasks[2].id.clone())]);
    assert_eq!(store.open_tasks(job.id, 9).await.expect("reads"), []);
    assert_eq!(store.queued_tasks(None, 9).await.expect("reads"), []);
    assert_eq!(store.leased_tasks(&"w2".into()).await.expect("reads"), []);
    let stopped = store
        .load_task(&tasks[2].id)
        .await
        .expect("loads")
        .expect("is kept");
    assert_eq!((stopped.status, stopped.answer), (TaskStatus::Ended, None));
    assert_eq!(stopped.lease.expect("keeps its holder").worker, "w2".into());
    let branches = store.branches(job.id, 1).await.expect("reads");
    assert_eq!(branches.len(), 1, "only the one that has reported");
}

pub async fn shows_the_latest_attempt_of_each_branch(store: Store) {
    let job = job(1);
    let old = task(&job, Some(0), 1);
    let current = task(&job, Some(0), 2);
    let done = task(&job, Some(1), 1);
    let single = task(&job, None, 1);
    let effects = vec![
        put(&old),
        put(&current),
        put(&done),
        put(&single),
        end(&old, None),
        end(&done, Some(report())),
    ];
    store
        .commit(commit(job.clone(), effects, vec![]))
        .await
        .expect("commits");
    let branches = store.branches(job.id, 1).await.expect("reads");
    assert_eq!(branches.len(), 2);
    assert_eq!(branches[0], current);
    assert_eq!(branches[1].report, Some(report()));
    assert_eq!(branches[1].answer, Some(Answer::ParallelBranchAccepted));
    assert_eq!(store.branches(job.id, 2).await.expect("reads"), []);
}

pub async fn orders_open_tasks(store: Store) {
    let job = job(1);
    let tasks = [
        held(&job, 0),
        task(&job, Some(2), 1),
        held(&job, 3),
        task(&job, Some(1), 1),
        task(&job, Some(4), 1),
    ];
    let mut effects: Vec<Effect> = tasks.iter().map(put).collect();
    effects.push(end(&tasks[4], Some(report())));
    store
        .commit(commit(job.clone(), effects, vec![]))
        .await
        .expect("commits");
    store
        .lease_task(&tasks[1].id, lease("w1", 10))
        .await
        .expect("leases")
        .expect("is queued");
    let open = store.open_tasks(job.id, 9).await.expect("reads");
    let order: Vec<_> = open
        .iter()
        .map(|task| task.branch.expect("a branch"))
        .collect();
    assert_eq!(order, [1, 2, 0, 3]);
    assert_eq!(store.open_tasks(job.id, 2).await.expect("reads"), open[..2]);
}

pub async fn keeps_an_ended_task_without_its_parameters(store: Store) {
    let job = job(1);
    let task = task(&job, None, 1);
    store
        .commit(commit(job.clone(), vec![put(&task)], vec![]))
        .await
        .expect("commits");
    store
        .lease_task(&task.id, lease("w1", 1000))
        .await
        .expect("leases")
        .expect("is queued");
    let ended = Effect::EndTask {
        id: task.id.clone(),
        answer: Answer::SuccessTransition,
        report: None,
    };
    store
        .commit(commit(next(&job), vec![ended], vec![]))
        .await
        .expect("commits");
    let kept = store
        .load_task(&task.id)
        .await
        .expect("loads")
        .expect("is kept");
    assert_eq!(kept.status, TaskStatus::Ended);
    assert_eq!(kept.answer, Some(Answer::SuccessTransition));
    assert_eq!(kept.lease, Some(lease("w1", 1000)));
    assert_eq!(
        (&kept.spec.params, &kept.spec.security),
        (&Object::new(), &None)
    );
    assert_eq!(
        (&kept.spec.metadata, &kept.spec.params_metadata),
        (&None, &None)
    );
    assert_eq!(kept.spec.skill, "resize");
    assert!(
        store
            .lease_task(&task.id, lease("w2", 1))
            .await
            .expect("answers")
            .is_none()
    );
    assert_eq!(
        store
            .due(at(i64::from(u32::MAX)), 9)
            .await
            .expect("reads")
            .tasks,
        []
    );
}
