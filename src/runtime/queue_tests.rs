//! The order of the queue's index.

use std::sync::Arc;

use super::*;
use crate::domain::TaskStatus;
use crate::domain::task::{RetryPolicy, Strategy};
use crate::domain::worker::Requirements;

fn spec(skill: &str, priority: f64) -> TaskSpec {
    TaskSpec {
        skill: skill.to_owned(),
        params: serde_json::Map::new(),
        strategy: Strategy::Default,
        priority,
        max_cost: None,
        requires: Requirements::default(),
        custom_statuses: Vec::new(),
        execution_timeout_ms: 1,
        retry: RetryPolicy::default(),
        max_deliveries: 3,
        policy: None,
        security: None,
        metadata: None,
        params_metadata: None,
        tracing_context: BTreeMap::new(),
        step: 1,
        depth: 0,
    }
}

fn task(name: &str, client: &str, spec: TaskSpec) -> Task {
    Task {
        id: name.into(),
        job_id: JobId::from_parts(Timestamp(1), [1; 10]),
        visit: 1,
        branch: None,
        ordinal: 1,
        failures: 0,
        losses: 0,
        client: client.into(),
        blueprint: "b".to_owned(),
        spec: Arc::new(spec),
        status: TaskStatus::Queued,
        queued_at: Timestamp(0),
        available_at: Timestamp(0),
        dispatch_deadline: None,
        result_deadline: None,
        lease: None,
        report: None,
        answer: None,
    }
}

fn drain(queue: &mut Queue, skills: &[&str], fit: impl Fn(&TaskSpec) -> Fit) -> String {
    let mut order = Vec::new();
    while let Some(task) = queue.take_for(skills.iter().copied(), Timestamp(0), &fit) {
        order.push(task.id.to_string());
    }
    order.join(" ")
}

/// Tasks are `name/client/skill/priority`.
fn check(tasks: &str, skills: &[&str], expected: &str) {
    let mut queue = Queue::default();
    for text in tasks.split_whitespace() {
        let parts: Vec<&str> = text.split('/').collect();
        let priority = parts[3].parse().unwrap();
        queue.push(
            task(parts[0], parts[1], spec(parts[2], priority)),
            Origin::Here,
            Timestamp(0),
        );
    }
    assert_eq!(drain(&mut queue, skills, |_| Fit::Yes), expected, "{tasks}");
}

#[test]
fn order_is_priority_then_turn_then_age() {
    check("a1/a/s/0 a2/a/s/0 a3/a/s/5", &["s"], "a3 a1 a2");
    check(
        "a1/a/s/0 a2/a/s/0 a3/a/s/0 b1/b/s/0 b2/b/s/0",
        &["s"],
        "a1 b1 a2 b2 a3",
    );
    check("a1/a/s/-1 a2/a/s/0.5 a3/a/s/0.25", &["s"], "a2 a3 a1");
    check("a1/a/s/0 a2/a/t/0 a3/a/s/0", &["s", "t"], "a1 a2 a3");
    check("a1/a/s/0 a2/a/t/0", &["t"], "a2");
}

#[test]
fn a_newcomer_does_not_wait_behind_a_long_queue() {
    let mut queue = Queue::default();
    for number in 0..100 {
        queue.push(
            task(&format!("a{number}"), "a", spec("s", 0.0)),
            Origin::Here,
            Timestamp(0),
        );
    }
    for _ in 0..50 {
        queue
            .take_for(["s"].into_iter(), Timestamp(0), |_| Fit::Yes)
            .unwrap();
    }
    queue.push(task("b0", "b", spec("s", 0.0)), Origin::Here, Timestamp(0));
    let next: Vec<String> = (0..2)
        .map(|_| {
            queue
                .take_for(["s"].into_iter(), Timestamp(0), |_| Fit::Yes)
                .unwrap()
                .id
                .to_string()
        })
        .collect();
    assert!(next.contains(&"b0".to_owned()), "{next:?}");
}

