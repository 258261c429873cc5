//! Which server keeps the jobs, if not the embedded store.

use std::time::Duration;

use super::{Origin, Problem, Problems, Resolved};
use crate::base::Secret;
use crate::net::TlsFiles;
use crate::store::RedisSettings;

/// Settings that say something only beside a server.
const BESIDE: [&str; 4] = [
    "REDIS_CA_FILE",
    "REDIS_WAIT_REPLICAS",
    "REDIS_ENCRYPTION_KEY",
    "REDIS_PASSWORD",
];
/// Settings that are parts of an address, beside their host.
const PARTS: [&str; 4] = ["REDIS_PORT", "REDIS_DB", "REDIS_USER", "REDIS_PASSWORD"];

/// Builds the settings of a store in Redis; none is the embedded store.
pub(super) fn redis(
    values: &Resolved,
    production: bool,
    problems: &mut Problems,
) -> Option<RedisSettings> {
    let (store, host) = (
        values.text("STORE").trim(),
        values.text("REDIS_HOST").trim(),
    );
    let url = match (store.is_empty(), host.is_empty()) {
        (true, true) => {
            for name in BESIDE {
                let set = values.text(name).trim();
                if !set.is_empty() && set != "0" {
                    let place = values.origin(name).to_string();
                    let message = "has no effect without STORE or REDIS_HOST: jobs are kept in the embedded store, in DATA_DIR";
                    problems.push(Problem::warning(&place, name, message));
                }
            }
            return None;
        }
        (false, false) => {
            let place = values.origin("STORE").to_string();
            let message = "REDIS_HOST is set too: expected one of them";
            problems.push(Problem::error(&place, "STORE", message));
            return None;
        }
        (false, true) => {
            for name in PARTS {
                let place = values.origin(name);
                if place != Origin::Default && !values.text(name).trim().is_empty() {
                    let message = "has no effect with STORE: write it into that address, or set REDIS_HOST instead of STORE";
                    problems.push(Problem::warning(&place.to_string(), name, message));
                }
            }
            store.to_owned()
        }
        (true, false) => url_of(values, host),
    };
    tell_of_plain_text(values, &url, problems);
    let replicas = u32::try_from(values.integer("REDIS_WAIT_REPLICAS")).unwrap_or(u32::MAX);
    let settings = RedisSettings {
        tls: TlsFiles {
            ca: values.path("REDIS_CA_FILE"),
            identity: None,
        },
        prefix: values.text("REDIS_PREFIX").trim().to_owned(),
        connections: match usize::try_from(values.integer("REDIS_CONNECTIONS")) {
            Ok(count) if count > 0 => count,
            _ => RedisSettings::usual_connections(replicas),
        },
        connect_timeout: Duration::from_secs(values.integer("REDIS_TIMEOUT_SECONDS")),
        command_timeout: Duration::from_secs(values.integer("REDIS_TIMEOUT_SECONDS")),
        replicas,
        allow_eviction: !production,
        retention: Some(values.duration("REDIS_JOB_RETENTION")),
        encryption_keys: keys(values.text("REDIS_ENCRYPTION_KEY")),
        ..RedisSettings::new(Secret::new(url))
    };
    let name = if store.is_empty() {
        "REDIS_HOST"
    } else {
        "STORE"
    };
    if let Err(message) = settings.check() {
        let place = values.origin(name).to_string();
        problems.push(Problem::error(&place, name, &message));
        return None;
    }
    Some(settings)
}

/// Refuses an authority for certificates that nobody would look at.
fn tell_of_plain_text(values: &Resolved, url: &str, problems: &mut Problems) {
    let scheme = url.split("://").next().unwrap_or_default();
    let asks_for_tls = scheme.starts_with("rediss") || scheme.starts_with("valkeys");
    if !asks_for_tls && values.path("REDIS_CA_FILE").is_some() {
        let place = values.origin("REDIS_CA_FILE").to_string();
        let message = "the address asks for no TLS, so that nothing would be encrypted: set STORE=rediss://USER:PASSWORD@HOST:PORT/DB, or leave this out";
        problems.push(Problem::error(&place, "REDIS_CA_FILE", message));
    }
}

fn url_of(values: &Resolved, host: &str) -> String {
    let (user, password) = (
        values.text("REDIS_USER").trim(),
        values.text("REDIS_PASSWORD"),
    );
    let who = match (user.is_empty(), password.is_empty()) {
        (true, true) => String::new(),
        _ => format!("{}:{}@", escaped(user), escaped(password)),
    };
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let (port, database) = (values.integer("REDIS_PORT"), values.integer("REDIS_DB"));
    format!("redis://{who}{host}:{port}/{database}")
}

/// Writes a text as a part of an address.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn keys(text: &str) -> Vec<Secret> {
    let keys = text.split(',').map(str::trim);
    keys.filter(|key| !key.is_empty())
        .map(Secret::from)
        .collect()
}
