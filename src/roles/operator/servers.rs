//! Asks the servers that the settings name whether they answer, for `config check --connect`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Settings;
use crate::roles::orchestrator::{ArchiveAccess, open_archive};
use crate::store::archive::uri::Target;
use crate::store::{BlobStore as _, JobStore as _, RedisStore, S3BlobStore};

/// The longest wait for one server.
const PATIENCE: Duration = Duration::from_secs(15);

/// Returns what each server says, by its name: `ok`, or what is wrong.
pub(super) async fn asked(settings: &Settings) -> BTreeMap<&'static str, String> {
    let mut answers = BTreeMap::new();
    if let Some(s3) = &settings.files.s3 {
        let answer = match S3BlobStore::new(s3) {
            Ok(store) => within(async { store.health().await.map_err(|e| e.to_string()) }).await,
            Err(error) => Err(error.to_string()),
        };
        answers.insert("s3", answer.err().unwrap_or_else(|| "ok".to_owned()));
    }
    if let Some(target @ Target::Postgres { .. }) = &settings.history.target {
        let answer = match open_archive(target, &settings.history.salt, ArchiveAccess::Read) {
            Ok(archive) => {
                within(async { archive.health().await.map_err(|e| e.to_string()) }).await
            }
            Err(error) => Err(error.to_string()),
        };
        answers.insert("history", answer.err().unwrap_or_else(|| "ok".to_owned()));
    }
    if let Some(redis) = &settings.store.redis {
        let answer = within(async {
            let store = RedisStore::open(redis).await.map_err(|e| e.to_string())?;
            let answer = store.health().await.map_err(|e| e.to_string());
            store.close().await;
            answer
        });
        let answer = answer.await;
        answers.insert("redis", answer.err().unwrap_or_else(|| "ok".to_owned()));
    }
    answers
}

async fn within(asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
