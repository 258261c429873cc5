//! History: rows by place, each with the events of one commit, or one that was appended by itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fred::types::Value;

use super::commit::row_place;
use super::link::Repeat;
use super::records::{bytes, corrupt, items, ordered, read_ordered};
use super::seal::Seal;
use super::{RedisStore, code};
use crate::base::JobId;
use crate::domain::Event;
use crate::store::event_text::write_out;
use crate::store::{HistoryStore, StoreError};

code!(APPEND, "append");
code!(HISTORY, "history");

/// Sorts after every body, none of which begins with it.
const PAST_BODIES: u8 = 0xff;

#[async_trait]
impl HistoryStore for RedisStore {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let mut by_job: BTreeMap<JobId, Vec<Value>> = BTreeMap::new();
        for event in &events {
            let sent = by_job
                .entry(event.job_id)
                .or_insert_with(|| vec![event.job_id.to_string().into()]);
            sent.push(row_place(event.revision, event.index).into());
            let (text, _) = write_out(std::iter::once(event));
            sent.push(Value::Bytes(self.seal.close(text).into()));
        }
        let runs = by_job
            .into_iter()
            .map(|(job, sent)| self.link.run(&APPEND, job.partition(), sent, Repeat::Safe));
        futures::future::try_join_all(runs).await?;
        Ok(())
    }

    async fn by_job(
        &self,
        job: JobId,
        after: Option<(u64, u32)>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut from = match after {
            None => b"-".to_vec(),
            // The row of a commit begins with its first event.
            Some((revision, _)) => format!("[{}", ordered(revision)).into_bytes(),
        };
        let mut found: BTreeMap<(u64, u32), Event> = BTreeMap::new();
        loop {
            let sent = vec![
                job.to_string().into(),
                Value::Bytes(from.clone().into()),
                limit.to_string().into(),
            ];
            let answer = self
                .link
                .run(&HISTORY, job.partition(), sent, Repeat::Safe)
                .await?;
            let rows: Vec<Vec<u8>> = items(answer).into_iter().filter_map(bytes).collect();
            let Some(last) = rows.last() else { break };
            from = past(last)?;
            let is_all = rows.len() < limit as usize;
            for text in &rows {
                for event in row(&self.seal, text)? {
                    let place = (event.revision, event.index);
                    if after.is_none_or(|after| place > after) {
                        // A commit's row comes before what was appended to its revision later.
                        found.entry(place).or_insert(event);
                    }
                }
            }
            if is_all || found.len() >= limit as usize {
                break;
            }
        }
        // A row that is still to be read could belong before the last events of this revision.
        Ok(found.into_values().take(limit as usize).collect())
    }
}

/// Reads the events of a row.
pub(super) fn row(seal: &Seal, row: &[u8]) -> Result<Vec<Event>, StoreError> {
    seal.decode(body(row)?.1, "line of history")
}

/// Parts a row into its place and its body.
fn body(row: &[u8]) -> Result<(&[u8], &[u8]), StoreError> {
    let rest = read_ordered(row).and_then(|(_, rest)| read_ordered(rest));
    let (_, body) = rest.ok_or_else(|| corrupt("line of history", "it has no place"))?;
    Ok((&row[..row.len() - body.len()], body))
}

/// Returns where to go on after a row.
fn past(row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (place, _) = body(row)?;
    Ok([b"(", place, &[PAST_BODIES]].concat())
}
