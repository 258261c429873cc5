//! Somebody in between who passes everything on but for one thing.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::api::{Draining, ServerSettings, serve};
use avtomatika::net::{Call, ClientOptions, HttpClient, Method};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_mins(1);
/// Headers that concern both ends; the others are the connection's own.
const PASSED_ON: [&str; 7] = [
    "content-encoding",
    "x-worker-token",
    "x-worker-id",
    "x-rxon-version",
    "x-client-token",
    "idempotency-key",
    "retry-after",
];

/// A request on its way.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// Reads the body; `null` when it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Tells whether it is a request of that method whose path begins so.
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.starts_with(path)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

/// An answer on its way back.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Told {
    /// Makes an answer.
    pub(crate) fn new(status: u16, body: &str) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-rxon-version", "1.0b17"),
        ] {
            headers.insert(name, value.parse().expect("a header's text"));
        }
        Self {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Replaces the body.
    pub(crate) fn set(&mut self, body: &Value) {
        self.body = avtomatika::protocol::to_wire_bytes(body);
    }
}

/// What is done to what passes.
pub(crate) trait Twist: Send + Sync + 'static {
    /// Changes a request, or answers it here.
    fn request(&self, _: &mut Asked) -> Option<Told> {
        None
    }

    /// Changes an answer.
    fn answer(&self, _: &Asked, _: &mut Told) {}

    /// Tells how much later the end of a poll's connection is passed on.
    fn ends_late(&self, _: &Asked) -> Option<Duration> {
        None
    }

    /// Tells whether frames reach the worker.
    fn passes_frames(&self) -> bool {
        true
    }
}

struct Shared {
    upstream: String,
    client: HttpClient,
    twist: Box<dyn Twist>,
    /// Requests whose connection may have gone already.
    late: TaskTracker,
}

/// The proxy. Stop it with [`Proxy::stop`].
pub(crate) struct Proxy {
    pub(crate) url: String,
    stop: CancellationToken,
    server: JoinSet<()>,
}

impl Proxy {
    /// Stands before the address.
    pub(crate) async fn start(upstream: &str, twist: Box<dyn Twist>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let options = ClientOptions {
            decodes: false,
            timeout: PATIENCE,
            ..ClientOptions::default()
        };
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: HttpClient::new(options).expect("a client"),
            twist,
            late: TaskTracker::new(),
        });
        let app = Router::new().fallback(pass_on).with_state(shared);
        let stop = CancellationToken::new();
        let settings = ServerSettings {
            drain_timeout: Duration::from_secs(1),
            ..ServerSettings::default()
        };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, app, settings, stop.clone()));
        Self { url, stop, server }
    }

    /// Ends what is under way.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.server.join_next().await.is_some() {}
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path().starts_with("/_worker/ws/") {
        return bridge(shared, parts).await;
    }
    let Draining(drained) = parts.extensions.get().cloned().unwrap_or_default();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let mut asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: body.to_vec(),
    };
    let told = if let Some(told) = shared.twist.request(&mut asked) {
        told
    } else if let Some(late) = shared.twist.ends_late(&asked) {
        return outliving(shared, asked, (late, drained)).await;
    } else {
        tokio::select! {
            told = fetched(&shared, &asked) => told,
            () = drained.cancelled() => return StatusCode::BAD_GATEWAY.into_response(),
        }
    };
    response(told)
}

fn response(told: Told) -> Response {
    let mut response = Response::new(Body::from(told.body));
    *response.status_mut() = StatusCode::from_u16(told.status).expect("a status");
    *response.headers_mut() = told.headers;
    response
}

/// Passes a request on in such a way that it goes on for a while when its connection has gone.
async fn outliving(
    shared: Arc<Shared>,
    asked: Asked,
    (late, drained): (Duration, CancellationToken),
) -> Response {
    let (mut back, answer) = oneshot::channel();
    let tracker = shared.late.clone();
    tracker.spawn(async move {
        let told = tokio::select! {
            told = fetched(&shared, &asked) => told,
            () = drained.cancelled() => return,
            () = async { back.closed().await; tokio::time::sleep(late).await } => return,
        };
        // Nobody is there any more: that is what goes wrong here.
        let _ = back.send(told);
    });
    match answer.await {
        Ok(told) => response(told),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn fetched(shared: &Shared, asked: &Asked) -> Told {
    let method = match asked.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        _ => Method::Delete,
    };
    let mut call = Call::new(method, format!("{}{}", shared.upstream, asked.path));
    for name in PASSED_ON {
        if let Some(value) = asked.headers.get(name) {
            call = call.header(name, value.to_str().expect("text"));
        }
    }
    if !asked.body.is_empty() {
        call = call.json(asked.body.clone());
    }
    let Ok(answer) = shared.client.send(call).await else {
        return Told::new(502, "{\"error\":\"nobody there\"}");
    };
    let mut headers = HeaderMap::new();
    for name in PASSED_ON.into_iter().chain(["content-type"]) {
        if let Some(value) = answer.header(name) {
            let name: HeaderName = name.parse().expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
    }
    let mut told = Told {
        status: answer.status,
        headers,
        body: answer.body.to_vec(),
    };
    shared.twist.answer(asked, &mut told);
    told
}

/// Joins two sockets.
async fn bridge(shared: Arc<Shared>, mut parts: Parts) -> Response {
    let url = format!("ws{}{}", &shared.upstream[4..], parts.uri.path());
    let mut request = url.into_client_request().expect("an address");
    for name in ["x-worker-token", "x-worker-id", "x-rxon-version"] {
        if let Some(value) = parts.headers.get(name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let Ok((inner, _)) = tokio_tungstenite::connect_async(request).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let Draining(drained) = parts.extensions.get().cloned().unwrap_or_default();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    upgrade
        .expect("an upgrade")
        .on_upgrade(move |outer| async move {
            tokio::select! {
                () = join(&shared, outer, inner) => {}
                () = drained.cancelled() => {}
            }
        })
}

type Inner =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn join(shared: &Shared, mut outer: WebSocket, mut inner: Inner) {
    loop {
        tokio::select! {
            down = inner.next() => match down {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    let frame = Message::text(text.as_str().to_owned());
                    if shared.twist.passes_frames() && outer.send(frame).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            up = outer.recv() => match up {
                Some(Ok(Message::Text(text))) => {
                    let frame = tungstenite::Message::text(text.as_str().to_owned());
                    if inner.send(frame).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}
