//! Blueprints in use: the newest good revisions, and those that running jobs are pinned to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Inner, Runtime, RuntimeError};
use crate::blueprint::{Blueprint, Catalog, Problem, load};
use crate::domain::Job;
use crate::engine::DataStores;
use crate::store::StoreError;

/// The catalog and the pinned revisions.
#[derive(Default)]
pub(super) struct Blueprints {
    catalog: ArcSwap<Catalog>,
    /// Whether the files have been read once: before that, a missing name says nothing.
    are_read: AtomicBool,
    /// By name and revision. Grows with the revisions that running jobs use, which is few.
    pinned: Mutex<HashMap<(String, String), Arc<Blueprint>>>,
}

impl Blueprints {
    pub(super) fn newest(&self, name: &str) -> Option<Arc<Blueprint>> {
        self.catalog.load().get(name).cloned()
    }

    pub(super) fn are_read(&self) -> bool {
        self.are_read.load(Ordering::Acquire)
    }

    fn known(&self, job: &Job) -> Option<Arc<Blueprint>> {
        let catalog = self.catalog.load();
        if let Some(newest) = catalog.get(&job.blueprint)
            && newest.revision == job.blueprint_revision
        {
            return Some(Arc::clone(newest));
        }
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned
            .get(&(job.blueprint.clone(), job.blueprint_revision.clone()))
            .cloned()
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
        pinned.insert((name.clone(), revision.clone()), Arc::clone(&blueprint));
        Ok(blueprint)
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
        self.inner.blueprints.catalog.store(Arc::new(catalog));
        self.inner
            .blueprints
            .are_read
            .store(true, Ordering::Release);
        Ok(problems)
    }
}
