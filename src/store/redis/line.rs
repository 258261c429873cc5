//! One connection to the server, or to each of a cluster's. Where calls over it only time out another takes
//! its place: the library holds a connection for good as long as something is sent over it, and what is
//! sent to a server that hangs, or whose machine is gone, may block it altogether. So it is where the server
//! has become a replica and leaves its connections open: the address may lead to another one by now.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, ConnectHandle, CustomCommand};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::address::builder;
use super::link::held;
use super::trouble::is_replicas;
use super::{OPEN_AGAIN_FIRST, OPEN_AGAIN_LAST, RedisSettings};

/// Slots of which it is known that nothing comes from them: more than there are kinds of keys.
const SILENT_MAX: usize = 64;

/// The task of a client's connections. They end with it, and it ends when this is dropped.
pub(super) struct Connection(ConnectHandle);

impl Connection {
    /// Connects a client that was just made, within its time for each server that it knows: all of them may
    /// have to be tried. Nothing of it is left where that fails.
    pub async fn make(client: &impl ClientLike) -> Result<Self, Error> {
        let known = client.client_config().server.hosts().len();
        let patience = client.connection_config().connection_timeout;
        let patience = patience.saturating_mul(u32::try_from(known).unwrap_or(u32::MAX));
        // Waited for before it is begun, which the order of these two does: between the library's look at a
        // connection and its subscription to the news of it, one that comes about is never heard of.
        let (waited, made) =
            futures::future::join(timeout(patience, client.wait_for_connect()), async {
                Self(client.connect())
            })
            .await;
        let connected = waited.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Timeout,
                "no connection came about in time",
            ))
        });
        match connected {
            Ok(()) => Ok(made),
            Err(error) => {
                // Nothing is tried again behind the caller's back.
                made.end().await;
                Err(error)
            }
        }
    }

    /// Ends it, and waits for that.
    pub async fn end(mut self) {
        self.0.abort();
        // It says that it was aborted, or why it ended before; neither matters any more.
        drop((&mut self.0).await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the servers of a cluster that a client has heard of.
pub(super) fn known(client: &impl ClusterInterface) -> Vec<Server> {
    let routes = client.cached_cluster_state();
    routes.map_or_else(Vec::new, |routes| routes.unique_primary_nodes())
}

/// Since when calls have only timed out, by the slot of a cluster that they are about.
#[derive(Default)]
struct Silence {
    /// How many slots there are, so that an answer costs one look while there are none.
    count: AtomicUsize,
    since: Mutex<Vec<(u16, Instant)>>,
}

impl Silence {
    /// A call has timed out.
    fn goes_on(&self, slot: u16) {
        let mut since = held(&self.since);
        if since.len() < SILENT_MAX && !since.iter().any(|(known, _)| *known == slot) {
            since.push((slot, Instant::now()));
            self.count.store(since.len(), Ordering::Release);
        }
    }

    /// Something has come.
    fn ends(&self, slot: u16) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut since = held(&self.since);
            since.retain(|(known, _)| *known != slot);
            self.count.store(since.len(), Ordering::Release);
        }
    }

    /// Tells whether it has lasted so long for one of them.
    fn lasts(&self, long: Duration) -> bool {
        let since = held(&self.since);
        since.iter().any(|(_, since)| since.elapsed() >= long)
    }
}

/// A client, and whether its connections are of any use.
pub(super) struct Wire {
    pub client: Client,
    silence: Silence,
    /// The server has said that it takes no writes because it is a replica. One of a cluster sends calls on
    /// instead.
    is_replicas: AtomicBool,
    /// It is time to look whether another does better.
    doubted: Notify,
    /// From the first call that has timed out to that time; the call itself had waited as long.
    patience: Duration,
}

impl Wire {
    async fn make(
        settings: &RedisSettings,
        known: Vec<Server>,
    ) -> Result<(Arc<Self>, Connection), Error> {
        let client = builder(settings, known)?.build()?;
        let connection = Connection::make(&client).await?;
        let wire = Self {
            client,
            silence: Silence::default(),
            is_replicas: AtomicBool::new(false),
            doubted: Notify::new(),
            patience: settings.command_timeout,
        };
        Ok((Arc::new(wire), connection))
    }

