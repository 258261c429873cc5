//! The outbox: messages to other jobs and to clients, stored with the step that caused them.
//!
//! Whoever commits delivers at once; a scan finds what a crash or a full house left behind. So each
//! message goes out at least once, and `step` and the receivers ignore what comes twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::places::{Place, Places};
use super::{Applied, Inner, RuntimeError};
use crate::base::{JobId, Timestamp};
use crate::engine::{Effect, Input, Signal};
use crate::store::{Delivery, Message, MessageKind, OutboxItem, StoreError};
use tracing::Instrument as _;

/// How long a row is left to the process that wrote or claimed it, unless it says that it is still
/// at work with it.
pub(super) const CLAIM_MS: u64 = 3_000;
/// Between two looks at what is still going out; two of them fall into a claim.
const CLAIM_LOOK: Duration = Duration::from_secs(1);
/// Signals that wait in memory for a place to go out by; what is beyond waits for the scan.
const SIGNALS_WAITING_MAX: usize = 4_096;
/// Rows that one scan claims.
const SCAN_BATCH: u32 = 100;
/// Between tries at a message that the store could not take, in ms; doubles.
const SIGNAL_RETRY_MS: u64 = 500;

/// Between two looks of which the first found webhooks whose receiver has as many going out to it as it
/// may. These are looked at again when their claims have ended.
const SHARE_PAUSE: Duration = Duration::from_millis(100);

/// What is going out just now.
pub(super) struct Outbox {
    places: Places,
    /// Signals are short work and a job waits for each, so they queue for their places.
    signals_waiting: Arc<Semaphore>,
    /// What is going out or waits for its place, with when the claim on it ends.
    in_flight: Mutex<HashMap<Uuid, Timestamp>>,
    signals_left: Notify,
    webhooks_left: Notify,
}

/// How a signal was dealt with.
pub(super) enum Answered {
    /// By a commit, which has taken it out of the outbox.
    InCommit,
    /// It changed nothing, and is still in the outbox.
    Without,
}

/// One message that nobody else in this process sends until this is dropped.
struct Slot {
    inner: Arc<Inner>,
    id: Uuid,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.inner.outbox.held().remove(&self.id);
    }
}

