//! What clients are promised: I7 quota, I8 slots, I12 keys, and P: accepted is accepted.

use avtomatika::base::{ClientId, JobId};
use avtomatika::domain::Job;

use super::{Auditor, Verdict, broken};
use crate::seen::{KEY_LABEL, Request, SLOT_LABEL, short};

/// A wish that may come true once only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// The client's own key.
    Key(String),
    /// A schedule's slot.
    Slot(String),
}

impl Wish {
    const fn rule(&self) -> &'static str {
        match self {
            Self::Key(_) => "I12",
            Self::Slot(_) => "I8",
        }
    }
}

/// Returns the wish that a job comes from, by its own labels.
fn wish_of(job: &Job) -> Option<Wish> {
    let label = |name: &str| job.labels.get(name).cloned();
    label(SLOT_LABEL)
        .map(Wish::Slot)
        .or_else(|| label(KEY_LABEL).map(Wish::Key))
}

impl Auditor {
    pub(super) fn creation(&mut self, job: &Job) -> Verdict {
        // Children inherit the labels; only what a client or a schedule asked for counts.
        if job.parent.is_some() {
            if self.given_up.contains(&job.id) {
                let job = short(&job.id);
                return broken(
                    "I11",
                    format!("child {job} was started after it was given up"),
                );
            }
            return Ok(());
        }
        let client = &job.client.id;
        let created = self.created.entry(client.clone()).or_default();
        *created += 1;
        if let Some(quota) = self.facts.quotas.get(client)
            && *created > *quota
        {
            return broken("I7", format!("{client} has {created} jobs of {quota}"));
        }
        let Some(wish) = wish_of(job) else {
            return Ok(());
        };
        let rule = wish.rule();
        match self.by_wish.insert((client.clone(), wish.clone()), job.id) {
            Some(known) => {
                let (known, job) = (short(&known), short(&job.id));
                broken(rule, format!("{wish:?} made job {known} and job {job}"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn accepted(&self, request: &Request, id: JobId) -> Verdict {
        let Some(job) = self.jobs.get(&id) else {
            return broken(
                "P",
                format!("job {} was accepted and never was", short(&id)),
            );
        };
        let wish = match request {
            Request::Once => return Ok(()),
            Request::Keyed(key) => Wish::Key(key.clone()),
            Request::Slot(slot) => Wish::Slot(slot.clone()),
        };
        let rule = wish.rule();
        let made = self.by_wish.get(&(job.client.id.clone(), wish));
        if made == Some(&id) {
            return Ok(());
        }
        let (id, made) = (short(&id), made.map(short));
        broken(
            rule,
            format!("{request:?} was answered with job {id}, it made {made:?}"),
        )
    }

    pub(super) fn over_quota(&self, client: &ClientId) -> Verdict {
        let created = self.created.get(client).copied().unwrap_or_default();
        match self.facts.quotas.get(client) {
            Some(quota) if created >= *quota => Ok(()),
            quota => broken(
                "I7",
                format!("{client} was refused with {created} jobs of {quota:?}"),
            ),
        }
    }
}
