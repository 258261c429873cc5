//! I3: whatever waits has something that will wake it.

use avtomatika::base::JobId;
use avtomatika::domain::Job;
use avtomatika::domain::job::Waiting;
use avtomatika::engine::Signal;
use avtomatika::store::Message;

use super::tasks::Standing;
use super::{Auditor, Verdict, broken};
use crate::seen::short;

impl Auditor {
    /// I3 for one job.
    pub(super) fn wakes(&self, id: JobId) -> Verdict {
        let Some(job) = self.jobs.get(&id) else {
            return Ok(());
        };
        let Some(waiting) = &job.waiting else {
            if job.status.is_terminal() {
                return Ok(());
            }
            return broken(
                "I3",
                format!("job {} is under way and waits for nothing", short(&id)),
            );
        };
        if job.status.is_terminal() {
            return broken("I3", format!("job {} has ended and waits", short(&id)));
        }
        let woken = match waiting {
            Waiting::Task { task_id } => self
                .tasks
                .get(task_id)
                .is_some_and(|task| task.job == id && task.visit == job.visit && task.is_given()),
            Waiting::Branches(_) => self
                .open_tasks(id, job.visit)
                .any(|(_, task)| !matches!(task.standing, Standing::Held)),
            Waiting::Child { job_id } => self.child_will_tell(job, *job_id),
            Waiting::Human { token, .. } => token.len() == 43,
            Waiting::Timer | Waiting::Retry { .. } => job.wake_at.is_some(),
            Waiting::Event { name } => !name.is_empty(),
        };
        if woken {
            return Ok(());
        }
        broken(
            "I3",
            format!("nothing will wake job {}: {waiting:?}", short(&id)),
        )
    }

    fn child_will_tell(&self, parent: &Job, child: JobId) -> bool {
        let alive = self
            .jobs
            .get(&child)
            .is_some_and(|job| !job.status.is_terminal() && job.retries == 0);
        alive
            || self.outbox.values().any(|message| match message {
                Message::Signal(Signal::StartChild(start)) => {
                    start.child == child && start.visit == parent.visit
                }
                Message::Signal(Signal::ChildEnded { parent: to, end }) => {
                    *to == parent.id && end.child == child && end.visit == parent.visit
                }
                _ => false,
            })
    }
}
