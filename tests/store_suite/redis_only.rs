//! What only a store in Redis has: a server that goes away and comes back, its settings, its ways in.

use std::time::Duration;

use avtomatika::engine::Effect;
use avtomatika::net::TlsFiles;
use avtomatika::store::{
    BlueprintRevision, CommitError, HistoryStore as _, JobStore as _, RedisSettings, RedisStore,
    StoreError,
};

use serde_json::json;

use crate::fixtures::*;
use crate::servers::redis::Redis;

pub fn settings(redis: &Redis) -> RedisSettings {
    RedisSettings::new(redis.url().as_str().into())
}

pub async fn open(redis: &Redis) -> RedisStore {
    RedisStore::open(&settings(redis)).await.expect("opens")
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

pub async fn refusal(settings: &RedisSettings) -> String {
    match RedisStore::open(settings).await {
        Ok(_) => panic!("it opens"),
        Err(error) => error.to_string(),
    }
}

/// Calls until it goes well: a connection is made again in the background.
pub async fn comes_back(store: &RedisStore) {
    let back = async { while store.health().await.is_err() {} };
    tokio::time::timeout(Duration::from_mins(1), back)
        .await
        .expect("the connection comes back");
}

#[tokio::test]
async fn server_redis_that_was_killed_has_what_was_committed() {
    let mut redis = Redis::with(&["--appendfsync", "always"]);
    let store = open(&redis).await;
    let first = job(1);
    let effects = vec![put(&task(&first, None, 1))];
    store
        .commit(commit(first.clone(), effects, vec![]))
        .await
        .expect("commits");
    redis.kill();
    assert!(is_unavailable(&store.load(first.id).await));
    redis.restart();
    comes_back(&store).await;
    assert_eq!(
        store.load(first.id).await.expect("loads"),
        Some(first.clone())
    );
    // The server has forgotten the scripts, too.
    let given = store
        .lease_task(&task(&first, None, 1).id, lease("w1", 9))
        .await;
    assert!(given.expect("leases").is_some());
    store.close().await;
    assert!(is_unavailable(&store.load(first.id).await), "closed");
}

/// Who has to do something about it is told where it was looked for, and no secret.
#[tokio::test]
async fn server_redis_that_is_away_is_named_and_waited_for() {
    let mut redis = Redis::start();
    let address = redis.url().replace("redis://", "");
    let with_password = format!("redis://jobs:hush@{address}/3");
    redis.kill();
    let error = refusal(&RedisSettings::new(with_password.as_str().into())).await;
    assert!(
        error.contains(&format!("Redis at {address}")) && error.contains("check whether it runs"),
        "{error}"
    );
    assert!(!error.contains("hush"), "{error}");
    let given_up = RedisStore::open_within(&settings(&redis), Duration::from_millis(300)).await;
    let given_up = given_up.err().expect("it is away").to_string();
    assert!(given_up.contains(&address), "{given_up}");

    let late = settings(&redis);
    let mut waits = tokio::task::JoinSet::new();
    waits.spawn(async move { RedisStore::open_within(&late, Duration::from_mins(2)).await });
    redis.restart();
    let store = waits.join_next().await.expect("one").expect("runs");
    let store = store.expect("it has come up");
    store.close().await;

    // What waiting does not mend is not waited for.
    redis.command(&["config", "set", "requirepass", "other"]);
    let refused = RedisStore::open_within(&settings(&redis), Duration::from_hours(1)).await;
    drop(refused.err().expect("no password was given"));
}

#[tokio::test]
async fn server_redis_that_does_not_answer_is_not_waited_for_for_ever() {
    let redis = Redis::start();
    let impatient = RedisSettings {
        command_timeout: Duration::from_millis(300),
        ..settings(&redis)
    };
    let store = RedisStore::open(&impatient).await.expect("opens");
    redis.pause();
    // So many that another connection is looked for, which does not come about, either.
    for _ in 0..4 {
        assert!(is_unavailable(&store.load(job_id(1)).await));
        assert!(is_unavailable(&store.due(NOW, 9).await));
    }
    redis.resume();
    comes_back(&store).await;
    assert_eq!(store.load(job_id(1)).await.expect("loads"), None);
    store.close().await;
}

#[tokio::test]
async fn server_redis_that_is_full_refuses_and_loses_nothing() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let first = job(1);
    store
        .commit(commit(first.clone(), vec![], vec![]))
        .await
        .expect("commits");
    redis.command(&["config", "set", "maxmemory", "1"]);
    let refused = store.commit(commit(job(2), vec![], vec![])).await;
    let refused = refused.expect_err("there is no room").to_string();
    assert!(refused.contains("unavailable"), "{refused}");
    assert!(is_unavailable(&store.health().await));
    assert_eq!(
        store.load(first.id).await.expect("reads go on"),
        Some(first)
    );
    redis.command(&["config", "set", "maxmemory", "0"]);
    assert_eq!(
        store.load(job_id(2)).await.expect("loads"),
        None,
        "nothing of it is there"
    );
    store
        .commit(commit(job(2), vec![], vec![]))
        .await
        .expect("commits");
    store.close().await;
}