    /// Notes how a call about that slot has ended. Costs one look at a number while nothing is silent.
    pub fn note<T>(&self, slot: u16, ended: &Result<T, Error>) {
        match ended.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Timeout) => {
                self.silence.goes_on(slot);
                if self.is_silent() {
                    self.doubted.notify_one();
                }
            }
            // It was not sent: too many wait before it.
            Err(ErrorKind::Backpressure) => {}
            // An answer, or the news that the connection is lost, after which the library makes another.
            _ => self.silence.ends(slot),
        }
        if ended.as_ref().is_err_and(is_replicas) && !self.client.is_clustered() {
            self.is_replicas.store(true, Ordering::Release);
            self.doubted.notify_one();
        }
    }

    fn is_silent(&self) -> bool {
        self.silence.lasts(self.patience)
    }

    fn is_replicas(&self) -> bool {
        self.is_replicas.load(Ordering::Acquire)
    }

    /// Says what is wrong with it, if anything is.
    fn trouble(&self) -> Option<&'static str> {
        if self.is_replicas() {
            return Some("the old one leads to a replica");
        }
        self.is_silent().then_some("nothing came over the old one")
    }

    /// Asks the server whether it is a replica; one that does not say so may be.
    async fn leads_to_replica(&self) -> bool {
        let info = CustomCommand::new_static("INFO", ClusterHash::Random, false);
        let said: Result<String, Error> = self.client.custom(info, vec!["replication"]).await;
        said.map_or(true, |said| said.contains("role:slave"))
    }

    /// Waits until calls have only timed out for too long, or the server has become a replica.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }
}

/// A place for one client at a time.
pub(super) struct Line {
    settings: RedisSettings,
    wire: Mutex<Arc<Wire>>,
    connection: Mutex<Option<Connection>>,
}

impl Line {
    /// Connects, or fails within the settings' time.
    pub async fn make(settings: &RedisSettings) -> Result<Self, Error> {
        let (wire, connection) = Wire::make(settings, Vec::new()).await?;
        Ok(Self {
            settings: settings.clone(),
            wire: Mutex::new(wire),
            connection: Mutex::new(Some(connection)),
        })
    }

    /// Returns the client that has its place just now.
    pub fn wire(&self) -> Arc<Wire> {
        Arc::clone(&held(&self.wire))
    }

    /// Puts another in the place of one that is of no use, as soon as one connects that is; what this one has
    /// under way gets the time of a call. Ends without when something comes over it after all: a server that
    /// is merely slow answers neither.
    pub async fn replace(&self, bad: &Wire) -> Option<Replaced> {
        let mut pause = OPEN_AGAIN_FIRST;
        while bad.trouble().is_some() {
            if let Some((wire, connection)) = self.better_than(bad).await {
                let Some(reason) = bad.trouble() else {
                    connection.end().await;
                    break;
                };
                *held(&self.wire) = wire;
                let old = held(&self.connection).replace(connection);
                tracing::info!(reason, "a connection to Redis was made anew");
                return Some(Replaced {
                    connection: old?,
                    ends_in: self.settings.command_timeout,
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(OPEN_AGAIN_LAST);
        }
        None
    }

    /// Makes another, if it is to be had and the address does not lead to the same trouble again.
    async fn better_than(&self, bad: &Wire) -> Option<(Arc<Wire>, Connection)> {
        let made = Wire::make(&self.settings, known(&bad.client)).await;
        let made = made.inspect_err(|error| {
            tracing::debug!(%error, "Redis does not answer over a new connection, either");
        });
        let (wire, connection) = made.ok()?;
        if bad.is_replicas() && wire.leads_to_replica().await {
            tracing::debug!("the address of Redis still leads to a replica");
            connection.end().await;
            return None;
        }
        Some((wire, connection))
    }

    /// Ends the connection.
    pub async fn end(&self) {
        let connection = held(&self.connection).take();
        if let Some(connection) = connection {
            connection.end().await;
        }
    }
}

/// A connection whose place another has.
pub(super) struct Replaced {
    connection: Connection,
    ends_in: Duration,
}

impl Replaced {
    /// Ends it when everything that was sent over it is answered or has timed out.
    pub async fn end(self) {
        sleep(self.ends_in).await;
        self.connection.end().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_from_the_first_call_that_timed_out_to_the_next_answer() {
        let silence = Silence::default();
        assert!(!silence.lasts(Duration::ZERO));
        silence.goes_on(1);
        tokio::time::advance(LONG / 2).await;
        silence.goes_on(1);
        silence.goes_on(2);
        assert!(!silence.lasts(LONG));
        tokio::time::advance(LONG / 2).await;
        assert!(silence.lasts(LONG), "slot 1's");
        silence.ends(3);
        assert!(silence.lasts(LONG), "another server of a cluster answers");
        silence.ends(1);
        assert!(!silence.lasts(LONG), "slot 2's has not lasted so long");
        silence.ends(2);
        assert!(!silence.lasts(Duration::ZERO));
        for slot in 0..1000 {
            silence.goes_on(slot);
        }
        assert_eq!(held(&silence.since).len(), SILENT_MAX);
    }
}
