//! The books: what became of every job and every task. Decides what was lost and what came twice.
//!
//! A job is known by its number in this run, which travels in its data and in its tasks'
//! parameters: a worker may see a task before the client has read the job's id.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;

/// What is known of a job's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Sent; nothing came back yet, or nothing that says whether there is a job.
    Sent,
    /// There is no job.
    Refused,
    /// There is a job.
    Accepted,
    /// Seen to have finished.
    Finished,
    /// Seen to have ended in another way.
    Failed,
    /// Not there any more, or without an end when the patience was at its own.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    id: Uuid,
    acknowledged: u32,
    stage: Stage,
}

/// The books of one run.
#[derive(Debug)]
pub struct Ledger {
    tasks_of_job: u32,
    jobs: Vec<Job>,
    /// A bit for each task that was handed out: job by job, step by step.
    handed: Vec<u64>,
    counts: Counts,
}

/// Sums that are kept as things happen.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    executed: u64,
    doubled: u64,
    unknown: u64,
    ignored: u64,
    foreign: u64,
}

/// What became of the jobs and tasks of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Requests for a job.
    pub jobs_sent: u64,
    /// Requests that were answered with a job.
    pub jobs_accepted: u64,
    /// Requests without an answer: whether there is a job is unknown.
    pub jobs_unclear: u64,
    /// Jobs that were seen to have finished.
    pub jobs_finished: u64,
    /// Jobs that ended in another way.
    pub jobs_failed: u64,
    /// Accepted jobs that are gone or never ended.
    pub jobs_lost: u64,
    /// Jobs whose id another request got too, or whose tasks were executed more than once.
    pub jobs_doubled: u64,
    /// Accepted jobs whose end nobody looked at.
    pub jobs_unaudited: u64,
    /// Tasks that workers got, each counted once.
    pub tasks_executed: u64,
    /// Tasks that workers got again.
    pub tasks_doubled: u64,
    /// Tasks that finished jobs should have had and had not.
    pub tasks_missing: u64,
    /// Tasks of this run that no job should have.
    pub tasks_unknown: u64,
    /// Results that were answered as not counting.
    pub results_ignored: u64,
    /// Tasks left over from other runs.
    pub tasks_foreign: u64,
}

impl Totals {
    /// Tells whether every job ended exactly once and every task was executed once, as far as this
    /// run looked.
    #[must_use]
    pub const fn are_right(&self) -> bool {
        self.jobs_failed == 0
            && self.jobs_lost == 0
            && self.jobs_doubled == 0
            && self.tasks_doubled == 0
            && self.tasks_missing == 0
            && self.tasks_unknown == 0
            && self.results_ignored == 0
    }

    /// Returns what became of the jobs, for people.
    #[must_use]
    pub fn jobs_text(&self) -> String {
        format!(
            "{} sent, {} finished, {} failed, {} lost, {} doubled, {} unclear, {} not looked at",
            self.jobs_sent,
            self.jobs_finished,
            self.jobs_failed,
            self.jobs_lost,
            self.jobs_doubled,
            self.jobs_unclear,
            self.jobs_unaudited,
        )
    }

    /// Returns what became of the tasks, for people.
    #[must_use]
    pub fn tasks_text(&self) -> String {
        format!(
            "{} executed, {} doubled, {} missing, {} unknown, {} results ignored, {} of other runs",
            self.tasks_executed,
            self.tasks_doubled,
            self.tasks_missing,
            self.tasks_unknown,
            self.results_ignored,
            self.tasks_foreign,
        )
    }
}

impl Ledger {
    /// Opens empty books for jobs of so many tasks.
    #[must_use]
    pub const fn new(tasks_of_job: u32) -> Self {
        Self {
            tasks_of_job,
            jobs: Vec::new(),
            handed: Vec::new(),
            counts: Counts {
                executed: 0,
                doubled: 0,
                unknown: 0,
                ignored: 0,
                foreign: 0,
            },
        }
    }

