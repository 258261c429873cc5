//! A relay between a worker and an orchestrator: notes every request that passes, and can be
//! pointed at another orchestrator while the worker stays connected to the same address.

use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::PATIENCE;

/// A request that has passed.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path, without the query.
    pub(crate) line: String,
    /// The body, `null` where there is none.
    pub(crate) body: Value,
}

/// A relay; dropping it cuts all connections.
pub(crate) struct Relay {
    pub(crate) url: String,
    target: watch::Sender<u16>,
    /// What has come, by connection.
    notes: watch::Receiver<Vec<Vec<u8>>>,
    _connections: JoinSet<()>,
}

impl Relay {
    /// Starts one towards a port of this machine.
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let target = watch::Sender::new(port);
        let (writer, notes) = watch::channel(Vec::new());
        let mut connections = JoinSet::new();
        connections.spawn(serve(listener, target.subscribe(), writer));
        Self {
            url,
            target,
            notes,
            _connections: connections,
        }
    }

    /// Sends new connections to another port.
    pub(crate) fn turn_to(&self, port: u16) {
        self.target.send_replace(port);
    }

    /// Returns all requests that have passed whole, by connection in order of their beginning.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.notes
            .borrow()
            .iter()
            .flat_map(|bytes| requests(bytes))
            .collect()
    }

    /// Waits for a request and returns it.
    pub(crate) async fn wait(&self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let mut notes = self.notes.clone();
        let mut found = None;
        let passed = notes.wait_for(|all| {
            found = all
                .iter()
                .flat_map(|bytes| requests(bytes))
                .find(|one| fits(one));
            found.is_some()
        });
        let passed = tokio::time::timeout(PATIENCE, passed).await;
        let passed = matches!(passed, Ok(Ok(_)));
        assert!(passed, "no {what} among {:#?}", self.seen());
        found.expect("it has passed")
    }
}

async fn serve(
    listener: TcpListener,
    target: watch::Receiver<u16>,
    notes: watch::Sender<Vec<Vec<u8>>>,
) {
    let mut pairs = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else {
            return;
        };
        let port = *target.borrow();
        let mut index = 0;
        notes.send_modify(|all| {
            index = all.len();
            all.push(Vec::new());
        });
        let notes = notes.clone();
        pairs.spawn(async move {
            // Nobody there: the connection closes, which is what the worker would see itself.
            if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                carry(near, far, &notes, index).await;
            }
        });
    }
}

/// Carries bytes both ways until either side closes.
async fn carry(near: TcpStream, far: TcpStream, notes: &watch::Sender<Vec<Vec<u8>>>, index: usize) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = near_read.read(&mut buffer).await {
            let bytes = &buffer[..count];
            notes.send_modify(|all| all[index].extend_from_slice(bytes));
            if far_write.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        // An error is an end like any other.
        let _ = tokio::io::copy(&mut far_read, &mut near_write).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Reads the requests of a connection; what is not whole yet is left out, and so is what follows a
/// change of protocol.
fn requests(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
        let Some(body) = bytes[end + 4..].get(..length) else {
            break;
        };
        let line = head.lines().next().unwrap_or_default();
        let target = line.rsplit_once(' ').map_or(line, |(target, _)| target);
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        all.push(Seen {
            line: path.to_owned(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        });
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            break;
        }
        bytes = &bytes[end + 4 + length..];
    }
    all
}
