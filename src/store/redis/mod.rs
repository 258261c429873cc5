//! The store in Redis: shared by any number of orchestrators, alone, behind Sentinel or in a cluster.
//!
//! One Lua script is one commit. A job with all its descendants lies in one partition, which is a
//! part of its id and of the ids of its tasks and messages; all keys of a partition have one hash
//! tag. Scripts see small fields only: bodies are JSON, written and read here, encrypted if a key is
//! set. The layout is told in `lua/common.lua`.

mod address;
mod clocks;
mod commit;
mod damage;
mod data;
mod durability;
mod facts;
mod feed;
mod feed_batch;
mod feed_entry;
mod hints;
mod history;
mod jobs;
mod kept;
mod keys;
mod line;
mod link;
mod outbox;
mod purge;
mod queries;
mod records;
mod replicas;
mod reserve;
mod revisions;
mod seal;
mod spread;
mod tasks;
mod teller;
mod trouble;
mod watch;
mod workers;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use fred::types::Value;
use tokio::task::JoinSet;

use self::address::Refusal;
use self::damage::Damage;
use self::facts::Facts;
use self::hints::Listener;
use self::kept::Kept;
use self::link::{Code, Link};
use self::seal::Seal;
use super::{Durability, StoreError};
use crate::base::{Clock as _, Secret, SystemClock, Timestamp};
use crate::net::TlsFiles;

/// Families are spread over so many partitions, which is the most servers of a cluster that share
/// the work. Part of the layout: it never changes for keys that are there.
const PARTITIONS: u8 = 16;

/// One connection, so that under load many calls are written and read at once: on two cores two did 4 %
/// less than one, and four 7 % less than two.
const CONNECTIONS: usize = 1;
/// Where commits wait for replicas: meanwhile the server takes nothing else over their connections.
const CONNECTIONS_THAT_WAIT: usize = 8;
/// Between two tries at opening; doubles up to the second.
const OPEN_AGAIN_FIRST: Duration = Duration::from_millis(100);
const OPEN_AGAIN_LAST: Duration = Duration::from_secs(2);
/// See [`RedisSettings::revisions_kept`].
const REVISIONS_KEPT: Duration = Duration::from_hours(24);

/// Scripts that need nothing in common.
static WORKERS: LazyLock<Code> = LazyLock::new(|| Code::new("", include_str!("lua/workers.lua")));

/// Makes the static of a script.
macro_rules! code {
    ($name:ident, $file:literal) => {
        pub(in crate::store::redis) static $name: std::sync::LazyLock<
            $crate::store::redis::link::Code,
        > = std::sync::LazyLock::new(|| {
            $crate::store::redis::link::Code::new(
                include_str!("lua/common.lua"),
                include_str!(concat!("lua/", $file, ".lua")),
            )
        });
    };
}
use code;

/// How the store is reached and used. Units are in the names.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://`, `redis+unix://` and their
    /// like, with user, password and database.
    pub url: Secret,
    /// Whose certificates a server shows, for the URLs with `rediss`; the public authorities' unless
    /// told otherwise.
    pub tls: TlsFiles,
    /// What all keys begin with: deployments with different ones share a server.
    pub prefix: String,
    /// Connections, each of which carries any number of calls at once.
    pub connections: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub command_timeout: Duration,
    /// Replicas that must have a commit before it counts; 0 asks none.
    pub replicas: u32,
    /// Whether a server that may drop keys when its memory is full is accepted, which is for
    /// development only.
    pub allow_eviction: bool,
    /// How long ended jobs stay once the archive has them, where that is less than their own time; none
    /// is never less.
    pub retention: Option<Duration>,
    /// How long a blueprint's revision is kept that no job has and no orchestrator names as its own.
    /// Each names its own every minute: longer than one may stand still.
    pub revisions_kept: Duration,
    /// What bodies are encrypted with, the present key first; none leaves them readable.
    pub encryption_keys: Vec<Secret>,
    /// By what the times go that the store is given, to be compared with the server's clock.
    pub clock: fn() -> Timestamp,
}