/// As one does that has lost its replica: that is an outage, and damages nothing.
#[tokio::test]
async fn server_redis_that_takes_no_writes_is_away() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let (first, second) = (job(1), job(2));
    let effects = vec![put(&task(&first, None, 1))];
    let stored = store.commit(commit(first.clone(), effects, vec![])).await;
    stored.expect("commits");
    let task = task(&first, None, 1).id;
    redis.command(&["config", "set", "min-replicas-to-write", "1"]);
    let refused = store.commit(commit(second.clone(), vec![], vec![])).await;
    assert!(
        matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))),
        "{refused:?}"
    );
    let leased = store.lease_task(&task, lease("w1", 9)).await;
    assert!(is_unavailable(&leased), "{leased:?}");
    assert!(is_unavailable(&store.health().await));
    assert_eq!(store.load(first.id).await.expect("reads"), Some(first));
    redis.command(&["config", "set", "min-replicas-to-write", "0"]);
    let leased = store.lease_task(&task, lease("w1", 9)).await;
    assert!(leased.expect("leases").is_some());
    let stored = store.commit(commit(second, vec![], vec![])).await;
    stored.expect("commits");
    store.close().await;
}

#[tokio::test]
async fn server_redis_keeps_nothing_that_can_be_read_with_a_key() {
    let redis = Redis::start();
    let with_keys = |keys: &[&str]| RedisSettings {
        encryption_keys: keys.iter().map(|key| (*key).into()).collect(),
        ..settings(&redis)
    };
    let store = RedisStore::open(&with_keys(&["one"])).await.expect("opens");
    let first = job(1);
    let shared = Effect::PutData {
        store: "totals".to_owned(),
        key: "sum".to_owned(),
        value: json!("s3://bucket/sum"),
    };
    let effects = vec![put(&task(&first, None, 1)), shared];
    store
        .commit(commit(first.clone(), effects, vec![]))
        .await
        .expect("commits");
    let kept = redis.written();
    for word in ["of the client", "s3://bucket", "naïve"] {
        let word = word.as_bytes();
        assert!(
            !kept.windows(word.len()).any(|part| part == word),
            "{word:?}"
        );
    }
    store.close().await;

    let error = RedisStore::open(&with_keys(&["two"])).await.expect("opens");
    let error = error
        .load(first.id)
        .await
        .expect_err("the key is missing")
        .to_string();
    assert!(error.contains("which is not set"), "{error}");
    let changed = RedisStore::open(&with_keys(&["two", "one"]))
        .await
        .expect("opens");
    assert_eq!(
        changed.load(first.id).await.expect("loads"),
        Some(first.clone())
    );
    changed
        .commit(commit(next(&first), vec![], vec![]))
        .await
        .expect("commits");
    // A server that takes no writes is read all the same.
    redis.command(&["config", "set", "maxmemory", "1"]);
    let totals = changed.data_stores(&first.blueprint).await.expect("reads");
    redis.command(&["config", "set", "maxmemory", "0"]);
    let again = changed.data_stores(&first.blueprint).await.expect("reads");
    assert_eq!(again, totals);
    changed.close().await;

    // What has no end is under the new key from then on.
    let later = RedisStore::open(&with_keys(&["two"])).await.expect("opens");
    assert_eq!(
        later.data_stores(&first.blueprint).await.expect("reads"),
        totals
    );
    assert_eq!(totals["totals"]["sum"], json!("s3://bucket/sum"));
    later.close().await;
}

