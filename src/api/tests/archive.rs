//! Jobs that have left the store, and the search for them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::fixture::{ALICE, Api, BOB};
use crate::api::ApiSettings;
use crate::base::Secret;
use crate::store::archive::chain::Hasher;
use crate::store::{HistoryFeed as _, JobStore as _, MemoryStore, SqliteArchive};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_left_the_store_is_shown_and_found_to_its_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hasher = Hasher::new(&Secret::new(""));
    let archive = SqliteArchive::open(&folder.path().join("history.db"), hasher).expect("opens");
    let store = Arc::new(MemoryStore::with_feed());
    let settings = ApiSettings {
        rate_limits: None,
        ..ApiSettings::default()
    };
    let api = Api::over(settings, Arc::clone(&store), Some(Arc::new(archive))).await;
    let body = json!({"initial_data": {"n": 1}, "labels": {"team": "video"}});
    let id = api.create(ALICE, "/api/quick", &body).await;
    let paths = [
        format!("/api/v1/jobs/{id}"),
        format!("/api/v1/jobs/{id}/history"),
        format!("/api/v1/jobs/{id}/files"),
    ];
    let before = [
        api.get(ALICE, &paths[0]).await,
        api.get(ALICE, &paths[1]).await,
        api.get(ALICE, &paths[2]).await,
    ];
    let exported = async {
        while store.feed_length().await.expect("counts") > 0 {
            tokio::task::yield_now().await;
        }
    };
    let exported = tokio::time::timeout(Duration::from_mins(1), exported).await;
    exported.expect("the archive gets everything");
    api.pass(366 * 86_400_000);
    let now = api.state.runtime.clock().now();
    assert_eq!(store.purge(now, 9).await.expect("purges").len(), 1);
    for (path, before) in paths.iter().zip(&before) {
        assert_eq!(before.status, 200, "{path}");
        let after = api.get(ALICE, path).await;
        assert_eq!((after.status, &after.body), (200, &before.body), "{path}");
        assert_eq!(api.get(BOB, path).await.status, 404, "{path}");
    }
    let found = async |token: &str, query: &str| -> Vec<Value> {
        let answer = api
            .get(token, &format!("/api/v1/jobs/search?{query}"))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let rows = answer.json().as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| row["job_id"].clone()).collect()
    };
    assert_eq!(
        found(ALICE, "label=team:video&status=finished").await,
        [json!(id)]
    );
    assert_eq!(found(ALICE, "status=failed").await, Vec::<Value>::new());
    assert_eq!(found(BOB, "").await, Vec::<Value>::new());
    let ready = api.get(ALICE, "/_public/ready").await.json();
    assert_eq!(ready["checks"]["history"], "ok");
    api.state.runtime.shutdown().await;
}

#[tokio::test]
async fn without_a_history_there_is_nothing_to_search_in() {
    let api = Api::start().await;
    let answer = api.get(ALICE, "/api/v1/jobs/search?error=disk").await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["code"], "history_off");
}
