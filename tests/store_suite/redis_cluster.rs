//! A store on a real cluster of three: what lies on another server than its job is neither lost nor
//! doubled by a crash in between, and servers may change places.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::{Clock as _, SystemClock};
use avtomatika::domain::{EventKind, Job};
use avtomatika::engine::Effect;
use avtomatika::store::{CommitError, HistoryFeed as _, JobStore as _, RedisSettings, RedisStore};
use serde_json::json;

use crate::fixtures::*;
use crate::servers::redis::RedisCluster;
use crate::{FeedStore, Store};

/// A cluster on which stores are opened.
pub struct Cluster(RedisCluster);

/// Starts one.
pub fn start() -> Cluster {
    Cluster(RedisCluster::start())
}

impl Cluster {
    /// Opens an empty store beside the others.
    pub async fn store(&self, prefix: &str) -> Store {
        Arc::new(self.open(prefix).await)
    }

    /// Opens an empty store that hands out its history.
    pub async fn feed_store(&self, prefix: &str) -> FeedStore {
        let store = self.open(prefix).await;
        store.switch_feed(true).await.expect("switches it on");
        Arc::new(store)
    }

    async fn open(&self, prefix: &str) -> RedisStore {
        let settings = RedisSettings {
            prefix: prefix.to_owned(),
            revisions_kept: Duration::ZERO,
            ..RedisSettings::new(self.0.url().as_str().into())
        };
        RedisStore::open(&settings).await.expect("opens")
    }

    /// Runs a command on whichever server has the key.
    fn ask(&mut self, words: &[&str]) -> String {
        self.0.nodes()[0].command(&[&["-c"], words].concat())
    }

    /// Returns how many scripts were run so far.
    fn scripts(&mut self) -> u64 {
        let nodes = self.0.nodes().iter();
        let said: String = nodes
            .map(|node| node.command(&["info", "commandstats"]))
            .collect();
        let counts = said.split("cmdstat_evalsha:calls=").skip(1);
        counts
            .map(|rest| {
                rest.split(',')
                    .next()
                    .and_then(|count| count.parse::<u64>().ok())
            })
            .map(|count| count.expect("a count"))
            .sum()
    }

    /// Returns the one key that ends so.
    fn key(&mut self, end: &str) -> String {
        let pattern = format!("*{end}");
        let nodes = self.0.nodes().iter();
        let found = nodes.map(|node| node.command(&["keys", &pattern]));
        let found: String = found.collect();
        assert!(!found.is_empty() && !found.contains('\n'), "{end}: {found}");
        found
    }
}

/// A key lies where its job does: both are there with one script, or neither is.
#[tokio::test]
async fn server_redis_cluster_gives_a_key_to_one_job_with_one_script() {
    let mut cluster = start();
    let store = cluster.open("key").await;
    let submit = async |n: u16, key: &str| {
        store
            .commit(commit(keyed(n, key), vec![], vec![key_guard(key, "f")]))
            .await
    };
    submit(1, "k0").await.expect("loads the scripts");
    let before = cluster.scripts();
    submit(1, "k").await.expect("commits");
    assert_eq!(cluster.scripts() - before, 1);
    let (key, job) = (cluster.key(":k:acme:k"), keyed_id(1, "k"));
    let tag = |key: &str| key.split(['{', '}']).nth(1).map(str::to_owned);
    assert_eq!(tag(&key), tag(&cluster.key(&format!(":j:{job}"))));
    let taken = submit(2, "k").await;
    assert!(
        matches!(taken, Err(CommitError::KeyTaken { job_id: id, .. }) if id == job),
        "{taken:?}"
    );
    assert_eq!(store.load(keyed_id(2, "k")).await.expect("reads"), None);
    store.close().await;
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_mins(1), what).await;
    done.expect("it ends")
}

