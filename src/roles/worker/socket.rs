//! The command channel: a WebSocket that brings commands and takes events.
//!
//! The protocol answers no event. But an orchestrator deals with what comes in order, pings
//! included, so each event is followed by a ping, and its pong says that the event has been dealt
//! with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Worker;
use super::link::Link;
use crate::protocol::parse_json;
use crate::protocol::wire::{CANCEL_TASK, WorkerCommand};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const RECONNECT: Duration = Duration::from_secs(1);
const RECONNECT_MAX: Duration = Duration::from_mins(1);
/// Longest time to send an event: a peer that takes nothing must not hold commands up.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an event to be taken; it goes by request then.
const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// Events that wait for the channel; more go by request.
const EVENTS_MAX: usize = 64;
/// A ping this often; the channel is given up when nothing came for three of them.
const PING: Duration = Duration::from_secs(20);

/// An event for the channel.
pub(super) struct Frame {
    text: String,
    /// Told when the orchestrator has dealt with it; dropped when that cannot be known.
    taken: oneshot::Sender<()>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The orchestrator has dealt with it.
    Taken,
    /// The channel is full or closed: it may have arrived.
    Lost,
    /// Nothing says so in good time.
    Unanswered,
}

/// Sends an event over an open channel and waits until it has been dealt with.
pub(super) async fn hand_over(channel: &mpsc::Sender<Frame>, event: &[u8]) -> Sent {
    let (taken, acknowledgement) = oneshot::channel();
    let text = String::from_utf8_lossy(event).into_owned();
    if channel.try_send(Frame { text, taken }).is_err() {
        return Sent::Lost;
    }
    match tokio::time::timeout(ACKNOWLEDGEMENT_TIMEOUT, acknowledgement).await {
        Ok(Ok(())) => Sent::Taken,
        Ok(Err(_)) => Sent::Lost,
        Err(_) => Sent::Unanswered,
    }
}

/// Events that were sent and not acknowledged yet, by the number in their ping.
#[derive(Default)]
pub(super) struct Unacknowledged {
    last: u64,
    sent: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Unacknowledged {
    /// Notes an event; returns what its ping carries.
    pub(super) fn note(&mut self, taken: oneshot::Sender<()>) -> bytes::Bytes {
        // For whom nobody waits any longer needs no acknowledgement: that bounds the list.
        self.sent.retain(|(_, taken)| !taken.is_closed());
        self.last += 1;
        self.sent.push_back((self.last, taken));
        bytes::Bytes::copy_from_slice(&self.last.to_be_bytes())
    }

    /// Takes a pong: it also stands for all before it.
    pub(super) fn acknowledge(&mut self, payload: &[u8]) {
        // An empty one answers a ping that only asked for a sign of life.
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else {
            return;
        };
        while self.sent.front().is_some_and(|(sent, _)| *sent <= number)
            && let Some((_, taken)) = self.sent.pop_front()
        {
            // An error means that the event goes by request already.
            let _ = taken.send(());
        }
    }
}

/// Keeps the channel open until `stop`.
pub(super) async fn keep(worker: Arc<Worker>, index: usize, stop: CancellationToken) {
    let link = &worker.links[index];
    let lasting = async {
        let mut delay = RECONNECT;
        loop {
            link.until_registered().await;
            match connect(link).await {
                Ok(socket) => {
                    debug!(orchestrator.url = link.url(), "command channel open");
                    let opened = Instant::now();
                    let reason = serve(&worker, index, socket).await;
                    link.set_socket(None);
                    // Two workers of one name close each other's channel: without this they would
                    // do so every second.
                    if opened.elapsed() > RECONNECT_MAX {
                        delay = RECONNECT;
                    }
                    info!(
                        orchestrator.url = link.url(),
                        reason, "command channel closed"
                    );
                }
                Err(error) => {
                    debug!(orchestrator.url = link.url(), error, "no command channel");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RECONNECT_MAX);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = lasting => {}
    }
    link.set_socket(None);
}

/// Opens the channel; after a 401 the next attempt has new tokens.
async fn connect(link: &Link) -> Result<Socket, String> {
    let mut request = link
        .socket_url()
        .into_client_request()
        .map_err(|e| e.to_string())?;
    for (name, value) in link.identity() {
        let value = value
            .parse()
            .map_err(|_| format!("{name} cannot be sent"))?;
        request.headers_mut().insert(name, value);
    }
    let connector = Connector::Rustls(Arc::clone(&link.tls));
    let opening =
        tokio_tungstenite::connect_async_tls_with_config(request, None, true, Some(connector));
    match tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(opening)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => {
            if response.status().as_u16() == 401
                && let Err(error) = link.renew().await
            {
                debug!(%error, "no access token");
            }
            Err(format!("status {}", response.status()))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("timeout".to_owned()),
    }
}

/// What happens on the channel.
enum Happening {
    Incoming(Option<Result<Message, Error>>),
    Event(Frame),
    PingDue,
}

/// Works the channel until it breaks; returns why.
pub(super) async fn serve<S>(
    worker: &Worker,
    index: usize,
    mut socket: WebSocketStream<S>,
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut unacknowledged = Unacknowledged::default();
    worker.links[index].set_socket(Some(sender));
    let mut heard = Instant::now();
    let mut pings = tokio::time::interval(PING);
    loop {
        let happening = tokio::select! {
            incoming = socket.next() => Happening::Incoming(incoming),
            Some(event) = events.recv() => Happening::Event(event),
            _ = pings.tick() => Happening::PingDue,
        };
        let sent = match happening {
            Happening::Incoming(None) => return "the other side has closed it".to_owned(),
            Happening::Incoming(Some(Err(error))) => return error.to_string(),
            Happening::Incoming(Some(Ok(message))) => {
                heard = Instant::now();
                match &message {
                    Message::Text(text) => obey(worker, index, text.as_bytes()),
                    Message::Pong(payload) => unacknowledged.acknowledge(payload),
                    _ => {}
                }
                Ok(())
            }
            Happening::Event(Frame { text, taken }) => {
                let ping = Message::Ping(unacknowledged.note(taken));
                send(&mut socket, [Message::text(text), ping]).await
            }
            Happening::PingDue if heard.elapsed() > PING * 3 => return "silence".to_owned(),
            Happening::PingDue => send(&mut socket, [Message::Ping(bytes::Bytes::new())]).await,
        };
        if let Err(reason) = sent {
            return reason;
        }
    }
}

/// Sends frames within their time, in one go.
async fn send<S, const COUNT: usize>(
    socket: &mut WebSocketStream<S>,
    messages: [Message; COUNT],
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sending = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    match tokio::time::timeout(SEND_TIMEOUT, sending).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("the other side takes nothing".to_owned()),
    }
}

/// Does what a frame says.
fn obey(worker: &Worker, index: usize, frame: &[u8]) {
    let command = match parse_json(frame).and_then(|frame| WorkerCommand::decode(&frame)) {
        Ok(command) => command,
        Err(error) => {
            warn!(%error, "command cannot be read");
            return;
        }
    };
    match (command.command.as_str(), &command.task_id) {
        (CANCEL_TASK, Some(task)) => {
            let is_running = worker.board.cancel(task, &worker.sharing(index));
            info!(task.id = %task, is_running, "task cancelled by command");
        }
        (name, _) => warn!(command = name, "unknown command"),
    }
}
