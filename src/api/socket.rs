//! E8: a worker's WebSocket: commands go down, events come up.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::ApiState;
use super::error::ApiError;
use super::server::Draining;
use super::worker::auth::{Shown, WorkerCaller, worker_of};
use super::worker::count;
use super::worker::event::take_event;
use crate::protocol::wire::{CANCEL_TASK, WorkerCommand};
use crate::protocol::{parse_json, to_wire_bytes};
use crate::runtime::Notice;

/// Largest frame and message, in bytes. Source: wire-protocol §8.6.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Longest time to send one frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two pings.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A socket that has said nothing for so long, not even to pings, is dead.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// E8: opens a worker's socket; an older one of the same worker is closed.
#[utoipa::path(
    get, path = "/_worker/ws/{worker_id}", tag = "worker",
    params(
        ("worker_id" = String, Path, description = "the worker"),
        ("Connection" = String, Header, description = "`Upgrade`"),
        ("Upgrade" = String, Header, description = "`websocket`"),
        ("Sec-WebSocket-Version" = String, Header, description = "`13`"),
        ("Sec-WebSocket-Key" = String, Header, description = "16 bytes in Base64"),
    ),
    responses(
        (status = 101, description = "the socket is open: text frames with `WorkerCommand` down, with `WorkerEvent` up"),
        (status = 400, description = "invalid_request: no upgrade"),
        (status = 403, description = "worker_unauthorized"),
        (status = 429, description = "LIMIT_EXCEEDED_ERROR"),
    ),
)]
pub async fn socket(
    State(state): State<Arc<ApiState>>,
    Path(worker_id): Path<String>,
    shown: Shown,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let caller = worker_of(&state, &shown, Some(&worker_id)).await?;
    count(&state, &caller.id, "websocket_auth", |rates| rates.worker)?;
    let Draining(drained) = parts.extensions.get().cloned().unwrap_or_default();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(rejection.into_response()),
    };
    Ok(upgrade
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| {
            Session {
                state,
                caller,
                socket,
            }
            .run(drained)
        }))
}

/// One open socket.
struct Session {
    state: Arc<ApiState>,
    caller: WorkerCaller,
    socket: WebSocket,
}

/// What came next.
enum Next {
    Notice(Option<Notice>),
    Frame(Option<Result<Message, axum::Error>>),
    Ping,
    Drained,
}

/// Why a socket is closed by this side.
type Farewell = (u16, &'static str);

impl Session {
    async fn run(mut self, drained: CancellationToken) {
        let mut notices = self.state.runtime.open_socket(&self.caller.id);
        tracing::debug!(worker.id = %self.caller.id, "socket open");
        if let Some((code, reason)) = self.talk(&mut notices, &drained).await {
            let close = Message::Close(Some(CloseFrame {
                code,
                reason: reason.into(),
            }));
            // The other side may be gone already.
            let _ = self.send(close).await;
        }
        tracing::debug!(worker.id = %self.caller.id, "socket closed");
    }

    /// Serves the socket until its end; returns what to say when this side ends it.
    async fn talk(
        &mut self,
        notices: &mut Receiver<Notice>,
        drained: &CancellationToken,
    ) -> Option<Farewell> {
        let mut pings = tokio::time::interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let next = tokio::select! {
                biased;
                () = drained.cancelled() => Next::Drained,
                notice = notices.recv() => Next::Notice(notice),
                frame = self.socket.recv() => Next::Frame(frame),
                _ = pings.tick() => Next::Ping,
            };
            let sent = match next {
                Next::Drained | Next::Notice(Some(Notice::ShuttingDown)) => {
                    return Some((close_code::AWAY, "shutting down"));
                }
                Next::Notice(Some(Notice::Replaced) | None) => {
                    return Some((close_code::POLICY, "replaced by a newer socket"));
                }
                Next::Notice(Some(Notice::CancelTask { task_id, job_id })) => {
                    let command = WorkerCommand {
                        command: CANCEL_TASK.to_owned(),
                        task_id: Some(task_id),
                        job_id: Some(job_id.to_string()),
                        params: None,
                        metadata: None,
                    };
                    self.send_text(&to_wire_bytes(&command.encode())).await
                }
                Next::Frame(None | Some(Ok(Message::Close(_)))) => return None,
                Next::Frame(Some(Err(error))) => {
                    tracing::debug!(worker.id = %self.caller.id, %error, "socket failed");
                    return Some((close_code::SIZE, "frame too large or not understood"));
                }
                Next::Frame(Some(Ok(frame))) => {
                    heard = Instant::now();
                    receive(&self.state, &self.caller, &frame).await;
                    Ok(())
                }
                Next::Ping if heard.elapsed() > SILENCE_MAX => {
                    return Some((close_code::POLICY, "not heard of for too long"));
                }
                Next::Ping => self.send(Message::Ping(bytes::Bytes::new())).await,
            };
            if sent.is_err() {
                return None;
            }
        }
    }

    async fn send_text(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.send(Message::text(text)).await
    }

    /// Sends a frame within its time.
    async fn send(&mut self, message: Message) -> Result<(), ()> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
}

/// Takes one frame. Nothing is answered; what cannot be taken is logged. Source: wire-protocol
/// §8.5.
async fn receive(state: &ApiState, caller: &WorkerCaller, frame: &Message) {
    let text = match frame {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
    };
    let taken = async {
        count(state, &caller.id, "event", |rates| rates.event)?;
        let message = parse_json(text)?;
        take_event(state, caller, &message).await
    };
    match taken.await {
        Ok(answer) => tracing::trace!(worker.id = %caller.id, ?answer, "event by socket"),
        Err(error) => {
            let (code, why) = (error.code().as_str(), error.message());
            tracing::warn!(worker.id = %caller.id, code, why, "event by socket refused");
        }
    }
}
