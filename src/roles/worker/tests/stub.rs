//! An orchestrator that does what the test says and remembers what it saw.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use super::KEY;
use crate::protocol::sign::EVENT_IGNORED;
use crate::protocol::verify;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// `register`, `beat`, `poll`, `result`, `event`, `token`, `refresh`, `frame`.
    pub(super) kind: &'static str,
    pub(super) token: String,
    /// Of a poll, its query.
    pub(super) body: Value,
}

struct Inner {
    log: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    tasks: Mutex<VecDeque<Value>>,
    task_added: Notify,
    replies: Mutex<BTreeMap<&'static str, VecDeque<(u16, Value)>>>,
    commands: broadcast::Sender<String>,
    manners: Mutex<Manners>,
}

/// What the orchestrator does with an event on the command channel.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Manners {
    /// Takes it.
    #[default]
    Good,
    /// Takes it once a result or three heartbeats have come.
    Slow,
    /// Closes the channel instead.
    Closing,
}

/// The orchestrator; gone when dropped.
pub(super) struct Stub {
    inner: Arc<Inner>,
    pub(super) url: String,
    server: JoinHandle<()>,
}

impl Stub {
    #[expect(
        clippy::disallowed_methods,
        reason = "the task is owned and stopped by the stub"
    )]
    pub(super) async fn start() -> Self {
        let inner = Arc::new(Inner {
            log: Mutex::default(),
            count: watch::Sender::new(0),
            tasks: Mutex::default(),
            task_added: Notify::new(),
            replies: Mutex::default(),
            commands: broadcast::Sender::new(8),
            manners: Mutex::default(),
        });
        let app = Router::new()
            .route("/_worker/ws/w-1", get(socket))
            .fallback(handle)
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inner, url, server }
    }

    /// Queues a task for the next poll.
    pub(super) fn give(&self, task: Value) {
        self.inner.tasks.lock().unwrap().push_back(task);
        self.inner.task_added.notify_one();
    }

    /// Answers the next requests of a kind so, one after the other.
    pub(super) fn reply(
        &self,
        kind: &'static str,
        replies: impl IntoIterator<Item = (u16, Value)>,
    ) {
        self.inner
            .replies
            .lock()
            .unwrap()
            .entry(kind)
            .or_default()
            .extend(replies);
    }

    /// Decides what becomes of the events on the command channel.
    pub(super) fn behave(&self, manners: Manners) {
        *self.inner.manners.lock().unwrap() = manners;
    }

    /// Returns the kinds of all requests that fit, in the order of their arrival.
    pub(super) fn order(&self, fits: impl Fn(&Seen) -> bool) -> Vec<&'static str> {
        let log = self.inner.log.lock().unwrap();
        log.iter()
            .filter(|seen| fits(seen))
            .map(|s| s.kind)
            .collect()
    }

    /// Sends a frame to the worker.
    pub(super) fn command(&self, frame: &Value) {
        self.inner
            .commands
            .send(frame.to_string())
            .expect("a channel is open");
    }

    /// Returns all requests of a kind so far.
    pub(super) fn seen(&self, kind: &str) -> Vec<Seen> {
        let log = self.inner.log.lock().unwrap();
        log.iter()
            .filter(|seen| seen.kind == kind)
            .cloned()
            .collect()
    }

    /// Waits for the first request of the kind that fits.
    pub(super) async fn until(&self, kind: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let mut count = self.inner.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(seen) = self.seen(kind).into_iter().find(&fits) {
                    return seen;
                }
                count.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        found.unwrap_or_else(|_| panic!("no such {kind} in {:#?}", self.inner.log.lock().unwrap()))
    }

    /// Waits for the result of a task.
    pub(super) async fn result_of(&self, task_id: &str) -> Value {
        self.until("result", |seen| seen.body["task_id"] == task_id)
            .await
            .body
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Inner {
    fn record(&self, kind: &'static str, token: &str, body: Value) {
        let mut log = self.log.lock().unwrap();
        log.push(Seen {
            kind,
            token: token.to_owned(),
            body,
        });
        self.count.send_replace(log.len());
    }

    /// Waits until a result or three more heartbeats have come.
    async fn dawdle(&self) {
        let counted = |kind: &str| {
            let log = self.log.lock().unwrap();
            log.iter().filter(|seen| seen.kind == kind).count()
        };
        let (results, beats) = (counted("result"), counted("beat"));
        let mut count = self.count.subscribe();
        while counted("result") == results && counted("beat") < beats + 3 {
            count.changed().await.unwrap();
        }
    }
}

fn kind_of(method: &Method, path: &str) -> &'static str {
    match (method.as_str(), path) {
        ("POST", "/_worker/workers/register") => "register",
        ("PATCH", "/_worker/workers/w-1") => "beat",
        ("GET", "/_worker/workers/w-1/tasks/next") => "poll",
        ("POST", "/_worker/tasks/result") => "result",
        ("POST", "/_worker/events") => "event",
        ("POST", "/_worker/auth/token") => "token",
        ("POST", "/_worker/auth/token/refresh") => "refresh",
        _ => panic!("unexpected {method} {path}"),
    }
}

