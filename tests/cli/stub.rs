//! A stand-in for an orchestrator: answers as told, remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub key: Option<String>,
    pub token: Option<String>,
    pub body: Value,
}

/// An answer: status, content type, body.
type Answer = (u16, &'static str, String);

#[derive(Default)]
struct Script {
    /// By `METHOD path`; the last one stays.
    answers: BTreeMap<String, VecDeque<Answer>>,
    asked: Vec<Asked>,
}

/// What the server and its test share.
#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    asked: Notify,
}

/// The stub; it goes when it is dropped.
pub struct Stub {
    pub url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl Stub {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serves until it is dropped");
        });
        Self {
            url: format!("http://{address}"),
            shared,
            _server: server,
        }
    }

    /// Answers `METHOD path` so from now on; several answers are given in turn, the last one stays.
    pub fn on(&self, line: &str, status: u16, body: &Value) -> &Self {
        self.push(line, (status, "application/json", body.to_string()))
    }

    /// Answers with a finished stream of events.
    pub fn on_events(&self, line: &str, events: &[(&str, Value)]) -> &Self {
        let mut body = String::from(": hello\n\n");
        for (number, (name, data)) in events.iter().enumerate() {
            body.push_str(&format!("event: {name}\nid: 1.{number}\ndata: {data}\n\n"));
        }
        self.push(line, (200, "text/event-stream", body))
    }

    fn push(&self, line: &str, answer: Answer) -> &Self {
        let mut script = self.shared.script.lock().expect("no panic while held");
        script
            .answers
            .entry(line.to_owned())
            .or_default()
            .push_back(answer);
        self
    }

    /// Returns the requests so far whose line is this.
    pub fn asked(&self, line: &str) -> Vec<Asked> {
        let script = self.shared.script.lock().expect("no panic while held");
        script
            .asked
            .iter()
            .filter(|asked| asked.line == line)
            .cloned()
            .collect()
    }

    /// Waits until that many such requests have come.
    pub async fn wait_for(&self, line: &str, count: usize) -> Vec<Asked> {
        let come = async {
            loop {
                let next = self.shared.asked.notified();
                let asked = self.asked(line);
                if asked.len() >= count {
                    return asked;
                }
                next.await;
            }
        };
        let come = tokio::time::timeout(Duration::from_mins(1), come).await;
        come.unwrap_or_else(|_| panic!("only {} times `{line}`", self.asked(line).len()))
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let line = format!("{method} {}", uri.path());
    let mut script = shared.script.lock().expect("no panic while held");
    script.asked.push(Asked {
        line: line.clone(),
        key: text("idempotency-key"),
        token: text("x-client-token"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    shared.asked.notify_waiters();
    let Some(answers) = script.answers.get_mut(&line) else {
        let body = r#"{"error":"Not Found","code":"not_found"}"#;
        return (StatusCode::NOT_FOUND, body).into_response();
    };
    let next = if answers.len() > 1 {
        answers.pop_front()
    } else {
        answers.front().cloned()
    };
    let (status, kind, body) = next.expect("an answer was pushed");
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("content-type", kind)], body).into_response()
}
