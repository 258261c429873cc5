//! Searching PostgreSQL: one statement, written for what is asked, so that it is planned for it.

use deadpool_postgres::Client;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::schema::time;
use crate::store::archive::words::{label_term, word_term};
use crate::store::archive::{JobSearch, JobSummary, id_range};

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

/// Finds the page.
pub(super) async fn search(client: &Client, search: &JobSearch) -> Result<Vec<JobSummary>, Error> {
    let sql = statement(search);
    let params: Vec<(&(dyn ToSql + Sync), Type)> = sql
        .params
        .iter()
        .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
        .collect();
    let rows = client.query_typed(&sql.text, &params).await?;
    let summaries = rows.iter().filter_map(|row| {
        let text: &str = row.get(0);
        serde_json::from_str(text)
            .inspect_err(|error| tracing::error!(%error, "a damaged summary is left out"))
            .ok()
    });
    Ok(summaries.collect())
}

fn statement(search: &JobSearch) -> Sql {
    let jobs = &search.jobs;
    let labels = jobs.labels.iter().map(|(n, v)| label_term(n, v));
    let words = search.words.iter().map(|word| word_term(word));
    let mut sql = Sql {
        text: "SELECT k.summary FROM history_jobs AS k WHERE true".to_owned(),
        params: Vec::new(),
    };
    let (from, to) = id_range(jobs);
    sql.bind(" AND k.id >= ", from.0, Type::UUID);
    sql.bind(" AND k.id < ", to.0, Type::UUID);
    if let Some(client) = &jobs.client {
        sql.bind(" AND k.client = ", client.as_str().to_owned(), Type::TEXT);
    }
    if let [status] = jobs.statuses[..] {
        sql.bind(" AND k.status = ", status.as_str(), Type::TEXT);
    } else if !jobs.statuses.is_empty() {
        let all: Vec<&'static str> = jobs.statuses.iter().map(|one| one.as_str()).collect();
        sql.bind(" AND k.status = ANY(", all, Type::TEXT_ARRAY);
        sql.text.push(')');
    }
    if let Some(name) = &jobs.blueprint {
        sql.bind(" AND k.blueprint = ", name.clone(), Type::TEXT);
    }
    if let Some(from) = jobs.created_from {
        sql.bind(" AND k.created_at >= ", time(from), Type::TIMESTAMPTZ);
    }
    if let Some(to) = jobs.created_to {
        sql.bind(" AND k.created_at < ", time(to), Type::TIMESTAMPTZ);
    }
    for term in labels.chain(words) {
        sql.text
            .push_str(" AND EXISTS (SELECT 1 FROM history_terms AS t WHERE t.client = k.client");
        sql.bind(" AND t.term = ", term, Type::TEXT);
        sql.bind(" AND t.job >= ", from.0, Type::UUID);
        sql.bind(" AND t.job < ", to.0, Type::UUID);
        sql.text.push_str(" AND t.job = k.id)");
    }
    let limit = i64::from(jobs.limit);
    sql.bind(" ORDER BY k.id DESC LIMIT ", limit, Type::INT8);
    sql
}
