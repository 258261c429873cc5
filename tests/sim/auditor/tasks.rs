//! The books of tasks, and I4: one attempt at a time, held by one worker, ended by that worker.

use avtomatika::base::{JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::task::status::SUCCESS;
use avtomatika::domain::{Job, Lease, Task, TaskReport, TaskStatus};
use avtomatika::engine::{Answer, Effect};
use avtomatika::store::Commit;
use uuid::Uuid;

use super::{Auditor, Verdict, broken};
use crate::seen::short;

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Held back by its fan-out.
    Held,
    /// In the queue.
    Queued,
    /// With a worker, until then.
    Leased(WorkerId, Timestamp),
    /// Over.
    Ended,
}

/// One attempt, in the auditor's books.
#[derive(Debug, Clone)]
pub struct TaskBook {
    /// The job.
    pub job: JobId,
    /// The job's stay that it belongs to.
    pub visit: u64,
    /// Its place in a fan-out.
    pub branch: Option<u32>,
    /// Where it stands.
    pub standing: Standing,
    /// Whether the branch's end was a success; none while it has not ended for good.
    pub counted: Option<bool>,
    /// Its last lease.
    lease: Option<Uuid>,
    deadlines: Vec<Timestamp>,
}

impl TaskBook {
    fn new(task: &Task) -> Self {
        Self {
            job: task.job_id,
            visit: task.visit,
            branch: task.branch,
            standing: match task.status {
                TaskStatus::Held => Standing::Held,
                _ => Standing::Queued,
            },
            counted: None,
            lease: None,
            deadlines: task.result_deadline.into_iter().collect(),
        }
    }

    /// Tells whether it is queued or with a worker.
    pub fn is_given(&self) -> bool {
        matches!(self.standing, Standing::Queued | Standing::Leased(..))
    }
}

impl Auditor {
    /// Returns the tasks of a job's stay that are not over.
    pub(super) fn open_tasks(
        &self,
        job: JobId,
        visit: u64,
    ) -> impl Iterator<Item = (&TaskId, &TaskBook)> {
        self.tasks_of_job(job)
            .filter(move |(_, task)| task.visit == visit && task.standing != Standing::Ended)
    }

    /// Returns all tasks of a job.
    pub(super) fn tasks_of_job(&self, job: JobId) -> impl Iterator<Item = (&TaskId, &TaskBook)> {
        let ids = self.tasks_of.get(&job).into_iter().flatten();
        ids.filter_map(|id| self.tasks.get_key_value(id))
    }

