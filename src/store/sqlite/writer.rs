//! The one thread that writes, and its group commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::SqliteSettings;
use super::resident::{Resident, Transaction};
use crate::store::StoreError;

/// One caller's work, waiting for the writer.
trait Work: Send {
    /// Tells whether the caller still waits for it.
    fn is_wanted(&self) -> bool;

    /// Does the work inside the open transaction. After an error the transaction is undone, and
    /// this may be called again in another.
    fn run(&mut self, db: &Transaction<'_>) -> Result<(), StoreError>;

    /// Tells the caller how the transaction ended.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

struct Call<F, T> {
    work: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Call<F, T>
where
    F: FnMut(&Transaction<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, db: &Transaction<'_>) -> Result<(), StoreError> {
        self.outcome = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        let Self { outcome, reply, .. } = *self;
        let not_done = || StoreError::Unavailable("the work was not done".to_owned());
        let answer = transaction.and_then(|()| outcome.ok_or_else(not_done));
        // A caller that has gone meanwhile is told nothing.
        drop(reply.send(answer));
    }
}

/// The writer's entrance.
#[derive(Debug)]
pub(super) struct Writer {
    /// None once the store is closed. The thread ends when the last sender has gone.
    queue: Mutex<Option<mpsc::Sender<Box<dyn Work>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    has_ended: AtomicBool,
    timeout: Duration,
}

impl Writer {
    /// Starts the thread, which owns the connection from now on and keeps `resident` up to date.
    pub fn start(
        db: Connection,
        resident: Arc<Resident>,
        settings: &SqliteSettings,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(settings.queue_max.max(1));
        let batch_max = settings.batch_max.max(1);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(&db, &resident, receiver, batch_max))
            .map_err(|error| StoreError::Unavailable(format!("no thread to write: {error}")))?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            has_ended: AtomicBool::new(false),
            timeout: settings.call_timeout,
        })
    }

    /// Has the work done and waits until it is on disk.
    pub async fn call<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let sender = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(sender) = sender else {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        };
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call {
            work,
            outcome: None,
            reply,
        });
        let done = async {
            let stopped = || StoreError::Unavailable("the writer has stopped".to_owned());
            sender.send(call).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        tokio::time::timeout(self.timeout, done)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Unavailable(format!(
                    "no write within {:?}",
                    self.timeout
                )))
            })
    }

    /// Takes nothing more, writes and answers what is waiting, and stops; tells whether the thread
    /// has ended, which a stuck disk may keep it from.
    pub async fn stop(&self) -> bool {
        let Some(thread) = self.hang_up() else {
            return self.has_ended.load(Ordering::Acquire);
        };
        // A thread that has panicked has told its callers so already.
        let joined = tokio::task::spawn_blocking(move || drop(thread.join()));
        let in_time = tokio::time::timeout(self.timeout, joined).await;
        self.has_ended.fetch_or(in_time.is_ok(), Ordering::AcqRel) || in_time.is_ok()
    }

    fn hang_up(&self) -> Option<JoinHandle<()>> {
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.hang_up() {
            // Nobody can be waiting any more, so this lasts one transaction at most.
            drop(thread.join());
        }
    }
}

fn serve(
    db: &Connection,
    resident: &Resident,
    mut queue: mpsc::Receiver<Box<dyn Work>>,
    batch_max: usize,
) {
    let mut batch = Vec::with_capacity(batch_max);
    while queue.blocking_recv_many(&mut batch, batch_max) > 0 {
        batch.retain(|work| work.is_wanted());
        write_batch(db, resident, &mut batch);
    }
    // Leaves one tidy file behind. A failure costs nothing: the next start reads the log.
    drop(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
}

/// Writes everything in one transaction. When one work fails, all is undone and each is tried in a
/// transaction of its own, so that only the one that cannot be done fails.
fn write_batch(db: &Connection, resident: &Resident, batch: &mut Vec<Box<dyn Work>>) {
    match transact(db, resident, batch) {
        Ok(()) => batch.drain(..).for_each(|work| work.answer(Ok(()))),
        Err(_) if batch.len() > 1 => {
            for work in batch.drain(..).filter(|work| work.is_wanted()) {
                let mut alone = [work];
                let result = transact(db, resident, &mut alone);
                let [work] = alone;
                work.answer(result);
            }
        }
        Err(error) => batch
            .drain(..)
            .for_each(|work| work.answer(Err(error.clone()))),
    }
}

fn transact(
    db: &Connection,
    resident: &Resident,
    works: &mut [Box<dyn Work>],
) -> Result<(), StoreError> {
    if works.is_empty() {
        return Ok(());
    }
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let transaction = Transaction::new(db, resident);
    let result = works
        .iter_mut()
        .try_for_each(|work| work.run(&transaction))
        .and_then(|()| {
            db.prepare_cached("COMMIT")?.execute([])?;
            Ok(())
        });
    match &result {
        Ok(()) => transaction.publish(),
        // Some errors have ended the transaction already.
        Err(_) if db.is_autocommit() => {}
        Err(_) => {
            db.prepare_cached("ROLLBACK")?.execute([])?;
        }
    }
    result
}
