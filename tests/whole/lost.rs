//! An orchestrator that dies between the lease of a task and the answer to the worker.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::PATIENCE;
use crate::redis::{on, site, worker_at};
use crate::servers::redis::Redis;
use crate::site::Server;

/// Longer than any test waits.
const LEASE: &str = "600";
/// What only an answer with a task has.
const TASK: &[u8] = b"\"task_id\":";

/// The way to the orchestrators: to the first until that hands out a task, which does not arrive; from
/// then on to the second.
struct Road {
    url: String,
    lost: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Road {
    async fn start(first: u16, second: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let lost = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let notes = lost.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("accepts");
                let port = if *notes.borrow() { second } else { first };
                connections.spawn(pass(client, port, notes.clone()));
            }
        });
        Self {
            url: format!("http://{address}"),
            lost,
            _tasks: tasks,
        }
    }
}

async fn pass(client: TcpStream, port: u16, lost: watch::Sender<bool>) {
    let server = TcpStream::connect(("127.0.0.1", port)).await;
    let (mut from_server, mut to_server) = server.expect("it listens").into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let has_task = bytes[..count].windows(TASK.len()).any(|part| part == TASK);
            if has_task && !lost.send_replace(true) {
                return;
            }
            if to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = back => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}

#[tokio::test]
async fn server_redis_a_task_goes_on_whose_orchestrator_died_handing_it_out() {
    let (site, redis) = (site(), Redis::start());
    let start = async || {
        let mut command = on(&site, &redis, 0);
        command.env("TASK_LEASE_SECONDS", LEASE);
        Server::start(command).await
    };
    let (doomed, server) = (start().await, start().await);
    let road = Road::start(doomed.port(), server.port()).await;
    let worker = worker_at(&site, &road.url, "sh-1");
    let job = server.submit("small").await;
    let mut lost = road.lost.subscribe();
    let swallowed = tokio::time::timeout(PATIENCE, lost.wait_for(|lost| *lost)).await;
    swallowed
        .expect("it is handed out")
        .expect("the road is there");
    doomed.process.signal("KILL").await;
    doomed.process.ended().await;

    let end = server.outcome(&job).await;
    assert_eq!(end["status"], json!("finished"), "{end:#}");
    let history = ["jobs", "history", &job, "-o", "json"];
    let history = site.ask(&server, &history).await.with(0).json();
    let events = history.as_array().expect("a list").iter();
    let ends: Vec<&Value> = events
        .filter(|event| event["event_type"] == "task_finished")
        .map(|event| &event["details"]["code"])
        .collect();
    assert_eq!(ends, [&json!("worker_lost"), &Value::Null], "{history:#}");
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}
