//! What an orchestrator keeps its jobs and its history on: private servers in temporary folders.

use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;

/// Where jobs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The embedded store, every commit synced.
    Embedded,
    /// Redis with an append-only file that is synced every second.
    Redis,
}

/// The servers behind one orchestrator or several; dropping it ends them.
pub struct Backing {
    redis: Option<Redis>,
    postgres: Option<Postgres>,
}

/// What a Redis server has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Scripts and commands that were sent, those within a script left out.
    pub scripts: u64,
    /// Times that it read from a connection: what is sent together is read together.
    pub reads: u64,
}

impl Backing {
    /// Starts what is needed.
    pub fn start(store: Store, has_history: bool) -> Self {
        Self::with(store, has_history, &["--appendfsync", "everysec"])
    }

    /// Likewise, for short turns that are compared. Now and then Redis rewrites its append-only file, which
    /// takes most of a core for a second: into which turn that falls would say more than what is measured.
    pub fn start_steady(store: Store, has_history: bool) -> Self {
        let steady = [
            "--appendfsync",
            "everysec",
            "--auto-aof-rewrite-percentage",
            "0",
        ];
        Self::with(store, has_history, &steady)
    }

    fn with(store: Store, has_history: bool, redis: &[&str]) -> Self {
        Self {
            redis: (store == Store::Redis).then(|| Redis::with(redis)),
            postgres: has_history.then(Postgres::start),
        }
    }

    /// Returns the settings by which an orchestrator finds it.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let redis = self.redis.as_ref().map(|redis| ("STORE", redis.url()));
        let postgres = self.postgres.as_ref();
        let postgres = postgres.map(|server| ("HISTORY_DATABASE_URI", server.url()));
        redis.into_iter().chain(postgres).collect()
    }

    /// Returns the address of its Redis, if it has one.
    pub fn redis_url(&self) -> Option<String> {
        self.redis.as_ref().map(Redis::url)
    }

    /// Returns what its Redis has done so far, if it has one.
    pub fn work(&self) -> Option<Work> {
        let redis = self.redis.as_ref()?;
        let said =
            redis.command(&["info", "stats"]) + "\n" + &redis.command(&["info", "commandstats"]);
        let after = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            let number = line.map(|rest| rest.chars().take_while(char::is_ascii_digit));
            number.map_or(0, |digits| digits.collect::<String>().parse().unwrap_or(0))
        };
        Some(Work {
            scripts: after("cmdstat_evalsha:calls=") + after("cmdstat_eval:calls="),
            reads: after("total_reads_processed:"),
        })
    }
}
