//! Why a job waits, in a code and in words. States facts; gives no orders.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::select::{Mismatch, ParamsCheck, qualify};
use crate::base::{JobId, TaskId, Timestamp, WorkerId};
use crate::domain::job::{BranchCounts, Waiting};
use crate::domain::worker::WorkerStatus;
use crate::domain::{Job, Task, TaskStatus, Worker};

/// Why one worker does not have one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerVerdict {
    /// The worker.
    pub worker_id: WorkerId,
    /// The first requirement that it fails; none and it is only about to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

/// A task that the job waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskVerdict {
    /// The attempt.
    pub task_id: TaskId,
    /// Its skill.
    pub skill: String,
    /// `running`, `backing_off`, `held_by_limit`, `no_worker_for_skill`, `no_qualified_worker`,
    /// `all_qualified_workers_busy`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<WorkerId>,
    /// Every known worker, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerVerdict>,
}

/// Why a job stands where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job_id: JobId,
    /// Its status.
    pub status: String,
    /// Its state.
    pub state: String,
    /// Stable code: a task's, or `ended`, `waiting_for_human`, `waiting_for_child`,
    /// `waiting_for_timer`, `waiting_for_event`, `retrying`, `fan_out`.
    pub code: String,
    /// For people: what it waits for, since when, until when.
    pub message: String,
    /// What would set it going.
    pub unblocks: Vec<String>,
    /// The open tasks, at most so many as the caller loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskVerdict>,
}

/// What the explanation is made from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its open tasks.
    pub tasks: &'a [Task],
    /// Every known worker.
    pub workers: &'a [Worker],
    /// The present.
    pub now: Timestamp,
    /// The dispatch floor.
    pub reputation_min: f64,
    /// Compiled schemas.
    pub params_ok: ParamsCheck<'a>,
}

/// What is said of a wait.
struct Said {
    code: String,
    message: String,
    unblocks: Vec<String>,
}

impl Said {
    fn new(code: &str, message: String, unblocks: Vec<String>) -> Self {
        Self {
            code: code.to_owned(),
            message,
            unblocks,
        }
    }
}

/// Explains a job.
#[must_use]
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let job = facts.job;
    let tasks: Vec<TaskVerdict> = facts
        .tasks
        .iter()
        .map(|task| verdict(facts, task))
        .collect();
    let said = said(facts, &tasks);
    Explanation {
        job_id: job.id,
        status: job.status.as_str().to_owned(),
        state: job.state.clone(),
        code: said.code,
        message: said.message,
        unblocks: said.unblocks,
        tasks,
    }
}

fn said(facts: &Facts<'_>, tasks: &[TaskVerdict]) -> Said {
    let job = facts.job;
    let since = format!("since {}", job.entered_at);
    let until = job
        .wake_at
        .map_or(String::new(), |at| format!(", until {at}"));
    let at = |what: &str| job.wake_at.map(|at| format!("at {at} {what}")).into_iter();
    match &job.waiting {
        None => ended(job),
        Some(Waiting::Task { .. }) => single(facts, tasks),
        Some(Waiting::Branches(counts)) => fan_out(job, counts),
        Some(Waiting::Child { job_id }) => Said::new(
            "waiting_for_child",
            format!(
                "state `{}` waits for child job {job_id} {since}{until}",
                job.state
            ),
            [format!("the end of child job {job_id}")]
                .into_iter()
                .chain(at("the child is given up"))
                .collect(),
        ),
        Some(Waiting::Human {
            integration,
            message,
            ..
        }) => Said::new(
            "waiting_for_human",
            format!(
                "state `{}` waits for a decision by `{integration}` {since}{until}: {message}",
                job.state
            ),
            ["a decision for this job".to_owned()]
                .into_iter()
                .chain(at("it counts as not decided"))
                .collect(),
        ),
        Some(Waiting::Timer) => Said::new(
            "waiting_for_timer",
            format!("state `{}` lets time pass {since}{until}", job.state),
            at("the job goes on").collect(),
        ),
        Some(Waiting::Event { name }) => Said::new(
            "waiting_for_event",
            format!(
                "state `{}` waits for event `{name}` {since}{until}",
                job.state
            ),
            [format!("event `{name}` for this job")]
                .into_iter()
                .chain(at("it counts as not come"))
                .collect(),
        ),
        Some(Waiting::Retry { failures, .. }) => Said::new(
            "retrying",
            format!(
                "state `{}` could not be evaluated{until}; failures so far: {failures}",
                job.state
            ),
            at("it is tried again").collect(),
        ),
    }
}

