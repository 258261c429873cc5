//! One orchestrator, as this worker talks to it: headers, tokens, signatures, the seven calls.

mod heard;
mod lost;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use self::heard::Heard;
pub(super) use self::lost::Lost;
use self::tokens::Access;
use super::config::{Endpoint, WorkerConfig};
use super::socket::{Frame, Sent, hand_over};
use crate::base::trace::{BAGGAGE, TRACEPARENT, TRACESTATE};
use crate::base::{Clock, Entropy, Secret, WorkerId};
use crate::domain::Object;
use crate::net::{Call, ClientOptions, HttpAnswer, HttpClient, Method, NetError, client_config};
use crate::protocol::sign::EVENT_IGNORED;
use crate::protocol::wire::{
    Heartbeat, HeartbeatAnswer, RegisterAnswer, Registration, ResultAnswer, TaskResult,
    WorkerEventPayload,
};
use crate::protocol::{WireError, headers, parse_json, seal, to_wire_bytes};

/// How much longer than the orchestrator holds a poll the answer may take.
const POLL_MARGIN: Duration = Duration::from_secs(5);
/// Longest wait for an event to be taken by request.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection to one orchestrator.
pub(super) struct Link {
    base: String,
    /// Its share of the turns.
    pub(super) weight: i64,
    http: HttpClient,
    pub(super) tls: Arc<rustls::ClientConfig>,
    worker_id: WorkerId,
    token: Secret,
    /// Whether short-lived tokens are fetched without being asked for.
    rotates: bool,
    access: Mutex<Option<Access>>,
    registered: watch::Sender<bool>,
    heard: Mutex<Heard>,
    socket: Mutex<Option<mpsc::Sender<Frame>>>,
    poll_timeout: Duration,
    lost: Arc<Lost>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Link {
    /// Prepares the connection; nothing is sent yet.
    pub(super) fn new(
        config: &WorkerConfig,
        endpoint: &Endpoint,
        lost: Arc<Lost>,
    ) -> Result<Self, NetError> {
        let options = ClientOptions {
            tls: config.tls.clone(),
            ..ClientOptions::default()
        };
        let token = endpoint
            .token
            .clone()
            .unwrap_or_else(|| config.token.clone());
        if token.is_empty() && config.tls.identity.is_none() {
            warn!(orchestrator.url = %endpoint.url, "no token: messages go out unsigned");
        }
        Ok(Self {
            base: endpoint.url.clone(),
            weight: endpoint.weight,
            http: HttpClient::new(options)?,
            tls: client_config(&config.tls)?,
            worker_id: config.id.clone(),
            token,
            rotates: config.tls != crate::net::TlsFiles::default(),
            access: Mutex::default(),
            registered: watch::Sender::new(false),
            heard: Mutex::default(),
            socket: Mutex::default(),
            poll_timeout: config.timing.poll,
            lost,
            clock: Arc::clone(&config.clock),
            entropy: Arc::clone(&config.entropy),
        })
    }

    /// Returns the address, for logs.
    pub(super) fn url(&self) -> &str {
        &self.base
    }

    /// Tells whether the orchestrator knows this worker, as far as is known here.
    pub(super) fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    pub(super) fn set_registered(&self, registered: bool) {
        self.registered.send_replace(registered);
    }

    /// Completes when the worker is registered.
    pub(super) async fn until_registered(&self) {
        let mut registered = self.registered.subscribe();
        // The sender lives as long as the link, so this cannot fail while anyone waits here.
        let _ = registered.wait_for(|known| *known).await;
    }

    /// Returns the headers that identify this worker.
    pub(super) fn identity(&self) -> [(&'static str, String); 3] {
        let access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        let token = access.as_ref().map_or(&self.token, |access| &access.token);
        [
            (headers::WORKER_TOKEN, token.expose().to_owned()),
            (headers::WORKER_ID, self.worker_id.to_string()),
            (headers::RXON_VERSION, headers::PROTOCOL_VERSION.to_owned()),
        ]
    }

    /// Returns the address of the command channel.
    pub(super) fn socket_url(&self) -> String {
        // `http` becomes `ws` and `https` becomes `wss`.
        format!(
            "ws{}{}",
            &self.base[4..],
            headers::socket_path(self.worker_id.as_str())
        )
    }

    /// Routes events through the command channel while there is one.
    pub(super) fn set_socket(&self, socket: Option<mpsc::Sender<Frame>>) {
        *self.socket() = socket;
    }

    fn socket(&self) -> MutexGuard<'_, Option<mpsc::Sender<Frame>>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, format!("{}{path}", self.base))
    }

    /// Sends; after a 401 fetches new tokens and sends once more, built anew, because a signed
    /// message must not be sent twice.
    async fn send(
        &self,
        build: impl Fn() -> Result<Call, NetError> + Send + Sync,
    ) -> Result<HttpAnswer, NetError> {
        let identified = || -> Result<Call, NetError> {
            let add = |call: Call, (name, value): (&str, String)| call.header(name, value);
            Ok(self.identity().into_iter().fold(build()?, add))
        };
        let answer = self.http.send(identified()?).await?;
        if answer.status != 401 || self.renew().await.is_err() {
            return answer.success();
        }
        self.http.send(identified()?).await?.success()
    }

    /// Stamps and signs a message; each time it is a new one.
    ///
    /// The key is the static token: the original verifies with nothing else (WQ1). A worker that has
    /// none, only a certificate, signs with the access token that it got by it.
    fn sealed(&self, mut message: Object, ignored: &[&str]) -> Result<Vec<u8>, NetError> {
        message.insert("timestamp".to_owned(), json!(self.clock.now().as_secs()));
        if !message.contains_key("event_id") {
            message.insert("nonce".to_owned(), json!(self.entropy.uuid().to_string()));
        }
        let key = self.signing_key();
        if !key.is_empty() {
            seal(&mut message, key.expose(), self.worker_id.as_str(), ignored).map_err(wire)?;
        }
        Ok(to_wire_bytes(&Value::Object(message)))
    }

    /// E1.
    pub(super) async fn register(
        &self,
        registration: &Registration,
    ) -> Result<RegisterAnswer, NetError> {
        if self.token.is_empty() {
            // Without a token there is nothing to sign with until the certificate has brought one.
            self.rotate().await;
        }
        let answer = self
            .send(|| {
                let body = self.sealed(registration.encode(), &[])?;
                Ok(self.call(Method::Post, headers::REGISTER_PATH).json(body))
            })
            .await?;
        let mut answer = RegisterAnswer::decode(&parse(&answer)?).map_err(wire)?;
        if let Some(tokens) = answer.tokens.take() {
            self.keep_tokens(tokens);
        }
        self.heard_from(answer.deployment.clone());
        Ok(answer)
    }

    /// E2.
    pub(super) async fn beat(&self, beat: &Heartbeat) -> Result<HeartbeatAnswer, NetError> {
        let path = headers::heartbeat_path(self.worker_id.as_str());
        let answer = self
            .send(|| {
                Ok(self
                    .call(Method::Patch, &path)
                    .json(self.sealed(beat.encode(), &[])?))
            })
            .await?;
        HeartbeatAnswer::decode(&parse(&answer)?).map_err(wire)
    }

    /// E3: waits for a task; nothing when the orchestrator had none within the window.
    ///
    /// The original ignores the window and holds the poll for its own 30 seconds, and it loses a
    /// task whose poll has gone, so the wait here is never shorter than the configured one.
    pub(super) async fn poll(
        &self,
        window: Duration,
        skills: &[String],
    ) -> Result<Option<Value>, NetError> {
        let lease = self.entropy.uuid();
        let path = format!(
            "{}?timeout={:.1}&available_skills={}&hot_skills=&lease_id={lease}{}",
            headers::next_task_path(self.worker_id.as_str()),
            window.as_secs_f64(),
            skills.join(","),
            self.lost.parameter(),
        );
        let timeout = self.poll_timeout.max(window) + POLL_MARGIN;
        let answer = self
            .send(|| Ok(self.call(Method::Get, &path).timeout(timeout)))
            .await;
        self.lost.settle(lease, answer.as_ref().err());
        let message = parse(&answer?)?;
        let is_empty = message.is_null() || message.as_object().is_some_and(Object::is_empty);
        Ok((!is_empty).then_some(message))
    }

    /// E4.
    pub(super) async fn result(
        &self,
        result: &TaskResult,
        trace: &BTreeMap<String, String>,
    ) -> Result<ResultAnswer, NetError> {
        let answer = self
            .send(|| {
                let body = self.sealed(result.encode(), &[])?;
                let call = self.call(Method::Post, headers::RESULT_PATH).json(body);
                Ok(within(call, trace))
            })
            .await?;
        // What is not JSON did not come from an orchestrator: send it again.
        let answer = parse(&answer).map_err(|error| NetError::Broken(error.to_string()))?;
        Ok(ResultAnswer::decode(&answer))
    }

    /// Sends an event over the command channel while it is open, else by E5. Returns when the
    /// orchestrator has dealt with it. One that has to be sent twice has the same id both times,
    /// by which the second is told.
    pub(super) async fn event(&self, event: &WorkerEventPayload) -> Result<(), NetError> {
        if self.event_over_socket(event).await? {
            return Ok(());
        }
        self.send(|| {
            let body = self.sealed(event.encode(), &EVENT_IGNORED)?;
            let call = self
                .call(Method::Post, headers::EVENTS_PATH)
                .json(body)
                .timeout(EVENT_TIMEOUT);
            Ok(match &event.trace_context {
                Some(trace) => within(call, trace),
                None => call,
            })
        })
        .await
        .map(|_| ())
    }

    /// Tells whether the event went over the command channel and was taken there.
    async fn event_over_socket(&self, event: &WorkerEventPayload) -> Result<bool, NetError> {
        let socket = self.socket().clone();
        let Some(socket) = socket else {
            return Ok(false);
        };
        let sealed = self.sealed(event.encode(), &EVENT_IGNORED)?;
        let sent = hand_over(&socket, &sealed).await;
        if sent == Sent::Unanswered {
            // Commands may still come over it, but the next event shall not wait as long.
            debug!(
                orchestrator.url = self.base,
                "events go by request: the command channel acknowledges nothing"
            );
            let mut current = self.socket();
            let is_same = |now: &mpsc::Sender<Frame>| now.same_channel(&socket);
            if current.as_ref().is_some_and(is_same) {
                *current = None;
            }
        }
        Ok(sent == Sent::Taken)
    }
}

/// Says which span a call is part of. What came from elsewhere and is no header is left out.
fn within(call: Call, trace: &BTreeMap<String, String>) -> Call {
    let known = [TRACEPARENT, TRACESTATE, BAGGAGE].into_iter();
    let known = known.filter_map(|name| Some((name, trace.get(name)?)));
    let is_text = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    known
        .filter(|(_, text)| is_text(text))
        .fold(call, |call, (name, text)| call.header(name, text.as_str()))
}

/// Reads an answer; an empty one is `null`.
fn parse(answer: &HttpAnswer) -> Result<Value, NetError> {
    if answer.body.is_empty() {
        Ok(Value::Null)
    } else {
        parse_json(&answer.body).map_err(wire)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn wire(error: WireError) -> NetError {
    NetError::Decode(error.to_string())
}

/// Tells whether the orchestrator does not know this worker (any more): register again.
pub(super) fn is_unknown_worker(error: &NetError) -> bool {
    match error {
        NetError::Status {
            code: 401 | 404, ..
        } => true,
        // The original's one code for everything; its text tells this case apart.
        NetError::Status {
            code: 403, body, ..
        } => String::from_utf8_lossy(body)
            .to_ascii_lowercase()
            .contains("unauthorized"),
        _ => false,
    }
}

/// The least of an orchestrator's wishes: to be asked again at once would be a busy loop.
const WISH_MIN: Duration = Duration::from_millis(100);

/// Returns the wait after an error: what the orchestrator asks for, at least `floor` for a 429
/// without a wish, else `delay`.
pub(super) fn pause_after(error: &NetError, delay: Duration, floor: Duration) -> Duration {
    match error {
        NetError::Status {
            code: 429,
            retry_after,
            ..
        } => retry_after.map_or(floor.max(delay), |wish| wish.max(WISH_MIN)),
        NetError::Status {
            retry_after: Some(wish),
            ..
        } => delay.max(*wish),
        _ => delay,
    }
}
