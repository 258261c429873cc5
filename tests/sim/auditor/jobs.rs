//! The life of a job: I1 revisions, I2 the end is the end, I5 one terminal event, I6 a state runs
//! once for each entry, I11 a parent goes on once for each child.

use avtomatika::domain::job::Waiting;
use avtomatika::domain::{Event, EventKind, Job, JobStatus};
use avtomatika::engine::{Effect, Signal};
use avtomatika::store::Commit;
use serde_json::json;

use super::{Auditor, Verdict, broken};
use crate::seen::short;

/// Returns the events of a commit.
pub fn events(commit: &Commit) -> impl Iterator<Item = &Event> {
    commit.effects.iter().filter_map(|effect| match effect {
        Effect::Record(event) => Some(event.as_ref()),
        _ => None,
    })
}

fn count(commit: &Commit, kind: &EventKind) -> usize {
    events(commit).filter(|event| event.kind == *kind).count()
}

impl Auditor {
    /// I1.
    pub(super) fn revision_rises(before: Option<&Job>, commit: &Commit) -> Verdict {
        let known = before.map_or(0, |job| job.revision);
        let (expected, new) = (commit.expected_revision, commit.job.revision);
        if expected == known && new == known + 1 {
            return Ok(());
        }
        let job = short(&commit.job.id);
        broken(
            "I1",
            format!("job {job} is at revision {known} and went from {expected} to {new}"),
        )
    }

    /// I2.
    pub(super) fn terminal_stays(before: Option<&Job>, commit: &Commit) -> Verdict {
        let Some(ended) = before.filter(|job| job.status.is_terminal()) else {
            return Ok(());
        };
        let may = matches!(ended.status, JobStatus::Failed | JobStatus::Quarantined);
        if may && count(commit, &EventKind::JobRetried) == 1 {
            return Ok(());
        }
        let (job, status) = (short(&ended.id), ended.status.as_str());
        broken("I2", format!("job {job} was {status} and changed"))
    }

    /// I11: for each child one end, told once and heard once.
    pub(super) fn resumes_once(&mut self, before: Option<&Job>, commit: &Commit) -> Verdict {
        let job = &commit.job;
        let told = commit
            .effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Signal(Signal::ChildEnded { .. })));
        let ended_first = job.status.is_terminal() && job.retries == 0 && job.parent.is_some();
        if told.count() != usize::from(ended_first) {
            return broken(
                "I11",
                format!("child {} ended and did not say so once", short(&job.id)),
            );
        }
        let heard = count(commit, &EventKind::ChildFinished);
        if heard == 0 {
            return Ok(());
        }
        let Some(Waiting::Child { job_id: child }) = before.and_then(|job| job.waiting.as_ref())
        else {
            return broken(
                "I11",
                format!("job {} went on without waiting", short(&job.id)),
            );
        };
        let named = events(commit)
            .filter(|event| event.kind == EventKind::ChildFinished)
            .all(|event| event.details.get("child") == Some(&json!(child)));
        if heard > 1 || !named || !self.resumed.insert(*child) {
            let (job, child) = (short(&job.id), short(child));
            return broken(
                "I11",
                format!("job {job} went on twice, or for another than child {child}"),
            );
        }
        let cancels = commit.effects.iter().any(|effect| {
            matches!(effect, Effect::Signal(Signal::CancelChild { child: c, .. }) if c == child)
        });
        match self.jobs.get(child) {
            Some(known) if !known.status.is_terminal() && known.retries == 0 && !cancels => {
                let (job, child) = (short(&job.id), short(child));
                broken(
                    "I11",
                    format!("job {job} went on before child {child} had ended"),
                )
            }
            _ => Ok(()),
        }
    }

    /// I5: each end has one terminal event, of its own kind, and its webhook has the event's id.
    pub(super) fn ends_once(commit: &Commit) -> Verdict {
        let job = &commit.job;
        let terminal: Vec<&Event> = events(commit).filter(|e| e.kind.is_terminal()).collect();
        let id = short(&job.id);
        if terminal.len() != usize::from(job.status.is_terminal()) {
            let (seen, status) = (terminal.len(), job.status.as_str());
            return broken(
                "I5",
                format!("job {id} is {status} with {seen} terminal events"),
            );
        }
        let Some(event) = terminal.first() else {
            return Ok(());
        };
        let fits = matches!(
            (&event.kind, job.status),
            (EventKind::JobFinished, JobStatus::Finished)
                | (EventKind::JobFailed, JobStatus::Failed)
                | (EventKind::JobQuarantined, JobStatus::Quarantined)
                | (EventKind::JobCancelled, JobStatus::Cancelled)
        );
        if !fits {
            return broken("I5", format!("job {id} ended with {:?}", event.kind));
        }
        let webhooks = commit.effects.iter().filter(
            |effect| matches!(effect, Effect::SendWebhook(webhook) if webhook.id == event.event_id),
        );
        if webhooks.count() != usize::from(job.webhook_url.is_some()) {
            return broken("I5", format!("job {id} ended without its one webhook"));
        }
        Ok(())
    }

    /// Each event has an id of its own and belongs to this revision.
    pub(super) fn events_are_new(&mut self, commit: &Commit) -> Verdict {
        for (index, event) in (0_u32..).zip(events(commit)) {
            let place = (event.job_id, event.revision, event.index);
            let known = self.events.insert(event.event_id, event.clone());
            if known.is_some() || place != (commit.job.id, commit.job.revision, index) {
                let job = short(&commit.job.id);
                return broken(
                    "I5",
                    format!("an event of job {job} is out of place: {place:?}"),
                );
            }
        }
        Ok(())
    }

    /// Beside its steps a job's history has only what was ignored, which may be written again.
    pub(super) fn recorded(&mut self, events: &[Event]) -> Verdict {
        for event in events {
            let known = self.events.entry(event.event_id);
            let known = known.or_insert_with(|| event.clone());
            let same = (known.job_id, &known.task_id) == (event.job_id, &event.task_id);
            if event.kind != EventKind::TaskIgnored || !same {
                let job = short(&event.job_id);
                return broken("I5", format!("{:?} of job {job} is no step's", event.kind));
            }
            let text = serde_json::to_string(event).expect("an event serialises");
            self.no_secret("the history", &text, None)?;
        }
        Ok(())
    }

    /// I6: what is entered once runs once.
    pub(super) fn states_run_once(before: Option<&Job>, commit: &Commit) -> Verdict {
        let entered = count(commit, &EventKind::StateStarted) as u64;
        let visits = before.map_or(0, |job| job.visit) + entered;
        if visits == commit.job.visit {
            return Ok(());
        }
        let (job, visit) = (short(&commit.job.id), commit.job.visit);
        broken(
            "I6",
            format!("job {job} entered {visits} states and stands at visit {visit}"),
        )
    }
}
