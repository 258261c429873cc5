//! A store in Redis whose connections lead nowhere any more, as when its machine is gone or hangs: nothing
//! says so, and what is sent is never answered. Or they lead to a server that has become a replica.

use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use avtomatika::store::{Hint, JobStore as _, RedisSettings, RedisStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixtures::*;
use crate::redis_only::{comes_back, open};
use crate::servers::redis::{Redis, RedisCluster};

/// Longest wait for anything: far more than is needed, so that a slow machine fails no test.
const PATIENCE: Duration = Duration::from_mins(1);

/// A way to a server that can be made to lead nowhere: what is under way then goes no further, while the
/// system goes on taking it. Connections that are made afterwards are good ones.
struct Relay {
    url: String,
    hung: watch::Sender<()>,
    /// The next answer of a script is the last one of its connection.
    is_last: Arc<AtomicBool>,
    /// The port to which connections lead that are made from now on.
    to: Arc<AtomicU16>,
    _pairs: JoinSet<()>,
}

impl Relay {
    async fn start(redis: &Redis) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (hung, _) = watch::channel(());
        let is_last = Arc::new(AtomicBool::new(false));
        let (mut pairs, to) = (JoinSet::new(), Arc::new(AtomicU16::new(redis.port())));
        let leads_to = Arc::clone(&to);
        let (hangs, ends) = (hung.clone(), Arc::clone(&is_last));
        pairs.spawn(async move {
            let mut pairs = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (mut hung, ends) = (hangs.subscribe(), Arc::clone(&ends));
                let to = leads_to.load(Ordering::Acquire);
                pairs.spawn(async move {
                    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await;
                    let (mut near, mut far) = (near, far.expect("the server is there"));
                    tokio::select! {
                        () = carry(&mut near, &mut far, &ends) => {}
                        _ = hung.changed() => pending().await,
                    }
                });
            }
        });
        Self {
            url: format!("redis://127.0.0.1:{port}"),
            hung,
            is_last,
            to,
            _pairs: pairs,
        }
    }

    fn settings(&self) -> RedisSettings {
        impatient(&self.url)
    }

    /// Has all connections lead nowhere.
    fn hang(&self) {
        self.hung.send_replace(());
    }
}

/// Carries bytes both ways until either side closes, or an answer has passed that is to be the last one.
async fn carry(near: &mut TcpStream, far: &mut TcpStream, is_last: &AtomicBool) {
    let ((mut near_reads, mut near_writes), (mut far_reads, mut far_writes)) =
        (near.split(), far.split());
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = far_reads.read(&mut buffer).await {
            let written = near_writes.write_all(&buffer[..count]).await;
            // Other calls, as those by which others are told, are answered by a number or a word.
            let is_scripts = !matches!(buffer[0], b':' | b'+');
            if written.is_err() || (is_scripts && is_last.swap(false, Ordering::AcqRel)) {
                return;
            }
        }
    };
    tokio::select! {
        // An error is an end like any other.
        _ = copy(&mut near_reads, &mut far_writes) => {}
        () = down => {}
    }
}

fn impatient(url: &str) -> RedisSettings {
    RedisSettings {
        command_timeout: Duration::from_secs(1),
        ..RedisSettings::new(url.into())
    }
}

#[tokio::test]
async fn server_redis_connection_that_leads_nowhere_is_replaced() {
    let redis = Redis::start();
    let relay = Relay::start(&redis).await;
    let store = RedisStore::open(&relay.settings()).await.expect("opens");
    let first = job(1);
    let stored = store.commit(commit(first.clone(), vec![], vec![])).await;
    stored.expect("commits");
    for _ in 0..2 {
        relay.hang();
        // More than the system takes: the rest of it is never sent.
        let long = "long ".repeat(8 << 20);
        let put = store.put_blueprint("b", "r1", &long).await;
        put.expect_err("nobody answers");
        comes_back(&store).await;
        assert_eq!(
            store.load(first.id).await.expect("loads"),
            Some(first.clone())
        );
    }
    // Nothing was sent a second time.
    let kept = store.blueprint_source("b", "r1").await.expect("reads");
    assert_eq!(kept, None);
    relay.hang();
    let closed = timeout(PATIENCE, store.close()).await;
    closed.expect("closes although nobody answers");
}

