//! The outbox in memory: messages in the order in which they were written.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::base::{JobId, Timestamp};
use crate::store::rules::{self, Standing};
use crate::store::{Delivery, DeliveryRecord, Message, MessageKind, OutboxItem};

#[derive(Debug)]
struct Row {
    job: JobId,
    item: OutboxItem,
    /// When it may be claimed; none once it is settled for good.
    due_at: Option<Timestamp>,
    status: &'static str,
    last_error: Option<String>,
    updated_at: Timestamp,
}

/// Messages by number. The other fields are indexes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    written: u64,
    rows: BTreeMap<u64, Row>,
    numbers: BTreeMap<Uuid, u64>,
    due_signals: BTreeSet<(Timestamp, u64)>,
    due_webhooks: BTreeSet<(Timestamp, u64)>,
}

impl Outbox {
    fn due(&mut self, kind: MessageKind) -> &mut BTreeSet<(Timestamp, u64)> {
        match kind {
            MessageKind::Signal => &mut self.due_signals,
            MessageKind::Webhook => &mut self.due_webhooks,
        }
    }

    /// Adds a message; one whose id is known is left as it is.
    pub fn add(&mut self, job: JobId, item: OutboxItem, due_at: Timestamp) {
        if self.numbers.contains_key(&item.id) {
            return;
        }
        self.written += 1;
        let number = self.written;
        self.numbers.insert(item.id, number);
        self.due(item.message.kind()).insert((due_at, number));
        let row = Row {
            job,
            updated_at: item.created_at,
            item,
            due_at: Some(due_at),
            status: "pending",
            last_error: None,
        };
        self.rows.insert(number, row);
    }

    /// Returns how many messages are still to be delivered.
    pub fn due_count(&self) -> u64 {
        (self.due_signals.len() + self.due_webhooks.len()) as u64
    }

    /// Claims what is due of a kind, oldest first.
    pub fn take(
        &mut self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Vec<OutboxItem> {
        let due: Vec<(Timestamp, u64)> = self
            .due(kind)
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(limit as usize)
            .copied()
            .collect();
        let mut items = Vec::with_capacity(due.len());
        for (at, number) in due {
            let Some(row) = self.rows.get_mut(&number) else {
                continue;
            };
            row.due_at = Some(until);
            items.push(row.item.clone());
            self.due(kind).remove(&(at, number));
            self.due(kind).insert((until, number));
        }
        items
    }

    /// Puts off the end of claims.
    pub fn extend(&mut self, ids: &[Uuid], until: Timestamp) {
        for id in ids {
            let Some(&number) = self.numbers.get(id) else {
                continue;
            };
            let Some(row) = self.rows.get_mut(&number) else {
                continue;
            };
            let kind = row.item.message.kind();
            if let Some(at) = row.due_at.filter(|at| *at < until) {
                row.due_at = Some(until);
                let due = self.due(kind);
                due.remove(&(at, number));
                due.insert((until, number));
            }
        }
    }

    /// Returns when the next message of a kind is due.
    pub fn next_due(&mut self, kind: MessageKind) -> Option<Timestamp> {
        self.due(kind).first().map(|(at, _)| *at)
    }

    /// Records how a try ended; nothing happens to a message that is unknown or settled for good.
    pub fn settle(&mut self, id: Uuid, delivery: Delivery, now: Timestamp) {
        let Some(&number) = self.numbers.get(&id) else {
            return;
        };
        let Some(row) = self.rows.get_mut(&number) else {
            return;
        };
        let Some(due_at) = row.due_at else { return };
        let due = match row.item.message.kind() {
            MessageKind::Signal => &mut self.due_signals,
            MessageKind::Webhook => &mut self.due_webhooks,
        };
        due.remove(&(due_at, number));
        row.item.attempts += 1;
        row.updated_at = now;
        match delivery {
            Delivery::Retry { at, reason } => {
                row.due_at = Some(at);
                row.last_error = Some(reason);
                due.insert((at, number));
            }
            Delivery::Dead { reason } => {
                row.due_at = None;
                row.status = "dead";
                row.last_error = Some(reason);
            }
            Delivery::Delivered => {
                row.due_at = None;
                row.status = "delivered";
                if matches!(row.item.message, Message::Signal(_)) {
                    self.rows.remove(&number);
                    self.numbers.remove(&id);
                }
            }
        }
    }

    /// Records that a signal was delivered, unless it is settled for good; leaves webhooks alone.
    pub fn remove_signal(&mut self, id: Uuid, now: Timestamp) {
        let row = self.numbers.get(&id).and_then(|n| self.rows.get(n));
        if row.is_some_and(|row| matches!(row.item.message, Message::Signal(_))) {
            self.settle(id, Delivery::Delivered, now);
        }
    }

    /// Tells whether the job has messages that are still to be delivered.
    pub fn is_pending_for(&self, job: JobId) -> bool {
        let mut due = self.due_signals.iter().chain(&self.due_webhooks);
        due.any(|(_, number)| self.rows.get(number).is_some_and(|row| row.job == job))
    }

    /// Returns a job's webhooks, oldest first.
    pub fn deliveries(&self, job: JobId, limit: u32) -> Vec<DeliveryRecord> {
        self.rows
            .values()
            .filter(|row| row.job == job)
            .filter_map(|row| {
                let Message::Webhook(webhook) = &row.item.message else {
                    return None;
                };
                let standing = Standing {
                    status: row.status,
                    attempts: row.item.attempts,
                    last_error: row.last_error.clone(),
                    updated_at: row.due_at.unwrap_or(row.updated_at),
                };
                Some(rules::delivery_record(job, webhook, standing))
            })
            .take(limit as usize)
            .collect()
    }

    /// Drops a job's messages, however they stand.
    pub fn forget_job(&mut self, job: JobId) {
        let Self {
            rows,
            numbers,
            due_signals,
            due_webhooks,
            ..
        } = self;
        rows.retain(|number, row| {
            if row.job != job {
                return true;
            }
            numbers.remove(&row.item.id);
            if let Some(at) = row.due_at {
                due_signals.remove(&(at, *number));
                due_webhooks.remove(&(at, *number));
            }
            false
        });
    }
}
