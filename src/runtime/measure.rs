//! What is looked at when somebody scrapes: what this process has in memory, and a few counts of the
//! store's that cost the same however much it holds. Waits for no server for longer than a second.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::{Inner, Runtime};
use crate::base::Timestamp;
use crate::domain::worker::WorkerStatus;
use crate::observe::{Metrics, Reputation, Snapshot, Traces};

/// The longest that a scrape waits for the servers.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what they said is good: anybody may scrape as often as they like.
const ASKED_ANEW_AFTER: Duration = Duration::from_secs(1);
/// Outbox messages that are counted at most.
const OUTBOX_MAX: u32 = 10_000;

/// How a worker that is known may be.
const IN_SERVICE: [WorkerStatus; 5] = [
    WorkerStatus::Idle,
    WorkerStatus::Active,
    WorkerStatus::Busy,
    WorkerStatus::Full,
    WorkerStatus::Draining,
];

/// What the servers said.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    outbox: Option<u64>,
    history_behind: Option<u64>,
}

/// What the servers said last, and until when that is good.
#[derive(Debug, Default)]
pub(super) struct Scraped(Mutex<Option<(Timestamp, Said)>>);

impl Runtime {
    /// Returns what everything is counted with.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.ports.metrics
    }

    /// Returns where spans are recorded.
    #[must_use]
    pub fn traces(&self) -> &Traces {
        &self.inner.ports.traces
    }

    /// Returns how many tasks are queued, of all skills.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.inner.matchmaker.queue(|queue, _| queue.len())
    }

    /// Returns all figures as text.
    pub async fn scrape(&self) -> String {
        let said = self.servers_say().await;
        let mut snapshot = Snapshot {
            outbox: said.outbox,
            history_behind: said.history_behind,
            ..Snapshot::default()
        };
        self.inner.look_at_workers(&mut snapshot);
        self.inner.look_at_tasks(&mut snapshot);
        let ports = &self.inner.ports;
        snapshot.parts = vec![
            ("store", ports.jobs.standing()),
            ("files", ports.blobs.standing()),
        ];
        if self.inner.archive().is_some() {
            let history = self.inner.exporting.standing();
            snapshot.parts.push(("history", history));
        }
        ports.metrics.text(&snapshot)
    }

    async fn servers_say(&self) -> Said {
        let now = self.inner.ports.clock.now();
        let last = *self
            .inner
            .scraped
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((until, said)) = last
            && now < until
        {
            return said;
        }
        let feed = self.inner.ports.export.as_ref().map(|export| &export.feed);
        let behind = async {
            match feed {
                Some(feed) => feed.feed_length().await.ok(),
                None => None,
            }
        };
        // Asked so that an outage is seen to begin and to end while nobody else asks.
        let jobs = &self.inner.ports.jobs;
        let (outbox, history_behind, _, _) = tokio::join!(
            tokio::time::timeout(PATIENCE, jobs.outbox_length(OUTBOX_MAX)),
            tokio::time::timeout(PATIENCE, behind),
            tokio::time::timeout(PATIENCE, jobs.health()),
            tokio::time::timeout(PATIENCE, self.files_check()),
        );
        let said = Said {
            outbox: outbox.ok().and_then(Result::ok).flatten(),
            history_behind: history_behind.ok().flatten(),
        };
        let until = now.after(ASKED_ANEW_AFTER);
        *self
            .inner
            .scraped
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((until, said));
        said
    }
}

impl Inner {
    fn look_at_tasks(&self, snapshot: &mut Snapshot) {
        let now = self.ports.clock.now();
        self.matchmaker.queue(|queue, polls| {
            snapshot.polls = polls as u64;
            snapshot.delayed = queue.delayed_count() as u64;
            for (skill, length, oldest) in queue.depths() {
                let seen = snapshot.skills.entry(skill.to_owned()).or_default();
                seen.length = length as u64;
                seen.oldest = now.since(oldest);
            }
        });
        snapshot.leases = self.matchmaker.holders(|holders| holders.total()) as u64;
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no fleet comes near the bound of a double's whole numbers"
    )]
    fn look_at_workers(&self, snapshot: &mut Snapshot) {
        // A copy of the pointers, so that nobody who registers waits for the counting.
        let known: Vec<_> = self.registry.read().values().cloned().collect();
        let mut skills: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut min, mut sum) = (1.0_f64, 0.0);
        for status in IN_SERVICE {
            snapshot.workers.insert(status.as_str(), 0);
        }
        for one in &known {
            *snapshot
                .workers
                .entry(one.worker.status.as_str())
                .or_default() += 1;
            for skill in one.open_skills() {
                *skills.entry(skill).or_default() += 1;
            }
            let reputation = one.worker.reputation;
            snapshot.excluded += u64::from(reputation < self.settings.reputation_min);
            min = min.min(reputation);
            sum += reputation;
        }
        for (skill, count) in skills {
            let seen = snapshot.skills.entry(skill.to_owned()).or_default();
            seen.worker_count = count;
        }
        snapshot.reputation = (!known.is_empty()).then(|| Reputation {
            min,
            mean: sum / known.len() as f64,
        });
    }
}
