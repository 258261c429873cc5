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

/// What decides which rows are read.
enum Driver {
    /// An index of `jobs`, with what it is narrowed by.
    Jobs(&'static str, Vec<(&'static str, Value)>),
    /// A term.
    Term(String),
}

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
            return vec![Driver::Jobs("", Vec::new())];
        };
        let own = ("client", client.clone());
        let mut drivers = vec![Driver::Jobs("INDEXED BY jobs_client", vec![own.clone()])];
        if let [status] = self.search.jobs.statuses[..] {
            let status = ("status", Value::Text(status.as_str().to_owned()));
            drivers.push(Driver::Jobs(
                "INDEXED BY jobs_status",
                vec![own.clone(), status],
            ));
        }
        if let Some(name) = &self.search.jobs.blueprint {
            let name = ("blueprint", Value::Text(name.clone()));
            drivers.push(Driver::Jobs("INDEXED BY jobs_blueprint", vec![own, name]));
        }
        drivers.extend(self.terms.iter().cloned().map(Driver::Term));
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
        text.push("SELECT count(*) FROM (SELECT 1 FROM ");
        match driver {
            Driver::Jobs(index, _) => text.push(&format!("jobs AS k {index}")),
            Driver::Term(_) => text.push("terms AS t"),
        }
        self.push_range(&mut text, driver);
        text.push(&format!(" LIMIT {COMMON})"));
        (text.sql, text.params)
    }

    /// Writes the driver's own conditions; returns the column that its rows are in order of.
    fn push_range(&self, text: &mut Sql, driver: &Driver) -> &'static str {
        text.push(" WHERE 1");
        let id = match driver {
            Driver::Jobs(_, narrowed) => {
                for (column, value) in narrowed {
                    text.bind(&format!(" AND k.{column} = "), value.clone());
                }
                "k.id"
            }
            Driver::Term(term) => {
                if let Some(client) = &self.client {
                    text.bind(" AND t.client = ", client.clone());
                }
                text.bind(" AND t.term = ", Value::Text(term.clone()));
                "t.job"
            }
        };
        text.bind(&format!(" AND {id} >= "), self.range.0.clone());
        text.bind(&format!(" AND {id} < "), self.range.1.clone());
        id
    }

    fn page(&self, driver: &Driver) -> (String, Vec<Value>) {
        let mut text = Sql::default();
        text.push("SELECT k.summary, k.id FROM ");
        match driver {
            Driver::Jobs(index, _) => text.push(&format!("jobs AS k {index}")),
            Driver::Term(_) => text.push("terms AS t CROSS JOIN jobs AS k ON k.id = t.job"),
        }
        let id = self.push_range(&mut text, driver);
        self.push_filters(&mut text, driver);
        let limit = i64::from(self.search.jobs.limit);
        text.bind(
            &format!(" ORDER BY {id} DESC LIMIT "),
            Value::Integer(limit),
        );
        (text.sql, text.params)
    }

    fn push_filters(&self, text: &mut Sql, driver: &Driver) {
        let jobs = &self.search.jobs;
        if !jobs.statuses.is_empty() {
            text.push(" AND k.status IN (");
            for (index, status) in jobs.statuses.iter().enumerate() {
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
            if matches!(driver, Driver::Term(driving) if driving == term) {
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
