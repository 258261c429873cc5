//! One real server on a free port, over SQLite and a folder, with a few jobs and a worker in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::api::{
    self, ApiSettings, ApiState, ClientBook, ServerSettings, WorkerTokens, router,
};
use avtomatika::base::{ClientId, Clock as _, Secret, SystemClock, SystemEntropy, WorkerId};
use avtomatika::domain::{Client, Object};
use avtomatika::protocol;
use avtomatika::runtime::{
    Ports, Runtime, SendFailure, Settings, WebhookRequest, WebhookSecrets, WebhookSender,
};
use avtomatika::store::{DirBlobStore, SqliteSettings, SqliteStore, Synchronous};
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::wire::{Raw, Seen, exchange};

/// The client's token.
pub(crate) const CLIENT: &str = "token-of-the-client";
/// The token of another client.
pub(crate) const OTHER: &str = "token-of-another";
/// The worker and its token.
pub(crate) const WORKER: (&str, &str) = ("w1", "token-of-w1");

const BLUEPRINTS: [(&str, &str); 3] = [
    (
        "work.yaml",
        "blueprint: work\nversion: v1\nendpoint: /jobs/work\n\
         input: { type: object, properties: { n: { type: integer } } }\n\
         start: work\nstates:\n  work: { dispatch: { skill: echo }, on: { success: done } }\n  \
         done: { end: finished }\n",
    ),
    (
        "ask.yaml",
        "blueprint: ask\nversion: v1\nendpoint: /jobs/ask\nstart: ask\nstates:\n  ask:\n    \
         approve:\n      integration: mail\n      message: May I?\n      \
         form: { type: object, properties: { note: { type: string } } }\n    \
         on: { approved: done }\n  done: { end: finished }\n",
    ),
    (
        "quick.yaml",
        "blueprint: quick\nversion: v1\nendpoint: /jobs/quick\nstart: done\nstates:\n  \
         done: { end: finished }\n",
    ),
];

/// What the rows may name.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// A job of the client's that waits for a person.
    pub(crate) job: String,
    /// One that has ended.
    pub(crate) ended: String,
    /// A job whose task the worker holds.
    pub(crate) busy: String,
    /// That task.
    pub(crate) task: String,
}

/// The server.
pub(crate) struct Stage {
    pub(crate) facts: Facts,
    /// The server that takes its time.
    pub(crate) address: SocketAddr,
    /// One over the same jobs whose patience ends at once.
    pub(crate) impatient: SocketAddr,
    folder: TempDir,
    runtime: Runtime,
    stop: CancellationToken,
    servers: JoinSet<()>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = runtime(folder.path()).await;
        let (stop, mut servers) = (CancellationToken::new(), JoinSet::new());
        let patient = Duration::from_mins(1);
        let address = serve(&runtime, patient, &stop, &mut servers).await;
        let hasty = Duration::from_millis(300);
        let impatient = serve(&runtime, hasty, &stop, &mut servers).await;
        let facts = furnish(address).await;
        Self {
            facts,
            address,
            impatient,
            folder,
            runtime,
            stop,
            servers,
        }
    }

    /// Returns all that is stored: every row of every table, and every file.
    pub(crate) fn dump(&self) -> Vec<String> {
        let db = rusqlite::Connection::open(self.folder.path().join("store.db")).expect("the file");
        let mut names = db
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .expect("SQL");
        let names: Vec<String> = names
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect)
            .expect("names");
        let mut lines = Vec::new();
        for name in names {
            let mut all = db.prepare(&format!("SELECT * FROM {name}")).expect("SQL");
            let columns = all.column_count();
            let rows = all.query_map([], |row| {
                let cells = (0..columns).map(|column| row.get::<_, Cell>(column));
                let cells: Vec<Cell> = cells.collect::<Result<_, _>>()?;
                Ok(format!("{name} {cells:?}"))
            });
            lines.extend(rows.expect("rows").map(|row| row.expect("a row")));
        }
        files(&self.folder.path().join("blobs"), &mut lines);
        lines.sort();
        lines
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.servers.join_next().await {
            ended.expect("no server panics");
        }
        self.runtime.shutdown().await;
    }
}

fn files(folder: &Path, lines: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    for path in paths {
        if path.is_dir() {
            files(&path, lines);
        } else {
            let bytes = std::fs::metadata(&path).expect("a file").len();
            lines.push(format!("{} {bytes}", path.display()));
        }
    }
}

