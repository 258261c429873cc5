//! What the shell shows: jobs, their history and deliveries, why they wait, whether all is well.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::registry::Known;
use super::{Readiness, Runtime, RuntimeError};
use crate::base::{ClientId, JobId, TaskId};
use crate::domain::worker::SkillInfo;
use crate::domain::{Event, Job, JobStatus, Object, Task, Worker};
use crate::engine::explain::{Explanation, Facts, explain};
use crate::store::{DeliveryRecord, JobQuery};

/// The check whose failure leaves the server ready.
const FILES: &str = "files";
/// The check that may be degraded, and leaves the server ready then.
const STORE: &str = "store";
/// The longest that readiness waits for the blob store.
const FILES_PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer of the stores is good: anybody may ask for readiness as often as they like.
const CHECK_MS: u64 = 1_000;

/// Open tasks that one explanation looks at.
const EXPLAINED_TASKS_MAX: u32 = 20;

impl Runtime {
    /// Returns a job.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, RuntimeError> {
        Ok(self.inner.ports.jobs.load(id).await?)
    }

    /// Returns a task, in whatever status.
    pub async fn task(&self, id: &TaskId) -> Result<Option<Task>, RuntimeError> {
        Ok(self.inner.ports.jobs.load_task(id).await?)
    }

    /// Tells whether the process is on its way out: watches end and take nothing more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stop.is_cancelled()
    }

    /// Returns a job's events in order, after a place in it, at most `limit`.
    pub async fn history(
        &self,
        id: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, RuntimeError> {
        Ok(self.inner.ports.history.by_job(id, after, limit).await?)
    }

    /// Returns a job's webhooks and how they stand, oldest first.
    pub async fn deliveries(
        &self,
        id: JobId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, RuntimeError> {
        Ok(self.inner.ports.jobs.deliveries(id, limit).await?)
    }

    /// Lists jobs, newest first.
    pub async fn list(&self, query: JobQuery) -> Result<Vec<Job>, RuntimeError> {
        Ok(self.inner.ports.jobs.list(query).await?)
    }

    /// Counts jobs by status; none counts everybody's.
    pub async fn counts(
        &self,
        client: Option<&ClientId>,
    ) -> Result<BTreeMap<JobStatus, u64>, RuntimeError> {
        Ok(self.inner.ports.jobs.counts(client).await?)
    }

    /// Says why a job stands where it stands; nothing when there is no such job.
    pub async fn explain(&self, id: JobId) -> Result<Option<Explanation>, RuntimeError> {
        let Some(job) = self.inner.ports.jobs.load(id).await? else {
            return Ok(None);
        };
        let tasks = self
            .inner
            .ports
            .jobs
            .open_tasks(id, EXPLAINED_TASKS_MAX)
            .await?;
        let known: Vec<Arc<Known>> = self.inner.registry.read().values().cloned().collect();
        let workers: Vec<Worker> = known.iter().map(|k| Worker::clone(&k.worker)).collect();
        // One worker's schema answers for every worker that declares the same skill: the callback
        // does not say whose skill it asks about, but hands the declaration itself.
        let params_ok = |skill: &SkillInfo, params: &Object| {
            let declared = known
                .iter()
                .find(|k| k.worker.skill(&skill.name) == Some(skill));
            declared.is_none_or(|k| k.params_ok(skill, params))
        };
        Ok(Some(explain(&Facts {
            job: &job,
            tasks: &tasks,
            workers: &workers,
            now: self.inner.ports.clock.now(),
            reputation_min: self.inner.settings.reputation_min,
            params_ok: &params_ok,
        })))
    }

    /// Tells whether work can be accepted.
    pub async fn readiness(&self) -> Readiness {
        let mut checks = BTreeMap::new();
        let jobs = &self.inner.ports.jobs;
        let health = self.store_health().await;
        let takes_jobs = health.is_ok();
        let store = match health {
            Ok(()) => match jobs.refusal() {
                Some(why) => format!("degraded: it takes jobs, but {why}"),
                None if jobs.standing().is_away => {
                    "degraded: it answers, but has failed within the last minute".to_owned()
                }
                None => "ok".to_owned(),
            },
            Err(reason) => reason,
        };
        checks.insert(STORE, store);
        let stopping = self.inner.stop.is_cancelled();
        let accepting = if stopping { "shutting down" } else { "ok" };
        checks.insert("accepting", accepting.to_owned());
        // The loops end only with the shell; one that died by a panic is missing here.
        let (running, started) = self.inner.loops.count();
        let alive = if running == started || stopping {
            "ok".to_owned()
        } else {
            format!("only {running} of {started} loops run")
        };
        checks.insert("loops", alive);
        checks.insert(FILES, self.files_check().await);
        // Without its files a server still does most of its work, and nothing is lost by a store that may
        // drop jobs before it is full; without those that have such trouble all, a load balancer would have
        // none left.
        let goes_on = |part| part == FILES || part == STORE && takes_jobs;
        let ready = checks
            .iter()
            .all(|(part, check)| check == "ok" || goes_on(*part));
        // Work goes on without the archive, which gets everything afterwards.
        if self.inner.archive().is_some() {
            checks.insert("history", self.history_check().await);
        }
        Readiness {
            ready,
            durability: jobs.durability(),
            server: jobs.server(),
            checks,
        }
    }

    /// Asks the job store how it is, unless it was asked just now: it writes something, and waits for that to be
    /// on disk.
    async fn store_health(&self) -> Result<(), String> {
        let checked = &self.inner.store_checked;
        let now = self.inner.ports.clock.now();
        let known = checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((until, health)) = known
            && now < until
        {
            return health;
        }
        let health = self.inner.ports.jobs.health().await;
        let health = health.map_err(|error| error.to_string());
        let until = now.after_ms(CHECK_MS);
        *checked.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, health.clone()));
        health
    }

    /// Tells whether the history can be written, and how much waits for it; and whether it is kept up.
    async fn history_check(&self) -> String {
        let exporting = &self.inner.exporting;
        let Some(since) = exporting.outage_since() else {
            return exporting.upkeep.failing_since().map_or_else(
                || "ok".to_owned(),
                |since| {
                    format!(
                        "degraded: it is written, but its upkeep has failed since {since}: what is older \
                         than its retention stays; the log says why"
                    )
                },
            );
        };
        let waiting = match &self.inner.ports.export {
            Some(export) => export.feed.feed_length().await.ok(),
            None => None,
        };
        let waiting = waiting.map_or_else(
            || "events wait".to_owned(),
            |count| format!("{count} steps wait"),
        );
        format!("degraded since {since}: it cannot be written, {waiting} in the store")
    }

    /// Asks the blob store how it is, unless it was asked just now. Everybody may see the answer, so
    /// it says no more than that; the log says why.
    pub(super) async fn files_check(&self) -> String {
        let checked = &self.inner.files_checked;
        let now = self.inner.ports.clock.now();
        let known = checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((until, check)) = known
            && now < until
        {
            return check;
        }
        let asked = tokio::time::timeout(FILES_PATIENCE, self.inner.ports.blobs.health()).await;
        let check = match asked {
            // Asking how it is asks for little.
            Ok(Ok(())) if self.inner.ports.blobs.standing().is_away => {
                "degraded: some files could not be read or written within the last minute"
            }
            Ok(Ok(())) => "ok",
            Ok(Err(_)) | Err(_) => "degraded: files cannot be read or written just now",
        };
        let until = now.after_ms(CHECK_MS);
        *checked.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, check.to_owned()));
        check.to_owned()
    }
}
