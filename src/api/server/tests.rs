//! The accept loop over real sockets on port 0. Where a timeout has to fire, time is paused: it
//! moves on as soon as everybody waits.

mod aside;
mod tls;

use axum::Router;
use axum::body::Bytes;
use axum::http::Request;
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: tokio::task::JoinSet<()>,
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("the server listens")
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.server
            .join_next()
            .await
            .expect("it was started")
            .expect("it does not panic");
    }
}

async fn start(app: Router, settings: ServerSettings) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let shutdown = CancellationToken::new();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serve(listener, app, settings, shutdown.clone()));
    Running {
        address,
        shutdown,
        server,
    }
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: String| async move { body }))
        .route(
            "/wait",
            get(|Draining(drained): Draining| async move {
                drained.cancelled().await;
                "drained"
            }),
        )
}

/// Sends a request and reads its answer up to the end of a body of known length.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("open");
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.expect("open");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert_ne!(count, 0, "closed within a header: {text}");
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
            return text;
        }
        assert_ne!(count, 0, "closed within a body: {text}");
    }
}

const HELLO: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

async fn closes(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut rest).await;
    String::from_utf8(rest).expect("text")
}

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let running = start(app(), ServerSettings::default()).await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        let text = exchange(&mut stream, HELLO).await;
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("hello"),
            "{text}"
        );
    }
    let text = exchange(
        &mut stream,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    )
    .await;
    assert!(text.ends_with("\r\n\r\nabc"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let running = start(app(), ServerSettings::default()).await;
    let io = hyper_util::rt::TokioIo::new(running.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("h2");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get("http://x/")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let response = sender.send_request(request).await.expect("answered");
    assert_eq!(response.version(), axum::http::Version::HTTP_2);
    assert_eq!(
        response
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes(),
        "hello"
    );
    drop(sender);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_header_and_silence_end_a_connection() {
    for (sent, limit) in [
        ("", ServerSettings::default().idle_timeout),
        ("GET / HT", ServerSettings::default().header_timeout),
        (
            "GET / HTTP/1.1\r\nHost: x\r\n",
            ServerSettings::default().header_timeout,
        ),
    ] {
        let running = start(app(), ServerSettings::default()).await;
        let mut stream = running.connect().await;
        let begun = tokio::time::Instant::now();
        stream.write_all(sent.as_bytes()).await.expect("open");
        closes(&mut stream).await;
        let lasted = begun.elapsed();
        assert!(
            lasted >= limit && lasted <= limit + 2 * LINGER,
            "{sent:?}: {lasted:?}"
        );
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_then_closed() {
    let running = start(app(), ServerSettings::default()).await;
    let mut stream = running.connect().await;
    exchange(&mut stream, HELLO).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(closes(&mut stream).await, "");
    let lasted = begun.elapsed();
    let limit = ServerSettings::default().idle_timeout;
    assert!(
        lasted >= limit && lasted <= limit + 2 * LINGER,
        "{lasted:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let settings = ServerSettings {
        connections_max: 1,
        ..ServerSettings::default()
    };
    let running = start(app(), settings).await;
    let mut first = running.connect().await;
    exchange(&mut first, HELLO).await;
    let mut second = running.connect().await;
    second
        .write_all(HELLO.as_bytes())
        .await
        .expect("in the backlog");
    for _ in 0..20 {
        exchange(&mut first, HELLO).await;
    }
    let waiting = second.try_read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(
        waiting,
        Err(std::io::ErrorKind::WouldBlock),
        "it is not served yet"
    );
    drop(first);
    assert!(answer(&mut second).await.ends_with("hello"));
    running.stop().await;
}

#[tokio::test]
async fn headers_beyond_the_limits_are_refused() {
    let running = start(app(), ServerSettings::default()).await;
    let many = "X-Again: y\r\n".repeat(101);
    let long = format!("X-Long: {}\r\n", "y".repeat(70_000));
    // Much more than is read of it: the answer must not be lost in a reset.
    let longest = format!("X-Long: {}\r\n", "y".repeat(3_000_000));
    for headers in [many, long, longest] {
        let mut stream = running.connect().await;
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("taken");
        let text = closes(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        assert!(text.contains("{\"code\":\"header_too_large\""), "{text}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_and_does_not_leave_is_left() {
    let running = start(app(), ServerSettings::default()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"nonsense\r\n\r\n").await.expect("open");
    let begun = tokio::time::Instant::now();
    let text = closes(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    // The peer keeps its end open; the slot comes back all the same.
    running.stop().await;
    let lasted = begun.elapsed();
    assert!(lasted <= 3 * LINGER, "{lasted:?}");
}

#[tokio::test]
async fn draining_answers_what_is_open_and_takes_nothing_new() {
    let running = start(app(), ServerSettings::default()).await;
    let mut idle = running.connect().await;
    exchange(&mut idle, HELLO).await;
    let mut polling = running.connect().await;
    polling
        .write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("open");
    // Once another connection has been answered, the poll's header has long been taken.
    exchange(&mut idle, HELLO).await;
    let address = running.address;
    running.shutdown.cancel();
    let text = answer(&mut polling).await;
    assert!(text.ends_with("drained"), "{text}");
    assert_eq!(closes(&mut idle).await, "", "an idle connection just ends");
    running.stop().await;
    TcpStream::connect(address)
        .await
        .expect_err("nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_an_end() {
    let never = Router::new().route("/", get(std::future::pending::<()>));
    let running = start(never, ServerSettings::default()).await;
    let mut stuck = running.connect().await;
    stuck.write_all(HELLO.as_bytes()).await.expect("open");
    let begun = tokio::time::Instant::now();
    running.stop().await;
    let limit = ServerSettings::default().drain_timeout;
    assert!(begun.elapsed() <= limit + LINGER, "{:?}", begun.elapsed());
    assert_eq!(closes(&mut stuck).await, "");
}
