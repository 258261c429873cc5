//! Values that were too large for the job store, of jobs that have left it: shown as long as the files have
//! them.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::api::{ApiSettings, ApiState, ClientBook, WorkerTokens, router};
use avtomatika::base::{ClientId, Clock as _, JobId, Secret, SystemClock, WorkerId};
use avtomatika::domain::{Client, ClientRef, Object};
use avtomatika::runtime::{NewJob, Settings};
use avtomatika::store::{BlobStore, Offloading, S3BlobStore, S3Settings};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::export::{World, in_file, in_folder};
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

/// What is larger lies in S3. Units: bytes of JSON.
pub const BYTES_MAX: usize = 256 << 10;
const TOKEN: &str = "token-of-acme";

pub const HEAVY: &str = "
blueprint: heavy
start: first
states:
  first: { set: { text: \"{{ initial_data.text }}\" }, go_to: done }
  done: { end: finished, result: { text: \"{{ state_history.text }}\" } }
";

/// Nobody works here.
struct NoWorkers;

impl WorkerTokens for NoWorkers {
    fn token(&self, _: &WorkerId) -> Option<Secret> {
        None
    }

    fn global(&self) -> Option<Secret> {
        None
    }
}

pub fn api(world: &World) -> axum::Router {
    let client = Client {
        id: ClientId::from("acme"),
        token_hash: Secret::from(TOKEN).hash(),
        plan: "free".to_owned(),
        params: Object::new(),
        monthly_attempts: None,
        webhook_secret: None,
        admin: false,
    };
    let (clients, settings) = (ClientBook::new([client]), ApiSettings::default());
    let state = ApiState::new(
        world.runtime.clone(),
        clients,
        Arc::new(NoWorkers),
        settings,
    );
    router(Arc::new(state))
}

pub async fn answer(api: &axum::Router, path: &str) -> Response {
    let request = Request::get(path)
        .header("X-Client-Token", TOKEN)
        .body(Body::empty());
    let answer = api.clone().oneshot(request.expect("good")).await;
    answer.expect("answers")
}

pub async fn get(api: &axum::Router, path: &str) -> (StatusCode, Value) {
    let answer = answer(api, path).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("reads");
    let body = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    (status, body)
}

/// Begins a job of acme's, which ends at once.
pub async fn submit(world: &World, blueprint: &str, text: &str) -> JobId {
    let client = ClientRef {
        id: "acme".into(),
        plan: "free".to_owned(),
        params: Object::new(),
    };
    let new = NewJob::new(client, json!({"text": text}));
    let created = world.runtime.submit(blueprint, new).await;
    created.expect("accepts").job_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_left_the_store_is_shown_with_the_values_that_files_have() {
    let mut server = S3Server::start();
    let (access, secret) = (Secret::from(ACCESS_KEY), Secret::from(SECRET_KEY));
    let settings = S3Settings::new(&server.endpoint(), BUCKET, access, secret);
    let bucket = Arc::new(S3BlobStore::new(&settings).expect("can be used"));
    let blobs: Arc<dyn BlobStore> = bucket.clone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, archive) = (in_folder(&folder), in_file(&folder));
    let jobs = Offloading::new(store.clone(), Arc::clone(&blobs), BYTES_MAX);
    let world = World::with(store, archive, folder, Settings::default(), |ports| {
        ports.jobs = Arc::new(jobs);
        ports.blobs = blobs;
    });
    let world = world.await;
    let files = vec![("heavy.yaml".to_owned(), HEAVY.to_owned())];
    let problems = world.runtime.load_blueprints(files).await;
    assert_eq!(problems.expect("a store"), []);
    let text = "x".repeat(300_000);
    let created = submit(&world, "heavy", &text).await;
    let path = format!("/api/v1/jobs/{created}");
    let api = api(&world);
    let (status, live) = get(&api, &path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(live["result"]["text"], json!(text));
    world.is_through().await;
    let late = SystemClock.now().after(Duration::from_hours(24 * 365));
    let purged = world.store.purge(late, 9).await.expect("purges");
    assert_eq!(purged, [created]);

    let (status, archived) = get(&api, &path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(archived == live, "as it was");
    server.pause();
    let (status, _) = get(&api, &path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _) = get(&api, &format!("{path}/history")).await;
    assert_eq!(status, StatusCode::OK, "what happened lies elsewhere");
    server.resume();
    // Whoever asks how it stands is the first to learn that it is back.
    bucket.health().await.expect("is back");
    let prefix = format!("jobs/{created}/");
    bucket.delete_prefix(&prefix).await.expect("deletes");
    let (status, archived) = get(&api, &path).await;
    assert_eq!(status, StatusCode::OK);
    let reference = &archived["result"]["text"]["$offloaded"];
    assert_eq!(reference["size"], 300_002);
    world.runtime.shutdown().await;
}
