//! Where the server is: its address read, how connections to it are made, and what is said when none
//! comes about.

use fred::error::{Error, ErrorKind};
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConnector};

use super::RedisSettings;
use crate::net::client_config;
use crate::store::StoreError;

/// Commands that wait for their turn on one connection; beyond it callers are told at once.
const WAITING_MAX: usize = 20_000;
/// Between tries at connecting again; doubles up to the second.
const RECONNECT_FIRST_MS: u32 = 50;
const RECONNECT_LAST_MS: u32 = 2_000;

/// Why a store cannot be opened.
pub(super) struct Refusal {
    /// What is told.
    pub error: StoreError,
    /// Whether the same may go well a moment later: a server that is still on its way up.
    pub passes: bool,
}

impl Refusal {
    /// Takes what no waiting mends.
    pub const fn lasting(error: StoreError) -> Self {
        Self {
            error,
            passes: false,
        }
    }

    /// Takes what waiting may mend.
    pub const fn passing(error: StoreError) -> Self {
        Self {
            error,
            passes: true,
        }
    }

    /// Tells why no connection came about: to which server, and what to look at.
    pub fn of(settings: &RedisSettings, error: &Error) -> Self {
        let (hint, passes) = match error.kind() {
            ErrorKind::Auth => ("REDIS_USER and REDIS_PASSWORD, or those in STORE", false),
            ErrorKind::Tls => ("REDIS_CA_FILE", false),
            ErrorKind::Config | ErrorKind::Url | ErrorKind::InvalidArgument => ("STORE", false),
            _ => ("whether it runs, and REDIS_HOST or STORE (--store)", true),
        };
        let at = shown(settings);
        let error = StoreError::Unavailable(format!(
            "no connection to Redis at {at}: {error}; check {hint} \
             (`avtomatika config check --connect` tries again)"
        ));
        Self { error, passes }
    }
}

/// Shows where the server is, without user and password.
fn shown(settings: &RedisSettings) -> String {
    let Ok(config) = address(settings) else {
        return "an unreadable address".to_owned();
    };
    let hosts = |hosts: &[Server]| {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        hosts.join(", ")
    };
    match &config.server {
        ServerConfig::Centralized { server } => server.to_string(),
        ServerConfig::Clustered { hosts: all, .. } => format!("the cluster of {}", hosts(all)),
        ServerConfig::Unix { path } => path.display().to_string(),
        ServerConfig::Sentinel {
            hosts: all,
            service_name,
            ..
        } => format!("`{service_name}` of the sentinels {}", hosts(all)),
    }
}

/// Checks the address and the files that the settings name.
pub(super) fn check(settings: &RedisSettings) -> Result<(), String> {
    address(settings).map_err(|error| error.details().to_owned())?;
    client_config(&settings.tls).map_err(|problem| problem.to_string())?;
    Ok(())
}

impl RedisSettings {
    /// Returns the channel on which orchestrators hear of each other. A server's channels know no databases,
    /// so its name has the database's number.
    pub(super) fn channel(&self) -> Result<String, Error> {
        Ok(match address(self)?.database {
            None | Some(0) => format!("{}:hints", self.prefix),
            Some(database) => format!("{}:hints:{database}", self.prefix),
        })
    }
}

fn address(settings: &RedisSettings) -> Result<Config, Error> {
    // What the library says of an address could show its password.
    let no_address = || {
        Error::new(
            ErrorKind::Config,
            "this is no address of a Redis server: expected redis://USER:PASSWORD@HOST:PORT/DB, \
             or rediss://, redis-cluster://, redis-sentinel://, redis+unix://",
        )
    };
    let url = settings.url.expose();
    if !url.starts_with("redis") && !url.starts_with("valkey") {
        return Err(no_address());
    }
    let config = Config::from_url(url).map_err(|_| no_address())?;
    Ok(config)
}

/// Returns how every connection is made. Of a cluster more servers may be known than its address names.
pub(super) fn builder(settings: &RedisSettings, known: Vec<Server>) -> Result<Builder, Error> {
    let mut config = address(settings)?;
    if let ServerConfig::Clustered { hosts, .. } = &mut config.server {
        hosts.extend(known);
    }
    if config.uses_tls() {
        let tls = client_config(&settings.tls)
            .map_err(|problem| Error::new(ErrorKind::Tls, problem.to_string()))?;
        config.tls = Some(TlsConnector::Rustls(tls.into()).into());
    }
    // The first connection comes about or says why not; later ones are tried for again and again.
    config.fail_fast = true;
    let mut builder = Builder::from_config(config);
    builder
        .with_performance_config(|config| {
            config.default_command_timeout = settings.command_timeout;
            config.broadcast_channel_capacity = crate::store::HINTS_MAX;
        })
        .with_connection_config(|config| {
            config.connection_timeout = settings.connect_timeout;
            config.internal_command_timeout = settings.command_timeout;
            config.max_command_attempts = 1;
            config.max_command_buffer_len = WAITING_MAX;
            config.tcp = TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            };
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            RECONNECT_FIRST_MS,
            RECONNECT_LAST_MS,
            2,
        ));
    Ok(builder)
}
