//! Fan-out and fan-in: many tasks at once, counted as they end, their results read once.
//!
//! A branch's end changes counters in the job and a record of its own, so a fan-out of 10,000 costs
//! ten times one of 1,000. Only the input that ends the fan-out needs to see all branches (I6).

use std::sync::Arc;

use serde_json::{Value, json};

use super::failure::Verdict;
use super::passage::{Next, Passage, Trouble, View};
use super::report::normalised;
use super::size::json_bytes;
use super::{Effect, World, codes};
use crate::blueprint::{Action, Dispatch, Parallel, ParallelTasks, Until};
use crate::domain::job::{BranchCounts, Waiting};
use crate::domain::task::status;
use crate::domain::{EventKind, Job, Object, Task, TaskReport, TaskSpec, TaskStatus};

/// How a fan-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not decided yet.
    Open,
    /// `until` is met.
    Met,
    /// `until` can no longer be met.
    Unmet,
}

/// Tells how a fan-out stands by its counters. Branches that have not ended may yet succeed.
pub(super) fn standing(until: Until, counts: &BranchCounts) -> Standing {
    let failed = counts.ended - counts.succeeded.min(counts.ended);
    let open = counts.total - counts.ended.min(counts.total);
    let all_ended = if open == 0 {
        Standing::Met
    } else {
        Standing::Open
    };
    let at_least = |wanted: u32| {
        if counts.succeeded >= wanted {
            Standing::Met
        } else if counts.succeeded + open < wanted {
            Standing::Unmet
        } else {
            Standing::Open
        }
    };
    match until {
        Until::All if failed > 0 => Standing::Unmet,
        Until::Any => at_least(1),
        Until::AtLeast(wanted) => at_least(wanted),
        Until::Tolerate(percent) if !is_tolerated(failed, percent, counts.total) => Standing::Unmet,
        // Tolerating runs every branch, also once nothing can go wrong any more: it is not skipping.
        Until::Settled | Until::All | Until::Tolerate(_) => all_ended,
    }
}

/// Tells whether so many of the branches are no more than the share.
fn is_tolerated(failed: u32, percent: f64, total: u32) -> bool {
    // 2.3 % of 3,000 is 69, although the nearest numbers that a computer has give less.
    const ROUNDING: f64 = 1e-6;
    f64::from(failed) * 100.0 <= percent * f64::from(total) + ROUNDING
}

/// Returns the counters after one more branch has ended.
fn counted(counts: &BranchCounts, report: &TaskReport) -> BranchCounts {
    let mut counts = counts.clone();
    counts.ended += 1;
    counts.succeeded += u32::from(report.status == status::SUCCESS);
    counts
}

fn parallel_of<'w>(world: &World<'w>, job: &Job) -> Option<&'w Parallel> {
    match &world.blueprint.body(&job.state, &job.path)?.action {
        Action::Parallel(parallel) => Some(parallel),
        _ => None,
    }
}

