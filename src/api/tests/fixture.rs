//! One API over a runtime in memory, with clients, a worker and a few small blueprints.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::doubles::{Blobs, CountedEntropy, GatedHistory, NoWebhooks, StillClock, Tokens};
use super::story::Answer;
use crate::api::{ApiSettings, ApiState, ClientBook, router};
use crate::base::{ClientId, Clock as _, Secret};
use crate::domain::{Client, Object};
use crate::protocol;
use crate::runtime::{Export, Ports, Runtime, Settings};
use crate::store::Archive;
use crate::store::memory::MemoryStore;

/// A client.
pub(super) const ALICE: &str = "token-of-alice";
/// Another client, with a quota of two jobs a month.
pub(super) const BOB: &str = "token-of-bob";
/// An operator.
pub(super) const ADMIN: &str = "token-of-admin";
/// The worker and its token.
pub(super) const WORKER: (&str, &str) = ("gpu-01", "token-of-gpu-01");
/// A second worker, with the global token.
pub(super) const OTHER: (&str, &str) = ("cpu-01", "global-token");
/// Signs tasks and links.
pub(super) const SECRET: &str = "orch-secret-0123456789abcdef";

/// 2026-11-23T08:22:34.500Z.
const NOW: i64 = 1_795_422_154_500;

/// One API and what it runs on.
pub(super) struct Api {
    pub(super) router: Router,
    pub(super) state: Arc<ApiState>,
    pub(super) clock: Arc<StillClock>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) history: Arc<GatedHistory>,
}

/// Small blueprints: one task, one without a way out of failure, one decision, one event, one that
/// ends at once.
const BLUEPRINTS: &str = include_str!("data/blueprints.yaml");

fn client(id: &str, token: &str, admin: bool, monthly_attempts: Option<u64>) -> Client {
    Client {
        id: ClientId::from(id),
        token_hash: Secret::from(token).hash(),
        plan: "premium".to_owned(),
        params: Object::new(),
        monthly_attempts,
        webhook_secret: None,
        admin,
    }
}

impl Api {
    /// Starts with the settings that most tests want.
    pub(super) async fn start() -> Self {
        Self::with(ApiSettings {
            task_secret: Secret::from(SECRET),
            rate_limits: None,
            public_url: Some("http://api.test".to_owned()),
            ..ApiSettings::default()
        })
        .await
    }

    /// Starts with these settings.
    pub(super) async fn with(settings: ApiSettings) -> Self {
        Self::over(settings, Arc::new(MemoryStore::new()), None).await
    }

    /// Starts over a store, with an archive if there is to be one.
    pub(super) async fn over(
        settings: ApiSettings,
        store: Arc<MemoryStore>,
        archive: Option<Arc<dyn Archive>>,
    ) -> Self {
        let clock = Arc::new(StillClock(AtomicI64::new(NOW)));
        let history = Arc::new(GatedHistory::new(Arc::clone(&store)));
        let ports = Ports {
            jobs: Arc::clone(&store) as _,
            workers: Arc::clone(&store) as _,
            export: archive.map(|archive| Export {
                archive,
                feed: Arc::clone(&store) as _,
                retention: None,
                runs_on: None,
            }),
            history: Arc::clone(&history) as _,
            blobs: Arc::new(Blobs::default()),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(CountedEntropy(AtomicU64::new(0))),
            webhooks: Arc::new(NoWebhooks),
            secrets: Arc::new(NoWebhooks),
            metrics: crate::observe::Metrics::new(),
            traces: crate::observe::Traces::default(),
        };
        let runtime = Runtime::start(ports, Settings::default())
            .await
            .expect("an empty store");
        let clients = ClientBook::new([
            client("alice", ALICE, false, None),
            client("bob", BOB, false, Some(2)),
            client("admin", ADMIN, true, None),
        ]);
        let tokens = Arc::new(Tokens::default());
        let state = Arc::new(ApiState::new(
            runtime,
            clients,
            Arc::clone(&tokens) as _,
            settings,
        ));
        let api = Self {
            router: router(Arc::clone(&state)),
            state,
            clock,
            tokens,
            history,
        };
        let numbered = BLUEPRINTS.split("---\n").enumerate();
        let files: Vec<(String, &str)> = numbered
            .map(|(number, text)| (format!("{number}.yaml"), text))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect();
        api.load(&files).await;
        api
    }

    /// Takes these files as the blueprints.
    pub(super) async fn load(&self, files: &[(&str, &str)]) {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let files = files.iter().map(own).collect();
        let problems = self
            .state
            .runtime
            .load_blueprints(files)
            .await
            .expect("a store");
        assert!(
            problems.iter().all(|problem| problem.is_warning),
            "{problems:?}"
        );
    }

    /// Moves the clock.
    pub(super) fn pass(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Sends a request as text: a line, headers, an empty line, a body.
    pub(super) async fn send(&self, text: &str) -> Answer {
        Answer::of(self.call(request(text)).await).await
    }

    /// Asks as a client.
    pub(super) async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(&format!("GET {path}\nX-Client-Token: {token}"))
            .await
    }

    /// Posts as a client.
    pub(super) async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(&format!("POST {path}\nX-Client-Token: {token}\n\n{body}"))
            .await
    }

    /// Creates a job and returns its id.
    pub(super) async fn create(&self, token: &str, path: &str, body: &Value) -> String {
        let answer = self.post(token, path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["job_id"].as_str().expect("an id").to_owned()
    }

    /// Returns a worker's message, stamped and signed.
    pub(super) fn sealed(&self, (id, token): (&str, &str), mut body: Value) -> Value {
        let object = body.as_object_mut().expect("an object");
        object.insert("worker_id".to_owned(), json!(id));
        object.insert("timestamp".to_owned(), json!(self.clock.now().as_secs()));
        protocol::seal(object, token, id, &["bubbling_chain"]).expect("canonical");
        body
    }

    /// Sends a worker's message.
    pub(super) async fn tell(&self, worker: (&str, &str), line: &str, body: &Value) -> Answer {
        let (id, token) = worker;
        self.send(&format!(
            "{line}\nX-Worker-Token: {token}\nX-Worker-ID: {id}\n\n{body}"
        ))
        .await
    }

    /// Registers a worker with the skill `echo`.
    pub(super) async fn register(&self, worker: (&str, &str)) {
        let body = json!({
            "worker_type": "test",
            "supported_skills": [{"name": "echo", "type": "echo"}],
            "capabilities": {"cost_per_skill": {"echo": 0.5}},
        });
        let body = self.sealed(worker, body);
        let answer = self
            .tell(worker, "POST /_worker/workers/register", &body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Polls once and returns the task, if there is one.
    pub(super) async fn poll(&self, worker: (&str, &str)) -> Option<Value> {
        let line = format!("GET /_worker/workers/{}/tasks/next?timeout=0.05", worker.0);
        let answer = self.tell(worker, &line, &Value::Null).await;
        match answer.status {
            200 => Some(answer.json()),
            204 => None,
            status => panic!("{status}: {}", answer.body),
        }
    }

    /// Reports a task's end.
    pub(super) async fn report(&self, worker: (&str, &str), task: &Value, body: Value) -> Answer {
        let mut body = body;
        body["job_id"] = task["job_id"].clone();
        body["task_id"] = task["task_id"].clone();
        let body = self.sealed(worker, body);
        self.tell(worker, "POST /_worker/tasks/result", &body).await
    }
}

/// Builds a request from text.
pub(super) fn request(text: &str) -> Request<Body> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .expect("a line");
    let mut request = Request::builder().method(method).uri(path);
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    let body = if body == "null" { "" } else { body };
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}
