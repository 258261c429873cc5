//! What commits tell of jobs and tasks. A commit says what happened by its effects, so that this needs
//! no word of the shell's own, and counts exactly what was stored.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::catalog;
use super::family::Family;
use super::register::Register;
use crate::base::Timestamp;
use crate::domain::{Event, EventKind, Job, JobStatus, Task, TaskStatus, task};
use crate::engine::{Effect, codes};

/// Blueprints that are told apart.
const BLUEPRINTS_MAX: usize = 500;
/// States of one blueprint that are told apart.
const STATES_MAX: usize = 100;
/// Skills that are told apart.
pub(super) const SKILLS_MAX: usize = 500;

/// What stands for all codes that are not the engine's.
const WORKERS_OWN: &str = "worker";

/// How a job may end, in the order of their counters.
const ENDS: [JobStatus; 4] = [
    JobStatus::Finished,
    JobStatus::Failed,
    JobStatus::Quarantined,
    JobStatus::Cancelled,
];
/// How an attempt may end; all of a blueprint's own come last.
pub(super) const STATUSES: [&str; 4] = [
    task::status::SUCCESS,
    task::status::FAILURE,
    task::status::CANCELLED,
    "other",
];

/// One blueprint's.
struct OfBlueprint {
    created: IntCounter,
    ended: [IntCounter; 4],
    retried: IntCounter,
    duration: Histogram,
    states: Family<Histogram>,
    /// By type.
    timeouts: BTreeMap<&'static str, IntCounter>,
    /// After a failure, after a loss.
    retries: [IntCounter; 2],
}

/// One skill's.
struct OfSkill {
    deliveries: IntCounter,
    latency: Histogram,
    duration: Histogram,
    ended: [IntCounter; 4],
}

/// All of it.
pub(super) struct Jobs {
    blueprints: Family<OfBlueprint>,
    skills: Family<OfSkill>,
    failed: IntCounterVec,
}

/// The vectors of which one blueprint's part is taken.
struct Vectors {
    created: IntCounterVec,
    ended: IntCounterVec,
    retried: IntCounterVec,
    duration: HistogramVec,
    states: HistogramVec,
    timeouts: IntCounterVec,
    retries: IntCounterVec,
}

impl Vectors {
    fn of(&self, name: &str) -> OfBlueprint {
        let (states, owner) = (self.states.clone(), name.to_owned());
        let of_type = |kind| (kind, self.timeouts.with_label_values(&[name, kind]));
        OfBlueprint {
            created: self.created.with_label_values(&[name]),
            ended: ENDS.map(|end| self.ended.with_label_values(&[name, end.as_str()])),
            retried: self.retried.with_label_values(&[name]),
            duration: self.duration.with_label_values(&[name]),
            states: Family::new(STATES_MAX, move |state| {
                states.with_label_values(&[owner.as_str(), state])
            }),
            timeouts: ["dispatch", "execution", "result"].map(of_type).into(),
            retries: ["failure", "worker_lost"]
                .map(|reason| self.retries.with_label_values(&[name, reason])),
        }
    }
}

impl Jobs {
    pub(super) fn new(register: &Register) -> Self {
        let vectors = Vectors {
            created: register.counters(&catalog::JOBS),
            ended: register.counters(&catalog::JOBS_ENDED),
            retried: register.counters(&catalog::JOBS_RETRIED),
            duration: register.histograms(&catalog::JOB_DURATION),
            states: register.histograms(&catalog::STATE_DURATION),
            timeouts: register.counters(&catalog::TIMEOUTS),
            retries: register.counters(&catalog::RETRIES),
        };
        let deliveries = register.counters(&catalog::DELIVERIES);
        let latency = register.histograms(&catalog::LATENCY);
        let duration = register.histograms(&catalog::TASK_DURATION);
        let ended = register.counters(&catalog::TASKS_ENDED);
        Self {
            blueprints: Family::new(BLUEPRINTS_MAX, move |name| vectors.of(name)),
            skills: Family::new(SKILLS_MAX, move |name| OfSkill {
                deliveries: deliveries.with_label_values(&[name]),
                latency: latency.with_label_values(&[name]),
                duration: duration.with_label_values(&[name]),
                ended: STATUSES.map(|status| ended.with_label_values(&[name, status])),
            }),
            failed: register.counters(&catalog::JOBS_FAILED),
        }
    }

