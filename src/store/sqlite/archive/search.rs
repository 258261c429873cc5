//! Searching an archive file.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::base::JobId;
use crate::store::archive::words::{label_term, word_term};
use crate::store::archive::{JobPage, JobSearch};
use crate::store::sqlite::rows;
use crate::store::{StoreError, archive};

/// Rows at which a filter counts as common; counting on would cost more than it tells.
const COMMON: i64 = 20_000;

/// Finds the page.
///
/// Everything is read in the order of ids, from an index that has one of the filters first; the
/// others are looked up for each row. SQLite would choose that index by rules of thumb, so the one
/// with the fewest rows is named to it.
pub(super) fn search(db: &Connection, search: &JobSearch) -> Result<JobPage, StoreError> {
    let query = Query::of(search);
    let Some(driver) = query.rarest(db)? else {
        return Ok(JobPage::default());
    };
    let (sql, params) = query.page(&driver);
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(params))?;
    let (mut jobs, mut read, mut last) = (Vec::new(), 0, None);
    while let Some(row) = found.next()? {
        jobs.extend(rows::decode_or_leave(row, 0, "summary")?);
        read += 1;
        last = Some(rows::job_id(row, 1)?);
    }
    let next = last.filter(|_| read == search.jobs.limit);
    Ok(JobPage { jobs, next })
}

/// Rows that an index has in the order of ids.
enum Rows {
    /// An index of `jobs`, with what it is narrowed by.
    Jobs(&'static str, Vec<(&'static str, Value)>),
    /// A term.
    Term(String),
}

/// What decides which rows are read: those of one index, or of several places of one, that have none in
/// common and are merged.
type Driver = Vec<Rows>;

struct Query<'a> {
    search: &'a JobSearch,
    client: Option<Value>,
    terms: Vec<String>,
    /// Ids from the first to before the second.
    range: (Value, Value),
}

impl<'a> Query<'a> {
    fn of(search: &'a JobSearch) -> Self {
        let jobs = &search.jobs;
        let labels = jobs.labels.iter().map(|(n, v)| label_term(n, v));
        let words = search.words.iter().map(|word| word_term(word));
        let (from, to) = archive::id_range(jobs);
        let bytes = |id: JobId| Value::Blob(id.0.as_bytes().to_vec());
        Self {
            search,
            client: jobs
                .client
                .as_ref()
                .map(|client| Value::Text(client.as_str().to_owned())),
            terms: labels.chain(words).collect(),
            range: (bytes(from), bytes(to)),
        }
    }

    fn drivers(&self) -> Vec<Driver> {
        let Some(client) = &self.client else {
            // Everybody's: only the ids themselves are in order.
            return vec![vec![Rows::Jobs("", Vec::new())]];
        };
        let own = ("client", client.clone());
        let jobs = |index, column, value: &str| {
            let narrowed = (column, Value::Text(value.to_owned()));
            Rows::Jobs(index, vec![own.clone(), narrowed])
        };
        let all = Rows::Jobs("INDEXED BY jobs_client", vec![own.clone()]);
        let mut drivers = vec![vec![all]];
        let statuses = self.search.statuses();
        if !statuses.is_empty() {
            let statuses = statuses.iter().map(|status| status.as_str());
            let each = statuses.map(|status| jobs("INDEXED BY jobs_status", "status", status));
            drivers.push(each.collect());
        }
        if let Some(name) = &self.search.jobs.blueprint {
            drivers.push(vec![jobs("INDEXED BY jobs_blueprint", "blueprint", name)]);
        }
        drivers.extend(
            self.terms
                .iter()
                .cloned()
                .map(|term| vec![Rows::Term(term)]),
        );
        drivers
    }

    /// Returns the filter that leaves the fewest rows; none when one of them leaves no row at all.
    fn rarest(&self, db: &Connection) -> Result<Option<Driver>, StoreError> {
        let mut rarest: Option<(i64, Driver)> = None;
        for driver in self.drivers() {
            let (sql, params) = self.count(&driver);
            let count: i64 = db
                .prepare_cached(&sql)?
                .query_row(params_from_iter(params), |row| row.get(0))?;
            if count == 0 {
                return Ok(None);
            }
            if rarest.as_ref().is_none_or(|(least, _)| count < *least) {
                rarest = Some((count, driver));
            }
        }
        Ok(rarest.map(|(_, driver)| driver))
    }

    fn count(&self, driver: &Driver) -> (String, Vec<Value>) {
        let mut text = Sql::default();
        text.push("SELECT count(*) FROM (");
        for (index, rows) in driver.iter().enumerate() {
            text.push(if index == 0 { "" } else { " UNION ALL " });
            match rows {
                Rows::Jobs(by, _) => text.push(&format!("SELECT 1 FROM jobs AS k {by}")),
                Rows::Term(_) => text.push("SELECT 1 FROM terms AS t"),
            }
            self.push_range(&mut text, rows);
        }
        text.push(&format!(" LIMIT {COMMON})"));
        (text.sql, text.params)
    }

