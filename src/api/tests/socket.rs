//! The worker's socket, over a real server.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::fixture::{ALICE, Api, OTHER, WORKER};
use crate::api::{ServerSettings, serve};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Running {
    api: Api,
    port: u16,
    shutdown: CancellationToken,
    server: tokio::task::JoinSet<()>,
}

impl Running {
    async fn start() -> Self {
        let api = Api::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shutdown = CancellationToken::new();
        let mut server = tokio::task::JoinSet::new();
        let app = api.router.clone();
        server.spawn(serve(
            listener,
            app,
            ServerSettings::default(),
            shutdown.clone(),
        ));
        Self {
            api,
            port,
            shutdown,
            server,
        }
    }

    async fn open(&self, token: &str) -> Result<Socket, Error> {
        let url = format!("ws://127.0.0.1:{}/_worker/ws/{}", self.port, WORKER.0);
        let mut request = url.into_client_request()?;
        request
            .headers_mut()
            .insert("x-worker-token", token.parse().expect("a header"));
        let (socket, response) = tokio_tungstenite::connect_async(request).await?;
        assert_eq!(response.status(), 101);
        Ok(socket)
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.server.join_next()).await;
        ended
            .expect("in time")
            .expect("it was started")
            .expect("it does not panic");
    }
}

/// Returns the next frame that is no ping.
async fn next(socket: &mut Socket) -> Option<Message> {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
        match frame.expect("in time")?.ok()? {
            Message::Ping(_) => {}
            frame => return Some(frame),
        }
    }
}

async fn close_code(socket: &mut Socket) -> Option<u16> {
    match next(socket).await? {
        Message::Close(Some(frame)) => Some(frame.code.into()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn commands_go_down_and_events_come_up() {
    let running = Running::start().await;
    let api = &running.api;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let task = api.poll(WORKER).await.expect("a task");
    let mut socket = running.open(WORKER.1).await.expect("open");
    let event = api.sealed(
        WORKER,
        json!({
            "event_id": "e-1", "origin_worker_id": WORKER.0, "event_type": "progress",
            "payload": {"progress": 0.25}, "target_job_id": job,
            "target_task_id": task["task_id"], "bubbling_chain": [],
        }),
    );
    for frame in ["not json".to_owned(), "{}".to_owned(), event.to_string()] {
        socket.send(Message::text(frame)).await.expect("open");
    }
    let mut watch = api.state.runtime.watch(job.parse().expect("an id"));
    let seen = async || api.get(ALICE, &format!("/api/v1/jobs/{job}")).await.json();
    while seen().await["progress"] != json!(0.25) {
        let event = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
        event.expect("in time").expect("an event");
    }
    let cancel = format!("/api/v1/jobs/{job}/cancel");
    assert_eq!(api.post(ALICE, &cancel, &json!({})).await.status, 200);
    let frame = next(&mut socket).await.expect("a command");
    let command: Value = serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
    assert_eq!(
        command,
        json!({"command": "cancel_task", "job_id": job, "task_id": task["task_id"]})
    );
    running.stop().await;
}

#[tokio::test]
async fn one_socket_for_each_worker_and_a_farewell() {
    let running = Running::start().await;
    let mut first = running.open(WORKER.1).await.expect("open");
    let mut second = running.open(WORKER.1).await.expect("open");
    assert_eq!(
        close_code(&mut first).await,
        Some(1008),
        "the older one is closed"
    );
    second.send(Message::text("{}")).await.expect("still open");
    let shutdown = running.shutdown.clone();
    shutdown.cancel();
    assert_eq!(close_code(&mut second).await, Some(1001));
    running.stop().await;
}

#[tokio::test]
async fn strangers_and_giants_are_refused() {
    let running = Running::start().await;
    match running.open("wrong").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
    let mut socket = running.open(WORKER.1).await.expect("open");
    // The server may close before it has taken all of it.
    let _ = socket.send(Message::text("x".repeat((4 << 20) + 1))).await;
    let end = next(&mut socket).await;
    assert!(!matches!(end, Some(Message::Text(_))), "{end:?}");
    running.stop().await;
}

/// Asks often enough that every other connection's news has been seen.
async fn let_everybody_see(port: u16) {
    let mut probe = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("it listens");
    for _ in 0..20 {
        let line = b"GET /_public/status HTTP/1.1\r\nHost: x\r\n\r\n";
        probe.write_all(line).await.expect("open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"{\"status\":\"ok\"}") {
            assert_ne!(probe.read_buf(&mut answer).await.expect("open"), 0);
        }
    }
}

#[tokio::test]
async fn a_poll_whose_connection_is_gone_takes_no_task() {
    let running = Running::start().await;
    let api = &running.api;
    api.register(WORKER).await;
    api.register(OTHER).await;
    let mut gone = TcpStream::connect(("127.0.0.1", running.port))
        .await
        .expect("it listens");
    let (id, token) = WORKER;
    let poll = format!(
        "GET /_worker/workers/{id}/tasks/next?timeout=30 HTTP/1.1\r\nHost: x\r\nX-Worker-Token: {token}\r\n\r\n"
    );
    gone.write_all(poll.as_bytes()).await.expect("open");
    let_everybody_see(running.port).await;
    drop(gone);
    let_everybody_see(running.port).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let task = api
        .poll(OTHER)
        .await
        .expect("the dead connection has not got it");
    assert_eq!(task["job_id"], json!(job));
    running.stop().await;
}
