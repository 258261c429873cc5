//! A store behind real sentinels: its server dies, and it goes on with the one that takes its place.

use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::net::TlsFiles;
use avtomatika::store::{CommitError, Hint, JobStore as _, RedisSettings, RedisStore, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::fixtures::*;
use crate::servers::sentinel::{Certificate, Sentinels};

/// Longest wait for anything: far more than is needed, so that a slow machine fails no test.
const PATIENCE: Duration = Duration::from_mins(2);

/// A store, and the jobs that it has said it has.
struct Writer {
    store: RedisStore,
    next: u16,
    kept: Vec<JobId>,
}

impl Writer {
    async fn open(settings: &RedisSettings, from: u16) -> Self {
        let opened = RedisStore::open(settings).await;
        Self {
            store: opened.unwrap_or_else(|error| panic!("{}: {error}", settings.url.expose())),
            next: from,
            kept: Vec::new(),
        }
    }

    /// Stores another job; whether an unanswered one is there is unknown.
    async fn tries(&mut self) -> Result<JobId, String> {
        let job = job(self.next);
        self.next += 1;
        let effects = vec![put(&task(&job, None, 1))];
        match self
            .store
            .commit(commit(job.clone(), effects, vec![]))
            .await
        {
            Ok(_) => {
                self.kept.push(job.id);
                Ok(job.id)
            }
            Err(CommitError::Store(StoreError::Unavailable(said))) => Err(said),
            Err(other) => panic!("{other}"),
        }
    }

    /// Stores another job as soon as it can be.
    async fn puts(&mut self) -> JobId {
        let tries = async {
            loop {
                if let Ok(id) = self.tries().await {
                    return id;
                }
            }
        };
        timeout(PATIENCE, tries).await.expect("it writes again")
    }

    /// Checks that all is there that it has said it has.
    async fn has_all(&self) {
        for id in &self.kept {
            let job = self.store.load(*id).await.expect("reads");
            assert!(job.is_some(), "{id} was acknowledged, and is lost");
        }
    }
}

/// Waits until what one does is heard by another again.
async fn is_heard(teller: &mut Writer, hints: &mut Receiver<Hint>) {
    let told = async {
        loop {
            let id = teller.puts().await;
            let heard =
                async { while hints.recv().await.expect("goes on") != Hint::Changed(id) {} };
            // What is told while the other's connection is away is not heard.
            if timeout(Duration::from_secs(5), heard).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is heard");
}

async fn misses(hints: &mut Receiver<Hint>) {
    let missed = async { while hints.recv().await.expect("goes on") != Hint::Missed {} };
    timeout(PATIENCE, missed)
        .await
        .expect("it is connected again");
}

#[tokio::test]
async fn server_redis_sentinel_has_what_was_replicated_after_its_server_has_died() {
    let mut sentinels = Sentinels::start(3);
    let settings = RedisSettings::new(sentinels.url().as_str().into());
    let replicated = RedisSettings {
        replicas: 1,
        command_timeout: Duration::from_secs(10),
        ..settings.clone()
    };
    let mut safe = Writer::open(&replicated, 1).await;
    let mut quick = Writer::open(&settings, 1000).await;
    let listener = RedisStore::open(&settings).await.expect("opens");
    let mut hints = listener.hints().expect("it hears others");
    for _ in 0..50 {
        safe.puts().await;
    }
    is_heard(&mut quick, &mut hints).await;
    quick.kept.clear();

    sentinels.kill_first();
    misses(&mut hints).await;
    is_heard(&mut quick, &mut hints).await;
    quick.has_all().await;
    safe.has_all().await;
    // There is no replica any more: nothing counts as kept until there is one.
    let alone = safe.tries().await.expect_err("nobody else has it");
    assert!(alone.contains("0 of the 1 replicas"), "{alone}");
    sentinels.add_replica();
    safe.puts().await;
    safe.has_all().await;
    for store in [safe.store, quick.store, listener] {
        store.close().await;
    }
}

/// Nothing says that it hangs: its system goes on taking what is sent.
#[tokio::test]
async fn server_redis_sentinel_goes_on_with_the_replica_when_its_server_hangs() {
    let sentinels = Sentinels::start(3);
    let settings = RedisSettings {
        command_timeout: Duration::from_secs(1),
        ..RedisSettings::new(sentinels.url().as_str().into())
    };
    let mut writer = Writer::open(&settings, 1).await;
    let listener = RedisStore::open(&settings).await.expect("opens");
    let mut hints = listener.hints().expect("it hears others");
    writer.puts().await;
    sentinels.is_replicated();
    sentinels.pause_first();
    misses(&mut hints).await;
    writer.kept.clear();
    is_heard(&mut writer, &mut hints).await;
    writer.has_all().await;
    writer.store.close().await;
    listener.close().await;
}

#[tokio::test]
async fn server_redis_sentinel_is_reached_by_tls_and_passwords() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("is made");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("is written");
    let tls = TlsFiles {
        ca: Some(certificate.clone().into()),
        identity: None,
    };
    let mut sentinels = Sentinels::guarded(1, Certificate { certificate, key });
    let settings = |url: &str| RedisSettings {
        tls: tls.clone(),
        ..RedisSettings::new(url.into())
    };
    let url = sentinels.url();
    for (right, wrong) in [("still", "loud"), (":hush@", ":loud@")] {
        let refused = RedisStore::open(&settings(&url.replace(right, wrong))).await;
        let refused = refused.err().expect("the password is another").to_string();
        assert!(
            refused.contains("`jobs` of the sentinels 127.0.0.1:") && !refused.contains("loud"),
            "{refused}"
        );
    }
    let mut writer = Writer::open(&settings(&url), 1).await;
    let listener = RedisStore::open(&settings(&url)).await.expect("opens");
    let mut hints = listener.hints().expect("it hears others");
    is_heard(&mut writer, &mut hints).await;
    sentinels.kill_first();
    misses(&mut hints).await;
    writer.kept.clear();
    is_heard(&mut writer, &mut hints).await;
    writer.has_all().await;
    writer.store.close().await;
    listener.close().await;
}
