//! The connections that read: a few, each used by one call at a time on a blocking thread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{SqliteSettings, schema};
use crate::store::StoreError;

/// A pool of connections; calls beyond its size wait their turn.
#[derive(Debug)]
pub(super) struct Readers {
    /// One permit for each connection; closed with the store.
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    count: usize,
    timeout: Duration,
}

/// A connection on loan; goes back however the work on it ends.
struct Loan {
    db: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(db);
        }
    }
}

impl Readers {
    /// Opens all connections.
    pub fn open(path: &Path, settings: &SqliteSettings) -> Result<Self, StoreError> {
        let count = settings.readers.max(1);
        let idle = (0..count)
            .map(|_| schema::connect_reader(path))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(idle, settings.call_timeout))
    }

    /// Takes connections that are open.
    pub fn of(connections: Vec<Connection>, timeout: Duration) -> Self {
        let count = connections.len();
        Self {
            permits: Arc::new(Semaphore::new(count)),
            idle: Arc::new(Mutex::new(connections)),
            count,
            timeout,
        }
    }

    /// Has the work done on one of the connections.
    pub async fn call<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let done = async {
            let permit = Arc::clone(&self.permits)
                .acquire_owned()
                .await
                .map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
            let db = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let loan = Loan {
                db,
                idle: Arc::clone(&self.idle),
            };
            let reading = tokio::task::spawn_blocking(move || {
                // A caller that has stopped waiting leaves the permit with the work.
                let _permit = permit;
                let loan = loan;
                let db = loan
                    .db
                    .as_ref()
                    .expect("there are as many connections as permits");
                work(db)
            });
            reading
                .await
                .map_err(|error| StoreError::Unavailable(format!("a read broke off: {error}")))?
        };
        tokio::time::timeout(self.timeout, done)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Unavailable(format!(
                    "no read within {:?}",
                    self.timeout
                )))
            })
    }

    /// Waits for the reads under way and closes the connections.
    pub async fn stop(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        // Reads that outlast the timeout keep their connection until they end.
        let waited = tokio::time::timeout(self.timeout, self.permits.acquire_many(all)).await;
        self.permits.close();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        drop(waited);
    }
}
