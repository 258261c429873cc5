//! What is looked at when somebody scrapes, as plain data, and how it becomes figures.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use super::catalog;
use super::jobs::{SKILLS_MAX, in_seconds};
use super::outage::Standing;
use super::register::Register;

/// The tasks of one skill that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SkillQueue {
    /// How many.
    pub length: u64,
    /// How long the oldest has waited.
    pub oldest: Duration,
    /// Workers that take them.
    pub worker_count: u64,
}

/// Reputation over all known workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reputation {
    /// The lowest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
}

/// How everything stands at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// By skill: those that tasks wait for, and those that workers take.
    pub skills: BTreeMap<String, SkillQueue>,
    /// Tasks that are not to be had yet.
    pub delayed: u64,
    /// Tasks with a worker.
    pub leases: u64,
    /// Open polls.
    pub polls: u64,
    /// Workers by status.
    pub workers: BTreeMap<&'static str, u64>,
    /// Nothing when nobody is known.
    pub reputation: Option<Reputation>,
    /// Workers whose reputation is too low.
    pub excluded: u64,
    /// Messages that are still to be delivered; nothing when the store did not say in time.
    pub outbox: Option<u64>,
    /// Rows that the history lacks; nothing without one, or when the store did not say in time.
    pub history_behind: Option<u64>,
    /// The servers that are used.
    pub parts: Vec<(&'static str, Standing)>,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no such count comes near the bound of a double's whole numbers"
)]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

impl Snapshot {
    /// Returns the figures, made anew: series of what is no more are gone.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let register = Register::default();
        self.show_queues(&register);
        self.show_workers(&register);
        let outbox = [(&catalog::OUTBOX, self.outbox)];
        let behind = [(&catalog::HISTORY_BEHIND, self.history_behind)];
        for (definition, count) in outbox.into_iter().chain(behind) {
            if let Some(count) = count {
                register.gauge(definition).set(number(count));
            }
        }
        let up = register.gauges(&catalog::PART_UP);
        let outages = register.counters(&catalog::PART_OUTAGES);
        for (part, standing) in &self.parts {
            let is_up = u8::from(!standing.is_away);
            up.with_label_values(&[part]).set(is_up.into());
            let count = outages.with_label_values(&[part]);
            count.inc_by(standing.outage_count);
        }
        register.gather()
    }

    fn show_queues(&self, register: &Register) {
        let length = register.gauges(&catalog::QUEUE);
        let age = register.gauges(&catalog::QUEUE_AGE);
        let workers = register.gauges(&catalog::SKILL_WORKERS);
        // Of too many skills those are told apart that tasks wait for.
        let mut skills: Vec<_> = self.skills.iter().collect();
        skills.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.length));
        for (place, (skill, queue)) in skills.into_iter().enumerate() {
            let skill = if place < SKILLS_MAX { skill } else { "other" };
            let add = |gauges: &prometheus::GaugeVec, count| {
                gauges.with_label_values(&[skill]).add(number(count));
            };
            add(&length, queue.length);
            add(&workers, queue.worker_count);
            let oldest = age.with_label_values(&[skill]);
            oldest.set(oldest.get().max(in_seconds(queue.oldest)));
        }
        register.gauge(&catalog::DELAYED).set(number(self.delayed));
        register.gauge(&catalog::LEASES).set(number(self.leases));
        register.gauge(&catalog::POLLS).set(number(self.polls));
    }

    fn show_workers(&self, register: &Register) {
        let workers = register.gauges(&catalog::WORKERS);
        for (status, count) in &self.workers {
            workers.with_label_values(&[status]).set(number(*count));
        }
        let reputation = register.gauges(&catalog::REPUTATION);
        if let Some(known) = self.reputation {
            reputation.with_label_values(&["min"]).set(known.min);
            reputation.with_label_values(&["mean"]).set(known.mean);
        }
        let excluded = register.gauge(&catalog::EXCLUDED);
        excluded.set(number(self.excluded));
    }
}