    /// Enters a new job and returns its number.
    pub fn open(&mut self) -> u64 {
        self.jobs.push(Job {
            id: Uuid::nil(),
            acknowledged: 0,
            stage: Stage::Sent,
        });
        let bits = self.jobs.len() * self.tasks_of_job as usize;
        self.handed.resize(bits.div_ceil(64), 0);
        self.jobs.len() as u64 - 1
    }

    /// Notes that the job is there.
    pub fn accepted(&mut self, number: u64, id: Uuid) {
        if let Some(job) = self.job(number) {
            job.id = id;
            job.stage = Stage::Accepted;
        }
    }

    /// Notes that there is no job.
    pub fn refused(&mut self, number: u64) {
        if let Some(job) = self.job(number) {
            job.stage = Stage::Refused;
        }
    }

    /// Notes that a worker got a task.
    pub fn handed(&mut self, number: u64, step: u64) {
        let is_known = step < u64::from(self.tasks_of_job) && self.job(number).is_some();
        if !is_known {
            self.counts.unknown += 1;
            return;
        }
        let bit = number * u64::from(self.tasks_of_job) + step;
        let word = usize::try_from(bit / 64).expect("the bit was made room for in memory");
        let mask = 1 << (bit % 64);
        if self.handed[word] & mask == 0 {
            self.handed[word] |= mask;
            self.counts.executed += 1;
        } else {
            self.counts.doubled += 1;
        }
    }

    /// Notes that a result was acknowledged; tells whether it was the job's last.
    pub fn acknowledged(&mut self, number: u64) -> bool {
        let tasks = self.tasks_of_job;
        self.job(number).is_some_and(|job| {
            job.acknowledged += 1;
            job.acknowledged == tasks
        })
    }

    /// Notes that a result was answered as not counting.
    pub const fn ignored(&mut self) {
        self.counts.ignored += 1;
    }

    /// Notes a task of another run.
    pub const fn foreign(&mut self) {
        self.counts.foreign += 1;
    }