fn ended(job: &Job) -> Said {
    let at = job.ended_at.unwrap_or(job.updated_at);
    let why = job.error.as_ref().map_or(String::new(), |error| {
        format!(" with `{}`: {}", error.code, error.message)
    });
    let message = format!(
        "{} at {at} in state `{}`{why}",
        job.status.as_str(),
        job.state
    );
    let retry = job
        .failed_state
        .as_ref()
        .filter(|_| job.status.is_terminal());
    let unblocks = retry.map(|state| format!("a retry goes on from state `{state}`"));
    Said::new("ended", message, unblocks.into_iter().collect())
}

fn fan_out(job: &Job, counts: &BranchCounts) -> Said {
    let BranchCounts {
        total,
        released,
        ended,
        succeeded,
    } = counts;
    let message = format!(
        "state `{}` waits for its branches since {}: {ended} of {total} ended, {succeeded} of these \
         well; {} open, {} held back by the limit",
        job.state,
        job.entered_at,
        released - ended.min(released),
        total - released.min(total),
    );
    Said::new(
        "fan_out",
        message,
        vec!["the end of the open branches".to_owned()],
    )
}

fn single(facts: &Facts<'_>, tasks: &[TaskVerdict]) -> Said {
    // Between the commit and this look the task may have ended.
    let (Some(verdict), Some(task)) = (tasks.first(), facts.tasks.first()) else {
        let message = format!("the task of state `{}` has just ended", facts.job.state);
        return Said::new("running", message, Vec::new());
    };
    let mut unblocks = match verdict.code.as_str() {
        "running" => vec!["the task's result".to_owned()],
        "backing_off" => vec![format!("at {} it is queued again", task.available_at)],
        "all_qualified_workers_busy" => vec!["a qualified worker with a free place".to_owned()],
        _ => vec![format!(
            "a worker that qualifies for skill `{}`",
            task.spec.skill
        )],
    };
    if let Some(at) = task.due_at() {
        let what = match (task.status, task.result_deadline) {
            (_, Some(deadline)) if deadline == at => "the task fails for want of a result",
            (TaskStatus::Leased, _) => "its worker counts as lost unless it is heard of",
            _ => "the task fails for want of a worker",
        };
        unblocks.push(format!("at {at} {what}"));
    }
    Said::new(&verdict.code, verdict.message.clone(), unblocks)
}

fn verdict(facts: &Facts<'_>, task: &Task) -> TaskVerdict {
    let spec = &task.spec;
    let told = |code: &str, message: String| TaskVerdict {
        task_id: task.id.clone(),
        skill: spec.skill.clone(),
        code: code.to_owned(),
        message,
        held_by: task.lease.as_ref().map(|lease| lease.worker.clone()),
        workers: Vec::new(),
    };
    if let Some(lease) = &task.lease {
        let worker = &lease.worker;
        let since = lease.since;
        return told(
            "running",
            format!("worker `{worker}` works on `{}` since {since}", spec.skill),
        );
    }
    if task.status == TaskStatus::Held {
        return told(
            "held_by_limit",
            "the fan-out's limit holds it back".to_owned(),
        );
    }
    if task.available_at > facts.now {
        let message = format!(
            "attempt {} of `{}` begins at {}; failures so far: {}",
            task.ordinal, spec.skill, task.available_at, task.failures
        );
        return told("backing_off", message);
    }
    let mut workers: Vec<WorkerVerdict> = facts
        .workers
        .iter()
        .map(|worker| WorkerVerdict {
            worker_id: worker.id.clone(),
            mismatch: mismatch(facts, task, worker).map(|mismatch| *mismatch),
        })
        .collect();
    workers.sort_by(|a, b| a.worker_id.cmp(&b.worker_id));
    let (code, message) = queued(facts, task, &workers);
    TaskVerdict {
        workers,
        ..told(code, message)
    }
}