/// Twins of a request and the last place in a quota, which is given to whose commit comes first: that of the
/// other, which has no place then, is the same request all the same; and a place that a twin gives back is
/// another's.
#[tokio::test]
async fn server_redis_cluster_waits_for_places_that_commits_under_way_have() {
    let mut cluster = start();
    let store = cluster.open("twins").await;
    let submit = async |n: u16, key: &str| {
        let guards = vec![key_guard(key, "f"), quota_guard("acme", "2026-11", 1)];
        store.commit(commit(keyed(n, key), vec![], guards)).await
    };
    let first = submit(1, "k").await;
    first.expect("loads the scripts, and makes the quota");
    let count = cluster.key(":q:acme:2026-11");
    let open = format!("{count}:open");
    let now = SystemClock.now().0.to_string();
    // As it is while job 2's commit is under way, the last place in its name.
    cluster.ask(&["zadd", &open, &now, &keyed_id(2, "k2").to_string()]);
    let (before, mut is_asked) = (cluster.scripts(), false);
    let rival = async {
        while !is_asked {
            tokio::task::yield_now().await;
            is_asked = cluster.scripts() > before;
        }
        let guards = vec![key_guard("k2", "f")];
        let stored = store.commit(commit(keyed(2, "k2"), vec![], guards)).await;
        stored.expect("commits");
    };
    let (twin, ()) = soon(async { tokio::join!(submit(3, "k2"), rival) }).await;
    assert!(
        matches!(twin, Err(CommitError::KeyTaken { job_id: id, .. }) if id == keyed_id(2, "k2")),
        "{twin:?}"
    );
    // Now it is given back while another asks.
    let before = cluster.scripts();
    let freed = async {
        while cluster.scripts() == before {
            tokio::task::yield_now().await;
        }
        cluster.ask(&["decr", &count]);
        cluster.ask(&["zrem", &open, &keyed_id(2, "k2").to_string()]);
    };
    let (other, ()) = soon(async { tokio::join!(submit(4, "k4"), freed) }).await;
    other.expect("there was a place");
    store.close().await;
}

/// A place in a quota whose job did not come to be is given to another.
#[tokio::test]
async fn server_redis_cluster_repairs_what_a_crash_has_done() {
    let mut cluster = start();
    let store = cluster.open("crash").await;
    let submit = async |n: u16| {
        store
            .commit(commit(
                job(n),
                vec![],
                vec![quota_guard("acme", "2026-11", 2)],
            ))
            .await
    };
    submit(1).await.expect("commits");
    let count = cluster.key(":q:acme:2026-11");
    let open = format!("{count}:open");
    assert_eq!(cluster.ask(&["exists", &open]), "0", "nothing is in doubt");
    cluster.ask(&["incr", &count]);
    cluster.ask(&["zadd", &open, "0", &job_id(9).to_string()]);
    submit(2).await.expect("the place was nobody's");
    let full = submit(3).await;
    assert!(
        matches!(full, Err(CommitError::QuotaExceeded { limit: 2 })),
        "{full:?}"
    );
    assert_eq!(cluster.ask(&["get", &count]), "2");

    // What a commit has left to do is done by whoever looks next, unless a later one was faster.
    let put = |value: i64| Effect::PutData {
        store: "s".to_owned(),
        key: "x".to_owned(),
        value: json!(value),
    };
    let first = store.commit(commit(job(4), vec![put(1)], vec![])).await;
    first.expect("commits");
    let data = cluster.key(":d:render");
    let at = data
        .split(['p', '}'])
        .nth(1)
        .expect("has a tag")
        .trim_start_matches('0');
    let at: u8 = at.parse().unwrap_or(0);
    let notes = data.replace("d:render", "after");
    for (name, number, field) in [("late", 0, "x"), ("left", 2, "y")] {
        let note = json!({
            "kind": "data", "at": at, "blueprint": "render", "number": number,
            "values": {format!("s\0{field}"): number},
        });
        cluster.ask(&["hset", &notes, name, &note.to_string()]);
    }
    store.due(NOW, 9).await.expect("looks");
    let stores = store.data_stores("render").await.expect("reads");
    assert_eq!(json!(stores), json!({"s": {"x": 1, "y": 2}}));
    assert_eq!(cluster.ask(&["exists", &notes]), "0", "it is crossed out");
    store.close().await;
}