#[tokio::test]
async fn server_redis_hints_are_heard_again_when_their_connection_leads_nowhere() {
    let redis = Redis::start();
    let relay = Relay::start(&redis).await;
    let listener = RedisStore::open(&relay.settings()).await.expect("opens");
    let teller = open(&redis).await;
    let mut hints = listener.hints().expect("it hears others");
    relay.hang();
    let missed = async { while hints.recv().await.expect("goes on") != Hint::Missed {} };
    timeout(PATIENCE, missed).await.expect("it listens again");
    let told = job(1);
    let stored = teller.commit(commit(told.clone(), vec![], vec![])).await;
    stored.expect("commits");
    let heard = async { while hints.recv().await.expect("goes on") != Hint::Changed(told.id) {} };
    timeout(PATIENCE, heard).await.expect("it hears");
    listener.close().await;
    teller.close().await;
}

#[tokio::test]
async fn server_redis_cluster_goes_on_when_one_of_its_servers_hangs() {
    let mut cluster = RedisCluster::start();
    cluster.add_replica(0);
    let store = RedisStore::open(&impatient(&cluster.url())).await;
    let store = store.expect("opens");
    cluster.nodes()[0].pause();
    // Some of these lie with each server.
    for n in 1..=40 {
        let stored = async {
            let mut job = job(n);
            while store
                .commit(commit(job.clone(), vec![], vec![]))
                .await
                .is_err()
            {
                // Whether it is there after all is another question.
                if let Ok(Some(kept)) = store.load(job.id).await {
                    job = kept;
                    return job;
                }
            }
            job
        };
        let stored = timeout(PATIENCE, stored).await;
        let stored = stored.unwrap_or_else(|_| panic!("job {n} cannot be stored"));
        let kept = store.load(stored.id).await.expect("reads");
        assert_eq!(kept.map(|job| job.id), Some(stored.id));
    }
    store.close().await;
}

/// As with an address whose name leads to the new primary, by an operator who closes no connection.
#[tokio::test]
async fn server_redis_that_has_become_a_replica_is_left_for_where_its_address_leads() {
    let first = Redis::start();
    let port = first.port().to_string();
    let second = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    first.has_replicas(1);
    let relay = Relay::start(&first).await;
    let settings = RedisSettings {
        connections: 2,
        ..relay.settings()
    };
    let store = RedisStore::open(&settings).await.expect("opens");
    let stored = store.commit(commit(job(1), vec![], vec![])).await;
    stored.expect("commits");
    first.has_replicated(1);
    second.command(&["replicaof", "no", "one"]);
    first.command(&["replicaof", "127.0.0.1", &second.port().to_string()]);
    // For a while the address leads to it still.
    for n in 2..6 {
        let refused = store.commit(commit(job(n), vec![], vec![])).await;
        let refused = refused.expect_err("it takes no writes").to_string();
        assert!(refused.contains("unavailable"), "{refused}");
    }
    relay.to.store(second.port(), Ordering::Release);
    // Each connection finds it out for itself.
    for n in 6..10 {
        let stored = async { while store.commit(commit(job(n), vec![], vec![])).await.is_err() {} };
        timeout(PATIENCE, stored).await.expect("it goes on");
    }
    let known = second.command(&["keys", "*:j:*"]);
    for n in [1, 6, 9] {
        assert!(known.contains(&job_id(n).to_string()), "{known}");
    }
    store.close().await;
}

/// On another connection the server would say who has what came over that one, which is nothing.
#[tokio::test]
async fn server_redis_replicas_are_asked_over_the_connection_of_the_commit() {
    let first = Redis::start();
    let port = first.port().to_string();
    let _second = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    first.has_replicas(1);
    let relay = Relay::start(&first).await;
    let settings = RedisSettings {
        replicas: 1,
        ..RedisSettings::new(relay.url.as_str().into())
    };
    let store = RedisStore::open(&settings).await.expect("opens");
    let stored = store.commit(commit(job(1), vec![], vec![])).await;
    stored.expect("loads the script");
    let mut cut = 0;
    for n in 2..=20 {
        relay.is_last.store(true, Ordering::Release);
        let stored = store.commit(commit(job(n), vec![], vec![])).await;
        if relay.is_last.swap(false, Ordering::AcqRel) {
            // Its answer came together with another one.
            continue;
        }
        if let Err(refused) = stored {
            cut += 1;
            assert!(refused.to_string().contains("unavailable"), "{refused}");
        }
        // Else it was the subscription that was lost, with the word of the commit before.
        comes_back(&store).await;
    }
    assert!(cut > 0, "a commit counts though nobody knows who has it");
    store.close().await;
}
