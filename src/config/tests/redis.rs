//! Where jobs are kept: the embedded store, or a Redis server by its address or by its parts.

use super::*;
use crate::store::RedisSettings;

fn redis_of(env: &[(&'static str, &'static str)]) -> Option<RedisSettings> {
    let loaded = load_with(vec![], env, None).expect("good");
    loaded.settings.store.redis
}

#[test]
fn a_server_is_named_by_its_address_or_its_parts() {
    assert!(redis_of(&[]).is_none());
    let url = |env: &[(&'static str, &'static str)]| {
        let settings = redis_of(env).expect("is named");
        settings.url.expose().to_owned()
    };
    assert_eq!(
        url(&[("STORE", "rediss://u:p@redis:1/2")]),
        "rediss://u:p@redis:1/2"
    );
    assert_eq!(url(&[("REDIS_HOST", "redis")]), "redis://redis:6379/0");
    let parts = [
        ("REDIS_HOST", "::1"),
        ("REDIS_PORT", "7000"),
        ("REDIS_DB", "3"),
        ("REDIS_USER", "jobs"),
        ("REDIS_PASSWORD", "a@b:c/d"),
    ];
    assert_eq!(url(&parts), "redis://jobs:a%40b%3Ac%2Fd@[::1]:7000/3");
    let keys = [
        ("REDIS_HOST", "redis"),
        ("REDIS_ENCRYPTION_KEY", "new, old"),
    ];
    let settings = redis_of(&keys).expect("is named");
    assert_eq!(settings.encryption_keys, ["new".into(), "old".into()]);
    assert!(settings.allow_eviction, "in development");
    let production = [
        ("ENVIRONMENT", "production"),
        ("ORCHESTRATOR_SECRET_KEY", "of its own"),
        ("CLIENT_TOKEN", "of its own too"),
        ("REDIS_HOST", "redis"),
    ];
    assert!(!redis_of(&production).expect("is named").allow_eviction);
}

#[test]
fn what_cannot_be_meant_is_told_without_the_password() {
    let seen =
        |env: &[(&'static str, &'static str)]| problems_of(load_with(vec![], env, None)).join("\n");
    let none = "environment STORE: error: STORE: this is no address of a Redis server: expected \
                redis://USER:PASSWORD@HOST:PORT/DB, or rediss://, redis-cluster://, redis-sentinel://, \
                redis+unix://";
    assert_eq!(
        seen(&[("STORE", "redis://a"), ("REDIS_HOST", "b")]),
        "environment STORE: error: STORE: REDIS_HOST is set too: expected one of them"
    );
    assert_eq!(seen(&[("STORE", "mysql://u:hush@a")]), none);
    assert_eq!(seen(&[("STORE", "redis://u:hush@a/x/y")]), none);
    assert_eq!(seen(&[("STORE", "redis-cluster://u:hush@a:7000")]), "");
    assert_eq!(
        seen(&[("REDIS_ENCRYPTION_KEY", "k")]),
        "environment REDIS_ENCRYPTION_KEY: warning: REDIS_ENCRYPTION_KEY: has no effect without STORE \
         or REDIS_HOST: jobs are kept in the embedded store, in DATA_DIR"
    );
}

#[test]
fn what_would_do_nothing_beside_an_address_is_told() {
    let seen =
        |env: &[(&'static str, &'static str)]| problems_of(load_with(vec![], env, None)).join("\n");
    let parts = [
        ("STORE", "redis://redis"),
        ("REDIS_PORT", "6379"),
        ("REDIS_DB", "3"),
        ("REDIS_USER", "jobs"),
        ("REDIS_PASSWORD", "hush"),
    ];
    let told = seen(&parts);
    let lines: Vec<&str> = told.lines().collect();
    let expected = ["REDIS_PORT", "REDIS_DB", "REDIS_USER", "REDIS_PASSWORD"].map(|name| {
        format!(
            "environment {name}: warning: {name}: has no effect with STORE: write it into that address, \
             or set REDIS_HOST instead of STORE"
        )
    });
    assert_eq!(lines, expected);
    assert_eq!(seen(&parts[..1]), "");

    let plain = "environment REDIS_CA_FILE: error: REDIS_CA_FILE: the address asks for no TLS, so that \
                 nothing would be encrypted: set STORE=rediss://USER:PASSWORD@HOST:PORT/DB, or leave this out";
    let ca = ("REDIS_CA_FILE", "ca.pem");
    for place in [
        ("REDIS_HOST", "redis"),
        ("STORE", "redis-cluster://redis:1"),
    ] {
        // That there is no such file is told, too.
        let told = seen(&[place, ca]);
        assert_eq!(told.lines().next(), Some(plain), "{told}");
    }
    let asked = seen(&[
        (
            "STORE",
            "rediss-sentinel://redis:1?sentinelServiceName=jobs",
        ),
        ca,
    ]);
    assert!(!asked.contains("no TLS"), "{asked}");
}
