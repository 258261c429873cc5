//! What can be seen from outside the engine: what the store took, what anybody was answered, what
//! was sent. The auditor judges by this alone; a person reads it when a seed fails.

use avtomatika::base::{ClientId, JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::{Event, Job, Lease};
use avtomatika::engine::{Answer, Effect, Signal};
use avtomatika::store::{Commit, Committed, Delivery};
use uuid::Uuid;

/// One thing that was seen.
#[derive(Debug, Clone)]
pub enum Seen {
    /// The store took a step's fruit.
    Committed {
        commit: Box<Commit>,
        committed: Committed,
    },
    /// The store gave a task to a worker.
    Leased { task: TaskId, lease: Lease },
    /// The store put off the end of leases.
    Extended {
        worker: WorkerId,
        tasks: Vec<TaskId>,
        until: Timestamp,
    },
    /// The store took a task back.
    Released { task: TaskId, lease: Uuid },
    /// A worker got no answer to a poll, by which it would have had this lease.
    Missed { worker: WorkerId, lease: Uuid },
    /// The history took lines that belong to no step.
    Recorded { events: Vec<Event> },
    /// An outbox row is done with, or will be tried again.
    Settled { id: Uuid, delivery: Delivery },
    /// A client was told that it has a job.
    Accepted { request: Request, job: JobId },
    /// A client was told that its quota is used up.
    OverQuota { client: ClientId },
    /// A worker was told that its result counts.
    ResultAccepted {
        worker: WorkerId,
        task: TaskId,
        answer: Answer,
    },
    /// A webhook arrived.
    Webhook {
        id: String,
        headers: String,
        body: String,
    },
    /// Someone was told of an error, or a line was logged.
    Said { text: String },
    /// For the reader only.
    Note { text: String },
}

/// Which wish an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// No key: every try may make a job.
    Once,
    /// The client's own key.
    Keyed(String),
    /// A schedule's slot.
    Slot(String),
}

/// The label under which a job carries the key that it was asked for with, so that the auditor
/// knows it without trusting the store's guards.
pub const KEY_LABEL: &str = "key";
/// Likewise for a schedule's slot.
pub const SLOT_LABEL: &str = "slot";

/// Who did it: an orchestrator's number and incarnation, or somebody outside.
pub type Who = String;

/// The end: what the store holds once all is quiet.
#[derive(Debug, Default)]
pub struct Remains {
    /// Every job.
    pub jobs: Vec<Job>,
    /// Tasks that are still queued.
    pub queued: usize,
    /// The histories, in order.
    pub history: Vec<Event>,
}

/// Returns the end of an id, which is enough to follow it through a trace.
pub fn short(id: &impl ToString) -> String {
    let text = id.to_string();
    text[text.len().saturating_sub(5)..].to_owned()
}

impl Seen {
    /// Returns a line for a person.
    pub fn line(&self) -> String {
        match self {
            Self::Committed { commit, .. } => commit_line(commit),
            Self::Leased { task, lease } => {
                format!("lease  task {} to {}", short(task), lease.worker)
            }
            Self::Extended { worker, tasks, .. } => {
                let tasks: Vec<String> = tasks.iter().map(short).collect();
                format!("extend {worker}: {}", tasks.join(" "))
            }
            Self::Released { task, lease } => {
                format!("give back task {} of lease {}", short(task), short(lease))
            }
            Self::Missed { worker, lease } => format!("{worker} missed lease {}", short(lease)),
            Self::Recorded { events } => {
                let kinds: Vec<_> = events.iter().map(|event| &event.kind).collect();
                format!("history {kinds:?}")
            }
            Self::Settled { id, delivery } => format!("message {}: {delivery:?}", short(id)),
            Self::Accepted { request, job } => format!("202 {request:?}: job {}", short(job)),
            Self::OverQuota { client } => format!("429 for {client}: quota used up"),
            Self::ResultAccepted {
                worker,
                task,
                answer,
            } => format!("200 for {worker}: task {} {answer:?}", short(task)),
            Self::Webhook { id, body, .. } => format!("webhook {}: {body}", short(id)),
            Self::Said { text } | Self::Note { text } => text.clone(),
        }
    }
}

impl Seen {
    /// Returns what kinds of things this line shows, for telling whether the worlds reach them.
    pub fn kinds(&self) -> Vec<String> {
        let kind = |value: &dyn std::fmt::Debug| {
            let text = format!("{value:?}");
            let end = text.find([' ', '(', '{']).unwrap_or(text.len());
            text[..end].to_owned()
        };
        match self {
            Self::Committed { commit, .. } => {
                let effects = commit.effects.iter().flat_map(|effect| match effect {
                    Effect::Record(event) => vec![kind(&event.kind)],
                    Effect::Signal(signal) => vec![kind(signal)],
                    Effect::EndTask { answer, .. } => vec![kind(effect), kind(answer)],
                    _ => vec![kind(effect)],
                });
                effects.chain([kind(&commit.job.status)]).collect()
            }
            Self::Note { text } => vec![text.clone()],
            Self::Settled { delivery, .. } => vec![kind(delivery)],
            Self::Said { .. } => Vec::new(),
            _ => vec![kind(self)],
        }
    }
}

fn commit_line(commit: &Commit) -> String {
    let job = &commit.job;
    let effects: Vec<String> = commit.effects.iter().map(effect_text).collect();
    format!(
        "commit job {} ({}) {}→{} {} state={} visit={}: {}",
        short(&job.id),
        job.blueprint,
        commit.expected_revision,
        job.revision,
        job.status.as_str(),
        job.state,
        job.visit,
        effects.join(", "),
    )
}

fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::PutTask(task) => {
            let branch = task.branch.map_or(String::new(), |b| format!("/b{b}"));
            format!(
                "put {}{branch}#{} {:?}",
                short(&task.id),
                task.ordinal,
                task.status
            )
        }
        Effect::EndTask { id, answer, report } => {
            let report = report.as_ref().map_or("", |report| &report.status);
            format!("end {} {answer:?} {report}", short(id))
        }
        Effect::ReleaseBranches { from, to, .. } => format!("release {from}..{to}"),
        Effect::EndTasks { visit } => format!("end all of visit {visit}"),
        Effect::Signal(Signal::StartChild(start)) => format!("start {}", short(&start.child)),
        Effect::Signal(Signal::ChildEnded { parent, .. }) => format!("tell {}", short(parent)),
        Effect::Signal(Signal::CancelChild { child, .. }) => format!("cancel {}", short(child)),
        Effect::SendWebhook(webhook) => format!("webhook {}", webhook.event),
        Effect::Record(event) => format!("{:?}", event.kind),
        Effect::PutData { key, .. } => format!("data {key}"),
    }
}