    /// Writes the rows' own conditions.
    fn push_range(&self, text: &mut Sql, rows: &Rows) {
        text.push(" WHERE 1");
        let id = match rows {
            Rows::Jobs(_, narrowed) => {
                for (column, value) in narrowed {
                    text.bind(&format!(" AND k.{column} = "), value.clone());
                }
                "k.id"
            }
            Rows::Term(term) => {
                if let Some(client) = &self.client {
                    text.bind(" AND t.client = ", client.clone());
                }
                text.bind(" AND t.term = ", Value::Text(term.clone()));
                "t.job"
            }
        };
        text.bind(&format!(" AND {id} >= "), self.range.0.clone());
        text.bind(&format!(" AND {id} < "), self.range.1.clone());
    }

    /// Several come in the order that all of them have: SQLite takes the newest of each in turn, until the
    /// page is full.
    fn page(&self, driver: &Driver) -> (String, Vec<Value>) {
        let mut text = Sql::default();
        for (index, rows) in driver.iter().enumerate() {
            text.push(if index == 0 { "" } else { " UNION ALL " });
            match rows {
                Rows::Jobs(by, _) => {
                    text.push(&format!("SELECT k.summary, k.id FROM jobs AS k {by}"));
                }
                Rows::Term(_) => text.push(
                    "SELECT k.summary, t.job FROM terms AS t CROSS JOIN jobs AS k ON k.id = t.job",
                ),
            }
            self.push_range(&mut text, rows);
            self.push_filters(&mut text, rows);
        }
        let limit = i64::from(self.search.jobs.limit);
        text.bind(" ORDER BY 2 DESC LIMIT ", Value::Integer(limit));
        (text.sql, text.params)
    }

    fn push_filters(&self, text: &mut Sql, rows: &Rows) {
        let jobs = &self.search.jobs;
        let statuses = self.search.statuses();
        let has_status =
            matches!(rows, Rows::Jobs(_, by) if by.iter().any(|(column, _)| *column == "status"));
        if !statuses.is_empty() && !has_status {
            text.push(" AND k.status IN (");
            for (index, status) in statuses.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                text.bind(comma, Value::Text(status.as_str().to_owned()));
            }
            text.push(")");
        }
        if let Some(name) = &jobs.blueprint {
            text.bind(" AND k.blueprint = ", Value::Text(name.clone()));
        }
        if let Some(from) = jobs.created_from {
            text.bind(" AND k.created_at >= ", Value::Integer(from.0));
        }
        if let Some(to) = jobs.created_to {
            text.bind(" AND k.created_at < ", Value::Integer(to.0));
        }
        for term in &self.terms {
            if matches!(rows, Rows::Term(driving) if driving == term) {
                continue;
            }
            text.push(" AND EXISTS (SELECT 1 FROM terms AS o WHERE o.client = k.client");
            text.bind(" AND o.term = ", Value::Text(term.clone()));
            text.push(" AND o.job = k.id)");
        }
    }
}

/// A statement that is being written, with its values.
#[derive(Default)]
struct Sql {
    sql: String,
    params: Vec<Value>,
}

impl Sql {
    fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn bind(&mut self, text: &str, value: Value) {
        self.params.push(value);
        self.sql.push_str(&format!("{text}?{}", self.params.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobStatus;
    use crate::store::JobQuery;

    /// Nothing but the jobs of these statuses is read, and nothing is sorted: the first page of a million
    /// costs what one of a hundred does.
    #[test]
    fn several_statuses_are_merged_from_their_index() {
        let db = Connection::open_in_memory().expect("opens");
        db.execute_batch(include_str!("schema_1.sql"))
            .expect("makes");
        let search = JobSearch {
            jobs: JobQuery {
                client: Some("acme".into()),
                statuses: vec![JobStatus::Failed, JobStatus::Quarantined, JobStatus::Failed],
                limit: 9,
                ..JobQuery::default()
            },
            words: Vec::new(),
        };
        let query = Query::of(&search);
        let driver = query.drivers().pop().expect("the statuses");
        for (sql, params) in [query.count(&driver), query.page(&driver)] {
            let mut plan = db
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .expect("good");
            let steps = plan.query_map(params_from_iter(params), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps
                .expect("explains")
                .map(|step| step.expect("a step"))
                .collect();
            let by_status = "INDEX jobs_status (client=? AND status=? AND id>? AND id<?)";
            let reads: Vec<_> = steps.iter().filter(|step| step.contains("k ")).collect();
            assert_eq!(reads.len(), 2, "each status once: {steps:?}");
            assert!(
                reads.iter().all(|step| step.contains(by_status)),
                "{steps:?}"
            );
            assert!(
                !steps.iter().any(|step| step.contains("TEMP B-TREE")),
                "{steps:?}"
            );
        }
    }
}
