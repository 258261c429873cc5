//! Outgoing HTTP against a server in the same process.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;
use tokio::task::JoinHandle;

use avtomatika::net::*;

/// A server on a free loopback port, stopped when dropped.
struct Stub {
    address: std::net::SocketAddr,
    server: JoinHandle<()>,
}

impl Stub {
    /// Serves the routes.
    #[expect(
        clippy::disallowed_methods,
        reason = "the task is owned and stopped by the stub"
    )]
    async fn start(app: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, server }
    }

    /// Returns the address of a path.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn client(timeout_ms: u64, answer_bytes_max: usize) -> HttpClient {
    HttpClient::new(ClientOptions {
        timeout: Duration::from_millis(timeout_ms),
        answer_bytes_max,
        ..ClientOptions::default()
    })
    .unwrap()
}

#[tokio::test]
async fn json_goes_out_and_comes_back() {
    let app = Router::new().route(
        "/echo",
        post(|headers: axum::http::HeaderMap, body: String| async move {
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            format!(
                r#"{{"type":"{kind}","token":{:?},"body":{body}}}"#,
                headers["x-token"]
            )
        }),
    );
    let stub = Stub::start(app).await;
    let call = Call::new(Method::Post, stub.url("/echo"))
        .header("x-token", "t")
        .json(r#"{"a":1}"#);
    let answer = client(5_000, 1024).json(call).await.unwrap();
    assert_eq!(
        answer,
        json!({"type": "application/json", "token": "t", "body": {"a": 1}})
    );
}

#[tokio::test]
async fn refusals_keep_status_body_and_retry_after() {
    let app = Router::new().route(
        "/busy",
        get(|| async {
            (
                StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", "1.5")],
                "slow down",
            )
        }),
    );
    let stub = Stub::start(app).await;
    let error = client(5_000, 1024)
        .json(Call::new(Method::Get, stub.url("/busy")))
        .await
        .unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "status 429: slow down");
    let NetError::Status { retry_after, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(retry_after, Some(Duration::from_millis(1_500)));
}

#[tokio::test]
async fn waits_and_sizes_are_bounded() {
    let app = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route("/long", get(|| async { "x".repeat(2_000) }))
        .layer(tower_http::compression::CompressionLayer::new());
    let stub = Stub::start(app).await;
    let never = client(50, 1024)
        .send(Call::new(Method::Get, stub.url("/never")))
        .await;
    assert!(matches!(never, Err(NetError::Timeout { .. })), "{never:?}");
    // Compressed, it would fit: the limit holds for what comes out of the decoder.
    let long = client(5_000, 1024)
        .send(Call::new(Method::Get, stub.url("/long")))
        .await;
    assert!(
        matches!(long, Err(NetError::TooLarge { bytes_max: 1024 })),
        "{long:?}"
    );
    let fits = client(5_000, 4_096)
        .send(Call::new(Method::Get, stub.url("/long")))
        .await
        .unwrap();
    assert_eq!(fits.body.len(), 2_000);
}

#[tokio::test]
async fn nobody_there_is_a_connect_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = client(5_000, 1024)
        .send(Call::new(Method::Get, url))
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Connect(_)), "{error}");
}

#[tokio::test]
async fn event_streams() {
    let app = Router::new()
        .route(
            "/events",
            get(|| async {
                let text = "event: state\ndata: {\"a\":1}\n\n: ping\n\ndata: end\n\n";
                Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(Body::from(text))
                    .unwrap()
            }),
        )
        .route(
            "/silent",
            get(|| async {
                let silence = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
                Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(Body::from_stream(silence))
                    .unwrap()
            }),
        )
        .route("/page", get(|| async { "hello" }));
    let stub = Stub::start(app).await;
    let client = client(5_000, 1024);
    let idle = Duration::from_millis(50);
    let open = |path: &str| client.events(Call::new(Method::Get, stub.url(path)), idle);

    let mut stream = open("/events").await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event.unwrap();
        seen.push((event.event, event.data));
    }
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(seen, [pair("state", "{\"a\":1}"), pair("message", "end")]);

    let mut stream = open("/silent").await.unwrap();
    assert!(matches!(
        stream.next().await,
        Some(Err(NetError::Timeout { .. }))
    ));
    assert!(matches!(open("/page").await, Err(NetError::Decode(_))));
    assert!(matches!(
        open("/none").await,
        Err(NetError::Status { code: 404, .. })
    ));
}

#[test]
fn certificates_are_checked_when_the_client_is_built() {
    let options = |ca: &str| ClientOptions {
        tls: TlsFiles {
            ca: Some(ca.into()),
            identity: None,
        },
        ..ClientOptions::default()
    };
    let error = HttpClient::new(options("/nonexistent.pem"))
        .err()
        .expect("no such file");
    assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
}

#[tokio::test]
async fn allowed_places_are_reached_and_redirects_not_followed() {
    let app = Router::new().route(
        "/hook",
        post(|body: String| async move {
            (
                StatusCode::FOUND,
                [("location", "http://127.0.0.1:1/")],
                body,
            )
        }),
    );
    let stub = Stub::start(app).await;
    let guarded = |nets: &[(std::net::IpAddr, u8)]| {
        GuardedClient::new(nets.iter().copied(), Duration::from_secs(5)).unwrap()
    };
    let loopback = (std::net::IpAddr::from([127, 0, 0, 0]), 8);
    let named = stub.url("/hook").replace("127.0.0.1", "localhost");
    for url in [stub.url("/hook"), named] {
        let call = Call::new(Method::Post, url).json("{}");
        let answer = guarded(&[loopback]).send(call.clone()).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (302, &b"{}"[..]));
        let refused = guarded(&[]).send(call).await;
        assert!(
            matches!(refused, Err(NetError::Refused { .. })),
            "{refused:?}"
        );
    }
}
