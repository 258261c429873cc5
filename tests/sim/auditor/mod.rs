//! The auditor: judges a world by what can be seen from outside, with rules of its own.
//!
//! Shares no code with the engine, the stores or the shell but the names of things: it keeps its
//! own books of jobs, tasks and messages and knows nothing of guards, steps or indexes. The rules
//! I1–I12 are those of the design; P is the promise: nothing that was accepted is lost.

mod clients;
mod fan_in;
mod jobs;
mod secrets;
mod tasks;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use avtomatika::base::{ClientId, JobId, TaskId, WorkerId};
use avtomatika::domain::{Event, EventKind, Job};
use avtomatika::engine::{Answer, Effect, Signal};
use avtomatika::store::{Commit, Committed, Delivery, Message};
use uuid::Uuid;

use crate::blueprints::FanOut;
use crate::seen::{Remains, Seen, short};
use tasks::TaskBook;

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I12`, or `P`.
    pub rule: &'static str,
    /// For people.
    pub what: String,
}

/// What a look comes to.
pub type Verdict = Result<(), Violation>;

/// Says that a rule is broken.
pub fn broken(rule: &'static str, what: impl Into<String>) -> Verdict {
    Err(Violation {
        rule,
        what: what.into(),
    })
}

/// What the auditor knows of the world beforehand.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Jobs that a client may create in the month.
    pub quotas: BTreeMap<ClientId, u64>,
    /// Texts that may be seen nowhere.
    pub secrets: Vec<String>,
    /// Fan-outs by blueprint.
    pub fan_outs: BTreeMap<String, FanOut>,
}

/// The auditor and its books.
#[derive(Debug, Default)]
pub struct Auditor {
    facts: Facts,
    jobs: BTreeMap<JobId, Job>,
    events: BTreeMap<Uuid, Event>,
    tasks: BTreeMap<TaskId, TaskBook>,
    tasks_of: BTreeMap<JobId, Vec<TaskId>>,
    results: BTreeMap<TaskId, (WorkerId, Answer)>,
    missed: BTreeSet<(WorkerId, Uuid)>,
    outbox: BTreeMap<Uuid, Message>,
    resumed: BTreeSet<JobId>,
    given_up: BTreeSet<JobId>,
    approval_tokens: BTreeMap<String, JobId>,
    webhooks: BTreeMap<String, Option<String>>,
    created: BTreeMap<ClientId, u64>,
    by_wish: BTreeMap<(ClientId, clients::Wish), JobId>,
}

impl Auditor {
    /// Opens the books.
    pub fn new(facts: Facts) -> Self {
        Self {
            facts,
            ..Self::default()
        }
    }

    /// Looks at one thing that was seen.
    pub fn see(&mut self, seen: &Seen) -> Verdict {
        match seen {
            Seen::Committed { commit, committed } => self.committed(commit, committed),
            Seen::Leased { task, lease } => self.leased(task, lease),
            Seen::Extended {
                worker,
                tasks,
                until,
            } => self.extended(worker, tasks, *until),
            Seen::Released { task, lease } => self.released(task, *lease),
            Seen::Missed { worker, lease } => {
                self.missed.insert((worker.clone(), *lease));
                Ok(())
            }
            Seen::Recorded { events } => self.recorded(events),
            Seen::Settled { id, delivery } => self.settled(*id, delivery),
            Seen::Accepted { request, job } => self.accepted(request, *job),
            Seen::OverQuota { client } => self.over_quota(client),
            Seen::ResultAccepted {
                worker,
                task,
                answer,
            } => self.result_accepted(worker, task, *answer),
            Seen::Webhook { id, headers, body } => {
                self.webhook(id, body)?;
                self.no_secret("a webhook's headers", headers, None)
            }
            Seen::Said { text } => self.no_secret("what was said", text, None),
            Seen::Note { .. } => Ok(()),
        }
    }

    fn committed(&mut self, commit: &Commit, committed: &Committed) -> Verdict {
        let id = commit.job.id;
        let before = self.jobs.get(&id).cloned();
        Self::revision_rises(before.as_ref(), commit)?;
        Self::terminal_stays(before.as_ref(), commit)?;
        if before.is_none() {
            self.creation(&commit.job)?;
        }
        self.resumes_once(before.as_ref(), commit)?;
        Self::ends_once(commit)?;
        self.events_are_new(commit)?;
        self.change_tasks(before.as_ref(), commit)?;
        self.fans_in(before.as_ref(), commit)?;
        Self::states_run_once(before.as_ref(), commit)?;
        self.keep_messages(commit, committed)?;
        self.answers_its_own(commit)?;
        self.jobs.insert(id, Job::clone(&commit.job));
        self.commit_keeps_secrets(commit)?;
        self.nothing_left_behind(&commit.job)?;
        self.wakes(id)?;
        match &commit.job.parent {
            Some(parent) => self.wakes(parent.job_id),
            None => Ok(()),
        }
    }

    fn keep_messages(&mut self, commit: &Commit, committed: &Committed) -> Verdict {
        let messages = commit.effects.iter().filter_map(|effect| match effect {
            Effect::Signal(signal) => Some(Message::Signal(signal.clone())),
            Effect::SendWebhook(webhook) => Some(Message::Webhook(webhook.clone())),
            _ => None,
        });
        let mut ids = committed.outbox.iter();
        for message in messages {
            let Some(id) = ids.next() else {
                return broken(
                    "P",
                    format!("a message of job {} was not kept", short(&commit.job.id)),
                );
            };
            if let Message::Webhook(webhook) = &message {
                self.webhooks.entry(webhook.id.to_string()).or_default();
            }
            if let Message::Signal(Signal::CancelChild { child, .. }) = &message {
                self.given_up.insert(*child);
            }
            self.outbox.insert(*id, message);
        }
        Ok(())
    }

    fn answers_its_own(&self, commit: &Commit) -> Verdict {
        let message = commit.settles.and_then(|id| self.outbox.get(&id));
        let job = match message {
            None => return Ok(()),
            Some(Message::Signal(Signal::StartChild(start))) => Some(start.child),
            Some(Message::Signal(Signal::ChildEnded { parent, .. })) => Some(*parent),
            Some(Message::Signal(Signal::CancelChild { child, .. })) => Some(*child),
            Some(Message::Webhook(_)) => None,
        };
        // A child that cannot be started is told to its parent as ended.
        let parent = match message {
            Some(Message::Signal(Signal::StartChild(start))) => Some(start.parent),
            _ => None,
        };
        if [job, parent].contains(&Some(commit.job.id)) {
            return Ok(());
        }
        let id = short(&commit.job.id);
        broken("P", format!("job {id} settled {message:?}"))
    }

    fn settled(&mut self, id: Uuid, delivery: &Delivery) -> Verdict {
        if matches!(delivery, Delivery::Retry { .. }) {
            return Ok(());
        }
        let Some(message) = self.outbox.remove(&id) else {
            return Ok(());
        };
        match message {
            Message::Signal(Signal::StartChild(start)) => self.wakes(start.parent),
            Message::Signal(Signal::ChildEnded { parent, .. }) => self.wakes(parent),
            Message::Signal(Signal::CancelChild { child, .. }) => {
                let runs = |job: &&Job| !job.status.is_terminal() && job.retries == 0;
                self.jobs.get(&child).filter(runs).map_or(Ok(()), |_| {
                    broken("I11", format!("child {} was not stopped", short(&child)))
                })
            }
            Message::Webhook(_) => Ok(()),
        }
    }

    fn webhook(&mut self, id: &str, body: &str) -> Verdict {
        let about = Self::approval_of(body);
        self.no_secret("a webhook", body, about)?;
        match self.webhooks.get_mut(id) {
            None => broken("P", format!("webhook {id} was sent and never committed")),
            Some(Some(known)) if known != body => {
                broken("P", format!("webhook {id} came again with another body"))
            }
            Some(known) => {
                *known = Some(body.to_owned());
                Ok(())
            }
        }
    }

    /// Says what has not come to its end yet, if anything.
    pub fn unfinished(&self) -> Option<String> {
        if let Some(job) = self.jobs.values().find(|job| !job.status.is_terminal()) {
            let (id, status) = (short(&job.id), job.status.as_str());
            let (state, blueprint) = (&job.state, &job.blueprint);
            return Some(format!(
                "job {id} ({blueprint}) is still {status} in state {state}"
            ));
        }
        let message = self.outbox.values().next()?;
        Some(format!("a message is still in the outbox: {message:?}"))
    }

    /// Compares the books with what is left at the end.
    pub fn close(&mut self, remains: &Remains) -> Verdict {
        if let Some(what) = self.unfinished() {
            return broken("I10", what);
        }
        let stored: BTreeMap<JobId, &Job> = remains.jobs.iter().map(|job| (job.id, job)).collect();
        for (id, job) in &self.jobs {
            match stored.get(id) {
                None => return broken("P", format!("job {} is gone", short(id))),
                Some(known) if *known != job => {
                    return broken("P", format!("job {} is not as it was committed", short(id)));
                }
                Some(_) => {}
            }
        }
        if stored.len() != self.jobs.len() {
            return broken("P", "the store has a job that nobody committed");
        }
        if remains.queued > 0 {
            return broken(
                "I10",
                format!("{} tasks are queued for nobody", remains.queued),
            );
        }
        self.history_is_whole(&remains.history)?;
        let unsent = self.webhooks.iter().find(|(_, body)| body.is_none());
        unsent.map_or(Ok(()), |(id, _)| {
            broken("P", format!("webhook {id} was promised and never sent"))
        })
    }

    fn history_is_whole(&self, history: &[Event]) -> Verdict {
        let stored: BTreeMap<Uuid, &Event> = history.iter().map(|e| (e.event_id, e)).collect();
        for (id, event) in &self.events {
            if stored.get(id) != Some(&event) {
                let (job, kind) = (short(&event.job_id), &event.kind);
                return broken("I5", format!("the history of job {job} lacks its {kind:?}"));
            }
        }
        if stored.len() != self.events.len() || stored.len() != history.len() {
            return broken("I5", "the history has an event that nobody committed");
        }
        for job in self.jobs.values() {
            let own = history.iter().filter(|event| event.job_id == job.id);
            let (mut ends, mut retries) = (0, 0);
            for event in own {
                ends += u32::from(event.kind.is_terminal());
                retries += u32::from(event.kind == EventKind::JobRetried);
            }
            if ends != retries + 1 {
                return broken(
                    "I5",
                    format!("job {} has ended {ends} times", short(&job.id)),
                );
            }
        }
        Ok(())
    }
}
