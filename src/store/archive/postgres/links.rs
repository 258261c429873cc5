//! Reading links: some are in segments, the others in rows of their own.

use tokio_postgres::types::ToSql;

use super::append::int;
use super::{PostgresArchive, runs, segments};
use crate::base::JobId;
use crate::store::StoreError;
use crate::store::archive::{Day, Record};

impl PostgresArchive {
    /// Returns links of a job after a number, so many at least if there are.
    pub(super) async fn links_of_job(
        &self,
        id: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for row in &self.rows(segments::OF_JOB, vec![Box::new(id.0)]).await? {
            records.extend(segments::records(row)?);
        }
        records.retain(|link| segments::is_of(link, id) && link.job_number > after);
        for row in &self
            .rows(runs::LINKS_OF_JOB, page(id.0, after, limit))
            .await?
        {
            if records.len() >= limit as usize {
                break;
            }
            let links = runs::records(row)?.into_iter();
            records.extend(links.filter(|link| link.job_number > after));
        }
        Ok(records)
    }

    /// Likewise of a day.
    pub(super) async fn links_of_day(
        &self,
        day: Day,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for row in &self
            .rows(segments::OF_DAY, page(day.0, after, limit))
            .await?
        {
            records.extend(segments::records(row)?);
        }
        for row in &self
            .rows(runs::LINKS_OF_DAY, page(day.0, after, limit))
            .await?
        {
            records.extend(runs::records(row)?);
        }
        records.retain(|link| link.day_number > after);
        records.sort_by_key(|link| link.day_number);
        // Behind a gap the two tables were read up to different numbers.
        if let Some(first) = records.first().map(|link| link.day_number) {
            let last = first.saturating_add(limit.into());
            records.retain(|link| link.day_number <= last);
        }
        Ok(records)
    }
}

/// Returns the parameters of a look at links.
fn page(
    key: impl ToSql + Sync + Send + 'static,
    after: u64,
    limit: u32,
) -> Vec<Box<dyn ToSql + Sync + Send>> {
    let limit = i64::from(limit).saturating_add(1);
    vec![Box::new(key), Box::new(int(after)), Box::new(limit)]
}
