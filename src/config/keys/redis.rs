//! Settings of the store in Redis, which any number of orchestrators share.

use super::{DAY, Key, key, seconds};
use crate::config::value::Kind;

/// In the order of `config/avtomatika.toml`.
pub(super) const KEYS: &[Key] = &[
    key(
        "STORE",
        Kind::Secret,
        "",
        "where jobs are kept: redis://USER:PASSWORD@HOST:PORT/DB, rediss:// (TLS), redis-cluster://HOST:PORT?node=HOST:PORT, redis-sentinel://HOST:PORT?sentinelServiceName=NAME, redis+unix:///PATH; empty is the embedded store in DATA_DIR, unless REDIS_HOST is set",
    ),
    key(
        "REDIS_HOST",
        Kind::Optional,
        "",
        "host of the Redis server that keeps the jobs, instead of an address in STORE; empty is none",
    ),
    key(
        "REDIS_PORT",
        Kind::Integer {
            min: 1,
            max: 65_535,
        },
        "6379",
        "port of the server in REDIS_HOST",
    ),
    key(
        "REDIS_DB",
        Kind::Integer { min: 0, max: 255 },
        "0",
        "database of the server in REDIS_HOST",
    ),
    key(
        "REDIS_USER",
        Kind::Optional,
        "",
        "user of the server in REDIS_HOST; empty is the server's default user",
    ),
    key(
        "REDIS_PASSWORD",
        Kind::Secret,
        "",
        "password of the server in REDIS_HOST; empty is none",
    ),
    key(
        "REDIS_CA_FILE",
        Kind::Path,
        "",
        "PEM file of the authority that a rediss:// server's certificate comes from; empty is the public ones",
    ),
    key(
        "REDIS_PREFIX",
        Kind::Text,
        "avtomatika",
        "what all keys begin with: deployments with different ones share a server",
    ),
    key(
        "REDIS_CONNECTIONS",
        Kind::Integer { min: 0, max: 1_000 },
        "0",
        "connections to Redis, each of which carries many calls at once; 0 is one, or eight with REDIS_WAIT_REPLICAS, as a commit that waits for replicas holds up those behind it on its connection",
    ),
    key(
        "REDIS_TIMEOUT_SECONDS",
        seconds(600),
        "5",
        "longest wait for a connection or an answer of Redis, in seconds",
    ),
    key(
        "REDIS_WAIT_REPLICAS",
        Kind::Integer { min: 0, max: 100 },
        "0",
        "replicas that must have a change before it counts; 0 asks none",
    ),
    key(
        "REDIS_JOB_RETENTION",
        Kind::Duration { max: 3650 * DAY },
        "3650d",
        "how long ended jobs stay in Redis once HISTORY_DATABASE_URI has them, where that is less than JOB_RETENTION; the history shows them with their files for the rest of that",
    ),
    key(
        "REDIS_ENCRYPTION_KEY",
        Kind::Secret,
        "",
        "encrypts what is kept in Redis; after a change the old one stays behind the new one and a comma: new,old; empty leaves all readable",
    ),
];
