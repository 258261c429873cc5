//! Ended jobs whose time is over go. Many of them may have to stay, as while the archive or the receiver
//! of webhooks is away: no look walks through all of these, and the next one goes on where it was.

use std::collections::BTreeMap;

use super::link::{Repeat, held};
use super::queries::with_times;
use super::records::{items, text};
use super::{PARTITIONS, RedisStore, arguments, code};
use crate::base::{JobId, Timestamp};
use crate::store::StoreError;

code!(FORGETTABLE, "forgettable");
code!(FORGET, "forget");

/// Jobs of each index of a partition that one script looks at.
const PAGE: u32 = 250;
/// Pages that one look takes.
const PAGES_MAX: u32 = 8;
/// Before every score.
const START: &str = "-inf";

/// From which scores on a partition's indexes `keep` and `early` are to be looked through; empty at the
/// end of one.
type Places = [String; 2];

/// Where looks go on, by partition.
pub(super) type Cursors = BTreeMap<u8, Places>;

/// What a page of each partition has.
#[derive(Default)]
struct Page {
    over: Vec<(Timestamp, String)>,
    /// Where it goes on, in partitions that have more.
    next: Cursors,
}

impl RedisStore {
    /// Deletes jobs whose time is over, oldest end first; returns which.
    pub(super) async fn purged(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut over = self.over(now, limit).await?;
        over.sort_unstable();
        over.dedup();
        over.truncate(limit as usize);
        let ids: Vec<JobId> = over.iter().filter_map(|(_, id)| id.parse().ok()).collect();
        let runs = ids.iter().map(|id| {
            let sent = arguments([id, &now.0]);
            self.link.run(&FORGET, id.partition(), sent, Repeat::Safe)
        });
        let answers = futures::future::try_join_all(runs).await?;
        self.forget_keys(now).await?;
        let gone = answers
            .into_iter()
            .map(|answer| text(answer).as_deref() == Some("1"));
        let gone = ids.iter().zip(gone).filter(|(_, gone)| *gone);
        Ok(gone.map(|(id, _)| *id).collect())
    }

    /// Finds jobs that may go: of the oldest always, then from where the last look ended.
    async fn over(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Timestamp, String)>, StoreError> {
        let all = (0..PARTITIONS).map(|partition| (partition, [START, START].map(str::to_owned)));
        let first = self.page(now, limit, &all.collect()).await?;
        let (mut over, mut from) = (first.over, first.next);
        if over.len() >= limit as usize {
            return Ok(over);
        }
        let cursors = held(&self.cursors).clone();
        for (partition, places) in &mut from {
            if let Some(cursor) = cursors.get(partition) {
                places.clone_from(cursor);
            }
        }
        for _ in 1..PAGES_MAX {
            if from.is_empty() || over.len() >= limit as usize {
                break;
            }
            let page = self.page(now, limit, &from).await?;
            over.extend(page.over);
            from = page.next;
        }
        // Of what is too much for now the next look finds the rest.
        if over.len() <= limit as usize {
            *held(&self.cursors) = from;
        }
        Ok(over)
    }

    async fn page(&self, now: Timestamp, limit: u32, from: &Cursors) -> Result<Page, StoreError> {
        let runs = from.iter().map(|(partition, [keep, early])| {
            let sent = arguments([&now.0, &limit, &PAGE, keep, early]);
            self.link.run(&FORGETTABLE, *partition, sent, Repeat::Safe)
        });
        let mut page = Page::default();
        let answers = futures::future::try_join_all(runs).await?;
        for (partition, answer) in from.keys().zip(answers) {
            let mut answer = items(answer).into_iter();
            page.over.extend(with_times(answer.next()));
            let places = [answer.next(), answer.next()];
            let places = places.map(|place| place.and_then(text).unwrap_or_default());
            if places.iter().any(|place| !place.is_empty()) {
                page.next.insert(*partition, places);
            }
        }
        Ok(page)
    }
}
