//! I6: each branch counts once, no more of them run than allowed, and the state behind them runs
//! when, and only when, its time has come.

use avtomatika::domain::job::Waiting;
use avtomatika::domain::{EventKind, Job};
use avtomatika::store::Commit;
use serde_json::json;

use super::{Auditor, Verdict, broken, jobs};
use crate::blueprints::{FanOut, Rule};
use crate::seen::short;

/// The auditor's own count.
#[derive(Debug, Default)]
struct Count {
    total: usize,
    ended: usize,
    succeeded: usize,
    running: usize,
}

impl Auditor {
    fn count(&self, job: &Job, visit: u64) -> Count {
        let mut count = Count::default();
        let mut branches = std::collections::BTreeSet::new();
        for (_, task) in self.tasks_of_job(job.id) {
            if task.visit != visit || task.branch.is_none() {
                continue;
            }
            branches.insert(task.branch);
            count.ended += usize::from(task.counted.is_some());
            count.succeeded += usize::from(task.counted == Some(true));
            count.running += usize::from(task.is_given());
        }
        count.total = branches.len();
        count
    }

    pub(super) fn fans_in(&self, before: Option<&Job>, commit: &Commit) -> Verdict {
        let job = &commit.job;
        if let Some(Waiting::Branches(counts)) = &job.waiting {
            let own = self.count(job, job.visit);
            let told = (counts.total, counts.ended, counts.succeeded);
            if (own.total, own.ended, own.succeeded)
                != (told.0 as usize, told.1 as usize, told.2 as usize)
            {
                let job = short(&job.id);
                return broken("I6", format!("job {job} counts {counts:?}, it is {own:?}"));
            }
            if let Some(fan) = self.facts.fan_outs.get(&job.blueprint) {
                within_limit(job, *fan, own.running)?;
            }
        }
        let waited = before.filter(|job| matches!(job.waiting, Some(Waiting::Branches(_))));
        match waited {
            Some(before) if before.visit != job.visit => self.left(before, commit),
            _ => Ok(()),
        }
    }

    /// The job has left its fan-out: was it time?
    fn left(&self, before: &Job, commit: &Commit) -> Verdict {
        let Some(fan) = self.facts.fan_outs.get(&before.blueprint) else {
            return Ok(());
        };
        let own = self.count(before, before.visit);
        let job = short(&before.id);
        if let Some((id, _)) = self.open_tasks(before.id, before.visit).next() {
            return broken(
                "I6",
                format!("job {job} left its fan-out with task {} open", short(id)),
            );
        }
        let left = jobs::events(commit).find(|event| event.kind == EventKind::StateFinished);
        let to = left.and_then(|event| event.next_state.as_deref());
        let (met, lost) = standing(fan.rule, &own);
        let right = match to {
            Some("collect") => met,
            Some("few") => lost,
            // A cancel, or a state that cannot be run.
            _ => true,
        };
        if !right {
            return broken(
                "I6",
                format!("job {job} went to {to:?} with {own:?} of {:?}", fan.rule),
            );
        }
        let seen = commit.job.state_history.get("seen");
        if to == Some("collect") && seen != Some(&json!(own.ended)) {
            return broken("I6", format!("job {job} gathered {seen:?} of {own:?}"));
        }
        Ok(())
    }
}

fn within_limit(job: &Job, fan: FanOut, running: usize) -> Verdict {
    let most = fan.limit.map_or(usize::MAX, |limit| limit as usize);
    if running <= most {
        return Ok(());
    }
    broken(
        "I6",
        format!(
            "job {} runs {running} branches at once, of {most}",
            short(&job.id)
        ),
    )
}

/// Tells whether the rule is met, and whether it cannot be met any more.
fn standing(rule: Rule, own: &Count) -> (bool, bool) {
    let open = own.total - own.ended;
    let failed = own.ended - own.succeeded;
    match rule {
        Rule::Settled => (open == 0, false),
        Rule::Successes(wanted) => {
            let wanted = wanted.map_or(own.total, |wanted| wanted as usize);
            (own.succeeded >= wanted, own.succeeded + open < wanted)
        }
        Rule::FailuresPercent(percent) => {
            let too_many = failed * 100 > percent as usize * own.total;
            (open == 0 && !too_many, too_many)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_decide_as_they_read() {
        let count = |total, ended, succeeded| Count {
            total,
            ended,
            succeeded,
            running: 0,
        };
        for (rule, own, expected) in [
            (Rule::Settled, count(3, 2, 0), (false, false)),
            (Rule::Settled, count(3, 3, 0), (true, false)),
            (Rule::Successes(None), count(3, 3, 3), (true, false)),
            (Rule::Successes(None), count(3, 1, 0), (false, true)),
            (Rule::Successes(Some(1)), count(3, 1, 1), (true, false)),
            (Rule::Successes(Some(2)), count(3, 2, 0), (false, true)),
            (Rule::FailuresPercent(40), count(5, 5, 3), (true, false)),
            (Rule::FailuresPercent(40), count(5, 3, 0), (false, true)),
        ] {
            assert_eq!(standing(rule, &own), expected, "{rule:?} {own:?}");
        }
    }
}
