//! Searching PostgreSQL: one statement, written for what is asked, so that it is planned for it.

use deadpool_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::values::time;
use crate::base::JobId;
use crate::store::archive::words::{label_term, word_term};
use crate::store::archive::{JobPage, JobSearch, id_range};

/// A value of a statement.
type Param = (Box<dyn ToSql + Sync + Send>, Type);

/// A statement that is being written, with its values.
#[derive(Default)]
struct Sql {
    text: String,
    params: Vec<Param>,
}

impl Sql {
    fn bind(&mut self, text: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.params.push((Box::new(value), kind));
        self.text.push_str(&format!("{text}${}", self.params.len()));
    }
}

/// Rows at which a filter counts as common; counting on would cost more than it tells.
const COMMON: i64 = 20_000;

/// Rows that an index has in the order of ids.
#[derive(Clone)]
enum Rows {
    /// The client's jobs, narrowed by one column that has an index.
    Jobs(Option<(&'static str, String)>),
    /// A term.
    Term(String),
}

/// What decides which rows are read; the other filters are looked up for each. Those of one index, or of several
/// places of one, that have none in common and are merged.
type Driver = Vec<Rows>;

/// Finds the page.
///
/// The planner knows nothing of a table that is filled just now, and little of how filters meet: it
/// would read all that fit one of them and sort. So the rarest filter is found by counting, and what
/// is written leaves it the one way: through that filter's index, newest first, until the page is full.
pub(super) async fn search(client: &Client, search: &JobSearch) -> Result<JobPage, Error> {
    let mut rarest: Option<(i64, Driver)> = None;
    for driver in drivers(search) {
        let sql = counted(search, &driver);
        let count: i64 = query(client, &sql)
            .await?
            .first()
            .map_or(0, |row| row.get(0));
        if count == 0 {
            return Ok(JobPage::default());
        }
        if rarest.as_ref().is_none_or(|(least, _)| count < *least) {
            rarest = Some((count, driver));
        }
    }
    let driver = rarest.map_or_else(|| vec![Rows::Jobs(None)], |(_, driver)| driver);
    let rows = query(client, &page(search, &driver)).await?;
    let summaries = rows.iter().filter_map(|row| {
        let text: &str = row.get(0);
        serde_json::from_str(text)
            .inspect_err(|error| tracing::error!(%error, "a damaged summary is left out"))
            .ok()
    });
    let last = rows
        .last()
        .filter(|_| rows.len() == search.jobs.limit as usize);
    Ok(JobPage {
        jobs: summaries.collect(),
        next: last.map(|row| JobId(row.get(1))),
    })
}

async fn query(client: &Client, sql: &Sql) -> Result<Vec<Row>, Error> {
    let params: Vec<(&(dyn ToSql + Sync), Type)> = sql
        .params
        .iter()
        .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    client.query_typed(&sql.text, &params).await
}

fn terms(search: &JobSearch) -> Vec<String> {
    let labels = search.jobs.labels.iter().map(|(n, v)| label_term(n, v));
    let words = search.words.iter().map(|word| word_term(word));
    labels.chain(words).collect()
}

/// Returns the filters that have an index; the client's own jobs alone when there is no other.
fn drivers(search: &JobSearch) -> Vec<Driver> {
    let jobs = &search.jobs;
    let mut drivers = Vec::new();
    if jobs.client.is_some() {
        let statuses = search.statuses();
        if !statuses.is_empty() {
            let each = statuses.iter().map(|status| status.as_str().to_owned());
            drivers.push(
                each.map(|status| Rows::Jobs(Some(("status", status))))
                    .collect(),
            );
        }
        if let Some(name) = &jobs.blueprint {
            drivers.push(vec![Rows::Jobs(Some(("blueprint", name.clone())))]);
        }
    }
    drivers.extend(terms(search).into_iter().map(|term| vec![Rows::Term(term)]));
    drivers
}

/// Writes the rows themselves: a column `id`.
fn push_rows(sql: &mut Sql, search: &JobSearch, rows: &Rows) {
    match rows {
        Rows::Jobs(narrowed) => {
            sql.text
                .push_str("SELECT j.id AS id FROM history_jobs AS j WHERE true");
            push_client(sql, search, "j");
            if let Some((column, value)) = narrowed {
                sql.bind(&format!(" AND j.{column} = "), value.clone(), Type::TEXT);
            }
            push_range(sql, search, "j.id");
        }
        Rows::Term(term) => {
            sql.text
                .push_str("SELECT t.job AS id FROM history_terms AS t WHERE true");
            push_client(sql, search, "t");
            sql.bind(" AND t.term = ", term.clone(), Type::TEXT);
            push_range(sql, search, "t.job");
        }
    }
}

fn push_client(sql: &mut Sql, search: &JobSearch, table: &str) {
    if let Some(client) = &search.jobs.client {
        let client = client.as_str().to_owned();
        sql.bind(&format!(" AND {table}.client = "), client, Type::TEXT);
    }
}

fn push_range(sql: &mut Sql, search: &JobSearch, id: &str) {
    let (from, to) = id_range(&search.jobs);
    sql.bind(&format!(" AND {id} >= "), from.0, Type::UUID);
    sql.bind(&format!(" AND {id} < "), to.0, Type::UUID);
}

fn counted(search: &JobSearch, driver: &Driver) -> Sql {
    let mut sql = Sql::default();
    sql.text.push_str("SELECT count(*) FROM (");
    for (index, rows) in driver.iter().enumerate() {
        sql.text
            .push_str(if index == 0 { "" } else { " UNION ALL " });
        push_rows(&mut sql, search, rows);
    }
    sql.text.push_str(&format!(" LIMIT {COMMON}) AS counted"));
    sql
}

/// Of several each is bounded like a page of its own, and the server merges these as it reads them: without
/// a bound the planner would read all that there are and sort them.
fn page(search: &JobSearch, driver: &Driver) -> Sql {
    let mut sql = Sql::default();
    if let [rows] = &driver[..] {
        push_page(&mut sql, search, rows);
        return sql;
    }
    for (index, rows) in driver.iter().enumerate() {
        sql.text
            .push_str(if index == 0 { "(" } else { ") UNION ALL (" });
        push_page(&mut sql, search, rows);
    }
    let limit = i64::from(search.jobs.limit);
    sql.bind(") ORDER BY 2 DESC LIMIT ", limit, Type::INT8);
    sql
}

/// `OFFSET 0` keeps the planner from taking the parts together and finding another way.
fn push_page(sql: &mut Sql, search: &JobSearch, rows: &Rows) {
    sql.text.push_str("SELECT k.summary, d.id FROM (");
    push_rows(sql, search, rows);
    sql.text.push_str(
        " ORDER BY 1 DESC) AS d CROSS JOIN LATERAL (
         SELECT f.summary FROM history_jobs AS f WHERE f.id = d.id",
    );
    push_filters(sql, search, rows);
    sql.text.push_str(" OFFSET 0) AS k");
    let limit = i64::from(search.jobs.limit);
    sql.bind(" ORDER BY d.id DESC LIMIT ", limit, Type::INT8);
}

fn push_filters(sql: &mut Sql, search: &JobSearch, rows: &Rows) {
    let jobs = &search.jobs;
    let statuses = search.statuses();
    if !statuses.is_empty() {
        let all: Vec<&'static str> = statuses.iter().map(|one| one.as_str()).collect();
        sql.bind(" AND f.status = ANY(", all, Type::TEXT_ARRAY);
        sql.text.push(')');
    }
    if let Some(name) = &jobs.blueprint {
        sql.bind(" AND f.blueprint = ", name.clone(), Type::TEXT);
    }
    if let Some(from) = jobs.created_from {
        sql.bind(" AND f.created_at >= ", time(from), Type::TIMESTAMPTZ);
    }
    if let Some(to) = jobs.created_to {
        sql.bind(" AND f.created_at < ", time(to), Type::TIMESTAMPTZ);
    }
    for term in terms(search) {
        if matches!(rows, Rows::Term(driving) if *driving == term) {
            continue;
        }
        sql.text
            .push_str(" AND EXISTS (SELECT 1 FROM history_terms AS o WHERE o.client = f.client");
        sql.bind(" AND o.term = ", term, Type::TEXT);
        sql.text.push_str(" AND o.job = d.id OFFSET 0)");
    }
}