/// The answer to a commit is lost, and it is sent again: its job is counted once, however much of what
/// goes with the first try has been done meanwhile.
#[tokio::test]
async fn server_redis_cluster_counts_a_commit_that_is_sent_again_once() {
    let mut cluster = start();
    let store = cluster.open("again").await;
    let submit = async |n: u16| {
        let key = format!("k{n}");
        let guards = vec![key_guard(&key, "f"), quota_guard("acme", "2026-11", 2)];
        store.commit(commit(keyed(n, &key), vec![], guards)).await
    };
    submit(1).await.expect("commits");
    let count = cluster.key(":q:acme:2026-11");
    let open = format!("{count}:open");
    let is_conflict =
        |again: Result<_, CommitError>| assert!(matches!(again, Err(CommitError::Conflict)));
    // All is settled: what the second try has reserved is given back.
    is_conflict(submit(1).await.map(drop));
    assert_eq!(cluster.ask(&["get", &count]), "1");
    // As right after the commit, with its notes still open: what the first try has taken is kept.
    let id = keyed_id(1, "k1");
    let first = id.to_string();
    cluster.ask(&["zadd", &open, "0", &first]);
    let at = |name: &str| -> u8 {
        let tag = name.split(['p', '}']).nth(1).expect("has a tag");
        tag.parse().expect("a number")
    };
    let notes = format!("again:{{p{:02}}}:after", id.partition() % 16);
    let note =
        json!({"kind": "quota", "at": at(&count), "count": count, "open": open, "job": first});
    let name = format!("{first}:{}:0", job(1).revision);
    cluster.ask(&["hset", &notes, &name, &note.to_string()]);
    is_conflict(submit(1).await.map(drop));
    assert_eq!(cluster.ask(&["get", &count]), "1", "it has its place still");
    for name in [&open, &notes] {
        assert_eq!(cluster.ask(&["exists", name]), "0", "{name} is settled");
    }
    store.due(NOW, 9).await.expect("looks");
    assert_eq!(cluster.ask(&["get", &count]), "1");
    submit(2).await.expect("the last place");
    // Its place is the last one, and it has it.
    is_conflict(submit(2).await.map(drop));
    let full = submit(3).await;
    assert!(
        matches!(full, Err(CommitError::QuotaExceeded { limit: 2 })),
        "{full:?}"
    );
    assert_eq!(cluster.ask(&["get", &count]), "2");
    store.close().await;
}

/// A partition moves to another server, then that server dies and its replica takes its place.
#[tokio::test]
async fn server_redis_cluster_may_change_under_way() {
    let mut cluster = start();
    let store = cluster.open("moves").await;
    // The store still takes them for where they were when it was opened.
    for partition in 0..16 {
        let key = format!("moves:{{p{partition:02}}}:");
        cluster.0.move_key(&key, (partition + 1) % 3);
    }
    cluster.0.add_replica(1);
    let tell = async |job: &Job| {
        let told = Effect::Record(Arc::new(event(job, 0, EventKind::Log)));
        store.commit(commit(job.clone(), vec![told], vec![])).await
    };
    let first = job(1);
    tell(&first).await.expect("follows");
    store.switch_feed(true).await.expect("switches");
    let batch = store.read_feed(9).await.expect("reads");
    assert_eq!(batch.events.len(), 1);
    let done = store.acknowledge_feed(&batch.through).await;
    done.expect("acknowledges");
    cluster.0.nodes()[1].has_replicated(1);
    cluster.0.nodes()[1].kill();
    let again = async { while store.health().await.is_err() {} };
    tokio::time::timeout(Duration::from_mins(2), again)
        .await
        .expect("the replica takes over");
    assert_eq!(
        store.load(first.id).await.expect("reads"),
        Some(first.clone())
    );
    for n in 2..=20 {
        tell(&job(n)).await.expect("commits");
    }
    tell(&next(&first)).await.expect("commits");
    assert_eq!(store.read_feed(99).await.expect("reads").events.len(), 20);
    store.close().await;
}