    pub(super) fn change_tasks(&mut self, before: Option<&Job>, commit: &Commit) -> Verdict {
        let job = commit.job.id;
        for effect in commit.effects.iter() {
            match effect {
                Effect::PutTask(task) => self.put(task)?,
                Effect::EndTask { id, answer, report } => {
                    self.end(before, commit, (id, *answer, report.as_ref()))?;
                }
                Effect::ReleaseBranches { visit, from, to } => {
                    for (_, task) in self.books(job, *visit) {
                        if task.standing == Standing::Held
                            && task.branch.is_some_and(|b| (*from..*to).contains(&b))
                        {
                            task.standing = Standing::Queued;
                        }
                    }
                }
                Effect::EndTasks { visit } => {
                    for (_, task) in self.books(job, *visit) {
                        task.standing = Standing::Ended;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn books(&mut self, job: JobId, visit: u64) -> impl Iterator<Item = (&TaskId, &mut TaskBook)> {
        self.tasks
            .iter_mut()
            .filter(move |(_, task)| task.job == job && task.visit == visit)
    }

    fn put(&mut self, task: &Task) -> Verdict {
        let twin = self
            .open_tasks(task.job_id, task.visit)
            .find(|(_, known)| known.branch == task.branch);
        if let Some((twin, _)) = twin {
            let (twin, id) = (short(twin), short(&task.id));
            return broken(
                "I4",
                format!("task {id} is queued while attempt {twin} is not over"),
            );
        }
        let known = self.tasks.insert(task.id.clone(), TaskBook::new(task));
        self.tasks_of
            .entry(task.job_id)
            .or_default()
            .push(task.id.clone());
        if known.is_some() {
            return broken("I4", format!("task {} was put twice", short(&task.id)));
        }
        match &task.lease {
            Some(lease) => self.leased(&task.id, lease),
            None => Ok(()),
        }
    }

    fn end(
        &mut self,
        before: Option<&Job>,
        commit: &Commit,
        (id, answer, report): (&TaskId, Answer, Option<&TaskReport>),
    ) -> Verdict {
        let Some(task) = self.tasks.get_mut(id) else {
            return broken("I4", format!("task {} ended and never was", short(id)));
        };
        if task.branch.is_some() && task.counted.is_some() && report.is_some() {
            return broken("I6", format!("branch task {} was counted twice", short(id)));
        }
        let current = before.is_some_and(|job| job.id == task.job && job.visit == task.visit);
        if !current || task.standing == Standing::Ended {
            return broken(
                "I4",
                format!("task {} ended and was over already", short(id)),
            );
        }
        match &task.standing {
            Standing::Leased(worker, _) if answer != Answer::None => {
                self.results.insert(id.clone(), (worker.clone(), answer));
            }
            Standing::Leased(worker, until) => {
                let due = task.deadlines.iter().chain([until]).min();
                let lease = task.lease.unwrap_or_default();
                let is_missed = self.missed.contains(&(worker.clone(), lease));
                if !is_missed && due.is_some_and(|due| *due > commit.now) {
                    let (id, due) = (short(id), due.copied().unwrap_or_default());
                    let what = format!("task {id} was taken from {worker} before {due}");
                    return broken("I4", what);
                }
            }
            _ if answer != Answer::None => {
                return broken(
                    "I4",
                    format!("a result counts for task {}, which nobody holds", short(id)),
                );
            }
            _ => {}
        }
        task.standing = Standing::Ended;
        task.counted = report.map(|report| report.status == SUCCESS);
        Ok(())
    }

    pub(super) fn leased(&mut self, id: &TaskId, lease: &Lease) -> Verdict {
        match self.tasks.get_mut(id) {
            Some(task) if task.standing == Standing::Queued => {
                task.standing = Standing::Leased(lease.worker.clone(), lease.until);
                task.lease = Some(lease.id);
                task.deadlines.push(lease.deadline);
                Ok(())
            }
            other => {
                let seen = other.map(|task| task.standing.clone());
                let (id, worker) = (short(id), &lease.worker);
                broken(
                    "I4",
                    format!("task {id} was given to {worker} while {seen:?}"),
                )
            }
        }
    }

    pub(super) fn extended(
        &mut self,
        worker: &WorkerId,
        tasks: &[TaskId],
        until: Timestamp,
    ) -> Verdict {
        for id in tasks {
            match self.tasks.get_mut(id).map(|task| &mut task.standing) {
                Some(Standing::Leased(holder, end)) if holder == worker => *end = until.max(*end),
                other => {
                    let id = short(id);
                    return broken("I4", format!("{worker} kept task {id}, which is {other:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn released(&mut self, id: &TaskId, lease: Uuid) -> Verdict {
        match self.tasks.get_mut(id) {
            Some(task)
                if matches!(task.standing, Standing::Leased(..)) && task.lease == Some(lease) =>
            {
                task.standing = Standing::Queued;
                task.deadlines.pop();
                Ok(())
            }
            _ => broken(
                "I4",
                format!(
                    "task {} was given back by a lease that it has not",
                    short(id)
                ),
            ),
        }
    }

    pub(super) fn result_accepted(
        &self,
        worker: &WorkerId,
        task: &TaskId,
        answer: Answer,
    ) -> Verdict {
        match self.results.get(task) {
            Some((holder, given)) if holder == worker && *given == answer => Ok(()),
            known => {
                let task = short(task);
                broken(
                    "I4",
                    format!("{worker} was told {answer:?} for task {task}: {known:?}"),
                )
            }
        }
    }

    /// I10: a stay that is over leaves no task behind that a worker could still get.
    pub(super) fn nothing_left_behind(&self, job: &Job) -> Verdict {
        let over = |task: &TaskBook| job.status.is_terminal() || task.visit != job.visit;
        let left = self
            .tasks_of_job(job.id)
            .find(|(_, task)| task.standing != Standing::Ended && over(task));
        left.map_or(Ok(()), |(id, _)| {
            let (job, id) = (short(&job.id), short(id));
            broken(
                "I10",
                format!("job {job} went on and left task {id} behind"),
            )
        })
    }
}