impl Outbox {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            places: Places::new(concurrency),
            signals_waiting: Arc::new(Semaphore::new(SIGNALS_WAITING_MAX)),
            in_flight: Mutex::default(),
            signals_left: Notify::new(),
            webhooks_left: Notify::new(),
        }
    }

    /// Tells when something of a kind is left over.
    const fn left_over(&self, kind: MessageKind) -> &Notify {
        match kind {
            MessageKind::Signal => &self.signals_left,
            MessageKind::Webhook => &self.webhooks_left,
        }
    }

    /// Takes a message up; nothing when it is going out already.
    fn slot(inner: &Arc<Inner>, id: Uuid) -> Option<Slot> {
        let until = inner.ports.clock.now().after_ms(CLAIM_MS);
        let mut in_flight = inner.outbox.held();
        match in_flight.entry(id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                vacant.insert(until);
                drop(in_flight);
                Some(Slot {
                    inner: Arc::clone(inner),
                    id,
                })
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Uuid, Timestamp>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Sends a commit's messages, as far as there are places; the scan has the rest.
    pub(super) fn deliver_now(self: &Arc<Self>, effects: &[Effect], ids: Vec<Uuid>) {
        if ids.is_empty() {
            return;
        }
        let now = self.ports.clock.now();
        let messages = effects.iter().filter_map(|effect| match effect {
            Effect::Signal(signal) => Some(Message::Signal(signal.clone())),
            Effect::SendWebhook(webhook) => Some(Message::Webhook(webhook.clone())),
            _ => None,
        });
        for (id, message) in ids.into_iter().zip(messages) {
            let item = OutboxItem {
                id,
                message,
                attempts: 0,
                created_at: now,
            };
            match self.outbox.places.try_take(&item.message) {
                Some(place) => self.spawn_delivery(item, place),
                None => self.deliver_later(item),
            }
        }
    }

    /// Queues a signal for a place; a webhook is left to the scan.
    fn deliver_later(self: &Arc<Self>, item: OutboxItem) {
        let waiting = Arc::clone(&self.outbox.signals_waiting).try_acquire_owned();
        let (Message::Signal(_), Ok(waiting)) = (&item.message, waiting) else {
            self.outbox.left_over(item.message.kind()).notify_one();
            return;
        };
        let Some(slot) = Outbox::slot(self, item.id) else {
            return;
        };
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let place = inner.outbox.places.wait(MessageKind::Signal).await;
            drop(waiting);
            let log = inner.ports.traces.log_span();
            inner.deliver(item).instrument(log).await;
            drop((place, slot));
        });
    }

    fn spawn_delivery(self: &Arc<Self>, item: OutboxItem, place: Place) {
        if let Some(slot) = Outbox::slot(self, item.id) {
            self.spawn_in(slot, item, place);
        }
    }

    fn spawn_in(self: &Arc<Self>, slot: Slot, item: OutboxItem, place: Place) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let log = inner.ports.traces.log_span();
            inner.deliver(item).instrument(log).await;
            drop((place, slot));
        });
    }

    async fn deliver(self: &Arc<Self>, item: OutboxItem) {
        let left_over = self.outbox.left_over(item.message.kind());
        let delivery = match &item.message {
            Message::Webhook(webhook) => {
                self.ports.traces.name_in_log(&webhook.tracing_context);
                let ended = self.send_webhook(webhook, item.attempts).await;
                self.ports.metrics.webhook(ended)
            }
            Message::Signal(signal) => match self.signal(signal, item.id).await {
                Ok(Answered::InCommit) => return,
                Ok(Answered::Without) => Delivery::Delivered,
                Err(error) => Delivery::Retry {
                    at: self
                        .ports
                        .clock
                        .now()
                        .after_ms(SIGNAL_RETRY_MS << item.attempts.min(6)),
                    reason: error.to_string(),
                },
            },
        };
        if let Delivery::Retry { .. } = &delivery {
            left_over.notify_one();
        }
        let now = self.ports.clock.now();
        if let Err(error) = self.ports.jobs.settle_outbox(item.id, delivery, now).await {
            // The claim ends and the message goes out again.
            warn_of!(error, message.id = %item.id, "a delivery could not be recorded");
            left_over.notify_one();
        }
    }

    async fn signal(
        self: &Arc<Self>,
        signal: &Signal,
        message: Uuid,
    ) -> Result<Answered, RuntimeError> {
        match signal {
            Signal::StartChild(start) => self.start_child(start, message).await,
            Signal::ChildEnded { parent, end } => {
                let input = Input::ChildEnded(end.clone());
                self.answer_signal(*parent, input, message).await
            }
            Signal::CancelChild { child, reason } => {
                let reason = reason.clone();
                self.answer_signal(*child, Input::Cancel { reason }, message)
                    .await
            }
        }
    }

    /// Gives a job the input that a message carries.
    pub(super) async fn answer_signal(
        self: &Arc<Self>,
        job: JobId,
        input: Input,
        message: Uuid,
    ) -> Result<Answered, RuntimeError> {
        match self.apply_signal(job, input, message).await {
            Ok(Applied::Advanced { .. }) => Ok(Answered::InCommit),
            // A parent that is gone needs no news; a child that was never started needs no end,
            // and never will be: its parent no longer waits for it.
            Ok(Applied::Ignored(_)) | Err(RuntimeError::JobNotFound) => Ok(Answered::Without),
            Err(error) => Err(error),
        }
    }

    /// Puts off the end of the claims on what is still going out: the receiver of a webhook may be
    /// slow. Without it another process, or a scan after a crash, takes the message over.
    pub(super) async fn run_claims(self: Arc<Self>) {
        loop {
            self.pause(CLAIM_LOOK).await;
            if self.stop.is_cancelled() {
                return;
            }
            let soon = self.ports.clock.now().after_ms(CLAIM_MS * 2 / 3);
            let ids: Vec<Uuid> = {
                let in_flight = self.outbox.held();
                let ending = in_flight.iter().filter(|(_, until)| **until < soon);
                ending.map(|(id, _)| *id).collect()
            };
            if ids.is_empty() {
                continue;
            }
            let until = self.ports.clock.now().after_ms(CLAIM_MS);
            match self.ports.jobs.extend_outbox(&ids, until).await {
                Ok(()) => {
                    let mut in_flight = self.outbox.held();
                    for id in ids {
                        in_flight.entry(id).and_modify(|end| *end = until);
                    }
                }
                Err(error) => tracing::debug!(%error, "claims on messages were not extended"),
            }
        }
    }

    /// Claims and sends what is left over of a kind, until the shell stops.
    pub(super) async fn run_outbox(self: Arc<Self>, kind: MessageKind) {
        let mut failed = false;
        while !self.stop.is_cancelled() {
            match self.scan_outbox(kind).await {
                Ok(None) => failed = false,
                Ok(Some(pause)) => {
                    failed = false;
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => {}
                        () = self.outbox.left_over(kind).notified() => {
                            // What was left over is due after its grace, not before.
                            self.pause(Duration::from_millis(SIGNAL_RETRY_MS)).await;
                        }
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Err(error) => {
                    if !failed {
                        tracing::debug!(%error, "the outbox waits for the store");
                    }
                    failed = true;
                    self.pause(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Claims one batch, no more than there are places for; returns how long there is nothing more to
    /// do, and nothing when there may be.
    async fn scan_outbox(
        self: &Arc<Self>,
        kind: MessageKind,
    ) -> Result<Option<Duration>, StoreError> {
        let places = &self.outbox.places;
        let mut first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(None),
            place = places.wait(kind) => Some(place),
        };
        let limit = SCAN_BATCH.min(u32::try_from(places.free(kind)).unwrap_or(SCAN_BATCH) + 1);
        let now = self.ports.clock.now();
        let until = now.after_ms(CLAIM_MS);
        let items = self.ports.jobs.take_outbox(kind, now, until, limit).await?;
        let full = items.len() >= limit as usize;
        // All are taken up at once: claims on what still waits for its place are extended, too.
        let taken: Vec<(Slot, OutboxItem)> = items
            .into_iter()
            .filter_map(|item| Some((Outbox::slot(self, item.id)?, item)))
            .collect();
        let mut is_put_off = false;
        for (slot, item) in taken {
            let place = if let Some(place) = first.take() {
                place
            } else {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(None),
                    place = places.wait(kind) => place,
                }
            };
            match places.fit(place, &item.message) {
                Some(place) => self.spawn_in(slot, item, place),
                None => is_put_off = true,
            }
        }
        if is_put_off {
            return Ok(Some(SHARE_PAUSE));
        }
        if full {
            return Ok(None);
        }
        let at_most = Duration::from_millis(self.settings.look_every_ms);
        let next = self.ports.jobs.next_outbox(kind).await?;
        let next = next.map_or(at_most, |at: Timestamp| at.since(now).min(at_most));
        Ok(Some(next).filter(|pause| !pause.is_zero()))
    }
}
