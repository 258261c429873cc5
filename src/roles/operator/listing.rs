//! `jobs list`, and what it shares with the search: pages, filters, the table.

use serde_json::Value;

use super::{cell, short};
use crate::domain::JobStatus;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::printer::{Printer, Table};
use crate::roles::remote::{Remote, RemoteArgs, encoded};

/// Entries of a page.
pub(super) const PAGE: u32 = 100;

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also those that have ended
    #[arg(short, long)]
    pub all: bool,
    /// What is wanted.
    #[command(flatten)]
    pub filters: Filters,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

pub(super) fn status(text: &str) -> Result<JobStatus, String> {
    JobStatus::parse(text).ok_or_else(|| {
        let known: Vec<&str> = JobStatus::ALL.into_iter().map(JobStatus::as_str).collect();
        format!("known are {}", known.join(", "))
    })
}

/// What narrows a list or a search.
#[derive(Debug, clap::Args)]
pub struct Filters {
    /// Only in one of these, separated by commas
    #[arg(short, long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub status: Vec<JobStatus>,
    /// Only of this blueprint
    #[arg(short, long, value_name = "NAME")]
    pub blueprint: Option<String>,
    /// Only with this label
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = PAGE, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// Runs the verb.
pub(super) async fn run(args: Args, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let filters = &args.filters;
    let wanted: Vec<JobStatus> = match (filters.status.is_empty(), args.all) {
        (false, _) => filters.status.clone(),
        (true, true) => Vec::new(),
        (true, false) => JobStatus::ALL
            .into_iter()
            .filter(|s| !s.is_terminal())
            .collect(),
    };
    let query = query(filters, &wanted)?;
    let jobs = pages(&remote, "/jobs", &query, (filters.limit, &wanted)).await?;
    if jobs.is_empty() && !args.all && filters.status.is_empty() {
        printer.note("no job is under way; --all shows those that have ended");
    }
    print(&jobs, printer);
    Ok(Exit::Ok)
}

/// Reads so many of the jobs that a path lists, page by page.
pub(super) async fn pages(
    remote: &Remote,
    path: &str,
    query: &str,
    (limit, wanted): (u32, &[JobStatus]),
) -> Result<Vec<Value>, Failure> {
    let mut jobs: Vec<Value> = Vec::new();
    // Nothing for the first page, and yet a cursor: else a page that is too large leaves out what jobs have.
    let mut cursor = Some(String::new());
    let limit = limit as usize;
    while jobs.len() < limit {
        let count = (limit - jobs.len()).min(PAGE as usize);
        let next = cursor
            .map(|cursor| format!("&cursor={}", encoded(&cursor)))
            .unwrap_or_default();
        let reply = remote
            .get(&format!("{path}?limit={count}{query}{next}"))
            .await?;
        let rows = reply.body.as_array().cloned().unwrap_or_default();
        // The original knows no filter, so what it sends is filtered here.
        jobs.extend(
            rows.into_iter()
                .map(job_of_row)
                .filter(|job| is_wanted(job, wanted)),
        );
        cursor = reply.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(jobs)
}

/// Prints jobs as a table, or as they are.
pub(super) fn print(jobs: &[Value], printer: &Printer) {
    let mut table = Table::new(&["JOB", "BLUEPRINT", "STATUS", "STATE", "CREATED", "ERROR"]);
    for job in jobs {
        table.row(&[
            cell(&job["id"]),
            cell(&job["blueprint_name"]),
            cell(&job["status"]),
            cell(&job["current_state"]),
            cell(&job["created_at"]),
            short(&cell(&job["error_message"]), 60),
        ]);
    }
    printer.list(jobs, &table);
}

/// Returns the filters as a part of a query.
pub(super) fn query(filters: &Filters, wanted: &[JobStatus]) -> Result<String, Failure> {
    let mut query = String::new();
    if !wanted.is_empty() {
        let names: Vec<&str> = wanted.iter().map(|status| status.as_str()).collect();
        query.push_str(&format!("&status={}", encoded(&names.join(","))));
    }
    if let Some(name) = &filters.blueprint {
        query.push_str(&format!("&blueprint={}", encoded(name)));
    }
    for label in &filters.labels {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--label `{label}` is not KEY=VALUE")))?;
        query.push_str(&format!("&label={}", encoded(&format!("{key}:{value}"))));
    }
    Ok(query)
}

/// A row holds the job as `context_snapshot`.
fn job_of_row(row: Value) -> Value {
    let mut job = match row.get("context_snapshot") {
        Some(Value::Object(job)) => job.clone(),
        _ => return row,
    };
    job.entry("id").or_insert_with(|| row["job_id"].clone());
    Value::Object(job)
}

fn is_wanted(job: &Value, wanted: &[JobStatus]) -> bool {
    let status = job["status"].as_str().and_then(JobStatus::parse);
    wanted.is_empty() || status.is_none_or(|status| wanted.contains(&status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_of_both_orchestrators_become_jobs() {
        let row = json!({"job_id": "j", "context_snapshot": {"status": "finished"}});
        let job = job_of_row(row);
        assert_eq!(job, json!({"status": "finished", "id": "j"}));
        assert!(!is_wanted(&job, &[JobStatus::Failed]));
        assert!(is_wanted(&job, &[]));
        assert!(
            is_wanted(&json!({"status": "error"}), &[JobStatus::Failed]),
            "unknown ones are shown"
        );
    }
}
