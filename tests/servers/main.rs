//! The frame for real servers itself: they start, keep what they are given, and are gone afterwards.

#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "mod.rs"]
mod servers;

use std::net::TcpStream;
use std::path::Path;

use servers::postgres::Postgres;
use servers::prometheus::{Prometheus, check_metrics, promtool};
use servers::redis::{Redis, RedisCluster};

fn is_there(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn server_redis_keeps_what_it_was_given_and_goes_with_its_test() {
    let mut redis = Redis::start();
    assert_eq!(redis.command(&["set", "a", "1"]), "OK");
    redis.restart();
    assert_eq!(redis.command(&["get", "a"]), "1");
    redis.pause();
    redis.resume();
    assert!(redis.socket().exists());
    assert!(
        redis
            .written()
            .windows(3)
            .any(|part| part == b"SET" || part == b"set")
    );
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}", redis.port()));
    let port = redis.port();
    drop(redis);
    assert!(!is_there(port));
}

#[test]
fn server_redis_cluster_shares_all_keys() {
    let mut cluster = RedisCluster::start();
    assert!(cluster.url().starts_with("redis-cluster://"));
    let port = cluster.nodes()[0].port().to_string();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(cluster.nodes()[0].command(&["-c", "set", key, value]), "OK");
        assert_eq!(
            cluster.nodes()[2].command(&["-c", "get", key]),
            value,
            "{port}"
        );
    }
}

#[test]
fn server_postgres_keeps_what_it_was_given_and_goes_with_its_test() {
    let mut postgres = Postgres::start();
    postgres.run("create table t (a int); insert into t values (1), (2)");
    postgres.restart();
    assert_eq!(postgres.run("select a, a + 1 from t"), "1|2\n2|3");
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let signed = signed.expect("a certificate");
    postgres.serve_tls(&signed.cert.pem(), &signed.signing_key.serialize_pem());
    assert_eq!(postgres.run("show ssl"), "on");
    let port = postgres.port();
    drop(postgres);
    assert!(!is_there(port));
}

#[test]
fn server_prometheus_reads_the_rules_and_goes_with_its_test() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let rules = config.join("alerts.yml");
    promtool(&["check", "rules"], &rules);
    promtool(&["check", "config"], &config.join("prometheus.yml"));
    promtool(&["test", "rules"], &config.join("alerts_test.yml"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let found = check_metrics("# TYPE a_total counter\na_total 1\n", folder.path());
    assert!(found.contains("no help text"), "{found}");
    let prometheus = Prometheus::start(&[("nobody", "127.0.0.1:1", "/metrics")], &rules);
    let url = prometheus.url("query");
    let port = url.split([':', '/']).nth(4).expect("a port");
    let port: u16 = port.parse().expect("a number");
    assert!(is_there(port));
    drop(prometheus);
    assert!(!is_there(port));
}
