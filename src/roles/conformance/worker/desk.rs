//! The orchestrator that a run plays: it answers as told, hands out what it is given, and keeps
//! all that comes in as it came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::seen::{Kind, Reply, Seen};
use crate::api::Draining;
use crate::base::Clock;
use crate::protocol::headers::{PROTOCOL_VERSION, RXON_VERSION, WORKER_ID, WORKER_TOKEN};
use crate::protocol::{parse_json, to_wire_bytes};

/// Longest time that a poll is held.
const WINDOW_MAX: Duration = Duration::from_secs(30);
/// Largest body that is read, as the original has it.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The played orchestrator.
pub struct Desk {
    log: Mutex<Vec<Seen>>,
    /// Counts what has changed: entries of the log, tasks, answers.
    news: watch::Sender<u64>,
    tasks: Mutex<VecDeque<Vec<u8>>>,
    replies: Mutex<BTreeMap<Kind, VecDeque<Reply>>>,
    /// What is told each time until the worker does as it should.
    standing: Mutex<Option<Standing>>,
    commands: broadcast::Sender<String>,
    clock: Arc<dyn Clock>,
}

/// Ends an answer that is told again and again.
pub type Heeded = fn(&Seen) -> bool;

/// An answer to every request of a kind.
struct Standing {
    kind: Kind,
    reply: Reply,
    /// The request that shows that the worker has understood, once it was told.
    heeded: Heeded,
    told: bool,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Makes a desk that nobody has come to.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            log: Mutex::default(),
            news: watch::Sender::new(0),
            tasks: Mutex::default(),
            replies: Mutex::default(),
            standing: Mutex::default(),
            commands: broadcast::Sender::new(16),
            clock,
        }
    }

    /// Returns the routes: any path, so that a wrong one is seen, too.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(serve).with_state(Arc::clone(self))
    }

    /// Hands these bytes to the next poll.
    pub fn give(&self, task: Vec<u8>) {
        held(&self.tasks).push_back(task);
        self.tell_news();
    }

    /// Answers the next requests of a kind so, one after the other.
    pub fn reply(&self, kind: Kind, replies: impl IntoIterator<Item = Reply>) {
        held(&self.replies).entry(kind).or_default().extend(replies);
        self.tell_news();
    }

    /// Answers every request of a kind so until one comes that heeds it, as an orchestrator does: a
    /// worker may have several of a kind on their way, and may listen to the answers of some only.
    /// Returns the place in the log where that one will be.
    pub fn insist(&self, kind: Kind, reply: Reply, heeded: Heeded) -> usize {
        let mark = self.mark();
        *held(&self.standing) = Some(Standing {
            kind,
            reply,
            heeded,
            told: false,
        });
        self.tell_news();
        mark
    }

    /// Forgets answers and tasks that nobody came for.
    pub fn clear(&self) {
        held(&self.replies).clear();
        held(&self.standing).take();
        held(&self.tasks).clear();
    }

    /// Sends a frame; false when no socket is open.
    pub fn command(&self, frame: &Value) -> bool {
        self.commands.send(frame.to_string()).is_ok()
    }

    /// Tells whether a socket is open.
    pub fn has_socket(&self) -> bool {
        self.commands.receiver_count() > 0
    }

    /// Returns all that came so far.
    pub fn log(&self) -> Vec<Seen> {
        held(&self.log).clone()
    }

    /// Returns the place in the log where what is still to come begins.
    pub fn mark(&self) -> usize {
        held(&self.log).len()
    }

    /// Waits for the first entry from `mark` on that fits.
    pub async fn until(
        &self,
        mark: usize,
        limit: Duration,
        fits: impl Fn(&Seen) -> bool,
    ) -> Option<Seen> {
        let mut news = self.news.subscribe();
        let found = async {
            loop {
                news.borrow_and_update();
                let found = held(&self.log)
                    .iter()
                    .skip(mark)
                    .find(|seen| fits(seen))
                    .cloned();
                if let Some(seen) = found {
                    return seen;
                }
                // The sender is the desk's own.
                let _ = news.changed().await;
            }
        };
        tokio::time::timeout(limit, found).await.ok()
    }

    fn tell_news(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn record(&self, mut seen: Seen) -> usize {
        let heeds = |standing: &mut Standing| standing.told && (standing.heeded)(&seen);
        seen.heeds = held(&self.standing).take_if(heeds).is_some();
        let index = {
            let mut log = held(&self.log);
            log.push(seen);
            log.len() - 1
        };
        self.tell_news();
        index
    }

    fn told(&self, index: usize, status: u16) {
        held(&self.log)[index].told = Some((status, Instant::now()));
        self.tell_news();
    }

    /// Takes the first answer that was told for the kind and means this entry.
    fn scripted(&self, kind: Kind, index: usize) -> Option<Reply> {
        if let Some(standing) = held(&self.standing).as_mut()
            && standing.kind == kind
        {
            standing.told = true;
            return Some(standing.reply.clone());
        }
        let task = held(&self.log)[index].body["task_id"]
            .as_str()
            .map(str::to_owned);
        let mut replies = held(&self.replies);
        let replies = replies.get_mut(&kind)?;
        let fits = |reply: &Reply| reply.task.is_none() || reply.task == task;
        let place = replies.iter().position(fits)?;
        replies.remove(place)
    }

    fn seen(&self, kind: Kind, path: &str, headers: &HeaderMap, bytes: Bytes) -> Seen {
        let text = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Seen {
            kind,
            path: path.to_owned(),
            token: text(WORKER_TOKEN),
            id: text(WORKER_ID),
            version: text(RXON_VERSION),
            body: parse_json(&bytes).unwrap_or_default(),
            bytes,
            at_seconds: self.clock.now().as_secs(),
            at: Instant::now(),
            told: None,
            heeds: false,
        }
    }
}

