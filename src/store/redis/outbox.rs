//! The outbox: messages with the job that caused them, claimed over all partitions.

use std::collections::BTreeMap;

use fred::types::Value;
use uuid::Uuid;

use super::commit::WEBHOOK;
use super::link::Repeat;
use super::queries::Timed;
use super::records::{Fields, corrupt, items, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{JobId, Timestamp};
use crate::store::rules::{self, Standing};
use crate::store::{Delivery, DeliveryRecord, Message, MessageKind, OutboxItem, StoreError};

code!(CLAIM, "claim");
code!(PUT_OFF, "put_off");
code!(WAITING, "waiting");
code!(SETTLE, "settle");
code!(DELIVERIES, "deliveries");

impl RedisStore {
    /// Claims what is due of a kind, oldest first. Others may be faster with some of it: then there is
    /// another look at what is left.
    pub(super) async fn claimed(
        &self,
        kind: MessageKind,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        let mut claimed = Vec::new();
        loop {
            let left = limit.saturating_sub(u32::try_from(claimed.len()).unwrap_or(limit));
            let [found] = self.timed(now, left, [set_of(kind)]).await?;
            if left == 0 || found.due.is_empty() {
                return Ok(claimed);
            }
            claimed.extend(self.claim(kind, found, (now, until)).await?);
            if until <= now {
                // It is due again at once.
                return Ok(claimed);
            }
        }
    }

    async fn claim(
        &self,
        kind: MessageKind,
        found: Timed,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Vec<OutboxItem>, StoreError> {
        let kind = match kind {
            MessageKind::Signal => "",
            MessageKind::Webhook => WEBHOOK,
        };
        let mut by_partition: BTreeMap<u8, Vec<Value>> = BTreeMap::new();
        for (_, member) in &found.due {
            let partition = message_of(member).map_or(0, |id| id.as_bytes()[15]) % PARTITIONS;
            let sent = by_partition
                .entry(partition)
                .or_insert_with(|| arguments([&now.0, &until.0, &kind]));
            sent.push(member.as_str().into());
        }
        let runs = by_partition
            .into_iter()
            .map(|(partition, sent)| self.link.run(&CLAIM, partition, sent, Repeat::Never));
        let answers = futures::future::try_join_all(runs).await?;
        let mut claimed: BTreeMap<String, Value> = BTreeMap::new();
        for one in answers.into_iter().flat_map(items) {
            let mut one = items(one).into_iter();
            if let (Some(member), Some(hash)) = (one.next().and_then(text), one.next()) {
                claimed.insert(member, hash);
            }
        }
        let in_order = found.due.into_iter().filter_map(|(_, member)| {
            let hash = claimed.remove(&member)?;
            Some(self.item(&member, hash).map(Some))
        });
        Ok(self.damage.readable(in_order))
    }

    fn item(&self, member: &str, hash: Value) -> Result<OutboxItem, StoreError> {
        let fields = Fields::of(hash).ok_or_else(|| corrupt("message", "it is not there"))?;
        Ok(OutboxItem {
            id: message_of(member).ok_or_else(|| corrupt("message", "its id is none"))?,
            message: self.message(&fields)?,
            attempts: attempts(&fields)?,
            created_at: fields.time("c")?,
        })
    }

    fn message(&self, fields: &Fields) -> Result<Message, StoreError> {
        let body = fields
            .get("m")
            .ok_or_else(|| corrupt("message", "it has no body"))?;
        self.seal.decode(body, "message")
    }

    /// Puts off the end of claims.
    pub(super) async fn extended(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StoreError> {
        let mut by_partition: BTreeMap<u8, Vec<Value>> = BTreeMap::new();
        for id in ids {
            let partition = id.as_bytes()[15] % PARTITIONS;
            let sent = by_partition
                .entry(partition)
                .or_insert_with(|| arguments([&until.0]));
            sent.push(id.to_string().into());
        }
        let runs = by_partition
            .into_iter()
            .map(|(partition, sent)| self.link.run(&PUT_OFF, partition, sent, Repeat::Safe));
        futures::future::try_join_all(runs).await.map(drop)
    }

    /// Returns when the next message of a kind is due.
    pub(super) async fn next_message(
        &self,
        kind: MessageKind,
    ) -> Result<Option<Timestamp>, StoreError> {
        let sets = [set_of(kind)];
        let [found] = self.timed(Timestamp(i64::MIN), 0, sets).await?;
        Ok(found.next)
    }

    /// Returns how many messages are still to be delivered; the server keeps the count.
    pub(super) async fn messages_waiting(&self) -> Result<u64, StoreError> {
        let answers = self.link.run_on_all(&WAITING, &[]).await?;
        let counts = answers.iter().filter_map(Value::as_u64);
        Ok(counts.sum())
    }

    /// Records how a try ended.
    pub(super) async fn settled(
        &self,
        id: Uuid,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (how, at, reason) = match delivery {
            Delivery::Delivered => ("delivered", String::new(), ""),
            Delivery::Retry { at, reason } => ("retry", at.0.to_string(), reason.as_str()),
            Delivery::Dead { reason } => ("dead", String::new(), reason.as_str()),
        };
        let sent = arguments([&id, &how, &now.0, &at, &reason]);
        self.link
            .run(&SETTLE, id.as_bytes()[15], sent, Repeat::Never)
            .await?;
        Ok(())
    }

    /// Records that a signal was answered by a step of a job elsewhere; leaves webhooks alone.
    pub(super) async fn answered(&self, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let sent = arguments([&id, &"answered", &now.0, &"", &""]);
        let run = self
            .link
            .run(&SETTLE, id.as_bytes()[15], sent, Repeat::Safe);
        run.await.map(drop)
    }

    /// Returns the job's webhooks with how they stand, oldest first.
    pub(super) async fn log(
        &self,
        job: JobId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let sent = arguments([&job, &limit]);
        let answer = self
            .link
            .run(&DELIVERIES, job.partition(), sent, Repeat::Safe)
            .await?;
        let mut records = Vec::new();
        for hash in items(answer) {
            let Some(fields) = Fields::of(hash) else {
                continue;
            };
            let Message::Webhook(webhook) = self.message(&fields)? else {
                continue;
            };
            let due = match fields.get("du") {
                Some(_) => Some(fields.time("du")?),
                None => None,
            };
            let standing = Standing {
                status: match fields.text("s")? {
                    "delivered" => "delivered",
                    "dead" => "dead",
                    _ => "pending",
                },
                attempts: attempts(&fields)?,
                last_error: match fields.get("e") {
                    Some(_) => Some(fields.text("e")?.to_owned()),
                    None => None,
                },
                updated_at: due.map_or_else(|| fields.time("u"), Ok)?,
            };
            debug_assert_eq!(fields.text("k").ok(), Some(WEBHOOK));
            records.push(rules::delivery_record(job, &webhook, standing));
        }
        Ok(records)
    }
}

/// Returns the sorted set in which messages of a kind wait.
const fn set_of(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Signal => "outbox",
        MessageKind::Webhook => "hooks",
    }
}

fn message_of(member: &str) -> Option<Uuid> {
    member.split_once(':').and_then(|(_, id)| id.parse().ok())
}

fn attempts(fields: &Fields) -> Result<u32, StoreError> {
    let text = fields.text("at")?;
    text.parse().map_err(|error| corrupt("message", error))
}