impl Passage<'_> {
    /// Queues the branches and waits for them.
    pub fn fan_out(&mut self, parallel: &Parallel, view: View<'_>) -> Result<Next, Trouble> {
        let branches = self.branch_specs(parallel, view)?;
        // The results of an earlier fan-out would be carried through every branch's commit.
        self.job.aggregation_results = None;
        let total = u32::try_from(branches.len()).unwrap_or(u32::MAX);
        let released = parallel
            .limit
            .unwrap_or(total)
            .clamp(1, total.max(1))
            .min(total);
        let counts = BranchCounts {
            total,
            released,
            ended: 0,
            succeeded: 0,
        };
        if total == 0 {
            self.set_aggregation(Object::new());
            return Ok(self.go(&parallel.into));
        }
        if standing(parallel.until, &counts) == Standing::Unmet {
            self.set_aggregation(Object::new());
            return Ok(self.unmet(parallel, &counts));
        }
        let event = self.record(EventKind::TaskDispatched);
        event.details.insert("branches".to_owned(), json!(total));
        event.details.insert("released".to_owned(), json!(released));
        event
            .details
            .insert("into".to_owned(), json!(parallel.into));
        for (branch, (dispatch, spec)) in (0_u32..).zip(branches) {
            let mut task = self.first_attempt(dispatch, Arc::new(spec), Some(branch));
            if branch >= released {
                task.status = TaskStatus::Held;
            }
            self.effects.push(Effect::PutTask(Box::new(task)));
        }
        let next = self.rest(Waiting::Branches(counts));
        self.job.progress = Some(0.0);
        Ok(next)
    }

    fn branch_specs<'p>(
        &self,
        parallel: &'p Parallel,
        view: View<'_>,
    ) -> Result<Vec<(&'p Dispatch, TaskSpec)>, Trouble> {
        let too_many = |count: usize| {
            let limit = self.world.limits.branches_max;
            let message = format!("the fan-out has {count} branches, the limit is {limit}");
            (u32::try_from(count).unwrap_or(u32::MAX) > limit).then_some(Trouble {
                code: codes::TOO_MANY_BRANCHES,
                message,
            })
        };
        let mut bytes = 0_usize;
        let mut bounded = |spec: TaskSpec| {
            bytes = bytes.saturating_add(json_bytes(&spec.params));
            let limit = self.world.limits.aggregation_bytes_max;
            (bytes <= limit).then_some(spec).ok_or_else(|| Trouble {
                code: codes::PAYLOAD_TOO_LARGE,
                message: format!("the parameters of the fan-out are over {limit} bytes together"),
            })
        };
        match &parallel.tasks {
            ParallelTasks::Listed(tasks) => {
                too_many(tasks.len()).map_or(Ok(()), Err)?;
                tasks
                    .iter()
                    .map(|task| Ok((task, bounded(self.spec(task, view)?)?)))
                    .collect()
            }
            ParallelTasks::ForEach { items, name, task } => {
                let items = match self
                    .world
                    .blueprint
                    .compiled
                    .render(items, &self.scope(view))?
                {
                    Value::Array(items) => items,
                    other => {
                        let place = format!(
                            "{}: states.{}.parallel.for_each",
                            self.job.blueprint, self.job.state
                        );
                        return Err(Trouble::unusable(&place, "a list", &other));
                    }
                };
                too_many(items.len()).map_or(Ok(()), Err)?;
                items
                    .iter()
                    .map(|item| {
                        let locals = [(name.as_str(), item)];
                        let view = View {
                            locals: &locals,
                            ..view
                        };
                        Ok((task, bounded(self.spec(task, view)?)?))
                    })
                    .collect()
            }
        }
    }

    /// Goes on after a branch's attempt.
    pub(super) fn branch_over(&mut self, task: &Task, report: &TaskReport, verdict: &Verdict) {
        let Some(parallel) = parallel_of(&self.world, &self.job) else {
            let message = format!("state `{}` is no fan-out", self.job.state);
            self.quarantine(codes::BLUEPRINT_MISMATCH, message);
            return;
        };
        let Some(Waiting::Branches(counts)) = &self.job.waiting else {
            return;
        };
        let counts = match verdict {
            Verdict::Again(_) => counts.clone(),
            Verdict::Done | Verdict::Over(_) => counted(counts, report),
        };
        let kept = (!matches!(verdict, Verdict::Again(_))).then(|| report.clone());
        let end = Effect::EndTask {
            id: task.id.clone(),
            answer: self.answer,
            report: kept,
        };
        self.effects.push(end);
        if let Verdict::Again(again) = verdict {
            self.try_again(task, again);
            return;
        }
        match standing(parallel.until, &counts) {
            Standing::Open => self.wait_for_rest(counts),
            decided => self.fan_in(parallel, &counts, decided, (task, report)),
        }
    }

    /// Lets the next held branch go in the place of the one that has ended.
    fn wait_for_rest(&mut self, mut counts: BranchCounts) {
        if counts.released < counts.total {
            let from = counts.released;
            counts.released += 1;
            let release = Effect::ReleaseBranches {
                visit: self.job.visit,
                from,
                to: counts.released,
            };
            self.effects.push(release);
        }
        self.job.progress = Some(f64::from(counts.ended) / f64::from(counts.total.max(1)));
        self.job.waiting = Some(Waiting::Branches(counts));
    }

    /// Ends the fan-out: stops what still runs, gathers the results and goes on.
    fn fan_in(
        &mut self,
        parallel: &Parallel,
        counts: &BranchCounts,
        standing: Standing,
        last: (&Task, &TaskReport),
    ) {
        let Some(branches) = self.world.branches else {
            self.lacks_branches = true;
            return;
        };
        if counts.ended < counts.total {
            self.effects.push(Effect::EndTasks {
                visit: self.job.visit,
            });
        }
        self.settle();
        let results = match aggregate(branches, last, self.world.limits.aggregation_bytes_max) {
            Ok(results) => results,
            Err(trouble) => {
                self.quarantine(trouble.code, trouble.message);
                return;
            }
        };
        self.set_aggregation(results);
        let next = match standing {
            Standing::Unmet => self.unmet(parallel, counts),
            Standing::Met | Standing::Open => {
                self.job.failed_state = None;
                self.go(&parallel.into)
            }
        };
        self.follow(next, None);
    }

    fn unmet(&mut self, parallel: &Parallel, counts: &BranchCounts) -> Next {
        self.job.failed_state = Some(self.job.state.clone());
        if let Some(to) = &parallel.on_failure {
            return self.go(to);
        }
        let message = format!(
            "of {} branches {} have ended and {} of these have succeeded, which is too few",
            counts.total, counts.ended, counts.succeeded
        );
        self.fail(codes::UNTIL_UNMET, message)
    }
}

/// Returns the branches' results by task id, in branch order: those that have ended with a report,
/// the one just reported included. Branches that were stopped or never begun are absent.
fn aggregate(
    branches: &[Task],
    last: (&Task, &TaskReport),
    limit: usize,
) -> Result<Object, Trouble> {
    let (last_task, last_report) = last;
    let mut ended: Vec<(&Task, &TaskReport)> = branches
        .iter()
        .filter(|task| task.id != last_task.id && task.branch != last_task.branch)
        .filter_map(|task| Some((task, task.report.as_ref()?)))
        .chain([(last_task, last_report)])
        .collect();
    ended.sort_by_key(|(task, _)| task.branch);
    let mut results = Object::new();
    let mut bytes = 0_usize;
    for (task, report) in ended {
        let mut result = normalised(task, report);
        result.insert("branch".to_owned(), json!(task.branch));
        bytes = bytes.saturating_add(json_bytes(&result));
        results.insert(task.id.as_str().to_owned(), Value::Object(result));
    }
    if bytes > limit {
        let message = format!("the results of the fan-out are {bytes} bytes, the limit is {limit}");
        return Err(Trouble {
            code: codes::PAYLOAD_TOO_LARGE,
            message,
        });
    }
    Ok(results)
}