async fn serve(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let kind = Kind::of(&parts.method, &path);
    if kind == Kind::Socket {
        desk.record(desk.seen(kind, &path, &parts.headers, Bytes::new()));
        let socket = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
        let Draining(drained) = parts.extensions.get().cloned().unwrap_or_default();
        return match socket {
            Ok(upgrade) => upgrade.on_upgrade(move |socket| async move {
                tokio::select! {
                    () = talk(desk, socket) => {}
                    () = drained.cancelled() => {}
                }
            }),
            Err(rejection) => rejection.into_response(),
        };
    }
    let Ok(collected) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return answer(&Reply::new(413, json!({"error": "body too large"})));
    };
    let query = parts.uri.query().unwrap_or_default();
    let window = window_of(query);
    let named = if query.is_empty() {
        path
    } else {
        format!("{path}?{query}")
    };
    let index = desk.record(desk.seen(kind, &named, &parts.headers, collected.to_bytes()));
    if kind == Kind::Poll {
        let Draining(drained) = parts.extensions.get().cloned().unwrap_or_default();
        return tokio::select! {
            answered = next_task(&desk, index, window) => answered,
            () = drained.cancelled() => no_content(),
        };
    }
    let reply = match desk.scripted(kind, index) {
        Some(reply) => {
            desk.told(index, reply.status);
            reply
        }
        None => usual(kind),
    };
    answer(&reply)
}

/// Reads how long the poll wants to be held.
fn window_of(query: &str) -> Duration {
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(|text| text.parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    asked.map_or(WINDOW_MAX, |asked| asked.min(WINDOW_MAX))
}

fn usual(kind: Kind) -> Reply {
    let body = match kind {
        Kind::Register => json!({"status": "registered", "version": PROTOCOL_VERSION}),
        Kind::Beat => json!({"status": "ok"}),
        Kind::Result => json!({"status": "accepted", "transition": "success_transition"}),
        Kind::Event => json!({"status": "event_accepted"}),
        _ => return Reply::new(404, json!({"error": "not found"})),
    };
    Reply::new(200, body)
}

/// Answers as any orchestrator does: sorted, without nulls and spaces.
fn answer(reply: &Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = crate::api::json::reply(status, &reply.body);
    let headers = response.headers_mut();
    headers.insert(
        RXON_VERSION,
        PROTOCOL_VERSION.parse().expect("a header's text"),
    );
    if let Some(seconds) = reply.retry_after {
        headers.insert("retry-after", seconds.into());
    }
    response
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Waits for a task or an answer that is told.
async fn next_task(desk: &Desk, index: usize, window: Duration) -> Response {
    let mut news = desk.news.subscribe();
    let found = async {
        loop {
            news.borrow_and_update();
            if let Some(reply) = desk.scripted(Kind::Poll, index) {
                desk.told(index, reply.status);
                return answer(&reply);
            }
            if let Some(task) = held(&desk.tasks).pop_front() {
                let kind = [("content-type", crate::api::json::CONTENT_TYPE)];
                return (kind, task).into_response();
            }
            // The sender is the desk's own.
            let _ = news.changed().await;
        }
    };
    match tokio::time::timeout(window, found).await {
        Ok(response) => response,
        Err(_) => no_content(),
    }
}

/// Works an open socket: commands out, frames in.
async fn talk(desk: Arc<Desk>, mut socket: WebSocket) {
    let mut commands = desk.commands.subscribe();
    desk.tell_news();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Ok(text) = command else { return };
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let bytes = Bytes::copy_from_slice(text.as_bytes());
                    let seen = desk.seen(Kind::Frame, "", &HeaderMap::new(), bytes);
                    desk.record(seen);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// Writes a value as tasks are written.
pub fn written(value: &Value) -> Vec<u8> {
    to_wire_bytes(value)
}