    /// Tells whether the job's last result was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self, number: u64) -> bool {
        let job = usize::try_from(number)
            .ok()
            .and_then(|at| self.jobs.get(at));
        job.is_some_and(|job| job.acknowledged >= self.tasks_of_job)
    }

    /// Notes how the job was seen to have ended.
    pub fn ended(&mut self, number: u64, status: &str) {
        if let Some(job) = self.job(number) {
            job.stage = if status == "finished" {
                Stage::Finished
            } else {
                Stage::Failed
            };
        }
    }

    /// Notes that the job is gone, or has no end.
    pub fn lost(&mut self, number: u64) {
        if let Some(job) = self.job(number) {
            job.stage = Stage::Lost;
        }
    }

    /// Returns the number and id of the next job, from a number on, whose end nobody has seen yet.
    #[must_use]
    pub fn next_unseen(&self, from: u64) -> Option<(u64, Uuid)> {
        let from = usize::try_from(from).ok()?;
        let rest = self.jobs.get(from..)?;
        let at = rest.iter().position(|job| job.stage == Stage::Accepted)?;
        Some(((from + at) as u64, rest[at].id))
    }

    /// Closes the books.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let count = |stage| self.jobs.iter().filter(|job| job.stage == stage).count() as u64;
        let refused = count(Stage::Refused);
        let unclear = count(Stage::Sent);
        let sent = self.jobs.len() as u64;
        Totals {
            jobs_sent: sent,
            jobs_accepted: sent - refused - unclear,
            jobs_unclear: unclear,
            jobs_finished: count(Stage::Finished),
            jobs_failed: count(Stage::Failed),
            jobs_lost: count(Stage::Lost),
            jobs_doubled: self.doubled_ids(),
            jobs_unaudited: count(Stage::Accepted),
            tasks_executed: self.counts.executed,
            tasks_doubled: self.counts.doubled,
            tasks_missing: self.missing(),
            tasks_unknown: self.counts.unknown,
            results_ignored: self.counts.ignored,
            tasks_foreign: self.counts.foreign,
        }
    }

    fn doubled_ids(&self) -> u64 {
        let mut known = HashSet::with_capacity(self.jobs.len());
        let ids = self.jobs.iter().map(|job| job.id);
        ids.filter(|id| !id.is_nil() && !known.insert(*id)).count() as u64
    }

    /// Counts the tasks that finished jobs ended without.
    fn missing(&self) -> u64 {
        let finished = self.jobs.iter().filter(|job| job.stage == Stage::Finished);
        let missing = finished.map(|job| self.tasks_of_job.saturating_sub(job.acknowledged));
        missing.map(u64::from).sum()
    }

    fn job(&mut self, number: u64) -> Option<&mut Job> {
        self.jobs.get_mut(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books with two jobs of two tasks each, in which everything went as it should.
    fn good() -> Ledger {
        let mut ledger = Ledger::new(2);
        for id in 1..=2 {
            let number = ledger.open();
            ledger.accepted(number, Uuid::from_u128(id));
            for step in 0..2 {
                ledger.handed(number, step);
                assert_eq!(ledger.acknowledged(number), step == 1);
            }
            ledger.ended(number, "finished");
        }
        ledger
    }

    /// Plants one fault and returns what of the totals tells it.
    fn check(name: &str, plant: impl Fn(&mut Ledger), told: impl Fn(&Totals) -> u64, right: bool) {
        let mut ledger = good();
        assert_eq!(
            told(&ledger.totals()),
            0,
            "{name}: told before it was planted"
        );
        plant(&mut ledger);
        let totals = ledger.totals();
        assert_eq!(told(&totals), 1, "{name}: {totals:?}");
        assert_eq!(totals.are_right(), right, "{name}: {totals:?}");
    }

    #[test]
    fn good_books() {
        let totals = good().totals();
        let expected = Totals {
            jobs_sent: 2,
            jobs_accepted: 2,
            jobs_finished: 2,
            tasks_executed: 4,
            ..Totals::default()
        };
        assert_eq!(totals, expected);
        assert!(totals.are_right());
    }

    #[test]
    fn planted_faults_are_found() {
        check("lost", |l| l.lost(1), |t| t.jobs_lost, false);
        check("failed", |l| l.ended(0, "failed"), |t| t.jobs_failed, false);
        check(
            "one id for two jobs",
            |l| l.accepted(1, Uuid::from_u128(1)),
            |t| t.jobs_doubled,
            false,
        );
        check("task again", |l| l.handed(1, 1), |t| t.tasks_doubled, false);
        check(
            "more tasks than there are",
            |l| l.handed(0, 2),
            |t| t.tasks_unknown,
            false,
        );
        check(
            "a task of no job",
            |l| l.handed(2, 0),
            |t| t.tasks_unknown,
            false,
        );
        check("ignored", Ledger::ignored, |t| t.results_ignored, false);
        check(
            "ended before its last task",
            |l| {
                let number = l.open();
                l.accepted(number, Uuid::from_u128(9));
                l.handed(number, 0);
                l.acknowledged(number);
                l.ended(number, "finished");
            },
            |t| t.tasks_missing,
            false,
        );
        check("another run's", Ledger::foreign, |t| t.tasks_foreign, true);
        check(
            "no answer",
            |l| assert_eq!(l.open(), 2),
            |t| t.jobs_unclear,
            true,
        );
    }

    #[test]
    fn who_is_still_to_be_looked_at() {
        let mut ledger = good();
        for id in 3..=5 {
            let number = ledger.open();
            ledger.accepted(number, Uuid::from_u128(id));
        }
        ledger.refused(3);
        assert_eq!(ledger.next_unseen(0), Some((2, Uuid::from_u128(3))));
        assert_eq!(ledger.next_unseen(3), Some((4, Uuid::from_u128(5))));
        assert_eq!(ledger.next_unseen(5), None);
        assert_eq!(ledger.totals().jobs_unaudited, 2);
    }
}