/// Mismatches of a worker that could take the task, only not at this moment.
const BUSY: [&str; 2] = ["not_idle", "skill_not_available"];

fn mismatch(facts: &Facts<'_>, task: &Task, worker: &Worker) -> Option<Box<Mismatch>> {
    if worker.expires_at <= facts.now {
        let seen = json!(worker.last_seen.to_rfc3339());
        let wanted = json!("heard of in time");
        return Some(Mismatch::new("not_seen", "last_seen", wanted, seen));
    }
    if let Err(mismatch) = qualify(&task.spec, worker, facts.reputation_min, facts.params_ok) {
        return Some(mismatch);
    }
    if let Some(open) = &worker.available_skills
        && !open.contains(&task.spec.skill)
    {
        let wanted = json!(task.spec.skill);
        return Some(Mismatch::new(
            "skill_not_available",
            "available_skills",
            wanted,
            json!(open),
        ));
    }
    if !matches!(worker.status, WorkerStatus::Idle | WorkerStatus::Active) {
        let seen = json!(worker.status.as_str());
        return Some(Mismatch::new("not_idle", "status", json!("idle"), seen));
    }
    None
}

fn queued(facts: &Facts<'_>, task: &Task, workers: &[WorkerVerdict]) -> (&'static str, String) {
    let skill = &task.spec.skill;
    let known = workers.len();
    let since = task.queued_at;
    let codes = || {
        workers
            .iter()
            .map(|one| one.mismatch.as_ref().map(|why| why.code.as_str()))
    };
    let has_skill = |code: Option<&str>| !matches!(code, Some("no_such_skill" | "not_seen"));
    if !codes().any(has_skill) {
        let gone = codes().filter(|code| *code == Some("not_seen")).count();
        let last = facts
            .workers
            .iter()
            .filter(|one| one.skill(skill).is_some());
        let last = last.map(|one| one.last_seen).max();
        let seen = last.map_or_else(
            || "none has ever offered it".to_owned(),
            |at| format!("the last that offered it was seen at {at}"),
        );
        let message = format!(
            "`{skill}` waits since {since}; known workers: {known}, of these gone: {gone}; none \
             offers the skill, {seen}"
        );
        return ("no_worker_for_skill", message);
    }
    let fits = |code: Option<&str>| code.is_none_or(|code| BUSY.contains(&code));
    let qualified = codes().filter(|code| fits(*code)).count();
    if qualified == 0 {
        let reasons: Vec<String> = workers.iter().filter_map(reason).collect();
        let message = format!(
            "`{skill}` waits since {since}; known workers: {known}, none qualifies: {}",
            reasons.join("; ")
        );
        return ("no_qualified_worker", message);
    }
    let message = format!(
        "`{skill}` waits since {since}; known workers: {known}, of these qualified: {qualified}; none \
         of them has asked for work since"
    );
    ("all_qualified_workers_busy", message)
}

/// Says in words what one worker lacks; workers without the skill are not worth a word.
fn reason(verdict: &WorkerVerdict) -> Option<String> {
    let why = verdict
        .mismatch
        .as_ref()
        .filter(|why| why.code != "no_such_skill")?;
    let worker = &verdict.worker_id;
    Some(format!(
        "`{worker}`: {} is {}, wanted {}",
        why.requirement, why.seen, why.wanted
    ))
}