#[test]
fn delayed_tasks_come_when_their_time_has_come() {
    let mut queue = Queue::default();
    let mut late = task("late", "a", spec("s", 0.0));
    late.available_at = Timestamp(10);
    queue.push(late, Origin::Here, Timestamp(0));
    assert!(
        queue
            .take_for(["s"].into_iter(), Timestamp(0), |_| Fit::Yes)
            .is_none()
    );
    assert_eq!(queue.next_available(), Some(Timestamp(10)));
    assert!(queue.take_available(Timestamp(9)).is_empty());
    assert_eq!(queue.take_available(Timestamp(10)).len(), 1);
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_group_is_asked_once_but_parameters_are_asked_each() {
    let mut queue = Queue::default();
    let mut costly = spec("s", 9.0);
    costly.max_cost = Some(1.0);
    queue.push(task("costly", "a", costly), Origin::Here, Timestamp(0));
    let mut odd = spec("s", 5.0);
    odd.params.insert("odd".to_owned(), true.into());
    queue.push(task("odd", "a", odd), Origin::Here, Timestamp(0));
    queue.push(
        task("plain", "a", spec("s", 1.0)),
        Origin::Here,
        Timestamp(0),
    );
    let fit = |spec: &TaskSpec| match (spec.max_cost, spec.params.is_empty()) {
        (Some(_), _) => Fit::No,
        (None, false) => Fit::NotTheseParameters,
        (None, true) => Fit::Yes,
    };
    assert_eq!(drain(&mut queue, &["s"], fit), "plain");
    assert_eq!(queue.len(), 2);
}

#[test]
fn a_visit_goes_as_a_whole() {
    let mut queue = Queue::default();
    queue.push(task("one", "a", spec("s", 0.0)), Origin::Here, Timestamp(0));
    let mut other = task("other", "a", spec("s", 0.0));
    other.visit = 2;
    queue.push(other, Origin::Here, Timestamp(0));
    queue.push(task("two", "a", spec("t", 0.0)), Origin::Here, Timestamp(0));
    let job = JobId::from_parts(Timestamp(1), [1; 10]);
    queue.remove_visit(job, 1);
    assert_eq!(drain(&mut queue, &["s", "t"], |_| Fit::Yes), "other");
}

#[test]
fn doubles_keep_their_order() {
    let values = [
        f64::NEG_INFINITY,
        -2.5,
        -0.0,
        0.0,
        1e-300,
        3.0,
        f64::INFINITY,
    ];
    for pair in values.windows(2) {
        assert!(sortable(pair[0]) <= sortable(pair[1]), "{pair:?}");
    }
    assert_eq!(sortable(f64::NAN), sortable(0.0));
}

#[test]
fn tasks_of_others_come_later_while_those_hand_out_theirs() {
    const NOW: Timestamp = Timestamp(10_000);
    let busy = |queue: &mut Queue, skill: &str| {
        queue.push(task("gone", "a", spec(skill, 0.0)), Origin::Elsewhere, NOW);
        queue.handed_out_elsewhere(&"gone".into(), NOW);
    };
    // Where `urgent`, `theirs` and the first of ours come, theirs being so many ms older.
    let order = |mut queue: Queue, older_ms: u64, at: Timestamp| {
        let push = |queue: &mut Queue, name: &str, priority: f64, since: Timestamp, origin| {
            let mut task = task(name, "a", spec("s", priority));
            task.available_at = since;
            queue.push(task, origin, at);
        };
        let since = Timestamp(at.0 - older_ms.cast_signed());
        push(&mut queue, "theirs", 0.0, since, Origin::Elsewhere);
        for number in 0..ELSEWHERE_TURNS + 10 {
            push(&mut queue, &format!("ours{number}"), 0.0, at, Origin::Here);
        }
        push(&mut queue, "urgent", 1.0, at, Origin::Elsewhere);
        let mut order = Vec::new();
        while let Some(task) = queue.take_for(["s"].into_iter(), at, |_| Fit::Yes) {
            order.push(task.id.to_string());
        }
        ["urgent", "theirs", "ours0"].map(|name| order.iter().position(|id| id == name))
    };
    let made = |skill: &str| {
        let mut queue = Queue::default();
        busy(&mut queue, skill);
        queue
    };
    let in_turn = [Some(0), Some(1), Some(2)];
    assert_eq!(order(Queue::default(), 0, NOW), in_turn, "they are idle");
    assert_eq!(order(made("t"), 0, NOW), in_turn, "of another skill");
    let later = usize::try_from(ELSEWHERE_TURNS).expect("a few");
    let last = [Some(0), Some(later), Some(1)];
    assert_eq!(order(made("s"), 0, NOW), last, "no more than that");
    let just = ELSEWHERE_OLDER_MS - 1;
    assert_eq!(order(made("s"), just, NOW), last);
    assert_eq!(order(made("s"), just + 1, NOW), in_turn, "and no older");
    let over = NOW.after_ms(ELSEWHERE_BUSY_MS);
    assert_eq!(order(made("s"), 0, over), in_turn, "and no longer");
}