async fn handle(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = kind_of(&method, uri.path());
    let token = headers["x-worker-token"].to_str().unwrap().to_owned();
    assert_eq!(headers["x-worker-id"], "w-1");
    let body: Value = if body.is_empty() {
        uri.query().map_or(Value::Null, Value::from)
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    if ["register", "beat", "result", "event"].contains(&kind) {
        check_signature(&body);
    }
    inner.record(kind, &token, body);
    let scripted = inner
        .replies
        .lock()
        .unwrap()
        .get_mut(kind)
        .and_then(VecDeque::pop_front);
    if let Some((status, reply)) = scripted {
        return answer(status, &reply);
    }
    match kind {
        "register" => answer(200, &json!({"status": "registered", "version": "1.0b17"})),
        "beat" => answer(200, &json!({"status": "ok"})),
        "poll" => next_task(&inner).await,
        "result" => answer(200, &json!({"status": "accepted"})),
        "event" => answer(200, &json!({"status": "event_accepted"})),
        _ => answer(404, &json!({"error": "not found"})),
    }
}

fn check_signature(body: &Value) {
    let signature = body["security"]["signature"]
        .as_str()
        .expect("it is signed");
    assert!(verify(body, KEY, &EVENT_IGNORED, signature), "{body}");
    assert_eq!(body["security"]["signer_id"], "w-1");
    assert!(body["timestamp"].is_i64());
}

/// As a status: the connection breaks within the answer.
pub(super) const BROKEN: u16 = 0;

/// Answers with JSON; a `retry-after` member of a 429 becomes the header.
fn answer(status: u16, reply: &Value) -> Response {
    if status == BROKEN {
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("broken"))]);
        return axum::body::Body::from_stream(broken).into_response();
    }
    let status = StatusCode::from_u16(status).unwrap();
    match reply.get("retry-after").and_then(Value::as_str) {
        Some(seconds) => (status, [("retry-after", seconds.to_owned())], "{}").into_response(),
        None => (status, reply.to_string()).into_response(),
    }
}

async fn next_task(inner: &Inner) -> Response {
    let found = async {
        loop {
            let task = inner.tasks.lock().unwrap().pop_front();
            match task {
                Some(task) => return task,
                None => inner.task_added.notified().await,
            }
        }
    };
    match tokio::time::timeout(Duration::from_millis(50), found).await {
        Ok(task) => answer(200, &task),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn socket(State(inner): State<Arc<Inner>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| talk(inner, socket))
}

async fn talk(inner: Arc<Inner>, mut socket: WebSocket) {
    let mut commands = inner.commands.subscribe();
    inner.record("frame", "", json!("open"));
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Ok(text) => socket.send(Message::text(text)).await.unwrap(),
                Err(_) => return,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let body: Value = serde_json::from_str(&text).unwrap();
                    check_signature(&body);
                    let manners = *inner.manners.lock().unwrap();
                    match manners {
                        Manners::Good => {}
                        Manners::Slow => inner.dawdle().await,
                        Manners::Closing => return,
                    }
                    inner.record("frame", "", body);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}
