//! The connection: pipelined connections that come back by themselves, and no call without an end.
//! Everything is a script, sent by its hash and in full when the server does not know it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike as _, ClusterInterface as _};
use fred::types::config::{Options, Server};
use fred::types::scripts::Script;
use fred::types::{ClusterHash, CustomCommand, Value};
use futures::future::{join_all, try_join_all};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::address::Refusal;
use super::line::{Line, Wire};
use super::trouble::{is_refused, told};
use super::{PARTITIONS, RedisSettings};
use crate::store::StoreError;

/// Redirections that one call follows while a cluster changes.
const REDIRECTIONS_MAX: u32 = 8;
/// The shortest wait before another one; it grows with their number.
const REDIRECTION_PAUSE: Duration = Duration::from_millis(20);
/// What the library says of a call whose attempts are used up before it was sent.
const NONE_LEFT: &str = "Too many failed write attempts";
/// Longest wait for the server's answer to a goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// A script, its hash known from the start.
pub(super) struct Code(Script);

impl Code {
    /// Makes a script of a part that all have in common, and one's own.
    pub fn new(common: &str, own: &str) -> Self {
        Self(Script::from_lua(format!("{common}\n{own}")))
    }
}

/// Whether doing a call twice is doing it once: then a lost connection is no reason to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It only reads, or writes the same again.
    Safe,
    /// It does not.
    Never,
}

/// A script on its way.
pub(super) struct Sent<'a> {
    pub code: &'a Code,
    pub prefix: String,
    pub arguments: Vec<Value>,
}

/// The connections.
pub(super) struct Link {
    lines: Vec<Arc<Line>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    prefix: String,
    is_cluster: bool,
    pub(super) settings: RedisSettings,
    closed: AtomicBool,
    /// Told when a connection was made again.
    found: watch::Sender<()>,
    /// Who keeps them.
    watchers: Mutex<JoinSet<()>>,
}