    /// Counts what a stored commit says.
    pub(super) fn committed(&self, job: &Job, effects: &[Effect]) {
        self.blueprints.with(&job.blueprint, |own| {
            // An attempt's end stands before its retry and says why there is one.
            let mut is_lost = false;
            for effect in effects {
                match effect {
                    Effect::Record(event) if event.kind == EventKind::TaskRetried => {
                        own.retries[usize::from(is_lost)].inc();
                    }
                    Effect::Record(event) => {
                        is_lost = event.kind == EventKind::TaskFinished
                            && text_of(event, "code") == codes::WORKER_LOST;
                        self.happened(own, job, event);
                    }
                    Effect::PutTask(task) if task.status == TaskStatus::Leased => {
                        self.leased(task);
                    }
                    _ => {}
                }
            }
        });
    }

    fn happened(&self, own: &OfBlueprint, job: &Job, event: &Event) {
        match &event.kind {
            EventKind::JobCreated => own.created.inc(),
            EventKind::StateFinished => {
                let state = event.previous_state.as_deref().unwrap_or(&event.state);
                let seconds = seconds_of(event);
                own.states.with(state, |states| states.observe(seconds));
            }
            EventKind::JobFinished
            | EventKind::JobFailed
            | EventKind::JobQuarantined
            | EventKind::JobCancelled => self.ended(own, job, event),
            EventKind::JobRetried => own.retried.inc(),
            EventKind::TaskFinished => self.task_ended(own, event),
            _ => {}
        }
    }

    fn ended(&self, own: &OfBlueprint, job: &Job, event: &Event) {
        let end = match event.kind {
            EventKind::JobFinished => 0,
            EventKind::JobFailed => 1,
            EventKind::JobQuarantined => 2,
            _ => 3,
        };
        own.ended[end].inc();
        own.duration.observe(seconds_of(event));
        own.states.with(&event.state, |states| {
            states.observe(in_seconds(event.at.since(job.entered_at)));
        });
        if end == 1 || end == 2 {
            let code = text_of(event, "code");
            let code = if code == codes::TASK_TIMEOUT {
                codes::TASK_TIMEOUT
            } else {
                let known = codes::ALL.into_iter().find(|known| *known == code);
                known.unwrap_or(WORKERS_OWN)
            };
            let labels = [job.blueprint.as_str(), code];
            self.failed.with_label_values(&labels).inc();
        }
    }

    fn task_ended(&self, own: &OfBlueprint, event: &Event) {
        let status = text_of(event, "status");
        let known = STATUSES.iter().position(|known| *known == status);
        self.skills.with(text_of(event, "skill"), |skill| {
            skill.ended[known.unwrap_or(STATUSES.len() - 1)].inc();
            if event.duration_ms.is_some() {
                skill.duration.observe(seconds_of(event));
            }
        });
        let lapse = match text_of(event, "code") {
            codes::DISPATCH_TIMEOUT => "dispatch",
            codes::TASK_TIMEOUT => "execution",
            codes::RESULT_TIMEOUT => "result",
            _ => return,
        };
        own.timeouts[lapse].inc();
    }

    /// Counts a lease that was given.
    pub(super) fn leased(&self, task: &Task) {
        let since = task.lease.as_ref().map_or(Timestamp(0), |one| one.since);
        let waited = in_seconds(since.since(task.available_at));
        self.skills.with(&task.spec.skill, |skill| {
            skill.deliveries.inc();
            skill.latency.observe(waited);
        });
    }
}

fn text_of<'a>(event: &'a Event, name: &str) -> &'a str {
    let value = event.details.get(name);
    value.and_then(serde_json::Value::as_str).unwrap_or("")
}

fn seconds_of(event: &Event) -> f64 {
    in_seconds(Duration::from_millis(event.duration_ms.unwrap_or(0)))
}

/// Returns a duration as metrics have it.
pub(super) fn in_seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
