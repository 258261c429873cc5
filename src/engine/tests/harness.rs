//! Drives a blueprint by a little script and prints what each input came to. The tasks are kept in
//! a plain map, in the way in which `Effect` and `Guard` ask of a store.
//!
//! One line of a script is one input:
//!
//! ```text
//! create {"initial": "data"}      take WORKER [BRANCH]         later SECONDS
//! report WORKER STATUS {"data"}   report WORKER failure CODE   resend
//! says WORKER TYPE {"payload"}    expire                       wake
//! decide DECISION {"metadata"}    event NAME {"payload"}       cancel REASON
//! child finished {"result"}       child failed REASON          retry
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::told::{describe, name, record, standing};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::blueprint::{Blueprint, load};
use crate::domain::{ClientRef, EventKind, Job, JobError, Lease, Task, TaskReport, TaskStatus};
use crate::engine::{
    Advance, Answer, ChildEnd, DataStores, Effect, Input, Limits, Outcome, Submission, WorkerEvent,
    World, create, step,
};

/// When every script begins: 2026-11-23T08:00:00Z.
pub const START: Timestamp = Timestamp(1_795_420_800_000);

/// A job under test.
pub struct Bench {
    pub blueprint: Blueprint,
    pub limits: Limits,
    pub now: Timestamp,
    pub job: Option<Job>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub data: DataStores,
    /// Names of the states that were entered.
    pub visited: Vec<String>,
    pub webhooks: Vec<Value>,
    last_report: Option<(TaskId, WorkerId, TaskReport)>,
    submission: Submission,
}

/// Loads a blueprint that has to be good.
pub fn blueprint(text: &str) -> Blueprint {
    let loaded = load("test.yaml", text);
    let problems: Vec<String> = loaded
        .problems
        .iter()
        .filter(|problem| !problem.is_warning)
        .map(|problem| format!("{}:{} {}", problem.line, problem.place, problem.message))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    loaded
        .blueprint
        .expect("a blueprint without errors is loaded")
}

/// A submission without anything special.
pub fn submission(initial_data: Value) -> Submission {
    Submission {
        id: JobId::from_parts(START, [7; 10]),
        client: ClientRef {
            id: "acme".into(),
            plan: "gold".to_owned(),
            params: Map::new(),
        },
        initial_data,
        webhook_url: Some("https://example.org/hook".to_owned()),
        dispatch_timeout_ms: None,
        result_timeout_ms: None,
        policy: None,
        security: None,
        metadata: None,
        data_metadata: None,
        max_transitions: None,
        labels: BTreeMap::new(),
        tracing_context: BTreeMap::new(),
        depth: 0,
        parent: None,
        idempotency: None,
        quota: None,
    }
}

impl Bench {
    /// Loads the blueprint and begins at [`START`].
    pub fn new(text: &str) -> Self {
        let blueprint = blueprint(text);
        Self {
            data: blueprint.data_stores.clone(),
            blueprint,
            limits: Limits::default(),
            now: START,
            job: None,
            tasks: BTreeMap::new(),
            visited: Vec::new(),
            webhooks: Vec::new(),
            last_report: None,
            submission: submission(Value::Null),
        }
    }

    /// Changes what the job is made from, but for its input.
    pub fn with(mut self, change: impl FnOnce(&mut Submission, &mut Limits)) -> Self {
        change(&mut self.submission, &mut self.limits);
        self
    }

