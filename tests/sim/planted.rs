//! Bugs to be planted, one for each rule and more: each is a fault that a store or a shell could
//! really have, put between the shell and the true store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use avtomatika::base::WorkerId;
use avtomatika::domain::job::Waiting;
use avtomatika::domain::{Event, EventKind, Task, TaskStatus};
use avtomatika::engine::{Effect, Guard, Signal};
use avtomatika::store::{Commit, Committed, Due};
use serde_json::json;

use crate::rng::Rng;
use crate::seen::{KEY_LABEL, SLOT_LABEL};
use crate::truth::Truth;
use crate::world::SECURITY_MARK;

/// The worker that reports other workers' tasks.
pub const THIEF: &str = "thief";

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A commit is applied twice, the second time under the next revision.
    RevisionSkipped,
    /// An ended job is written over.
    TerminalOverwritten,
    /// A timer is not stored.
    TimerDropped,
    /// A task is not stored.
    TaskLost,
    /// A message to start a child is not stored.
    StartLost,
    /// Who holds a task is not checked.
    LeaseUnchecked,
    /// The end is recorded twice.
    EndRecordedTwice,
    /// A branch is counted twice.
    BranchCountedTwice,
    /// A job is created without taking quota.
    QuotaUntaken,
    /// A slot's key is not guarded.
    SlotUnguarded,
    /// A secret is written into the history.
    SecretRecorded,
    /// What is due is never found.
    DueForgotten,
    /// A child's end is applied twice.
    ParentResumedTwice,
    /// A client's key is not guarded.
    KeyUnguarded,
    /// A commit is answered and not stored.
    JobLost,
    /// A webhook counts as sent and was not.
    WebhookLost,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 16] = [
        Self::RevisionSkipped,
        Self::TerminalOverwritten,
        Self::TimerDropped,
        Self::TaskLost,
        Self::StartLost,
        Self::LeaseUnchecked,
        Self::EndRecordedTwice,
        Self::BranchCountedTwice,
        Self::QuotaUntaken,
        Self::SlotUnguarded,
        Self::SecretRecorded,
        Self::DueForgotten,
        Self::ParentResumedTwice,
        Self::KeyUnguarded,
        Self::JobLost,
        Self::WebhookLost,
    ];

    /// Returns the rule that it breaks.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::RevisionSkipped => "I1",
            Self::TerminalOverwritten => "I2",
            Self::TimerDropped | Self::TaskLost | Self::StartLost => "I3",
            Self::LeaseUnchecked => "I4",
            Self::EndRecordedTwice => "I5",
            Self::BranchCountedTwice => "I6",
            Self::QuotaUntaken => "I7",
            Self::SlotUnguarded => "I8",
            Self::SecretRecorded => "I9",
            Self::DueForgotten => "I10",
            Self::ParentResumedTwice => "I11",
            Self::KeyUnguarded => "I12",
            Self::JobLost | Self::WebhookLost => "P",
        }
    }
}

/// Does what its bug says, at every opportunity or by chance; without one, nothing.
pub struct Saboteur {
    bug: Option<Bug>,
    rng: Mutex<Rng>,
    thieving: AtomicBool,
}

