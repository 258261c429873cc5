//! A task's events on their way to its orchestrator: in order, each taken before the next is sent,
//! and all of them before the task's result.
//!
//! Events go over the command channel, results by request. Two connections keep no order between
//! them, and an event about a task that has ended is nobody's any more: so the result waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::ways::Ways;
use crate::net::NetError;
use crate::protocol::wire::WorkerEventPayload;

/// Events of one task that wait at once. With more the skill waits; while the orchestrator cannot
/// be reached it does not, and the oldest are dropped.
const WAITING_MAX: usize = 64;
/// After the first failed delivery; doubles.
const RETRY: Duration = Duration::from_millis(500);
/// Longest wait between deliveries.
const RETRY_MAX: Duration = Duration::from_secs(8);
/// How long a finished task's result waits for its last events.
const LAST_EVENTS: Duration = Duration::from_secs(10);
/// The same when the worker is about to end and the result matters more.
const HURRY: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    waiting: VecDeque<WorkerEventPayload>,
    /// Whether the last delivery failed for want of an orchestrator.
    is_stalled: bool,
}

/// The events of one task that have not been taken yet.
#[derive(Default)]
pub(super) struct Events {
    state: Mutex<State>,
    arrived: Notify,
    has_room: Notify,
    /// The task has ended: nothing more comes.
    closed: CancellationToken,
}

impl Events {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every operation leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event in.
    pub(super) async fn push(&self, event: WorkerEventPayload) {
        loop {
            // Made before the look, so that room made in between is not missed.
            let has_room = self.has_room.notified();
            {
                let mut state = self.state();
                if state.is_stalled && state.waiting.len() >= WAITING_MAX {
                    debug!("an old event is dropped: the orchestrator cannot be reached");
                    state.waiting.pop_front();
                }
                if state.waiting.len() < WAITING_MAX {
                    state.waiting.push_back(event);
                    break;
                }
            }
            has_room.await;
        }
        self.arrived.notify_one();
    }

    /// Says that the task has ended.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Delivers what comes until the task has ended and all is taken; what takes too long after
    /// the end is dropped. An error means that the orchestrator cannot be reached just now: what is
    /// left is kept for another call.
    pub(super) async fn carry(
        &self,
        ways: &mut Ways<'_>,
        give_up: &CancellationToken,
    ) -> Result<(), NetError> {
        tokio::select! {
            biased;
            carried = self.deliver(ways) => carried,
            () = self.patience(give_up) => {
                debug!(event.count = self.state().waiting.len(), "events dropped: nobody takes them");
                self.state().waiting.clear();
                Ok(())
            }
        }
    }

    /// Completes when the result must not wait any longer.
    async fn patience(&self, give_up: &CancellationToken) {
        self.closed.cancelled().await;
        let hurry = async {
            give_up.cancelled().await;
            tokio::time::sleep(HURRY).await;
        };
        tokio::select! {
            () = tokio::time::sleep(LAST_EVENTS) => {}
            () = hurry => {}
        }
    }

    async fn deliver(&self, ways: &mut Ways<'_>) -> Result<(), NetError> {
        let mut delay = RETRY;
        while let Some(event) = self.next().await {
            match ways.link().event(&event).await {
                Err(error) if is_outage(&error) => {
                    debug!(%error, "event not delivered");
                    if ways.go_on() {
                        continue;
                    }
                    if self.closed.is_cancelled() {
                        return Err(error);
                    }
                    self.state().is_stalled = true;
                    self.has_room.notify_waiters();
                    tokio::select! {
                        () = tokio::time::sleep(delay) => {}
                        () = self.closed.cancelled() => {}
                    }
                    delay = (delay * 2).min(RETRY_MAX);
                    ways.begin();
                }
                taken => {
                    if let Err(error) = taken {
                        // Progress is a courtesy: what is refused is not repeated.
                        debug!(%error, "event refused");
                    }
                    self.taken(&event);
                    delay = RETRY;
                }
            }
        }
        Ok(())
    }

    /// Waits for the oldest event; none when the task has ended and nothing is left. It stays among
    /// the waiting: whoever stops here must not lose it.
    async fn next(&self) -> Option<WorkerEventPayload> {
        loop {
            let is_closed = self.closed.is_cancelled();
            if let Some(event) = self.state().waiting.front() {
                return Some(event.clone());
            }
            if is_closed {
                return None;
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    fn taken(&self, event: &WorkerEventPayload) {
        let mut state = self.state();
        state.is_stalled = false;
        // It may have been dropped meanwhile as the oldest.
        if state
            .waiting
            .front()
            .is_some_and(|front| front.event_id == event.event_id)
        {
            state.waiting.pop_front();
        }
        drop(state);
        self.has_room.notify_waiters();
    }
}

/// Tells whether there was no orchestrator to take the event, as opposed to one that would not.
fn is_outage(error: &NetError) -> bool {
    error.is_transient() && matches!(error.status(), None | Some(502..=504))
}