async fn runtime(folder: &Path) -> Runtime {
    let settings = SqliteSettings {
        synchronous: Synchronous::Off,
        ..SqliteSettings::default()
    };
    let store = SqliteStore::open(&folder.join("store.db"), &settings).expect("a new file");
    let store = Arc::new(store);
    let blobs = DirBlobStore::open(&folder.join("blobs"), "jobs").await;
    let blobs = blobs.expect("a folder");
    let ports = Ports {
        jobs: store.clone(),
        workers: store.clone(),
        history: store,
        export: None,
        blobs: Arc::new(blobs),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        webhooks: Arc::new(Nobody),
        secrets: Arc::new(Nobody),
        metrics: avtomatika::observe::Metrics::new(),
        traces: avtomatika::observe::Traces::default(),
    };
    let settings = Settings {
        lease_ms: 3_600_000,
        worker_ttl_ms: 3_600_000,
        ..Settings::default()
    };
    let runtime = Runtime::start(ports, settings)
        .await
        .expect("an empty store");
    let own = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    let problems = runtime.load_blueprints(BLUEPRINTS.map(own).to_vec()).await;
    assert_eq!(problems.expect("a store"), []);
    runtime
}

/// Serves the whole API with so much patience.
async fn serve(
    runtime: &Runtime,
    patience: Duration,
    stop: &CancellationToken,
    servers: &mut JoinSet<()>,
) -> SocketAddr {
    let settings = ApiSettings {
        task_secret: Secret::from("a-secret-of-more-than-32-characters"),
        rate_limits: None,
        body_timeout: patience,
        upload_timeout: patience,
        upload_bytes_max: 4 << 20,
        ..ApiSettings::default()
    };
    let state = ApiState::new(
        runtime.clone(),
        ClientBook::new([client("someone", CLIENT), client("another", OTHER)]),
        Arc::new(Nobody),
        settings,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let settings = ServerSettings {
        header_timeout: patience,
        idle_timeout: patience,
        ..ServerSettings::default()
    };
    let app = router(Arc::new(state));
    servers.spawn(api::serve(listener, app, settings, stop.clone()));
    address
}

fn client(id: &str, token: &str) -> Client {
    Client {
        id: ClientId::from(id),
        token_hash: Secret::from(token).hash(),
        plan: "none".to_owned(),
        params: Object::new(),
        monthly_attempts: None,
        webhook_secret: None,
        admin: false,
    }
}

/// Makes the jobs and the worker, over the wire as everybody does.
async fn furnish(address: SocketAddr) -> Facts {
    let id = async |blueprint: &str| {
        let raw = as_client(&format!("POST /api/v1/jobs/{blueprint}")).body("{}");
        json_of(&exchange(address, &raw).await[0], 202)["job_id"].clone()
    };
    let skills = json!({"worker_type": "t", "supported_skills": [{"name": "echo"}]});
    let register = as_worker("POST /_worker/workers/register").body(sealed(skills));
    json_of(&exchange(address, &register).await[0], 200);
    let busy = id("work").await;
    let poll = as_worker("GET /_worker/workers/w1/tasks/next?timeout=30");
    let task = json_of(&exchange(address, &poll).await[0], 200);
    assert_eq!(task["job_id"], busy);
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    Facts {
        job: text(&id("ask").await),
        ended: text(&id("quick").await),
        busy: text(&busy),
        task: text(&task["task_id"]),
    }
}

fn json_of(seen: &Seen, status: u16) -> Value {
    assert_eq!(seen.status, status, "{}", seen.body);
    serde_json::from_str(&seen.body).expect("JSON")
}

/// A request with the client's token.
pub(crate) fn as_client(line: &str) -> Raw {
    Raw::line(line).header(format!("X-Client-Token: {CLIENT}"))
}

/// A request with the worker's id and token.
pub(crate) fn as_worker(line: &str) -> Raw {
    let (id, token) = WORKER;
    Raw::line(line)
        .header(format!("X-Worker-ID: {id}"))
        .header(format!("X-Worker-Token: {token}"))
}

/// Returns a message of the worker's, stamped and signed.
pub(crate) fn sealed(message: Value) -> String {
    let (id, token) = WORKER;
    let Value::Object(mut message) = message else {
        panic!("only objects are signed: {message}");
    };
    for (name, value) in [
        ("worker_id", json!(id)),
        ("timestamp", json!(SystemClock.now().as_secs())),
    ] {
        message.entry(name).or_insert(value);
    }
    protocol::seal(&mut message, token, id, &["bubbling_chain"]).expect("canonical");
    Value::Object(message).to_string()
}

/// Who is not there: nobody takes webhooks; the worker has its token.
struct Nobody;

#[async_trait]
impl WebhookSender for Nobody {
    async fn send(&self, _: WebhookRequest) -> Result<(), SendFailure> {
        Ok(())
    }
}

impl WebhookSecrets for Nobody {
    fn secret(&self, _: &ClientId) -> Option<Secret> {
        None
    }
}

impl WorkerTokens for Nobody {
    fn token(&self, worker: &WorkerId) -> Option<Secret> {
        (worker.as_str() == WORKER.0).then(|| Secret::from(WORKER.1))
    }

    fn global(&self) -> Option<Secret> {
        None
    }
}
