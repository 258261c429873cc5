//! What the server says of itself: how it keeps what it is given, and whether it may drop it.

use std::fmt;

use fred::types::Value;

use super::RedisSettings;
use super::link::Link;
use super::records::{items, text};
use crate::store::{Durability, StoreError};

/// The oldest server whose scripts can do what ours do.
const VERSION_MIN: (u32, u32) = (6, 0);

/// What a server is asked.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("INFO", &[]),
    ("CONFIG", &["GET", "appendonly"]),
    ("CONFIG", &["GET", "appendfsync"]),
    ("CONFIG", &["GET", "maxmemory-policy"]),
];

/// A server's settings; what it does not tell is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    version: String,
    mode: String,
    replicas: Option<u32>,
    appendonly: Option<String>,
    appendfsync: Option<String>,
    maxmemory_policy: Option<String>,
}

impl Server {
    /// Asks the server, or each of a cluster's.
    pub async fn look(link: &Link) -> Result<Vec<Self>, StoreError> {
        let said = link.ask_each(&QUESTIONS).await?;
        said.into_iter().map(Self::of).collect()
    }

    /// Reads the answers to the questions.
    fn of(answers: Vec<Option<Value>>) -> Result<Self, StoreError> {
        let mut answers = answers.into_iter();
        let info = answers.next().flatten().and_then(text);
        let info = info.ok_or_else(|| {
            StoreError::Unavailable("Redis: its user must be allowed INFO".to_owned())
        })?;
        let mut server = Self::read(&info);
        let slots = [
            &mut server.appendonly,
            &mut server.appendfsync,
            &mut server.maxmemory_policy,
        ];
        for (slot, answer) in slots.into_iter().zip(answers) {
            // Hosted servers may not tell.
            if let Some(answer) = answer {
                *slot = setting(answer);
            }
        }
        Ok(server)
    }

    /// Returns the one of several that keeps least of what it is given.
    pub fn weakest(servers: Vec<Self>) -> Self {
        let rank = |server: &Self| match server.durability() {
            Durability::None => 0,
            Durability::Os => 1,
            Durability::Everysec => 2,
            Durability::Fsync => 3,
        };
        servers.into_iter().min_by_key(rank).unwrap_or_default()
    }

    fn read(info: &str) -> Self {
        let line = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        Self {
            version: line("redis_version").unwrap_or_default(),
            mode: line("redis_mode").unwrap_or_default(),
            replicas: line("connected_slaves").and_then(|count| count.parse().ok()),
            // What CONFIG may not tell, this does.
            appendonly: line("aof_enabled")
                .map(|on| if on == "1" { "yes" } else { "no" }.to_owned()),
            appendfsync: None,
            maxmemory_policy: line("maxmemory_policy"),
        }
    }

    /// Says why jobs must not be given to this server, if so: it is too old, or may drop them when its
    /// memory is full.
    pub fn refusal(&self, settings: &RedisSettings) -> Option<String> {
        let mut numbers = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < VERSION_MIN {
            let (major, minor) = VERSION_MIN;
            let found = &self.version;
            return Some(format!(
                "Redis {found} is too old, {major}.{minor} or newer is needed"
            ));
        }
        let policy = self.eviction().filter(|_| !settings.allow_eviction)?;
        Some(format!(
            "Redis drops jobs when its memory is full: its maxmemory-policy is {policy}, set it to \
             noeviction"
        ))
    }

    /// Returns the policy by which it drops what it was given, if it has told of one.
    fn eviction(&self) -> Option<&str> {
        let policy = self.maxmemory_policy.as_deref();
        policy.filter(|policy| *policy != "noeviction")
    }

    /// Tells how much a crash may cost. What is not told counts as the worst that it may be.
    pub fn durability(&self) -> Durability {
        match (self.appendonly.as_deref(), self.appendfsync.as_deref()) {
            (Some("yes"), Some("always")) => Durability::Fsync,
            (Some("yes"), Some("everysec")) => Durability::Everysec,
            (Some("yes"), _) => Durability::Os,
            _ => Durability::None,
        }
    }

    /// Tells whether both keep what they are given alike.
    pub fn keeps_like(&self, other: &Self) -> bool {
        self.durability() == other.durability() && self.eviction() == other.eviction()
    }

    /// Says on the log how it keeps the jobs.
    pub fn tell(&self) {
        let durability = self.durability();
        if durability == Durability::None {
            tracing::warn!(
                server = %self, ?durability,
                "a restart of Redis loses every job: set appendonly to yes"
            );
        } else {
            tracing::info!(server = %self, ?durability, "Redis keeps the jobs");
        }
        if let Some(policy) = self.eviction() {
            tracing::warn!(
                policy,
                "Redis drops jobs when its memory is full: set maxmemory-policy to noeviction"
            );
        }
    }
}

/// Reads a setting from an answer of names and values.
fn setting(answer: Value) -> Option<String> {
    let value = match answer {
        Value::Map(map) => map.inner().into_values().next(),
        answer => items(answer).into_iter().nth(1),
    };
    value.and_then(text)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown =
            |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(
            f,
            "Redis {} ({}), appendonly {}, appendfsync {}, maxmemory-policy {}",
            self.version,
            self.mode,
            or_unknown(&self.appendonly),
            or_unknown(&self.appendfsync),
            or_unknown(&self.maxmemory_policy),
        )?;
        match self.replicas {
            Some(count) => write!(f, ", {count} replicas"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(appendonly: &str, appendfsync: Option<&str>, policy: Option<&str>) -> Server {
        Server {
            appendonly: Some(appendonly.to_owned()),
            appendfsync: appendfsync.map(str::to_owned),
            maxmemory_policy: policy.map(str::to_owned),
            ..Server::read("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n")
        }
    }

    #[test]
    fn durability_is_what_the_server_says_or_the_worst_that_it_may_be() {
        for (appendonly, appendfsync, expected) in [
            ("yes", Some("always"), Durability::Fsync),
            ("yes", Some("everysec"), Durability::Everysec),
            ("yes", Some("no"), Durability::Os),
            ("yes", None, Durability::Os),
            ("no", Some("always"), Durability::None),
        ] {
            let seen = server(appendonly, appendfsync, None).durability();
            assert_eq!(seen, expected, "{appendonly} {appendfsync:?}");
        }
        assert_eq!(
            Server::read("aof_enabled:1\r\n").durability(),
            Durability::Os
        );
        assert_eq!(Server::default().durability(), Durability::None);
    }

    #[test]
    fn eviction_is_for_development_only() {
        let mut settings = RedisSettings::new("redis://localhost".into());
        let evicts = server("yes", None, Some("allkeys-lru"));
        let refusal = evicts.refusal(&settings).expect("refused");
        assert!(refusal.contains("allkeys-lru"), "{refusal}");
        for policy in [Some("noeviction"), None] {
            let server = server("yes", None, policy);
            assert_eq!(server.refusal(&settings), None);
            assert!(!server.keeps_like(&evicts));
        }
        settings.allow_eviction = true;
        assert_eq!(evicts.refusal(&settings), None);
    }

    #[test]
    fn old_servers_are_refused() {
        let settings = RedisSettings::new("redis://localhost".into());
        for (version, is_good) in [
            ("5.0.14", false),
            ("6.0.0", true),
            ("7.2.4", true),
            ("", false),
        ] {
            let server = Server::read(&format!("redis_version:{version}\r\n"));
            let refusal = server.refusal(&settings);
            assert_eq!(refusal.is_none(), is_good, "{version}: {refusal:?}");
        }
    }
}