impl RedisSettings {
    /// Returns the settings for a server, all but its URL by default.
    #[must_use]
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            tls: TlsFiles::default(),
            prefix: "avtomatika".to_owned(),
            connections: Self::usual_connections(0),
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            replicas: 0,
            allow_eviction: false,
            retention: None,
            revisions_kept: REVISIONS_KEPT,
            encryption_keys: Vec::new(),
            clock: || SystemClock.now(),
        }
    }
}

impl RedisSettings {
    /// Returns how many connections do well when commits wait for so many replicas.
    #[must_use]
    pub const fn usual_connections(replicas: u32) -> usize {
        match replicas {
            0 => CONNECTIONS,
            _ => CONNECTIONS_THAT_WAIT,
        }
    }

    /// Checks what can be checked without a server. The message names no secret.
    pub fn check(&self) -> Result<(), String> {
        address::check(self)
    }
}

/// Jobs, workers and history in Redis.
pub struct RedisStore {
    link: Arc<Link>,
    hints: Listener,
    seal: Seal,
    damage: Damage,
    facts: Arc<Facts>,
    /// Keeps them true.
    looking: Mutex<JoinSet<()>>,
    replicas: u32,
    retention: Option<Duration>,
    /// Whether this process has the lease of the feed, as far as it knows.
    brings: AtomicBool,
    /// What it has told since it read the feed last.
    kept: Mutex<Kept>,
    revisions_kept: Duration,
    /// Where the next look at what may go goes on.
    cursors: Mutex<purge::Cursors>,
}

impl RedisStore {
    /// Connects and looks at how the server keeps what it is given.
    ///
    /// Errors: it cannot be reached, or it would drop jobs when its memory is full.
    pub async fn open(settings: &RedisSettings) -> Result<Self, StoreError> {
        // Whoever opens a store once need not have room for all of that for ever.
        Box::pin(Self::connect(settings))
            .await
            .map_err(|refusal| refusal.error)
    }

    /// Likewise, waiting for a server that is still on its way up; says so once on the log.
    ///
    /// Errors: as [`open`](Self::open); what waiting does not mend is told at once, the rest after
    /// that time.
    pub async fn open_within(
        settings: &RedisSettings,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let mut last = None;
        let opened = Box::pin(async {
            let mut pause = OPEN_AGAIN_FIRST;
            loop {
                match Self::connect(settings).await {
                    Ok(store) => return Ok(store),
                    Err(refusal) if !refusal.passes => return Err(refusal.error),
                    Err(Refusal { error, .. }) => {
                        if last.is_none() {
                            let patience_s = patience.as_secs();
                            tracing::warn!(%error, patience_s, "waiting for Redis");
                        }
                        last = Some(error);
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(OPEN_AGAIN_LAST);
            }
        });
        match tokio::time::timeout(patience, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(last.unwrap_or_else(|| {
                StoreError::Unavailable("Redis did not answer in time".to_owned())
            })),
        }
    }

    async fn connect(settings: &RedisSettings) -> Result<Self, Refusal> {
        let link = Arc::new(Link::connect(settings).await?);
        let facts = match Facts::begin(&link, settings).await {
            Ok(facts) => facts,
            Err(refusal) => {
                link.close().await;
                return Err(refusal);
            }
        };
        let hints = match Listener::start(settings, Arc::clone(&link)).await {
            Ok(hints) => hints,
            Err(error) => {
                link.close().await;
                return Err(Refusal::passing(error));
            }
        };
        Ok(Self {
            looking: Mutex::new(facts.look_on(&link)),
            link,
            hints,
            seal: Seal::new(&settings.encryption_keys),
            damage: Damage::default(),
            facts,
            replicas: settings.replicas,
            retention: settings.retention,
            brings: AtomicBool::new(false),
            kept: Mutex::default(),
            revisions_kept: settings.revisions_kept,
            cursors: Mutex::default(),
        })
    }

    /// Says in one line what keeps the jobs and how, and how far its clock is from this machine's where that
    /// matters.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{}{}", self.facts.server(), self.facts.clocks())
    }

    /// Tells how much a crash may cost, as the server is set.
    fn kept(&self) -> Durability {
        self.facts.server().durability()
    }
}

/// Makes arguments of texts and numbers.
fn arguments<const N: usize>(values: [&dyn ToString; N]) -> Vec<Value> {
    values
        .iter()
        .map(|value| value.to_string().into())
        .collect()
}