#[tokio::test]
async fn server_redis_lets_in_by_password_user_database_and_socket() {
    let user = ["--user", "jobs", "on", ">quiet", "~*", "&*", "+@all"];
    let redis = Redis::with(&[&["--requirepass", "hush"][..], &user].concat());
    let address = redis.url().replace("redis://", "");
    let socket = redis.socket();
    let socket = socket.display();
    for url in [
        format!("redis://:hush@{address}"),
        format!("redis://jobs:quiet@{address}/3"),
        format!("redis+unix://default:hush@local{socket}"),
    ] {
        let store = RedisStore::open(&RedisSettings::new(url.as_str().into())).await;
        let store = store.unwrap_or_else(|error| panic!("{url}: {error}"));
        let first = job(1);
        let put = store.commit(commit(first.clone(), vec![], vec![])).await;
        // The socket leads to the database that the first one filled.
        assert_eq!(put.is_err(), url.contains("unix"), "{url}");
        store.close().await;
    }
    for url in [
        format!("redis://:wrong@{address}"),
        format!("redis://{address}"),
    ] {
        let error = refusal(&RedisSettings::new(url.as_str().into())).await;
        assert!(!error.contains("wrong"), "{error}");
    }
}

#[tokio::test]
async fn server_redis_shows_its_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("is made");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).expect("is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("is written");
    let [certificate, key] = [certificate, key].map(|path| path.display().to_string());
    let redis = Redis::with(&[
        "--tls-port",
        Redis::FREE,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let port = redis.option("--tls-port").expect("its own");
    let url = format!("rediss://localhost:{port}");
    let trusting = RedisSettings {
        tls: TlsFiles {
            ca: Some(certificate.into()),
            identity: None,
        },
        ..RedisSettings::new(url.as_str().into())
    };
    let store = RedisStore::open(&trusting).await.expect("opens");
    assert_eq!(store.by_job(job_id(1), None, 9).await.expect("reads"), []);
    store.close().await;
    let stranger = RedisSettings {
        connect_timeout: Duration::from_secs(1),
        ..RedisSettings::new(url.as_str().into())
    };
    refusal(&stranger).await;
    drop(redis);
}

#[tokio::test]
async fn server_redis_waits_for_replicas_when_told() {
    let first = Redis::start();
    let port = first.port().to_string();
    let replicated = RedisSettings {
        replicas: 1,
        command_timeout: Duration::from_millis(500),
        ..settings(&first)
    };
    let store = RedisStore::open(&replicated).await.expect("opens");
    let alone = store.commit(commit(job(1), vec![], vec![])).await;
    let alone = alone.expect_err("there is no replica").to_string();
    assert!(alone.contains("0 of the 1 replicas"), "{alone}");
    assert!(is_unavailable(&store.health().await), "no commit counts");

    let second = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    first.has_replicas(1);
    let patient = RedisSettings {
        command_timeout: Duration::from_secs(10),
        ..replicated
    };
    let store_of_both = RedisStore::open(&patient).await.expect("opens");
    store_of_both
        .commit(commit(job(2), vec![], vec![]))
        .await
        .expect("both have it");
    store_of_both.health().await.expect("commits count");
    let known = second.command(&["keys", "*:j:*"]);
    assert!(known.contains(&job_id(2).to_string()), "{known}");
    let described = open(&first).await;
    store_of_both.close().await;
    assert!(
        described.description().contains("1 replicas"),
        "{}",
        described.description()
    );
    store.close().await;
}

/// Two orchestrators with different files, as when one after the other is given new ones.
#[tokio::test]
async fn server_redis_keeps_a_revision_that_another_orchestrator_has() {
    let redis = Redis::start();
    let (updated, behind) = (open(&redis).await, open(&redis).await);
    let revision = |revision: &str| BlueprintRevision {
        name: "b".to_owned(),
        revision: revision.to_owned(),
    };
    for store in [&updated, &behind] {
        store.put_blueprint("b", "r1", "old").await.expect("kept");
    }
    updated.put_blueprint("b", "r2", "new").await.expect("kept");
    let gone = updated.purge_blueprints(&[revision("r2")]).await;
    assert_eq!(gone.expect("looks"), []);
    // The other still makes jobs of it.
    let source = behind.blueprint_source("b", "r1").await.expect("reads");
    assert_eq!(source.as_deref(), Some("old"));

    // Long after, as it seems to this one: still named by one that is behind, then by nobody.
    let late = RedisSettings {
        revisions_kept: Duration::ZERO,
        ..settings(&redis)
    };
    let late = RedisStore::open(&late).await.expect("opens");
    let both = [revision("r1"), revision("r2")];
    assert_eq!(late.purge_blueprints(&both).await.expect("looks"), []);
    let gone = late.purge_blueprints(&[revision("r2")]).await;
    assert_eq!(gone.expect("looks"), [revision("r1")]);
    let source = late.blueprint_source("b", "r1").await.expect("reads");
    assert_eq!(source, None);
}
