//! A load balancer as plain as can be: each connection goes to the next orchestrator that takes it.
//! It notes every answer that blames the server, and every request that hands baggage on. It may ask
//! whether they live, as `docs/operations.md` has it, and cut the connections of one that does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How an answer begins that says that the server is at fault.
const FAULT: &[u8] = b"HTTP/1.1 5";
/// What such a request has in its head.
const BAGGAGE: &[u8] = b"\r\nbaggage: ";
/// Bytes that are noted from there.
const NOTED: usize = 400;

/// Between two questions whether an orchestrator lives.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for its word.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Questions without an answer after which it does not.
const UNANSWERED_MAX: u32 = 2;

/// An orchestrator, and whether it is taken for alive.
#[derive(Clone)]
struct Behind {
    port: u16,
    lives: watch::Sender<bool>,
}

/// What was noted.
type Notes = Arc<Mutex<Vec<String>>>;

/// A running balancer; dropping it ends every connection.
pub(crate) struct Balancer {
    /// Where clients and workers find the orchestrators.
    pub(crate) url: String,
    faults: Notes,
    carriers: Notes,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// Starts one before these ports.
    pub(crate) async fn start(ports: Vec<u16>) -> Self {
        Self::launch(ports, false).await
    }

    /// Starts one that asks whether they live.
    pub(crate) async fn asking(ports: Vec<u16>) -> Self {
        Self::launch(ports, true).await
    }

    async fn launch(ports: Vec<u16>, asks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (faults, carriers) = (Notes::default(), Notes::default());
        let mut tasks = JoinSet::new();
        let notes = (Arc::clone(&faults), Arc::clone(&carriers));
        let behind = ports.into_iter().map(|port| Behind {
            port,
            lives: watch::Sender::new(true),
        });
        let behind: Vec<Behind> = behind.collect();
        if asks {
            for one in &behind {
                tasks.spawn(ask(one.clone()));
            }
        }
        tasks.spawn(accept(listener, behind, notes));
        Self {
            url: format!("http://{address}"),
            faults,
            carriers,
            _tasks: tasks,
        }
    }

    /// Returns the beginnings of all answers that blame a server.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("nobody panics with it").clone()
    }

    /// Returns the heads of all requests that hand baggage on, cut short.
    pub(crate) fn carriers(&self) -> Vec<String> {
        self.carriers.lock().expect("nobody panics with it").clone()
    }
}

/// Asks an orchestrator time and again whether it lives.
async fn ask(one: Behind) {
    let mut unanswered = 0;
    loop {
        let answered = tokio::time::timeout(ANSWERED_WITHIN, answers(one.port)).await;
        unanswered = match answered {
            Ok(Ok(())) => 0,
            Ok(Err(_)) | Err(_) => unanswered + 1,
        };
        one.lives.send_replace(unanswered < UNANSWERED_MAX);
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

async fn answers(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let question = b"GET /_public/status HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n";
    stream.write_all(question).await?;
    stream.read_u8().await.map(drop)
}

async fn accept(listener: TcpListener, behind: Vec<Behind>, notes: (Notes, Notes)) {
    let turn = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    loop {
        let client = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted.expect("accepts").0,
        };
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let mut behind = behind.clone();
        let count = behind.len();
        behind.rotate_left(first % count);
        connections.spawn(pass(client, behind, notes.clone()));
    }
}

/// Passes on what two ends say until one of them has no more to say, or the server lives no more.
async fn pass(client: TcpStream, behind: Vec<Behind>, notes: (Notes, Notes)) {
    let mut found = None;
    for one in behind.iter().filter(|one| *one.lives.borrow()) {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", one.port)).await {
            found = Some((stream, one.lives.subscribe()));
            break;
        }
    }
    // With nobody there the client finds its connection closed.
    let Some((server, mut lives)) = found else {
        return;
    };
    let (faults, carriers) = notes;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, |bytes| carried(&carriers, bytes)) => {}
        () = copy(from_server, to_client, |bytes| note(&faults, bytes)) => {}
        _ = lives.wait_for(|lives| !lives) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut look: impl FnMut(&[u8])) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                look(&bytes[..count]);
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// An answer is written in one go, so its head lies in one piece.
fn note(faults: &Mutex<Vec<String>>, bytes: &[u8]) {
    if let Some(at) = position(bytes, FAULT) {
        keep(faults, &bytes[at..]);
    }
}

/// A request is, too; it is the first in what was read.
fn carried(carriers: &Mutex<Vec<String>>, bytes: &[u8]) {
    let head = &bytes[..position(bytes, b"\r\n\r\n").unwrap_or(0)];
    if let Some(at) = position(head, BAGGAGE) {
        let line = position(head, b"\r\n").unwrap_or(head.len());
        keep(carriers, &[&head[..line], &head[at..]].concat());
    }
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|here| here == part)
}

fn keep(notes: &Mutex<Vec<String>>, bytes: &[u8]) {
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(NOTED)]).into_owned();
    notes.lock().expect("nobody panics with it").push(said);
}
