//! Asks the servers that the settings name whether they would do, and how they are set, for `config
//! check --connect` and `config show --connect`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::base::{Entropy as _, SystemEntropy};
use crate::config::Settings;
use crate::store::archive::chain::Hasher;
use crate::store::archive::postgres::PostgresArchive;
use crate::store::archive::uri::Target;
use crate::store::{BlobError, BlobStore as _, Durability, JobStore as _, RedisStore, S3BlobStore};

/// The longest wait for one server.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a server says.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// `ok`, or what is wrong.
    pub answer: String,
    /// Which server it is and how it is set, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What a crash may cost, of a server that keeps jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

impl Said {
    fn of<T>(answer: Result<T, String>) -> Self {
        Self {
            answer: answer.err().unwrap_or_else(|| "ok".to_owned()),
            server: None,
            durability: None,
        }
    }
}

/// How much is asked of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// How they are; nothing is changed.
    Standing,
    /// Whether an orchestrator could do its work there; S3 gets a probe.
    Work,
}

/// Returns what each server says, by its name.
pub(super) async fn asked(settings: &Settings, asked: Asked) -> BTreeMap<&'static str, Said> {
    let mut answers = BTreeMap::new();
    if let Some(s3) = &settings.files.s3 {
        let answer = match S3BlobStore::new(s3) {
            Ok(store) if asked == Asked::Work => try_blobs(&store).await,
            Ok(store) => within(async { store.health().await.map_err(|e| e.to_string()) }).await,
            Err(error) => Err(error.to_string()),
        };
        answers.insert("s3", Said::of(answer));
    }
    if let Some(Target::Postgres { uri, protection }) = &settings.history.target {
        let hasher = Hasher::new(&settings.history.salt);
        let answer = match PostgresArchive::to_read(uri, protection, hasher) {
            Ok(archive) => {
                let asked = async { archive.obstacle().await.map_err(|e| e.to_string()) };
                within(asked)
                    .await
                    .and_then(|found| found.map_or(Ok(()), Err))
            }
            Err(error) => Err(error.to_string()),
        };
        answers.insert("history", Said::of(answer));
    }
    if let Some(redis) = &settings.store.redis {
        let asked = within(async {
            let store = RedisStore::open(redis).await.map_err(|e| e.to_string())?;
            let answer = store.health().await.map_err(|e| e.to_string());
            let said = Said {
                server: store.server(),
                durability: Some(store.durability()),
                ..Said::of(answer)
            };
            store.close().await;
            Ok(said)
        });
        let said = match asked.await {
            Ok(said) => said,
            Err(error) => Said::of::<()>(Err(error)),
        };
        answers.insert("redis", said);
    }
    answers
}

/// Lists, writes, reads and deletes, as an orchestrator does: a key may be allowed some of it only.
async fn try_blobs(store: &S3BlobStore) -> Result<(), String> {
    let folder = format!("probes/{}/", SystemEntropy.uuid());
    let key = format!("{folder}probe");
    let told = |error: BlobError| error.to_string();
    let tried = within(async {
        store.health().await.map_err(told)?;
        let probe = Bytes::from_static(b"probe");
        store.put_whole(&key, probe).await.map_err(told)?;
        let read = store.get(&key).await.map_err(told)?;
        read.map(drop)
            .ok_or_else(|| "what was stored is not there".to_owned())
    });
    let tried = tried.await;
    // Also where the answer to the others was lost.
    let deleted = within(async { store.delete_prefix(&folder).await.map_err(told) }).await;
    tried.and(deleted)
}

async fn within<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