    /// Runs a script and returns what it came to, line by line.
    pub fn run(&mut self, script: &str) -> String {
        let mut out = String::new();
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let said = self.line(line);
            writeln!(out, "> {line}").expect("a string takes all");
            out.push_str(&said);
        }
        out
    }

    /// Returns the job, which the script has created.
    pub fn job(&self) -> &Job {
        self.job.as_ref().expect("the script has created the job")
    }

    fn line(&mut self, line: &str) -> String {
        let mut words = line.splitn(2, ' ');
        let verb = words.next().unwrap_or_default();
        let rest = words.next().unwrap_or_default().trim();
        let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "create" => return self.create(json_or(rest, Value::Object(Map::new()))),
            "take" => return self.take(first, tail.parse().ok()),
            "later" => {
                let seconds: f64 = rest.parse().expect("seconds");
                self.now = self.now.after(std::time::Duration::from_secs_f64(seconds));
                return String::new();
            }
            _ => {}
        }
        match self.input(verb, first, tail, rest) {
            Some(input) => self.apply(input),
            None => "  nothing to do\n".to_owned(),
        }
    }

    fn input(&mut self, verb: &str, first: &str, tail: &str, rest: &str) -> Option<Input> {
        Some(match verb {
            "report" => self.report(first, tail)?,
            "resend" => {
                let (id, worker, report) = self.last_report.clone()?;
                Input::TaskReported {
                    task: Box::new(self.tasks.get(&id)?.clone()),
                    worker,
                    report,
                }
            }
            "lose" => {
                let open = |task: &&Task| task.status != TaskStatus::Ended;
                let task = self.tasks.values().find(open)?;
                Input::TaskLost {
                    task: Box::new(task.clone()),
                }
            }
            "expire" => {
                let due = |task: &&Task| task.due_at().is_some_and(|at| at <= self.now);
                let open = |task: &&Task| task.status != TaskStatus::Ended;
                let task = self
                    .tasks
                    .values()
                    .find(due)
                    .or(self.tasks.values().find(open))?;
                Input::TaskExpired {
                    task: Box::new(task.clone()),
                }
            }
            "says" => self.says(first, tail),
            "wake" => Input::Woken,
            "decide" => Input::Decided {
                visit: self.job().visit,
                decision: first.to_owned(),
                metadata: (!tail.is_empty()).then(|| object(tail)),
                security: None,
            },
            "event" => Input::EventReceived {
                name: first.to_owned(),
                payload: json_or(tail, Value::Null),
            },
            "cancel" => Input::Cancel {
                reason: rest.to_owned(),
            },
            "retry" => Input::Retry,
            "child" => self.child(first, tail)?,
            other => panic!("unknown line `{other}`"),
        })
    }

    fn create(&mut self, initial_data: Value) -> String {
        let submission = Submission {
            initial_data,
            ..self.submission.clone()
        };
        match create(&self.world(None), submission) {
            Ok(advance) => self.take_in(advance),
            Err(error) => format!("  refused: {error}\n"),
        }
    }

    /// Returns what a step may know.
    pub fn world<'a>(&'a self, branches: Option<&'a [Task]>) -> World<'a> {
        World {
            blueprint: &self.blueprint,
            data: &self.data,
            now: self.now,
            seed: [5; 32],
            limits: &self.limits,
            public_url: "https://jobs.test/",
            branches,
        }
    }

    fn take(&mut self, worker: &str, branch: Option<u32>) -> String {
        let now = self.now;
        let queued = |task: &&mut Task| {
            task.status == TaskStatus::Queued
                && task.available_at <= now
                && (branch.is_none() || task.branch == branch)
        };
        let mut open: Vec<&mut Task> = self.tasks.values_mut().filter(queued).collect();
        open.sort_by_key(|task| task.branch);
        let Some(task) = open.into_iter().next() else {
            return "  no task\n".to_owned();
        };
        task.status = TaskStatus::Leased;
        task.lease = Some(Lease {
            id: uuid::Uuid::nil(),
            worker: worker.into(),
            since: now,
            until: now.after_ms(30_000),
            deadline: now.after_ms(task.spec.execution_timeout_ms),
        });
        format!("  {}\n", name(task))
    }

    /// The task that the worker holds, or held last, or else any.
    fn task_of(&self, worker: &str) -> Option<&Task> {
        let holds = |task: &&Task| {
            task.lease
                .as_ref()
                .is_some_and(|lease| lease.worker.as_str() == worker)
        };
        let held = || self.tasks.values().filter(holds);
        held()
            .find(|task| task.status == TaskStatus::Leased)
            .or_else(|| held().max_by_key(|task| (task.visit, task.ordinal)))
            .or_else(|| {
                self.tasks
                    .values()
                    .max_by_key(|task| (task.visit, task.ordinal))
            })
    }

    fn report(&mut self, worker: &str, tail: &str) -> Option<Input> {
        let (status, more) = tail.split_once(' ').unwrap_or((tail, ""));
        let report = if status == "failure" {
            TaskReport::failure(more, format!("{} happened", more.to_lowercase()))
        } else {
            let data = (!more.is_empty()).then(|| object(more));
            TaskReport {
                status: status.to_owned(),
                data,
                ..TaskReport::success(object("{}"))
            }
        };
        let task = self.task_of(worker)?.clone();
        let worker = WorkerId::from(worker);
        self.last_report = Some((task.id.clone(), worker.clone(), report.clone()));
        Some(Input::TaskReported {
            task: Box::new(task),
            worker,
            report,
        })
    }

    fn says(&self, worker: &str, tail: &str) -> Input {
        let (event_type, payload) = tail.split_once(' ').unwrap_or((tail, "{}"));
        let task = self.task_of(worker).cloned().map(Box::new);
        Input::WorkerEvent {
            event: WorkerEvent {
                id: "e1".to_owned(),
                event_type: event_type.to_owned(),
                payload: object(payload),
                worker: worker.into(),
                task_id: task.as_ref().map(|task| task.id.clone()),
                timestamp: Some(7),
            },
            task,
        }
    }

    fn child(&self, outcome: &str, tail: &str) -> Option<Input> {
        let job = self.job();
        let finished = outcome == "finished";
        Some(Input::ChildEnded(ChildEnd {
            child: job.child_job_id?,
            visit: job.visit,
            finished,
            final_state: outcome.to_owned(),
            result: (finished && !tail.is_empty()).then(|| json_or(tail, Value::Null)),
            error: (!finished).then(|| JobError {
                code: "ended_failed".to_owned(),
                message: tail.to_owned(),
                state: None,
            }),
        }))
    }

    /// Gives the job an input, as the shell does.
    pub fn apply(&mut self, input: Input) -> String {
        let job = self.job().clone();
        let visit = job.visit;
        let mut outcome = step(&self.world(None), job.clone(), input.clone());
        if outcome == Outcome::NeedsBranches {
            let branches = self.branches(visit);
            outcome = step(&self.world(Some(&branches)), job, input);
        }
        match outcome {
            Outcome::Ignored(reason) => format!("  ignored: {reason:?}\n"),
            Outcome::Advanced(advance) => self.take_in(*advance),
            Outcome::NeedsBranches => panic!("they were there"),
        }
    }

    fn take_in(&mut self, advance: Advance) -> String {
        self.check_guards(&advance.guards);
        let mut out = String::new();
        let mut history = Vec::new();
        for effect in &advance.effects {
            if let Effect::Record(event) = effect {
                history.push(record(event));
                if event.kind == EventKind::StateStarted {
                    self.visited.push(event.state.clone());
                }
            } else {
                writeln!(out, "  {}", describe(self, effect)).expect("a string takes all");
            }
            self.carry_out(effect);
        }
        if !history.is_empty() {
            out.insert_str(0, &format!("  history: {}\n", history.join(", ")));
        }
        if advance.answer != Answer::None {
            writeln!(out, "  answer {:?}", advance.answer).expect("a string takes all");
        }
        if let Some((worker, delta)) = &advance.reputation {
            writeln!(out, "  reputation of {worker} {delta:+}").expect("a string takes all");
        }
        writeln!(out, "  = {}", standing(self, &advance.job)).expect("a string takes all");
        self.job = Some(advance.job);
        out
    }
}

fn json_or(text: &str, default: Value) -> Value {
    if text.is_empty() {
        return default;
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

/// Reads a JSON object.
pub fn object(text: &str) -> crate::domain::Object {
    match json_or(text, Value::Null) {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
