//! Blueprints in use: the newest good revisions, and those that running jobs are pinned to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Inner, Runtime, RuntimeError};
use crate::base::Timestamp;
use crate::blueprint::{Blueprint, Catalog, Problem, load};
use crate::domain::Job;
use crate::engine::DataStores;
use crate::store::{BlueprintRevision, StoreError};

/// Longer than any submission takes from its blueprint to its commit.
const SUBMISSION_LASTS: Duration = Duration::from_mins(10);

/// The catalog and the pinned revisions.
pub(super) struct Blueprints {
    catalog: ArcSwap<Catalog>,
    /// Whether the files have been read once: before that, a missing name says nothing.
    are_read: AtomicBool,
    /// By name and revision. Grows with the revisions that running jobs use, which is few.
    pinned: Mutex<HashMap<BlueprintRevision, Arc<Blueprint>>>,
    /// Revisions that were the newest until lately, and until when.
    replaced: Mutex<HashMap<BlueprintRevision, Timestamp>>,
    /// One at a time takes new files or forgets old revisions: what is being stored anew must not be
    /// forgotten meanwhile.
    changes: Semaphore,
}

impl Default for Blueprints {
    fn default() -> Self {
        Self {
            catalog: ArcSwap::default(),
            are_read: AtomicBool::default(),
            pinned: Mutex::default(),
            replaced: Mutex::default(),
            changes: Semaphore::new(1),
        }
    }
}

fn revision_of(blueprint: &Blueprint) -> BlueprintRevision {
    BlueprintRevision {
        name: blueprint.name.clone(),
        revision: blueprint.revision.clone(),
    }
}

impl Blueprints {
    pub(super) fn newest(&self, name: &str) -> Option<Arc<Blueprint>> {
        self.catalog.load().get(name).cloned()
    }

    pub(super) fn are_read(&self) -> bool {
        self.are_read.load(Ordering::Acquire)
    }

    /// Waits for what is being changed. Everybody who changes something ends, as the store does.
    async fn change(&self) -> SemaphorePermit<'_> {
        let permit = self.changes.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    fn known(&self, job: &Job) -> Option<Arc<Blueprint>> {
        let catalog = self.catalog.load();
        if let Some(newest) = catalog.get(&job.blueprint)
            && newest.revision == job.blueprint_revision
        {
            return Some(Arc::clone(newest));
        }
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.get(&pin_of(job)).cloned()
    }

    /// Remembers what the new catalog replaces.
    fn note_replaced(&self, catalog: &Catalog, now: Timestamp) {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        for old in self.catalog.load().iter() {
            let newest = catalog.get(&old.name);
            if newest.is_none_or(|newest| newest.revision != old.revision) {
                replaced.insert(revision_of(old), now);
            }
        }
    }

    /// Returns the revisions of which jobs may still be made: the newest, and those that a submission
    /// under way may have found as the newest.
    fn in_use(&self, now: Timestamp) -> Vec<BlueprintRevision> {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|_, at| now.since(*at) < SUBMISSION_LASTS);
        let newest = self.catalog.load();
        newest
            .iter()
            .map(|blueprint| revision_of(blueprint))
            .chain(replaced.keys().cloned())
            .collect()
    }
}

fn pin_of(job: &Job) -> BlueprintRevision {
    BlueprintRevision {
        name: job.blueprint.clone(),
        revision: job.blueprint_revision.clone(),
    }
}

impl Inner {
    /// Returns the revision that the job is pinned to, from memory or from the store.
    pub(super) async fn pinned(&self, job: &Job) -> Result<Arc<Blueprint>, RuntimeError> {
        if let Some(known) = self.blueprints.known(job) {
            return Ok(known);
        }
        let (name, revision) = (&job.blueprint, &job.blueprint_revision);
        let source = self
            .ports
            .jobs
            .blueprint_source(name, revision)
            .await?
            .ok_or_else(|| {
                StoreError::Corrupt(format!(
                    "revision {revision} of blueprint `{name}` is missing"
                ))
            })?;
        let loaded = load(name, &source).blueprint.ok_or_else(|| {
            StoreError::Corrupt(format!(
                "revision {revision} of blueprint `{name}` is not understood by this version"
            ))
        })?;
        let blueprint = Arc::new(loaded);
        let mut pinned = self
            .blueprints
            .pinned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pinned.insert(pin_of(job), Arc::clone(&blueprint));
        Ok(blueprint)
    }

    /// Forgets revisions that have been replaced and that no job has any more.
    pub(super) async fn forget_revisions(&self, now: Timestamp) -> Result<(), StoreError> {
        if !self.blueprints.are_read() {
            // Nobody knows yet which are the newest.
            return Ok(());
        }
        let change = self.blueprints.change().await;
        let in_use = self.blueprints.in_use(now);
        let gone = self.ports.jobs.purge_blueprints(&in_use).await?;
        drop(change);
        let mut pinned = self
            .blueprints
            .pinned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for one in gone {
            tracing::info!(blueprint = %one.name, revision = %one.revision, "revision of no job forgotten");
            pinned.remove(&one);
        }
        Ok(())
    }

    /// Returns a blueprint's data stores: what was written, over what the blueprint begins with.
    pub(super) async fn data_of(&self, blueprint: &Blueprint) -> Result<DataStores, RuntimeError> {
        if blueprint.data_stores.is_empty() {
            return Ok(DataStores::new());
        }
        let mut stores = blueprint.data_stores.clone();
        for (name, written) in self.ports.jobs.data_stores(&blueprint.name).await? {
            stores.entry(name).or_default().extend(written);
        }
        Ok(stores)
    }
}

impl Runtime {
    /// Returns the newest good revisions.
    #[must_use]
    pub fn blueprints(&self) -> Arc<Catalog> {
        self.inner.blueprints.catalog.load_full()
    }

    /// Takes the files as the blueprints from now on. A bad file never replaces a good revision;
    /// running jobs keep theirs. Returns everything that was found.
    pub async fn load_blueprints(
        &self,
        files: Vec<(String, String)>,
    ) -> Result<Vec<Problem>, RuntimeError> {
        let change = self.inner.blueprints.change().await;
        let previous = self.inner.blueprints.catalog.load_full();
        let (catalog, problems) = Catalog::load_files(files, &previous);
        for blueprint in catalog.iter() {
            let known = previous.get(&blueprint.name);
            if known.is_none_or(|old| old.revision != blueprint.revision) {
                // Stored before any job can be pinned to it.
                let Blueprint {
                    name,
                    revision,
                    source,
                    ..
                } = blueprint.as_ref();
                self.inner
                    .ports
                    .jobs
                    .put_blueprint(name, revision, source)
                    .await?;
            }
        }
        let now = self.inner.ports.clock.now();
        self.inner.blueprints.note_replaced(&catalog, now);
        self.inner.blueprints.catalog.store(Arc::new(catalog));
        drop(change);
        self.inner
            .blueprints
            .are_read
            .store(true, Ordering::Release);
        Ok(problems)
    }
}