impl Saboteur {
    /// Plants a bug, or none.
    pub fn new(bug: Option<Bug>, rng: Rng) -> Self {
        Self {
            bug,
            rng: Mutex::new(rng),
            thieving: AtomicBool::new(false),
        }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn sometimes(&self, bug: Bug) -> bool {
        self.is(bug) && {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.chance(300)
        }
    }

    /// The thief is about to report another worker's task, or has done so.
    pub fn thieving(&self, is_at_it: bool) {
        self.thieving.store(is_at_it, Ordering::Relaxed);
    }

    /// Changes a task that was loaded.
    pub fn loaded(&self, task: Option<Task>) -> Option<Task> {
        let mut task = task?;
        if self.is(Bug::LeaseUnchecked)
            && self.thieving.load(Ordering::Relaxed)
            && task.status == TaskStatus::Leased
            && let Some(lease) = &mut task.lease
        {
            lease.worker = WorkerId::new(THIEF);
        }
        Some(task)
    }

    /// Changes what is due.
    pub fn due(&self, due: Due) -> Due {
        if self.is(Bug::DueForgotten) {
            Due::default()
        } else {
            due
        }
    }

    /// Tells whether a webhook that was sent is to disappear on its way.
    pub fn swallows_webhook(&self) -> bool {
        self.sometimes(Bug::WebhookLost)
    }

    /// Tells whether a commit is to be answered without being made.
    pub fn pretends(&self, commit: &Commit) -> bool {
        commit.expected_revision == 0 && commit.job.parent.is_none() && self.sometimes(Bug::JobLost)
    }

    /// Changes a commit before it is made.
    pub fn before_commit(&self, mut commit: Commit) -> Commit {
        let Some(bug) = self.bug else { return commit };
        let job = Arc::make_mut(&mut commit.job);
        match bug {
            Bug::TimerDropped if job.waiting == Some(Waiting::Timer) => job.wake_at = None,
            Bug::TaskLost => Arc::make_mut(&mut commit.effects)
                .retain(|effect| !matches!(effect, Effect::PutTask(task) if task.branch.is_none())),
            Bug::StartLost => Arc::make_mut(&mut commit.effects)
                .retain(|effect| !matches!(effect, Effect::Signal(Signal::StartChild(_)))),
            Bug::LeaseUnchecked => commit
                .guards
                .retain(|guard| !matches!(guard, Guard::TaskHeldBy { .. })),
            Bug::EndRecordedTwice => record_end_again(&mut commit),
            Bug::BranchCountedTwice => {
                if let Some(Waiting::Branches(counts)) = &mut job.waiting
                    && counts.ended > 0
                {
                    counts.ended += 1;
                }
            }
            Bug::QuotaUntaken => commit
                .guards
                .retain(|guard| !matches!(guard, Guard::Quota { .. })),
            Bug::SlotUnguarded if job.labels.contains_key(SLOT_LABEL) => unguard(&mut commit),
            Bug::KeyUnguarded if job.labels.contains_key(KEY_LABEL) => unguard(&mut commit),
            Bug::SecretRecorded => {
                if let Some(event) = first_event(&mut commit) {
                    event
                        .details
                        .insert("note".to_owned(), json!(SECURITY_MARK));
                }
            }
            _ => {}
        }
        commit
    }

    /// Makes further commits after one; returns those that can be seen.
    pub async fn after_commit(
        &self,
        store: &dyn Truth,
        commit: &Commit,
    ) -> Vec<(Commit, Committed)> {
        let mut again = commit.clone();
        again.expected_revision += 1;
        let job = Arc::make_mut(&mut again.job);
        job.revision += 1;
        again.guards.clear();
        let resumed = commit.effects.iter().any(
            |effect| matches!(effect, Effect::Record(event) if event.kind == EventKind::ChildFinished),
        );
        let is_over = commit.job.status.is_terminal();
        let seen = match self.bug {
            Some(Bug::RevisionSkipped) if !is_over => {
                again.effects = Arc::default();
                false
            }
            Some(Bug::TerminalOverwritten) if is_over => {
                again.effects = Arc::default();
                job.state_history.insert("late".to_owned(), json!(true));
                true
            }
            Some(Bug::ParentResumedTwice) if resumed && !is_over => true,
            _ => return Vec::new(),
        };
        match store.commit(again.clone()).await {
            Ok(committed) if seen => vec![(again, committed)],
            _ => Vec::new(),
        }
    }
}

fn unguard(commit: &mut Commit) {
    commit
        .guards
        .retain(|guard| !matches!(guard, Guard::Idempotency { .. }));
}

fn first_event(commit: &mut Commit) -> Option<&mut Event> {
    let effects = Arc::make_mut(&mut commit.effects);
    effects.iter_mut().find_map(|effect| match effect {
        Effect::Record(event) => Some(Arc::make_mut(event)),
        _ => None,
    })
}

fn record_end_again(commit: &mut Commit) {
    let end = commit.effects.iter().find_map(|effect| match effect {
        Effect::Record(event) if event.kind.is_terminal() => Some(Event::clone(event)),
        _ => None,
    });
    if let Some(mut event) = end {
        event.index += 100;
        event.event_id = Event::derive_id(event.job_id, event.revision, event.index);
        Arc::make_mut(&mut commit.effects).push(Effect::Record(Arc::new(event)));
    }
}