impl Link {
    /// Connects, or fails within the settings' time.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, Refusal> {
        let count = settings.connections.max(1);
        let lines = try_join_all((0..count).map(|_| Line::make(settings))).await;
        let lines = lines.map_err(|error| Refusal::of(settings, &error))?;
        let lines: Vec<Arc<Line>> = lines.into_iter().map(Arc::new).collect();
        let (found, _) = watch::channel(());
        Ok(Self {
            prefix: settings.prefix.clone(),
            is_cluster: lines[0].wire().client.is_clustered(),
            settings: settings.clone(),
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            watchers: Mutex::new(super::watch::watch(&lines, found.clone())),
            found,
            lines,
        })
    }

    /// Returns what changes whenever a connection was made again, from now on.
    pub fn reconnections(&self) -> watch::Receiver<()> {
        self.found.subscribe()
    }

    /// Returns the one whose turn it is.
    pub(super) fn next(&self) -> Arc<Wire> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.lines[turn % self.lines.len()].wire()
    }

    /// Tells whether partitions lie on several servers.
    pub fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Asks each server that keeps something the same; returns the answers by server, none where it refuses.
    pub async fn ask_each(
        &self,
        questions: &[(&'static str, &[&str])],
    ) -> Result<Vec<Vec<Option<Value>>>, StoreError> {
        let wire = self.next();
        let routes = wire.client.cached_cluster_state();
        let servers = routes.map(|routes| routes.unique_primary_nodes());
        let servers = servers.map_or(vec![None], |all| all.into_iter().map(Some).collect());
        let mut answers = Vec::new();
        for server in servers {
            let mut said = Vec::new();
            for (name, words) in questions {
                let words: Vec<Value> = words.iter().map(|word| (*word).into()).collect();
                said.push(match self.ask(&wire, server.clone(), name, words).await {
                    Ok(answer) => Some(answer),
                    Err(error) if is_refused(&error) => None,
                    Err(error) => return Err(told(&error)),
                });
            }
            answers.push(said);
        }
        Ok(answers)
    }

    /// Asks any server that keeps something; nothing where it refuses to answer.
    pub async fn ask_any(&self, name: &'static str) -> Result<Option<Value>, StoreError> {
        match self.ask(&self.next(), None, name, Vec::new()).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(told(&error)),
        }
    }

    /// Asks one server of a cluster, or the only one.
    async fn ask(
        &self,
        wire: &Wire,
        server: Option<Server>,
        name: &'static str,
        words: Vec<Value>,
    ) -> Result<Value, Error> {
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        let Some(server) = server else {
            return self.send(wire, command, words, Repeat::Safe).await;
        };
        let options = Options {
            timeout: Some(self.settings.command_timeout),
            ..Options::default()
        };
        let client = wire.client.with_cluster_node(server);
        client.with_options(&options).custom(command, words).await
    }

    /// Returns the prefix of a partition's keys.
    pub fn partition(&self, partition: u8) -> String {
        format!("{}:{{p{:02}}}:", self.prefix, partition % PARTITIONS)
    }

    /// Returns the prefix of the keys that have no partition.
    pub fn global(&self) -> String {
        format!("{}:{{g}}:", self.prefix)
    }

    /// Returns the prefix of what is known of workers.
    pub fn workers(&self) -> String {
        format!("{}:{{w}}:", self.prefix)
    }

    /// Runs a script on the keys of one partition.
    pub async fn run(
        &self,
        code: &Code,
        partition: u8,
        arguments: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Value, StoreError> {
        self.run_on(code, self.partition(partition), arguments, repeat)
            .await
    }

    /// Runs a script that only reads, with the same arguments on every partition at once; returns
    /// the answers by partition.
    pub async fn run_on_all(
        &self,
        code: &Code,
        arguments: &[Value],
    ) -> Result<Vec<Value>, StoreError> {
        let runs = (0..PARTITIONS)
            .map(|partition| self.run(code, partition, arguments.to_vec(), Repeat::Safe));
        try_join_all(runs).await
    }

    /// Runs a script on the keys that begin with a prefix.
    pub async fn run_on(
        &self,
        code: &Code,
        prefix: String,
        arguments: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Value, StoreError> {
        let script = Sent {
            code,
            prefix,
            arguments,
        };
        let answer = self.send_script(&self.next(), script, repeat).await;
        answer.map_err(|error| told(&error))
    }

    /// Makes a call that is no script, on the key that comes first.
    pub async fn call(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Value, StoreError> {
        let key = arguments.first().and_then(Value::as_bytes);
        let command = CustomCommand::new_static(name, place_of(key.unwrap_or_default()), false);
        let sent = self.send(&self.next(), command, arguments, repeat).await;
        sent.map_err(|error| told(&error))
    }

    pub(super) async fn send_script(
        &self,
        wire: &Wire,
        script: Sent<'_>,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        let sent = |code: Value| -> Vec<Value> {
            let keys = [code, 1.into(), script.prefix.as_str().into()];
            keys.into_iter()
                .chain(script.arguments.iter().cloned())
                .collect()
        };
        let hash = place_of(script.prefix.as_bytes());
        let code = &script.code.0;
        let by_hash = CustomCommand::new_static("EVALSHA", hash.clone(), false);
        match self
            .send(wire, by_hash, sent(code.sha1().clone().into()), repeat)
            .await
        {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                let whole = code.lua().expect("made from its text").clone();
                let command = CustomCommand::new_static("EVAL", hash, false);
                self.send(wire, command, sent(whole.into()), repeat).await
            }
            other => other,
        }
    }

    /// Sends a command; its hash says which server of a cluster gets it.
    pub(super) async fn send(
        &self,
        wire: &Wire,
        command: CustomCommand,
        arguments: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Canceled, "the store is closed"));
        }
        // A server of a cluster may be silent while others answer.
        let slot = match command.cluster_hash {
            ClusterHash::Custom(slot) if self.is_cluster => slot,
            _ => 0,
        };
        let ended = self.send_over(wire, command, arguments, repeat).await;
        wire.note(slot, &ended);
        ended
    }

    async fn send_over(
        &self,
        wire: &Wire,
        command: CustomCommand,
        arguments: Vec<Value>,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        let attempts = if repeat == Repeat::Safe { 3 } else { 1 };
        let options = Options {
            max_attempts: Some(attempts),
            timeout: Some(self.settings.command_timeout),
            ..Options::default()
        };
        let client = wire.client.with_options(&options);
        if !self.is_cluster {
            return client.custom(command, arguments).await;
        }
        for redirection in 0..REDIRECTIONS_MAX {
            // The first one is usual. Servers that still send a call back and forth have to hear of a
            // change from each other.
            if redirection > 1 {
                tokio::time::sleep(REDIRECTION_PAUSE * redirection).await;
            }
            let sent = client.custom(command.clone(), arguments.clone()).await;
            match sent {
                // Another server has the key now. The library counts its redirection as an attempt, and
                // says so when none is left; nothing was carried out.
                Err(error) if error.details().starts_with(NONE_LEFT) => {}
                other => return other,
            }
        }
        Err(Error::new(
            ErrorKind::Cluster,
            "the cluster's servers do not agree on who has the key",
        ))
    }

    /// Ends the connections; later calls fail.
    pub async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // What cannot say goodbye quickly ends without.
        let wires: Vec<Arc<Wire>> = self.lines.iter().map(|line| line.wire()).collect();
        let goodbyes = join_all(wires.iter().map(|wire| wire.client.quit()));
        if tokio::time::timeout(GOODBYE, goodbyes).await.is_err() {
            tracing::debug!("a connection to Redis did not end in good order");
        }
        // They put none in a place that is left.
        let mut watchers = std::mem::take(&mut *held(&self.watchers));
        watchers.shutdown().await;
        for line in &self.lines {
            line.end().await;
        }
    }
}

/// Returns on which server of a cluster a key lies. Custom commands are told it in no other way.
pub(super) fn place_of(key: &[u8]) -> ClusterHash {
    ClusterHash::Custom(fred::util::redis_keyslot(key))
}

pub(super) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
