//! `jobs`: list, show, history, explain, deliveries; cancel, approve, retry.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{cell, explanation, short};
use crate::domain::JobStatus;
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::printer::{Printer, Table};
use crate::roles::remote::{Remote, RemoteArgs, encoded};

/// Entries of a page.
const PAGE: u32 = 100;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List jobs, newest first; those that have ended only with --all or --status
    #[command(after_help = "Examples:
  avtomatika jobs list
  avtomatika jobs list --status failed,quarantined --blueprint full_showcase -o json")]
    List(ListArgs),
    /// Show one job
    #[command(after_help = "Example:\n  avtomatika jobs show JOB -o json")]
    Show(JobArgs),
    /// Show what has happened to a job
    #[command(after_help = "Example:\n  avtomatika jobs history JOB")]
    History(JobArgs),
    /// Tell why a job waits and what would set it going
    #[command(after_help = "Example:\n  avtomatika jobs explain JOB")]
    Explain(JobArgs),
    /// Show a job's webhooks and how they fared
    #[command(after_help = "Example:\n  avtomatika jobs deliveries JOB")]
    Deliveries(JobArgs),
    /// Cancel a job with all its branches and children
    #[command(after_help = "Example:\n  avtomatika jobs cancel JOB --reason 'wrong file'")]
    Cancel(CancelArgs),
    /// Decide what a job waits for
    #[command(after_help = "Example:\n  avtomatika jobs approve JOB --decision rejected")]
    Approve(ApproveArgs),
    /// Set a failed or quarantined job going again from the state where it stopped
    #[command(after_help = "Example:\n  avtomatika jobs retry JOB")]
    Retry(JobArgs),
}

/// Names one job.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// The job's id
    pub job: String,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Also those that have ended
    #[arg(short, long)]
    pub all: bool,
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
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// What to cancel.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What to decide.
#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    /// Which job.
    #[command(flatten)]
    pub job: JobArgs,
    /// One of the decisions that the blueprint names
    #[arg(short, long, default_value = "approved")]
    pub decision: String,
    /// Answers to the approval's form, a JSON object
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
}

fn status(text: &str) -> Result<JobStatus, String> {
    JobStatus::parse(text).ok_or_else(|| {
        let known: Vec<&str> = JobStatus::ALL.into_iter().map(JobStatus::as_str).collect();
        format!("known are {}", known.join(", "))
    })
}

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> RoleResult {
    context.init_logging("WARNING")?;
    let printer = &context.printer;
    match verb {
        Verb::List(args) => list(args, printer).await,
        Verb::Show(args) => show(args, printer).await,
        Verb::History(args) => history(args, printer).await,
        Verb::Explain(args) => explain(args, printer).await,
        Verb::Deliveries(args) => deliveries(args, printer).await,
        Verb::Cancel(args) => {
            let body = args
                .reason
                .map_or_else(|| json!({}), |reason| json!({"reason": reason}));
            act(args.job, "cancel", &body, printer).await
        }
        Verb::Approve(args) => {
            let body = decision(&args)?;
            act(args.job, "approve", &body, printer).await
        }
        Verb::Retry(args) => act(args, "retry", &json!({}), printer).await,
    }
}

fn path(args: &JobArgs, rest: &str) -> String {
    format!("/jobs/{}{rest}", encoded(&args.job))
}

async fn act(args: JobArgs, verb: &str, body: &Value, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let reply = remote.post(&path(&args, &format!("/{verb}")), body).await?;
    let status = reply.body["status"].as_str().unwrap_or("accepted");
    printer.item(&reply.body, &format!("job {}: {status}", args.job));
    Ok(Exit::Ok)
}

fn decision(args: &ApproveArgs) -> Result<Value, Failure> {
    let mut body = Map::new();
    body.insert("decision".to_owned(), Value::from(args.decision.as_str()));
    if let Some(text) = &args.metadata {
        let metadata: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Failure::usage(format!("--metadata is not a JSON object: {error}")))?;
        body.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Ok(Value::Object(body))
}

async fn list(args: ListArgs, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let wanted: Vec<JobStatus> = match (args.status.is_empty(), args.all) {
        (false, _) => args.status.clone(),
        (true, true) => Vec::new(),
        (true, false) => JobStatus::ALL
            .into_iter()
            .filter(|s| !s.is_terminal())
            .collect(),
    };
    let query = query(&args, &wanted)?;
    let mut jobs: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    let limit = args.limit as usize;
    while jobs.len() < limit {
        let count = (limit - jobs.len()).min(PAGE as usize);
        let next = cursor
            .map(|cursor| format!("&cursor={}", encoded(&cursor)))
            .unwrap_or_default();
        let reply = remote
            .get(&format!("/jobs?limit={count}{query}{next}"))
            .await?;
        let rows = reply.body.as_array().cloned().unwrap_or_default();
        // The original knows no filter, so what it sends is filtered here.
        jobs.extend(
            rows.into_iter()
                .map(job_of_row)
                .filter(|job| is_wanted(job, &wanted)),
        );
        cursor = reply.next;
        if cursor.is_none() {
            break;
        }
    }
    if jobs.is_empty() && !args.all && args.status.is_empty() {
        printer.note("no job is under way; --all shows those that have ended");
    }
    let mut table = Table::new(&["JOB", "BLUEPRINT", "STATUS", "STATE", "CREATED", "ERROR"]);
    for job in &jobs {
        table.row(&[
            cell(&job["id"]),
            cell(&job["blueprint_name"]),
            cell(&job["status"]),
            cell(&job["current_state"]),
            cell(&job["created_at"]),
            short(&cell(&job["error_message"]), 60),
        ]);
    }
    printer.list(&jobs, &table);
    Ok(Exit::Ok)
}

fn query(args: &ListArgs, wanted: &[JobStatus]) -> Result<String, Failure> {
    let mut query = String::new();
    if !wanted.is_empty() {
        let names: Vec<&str> = wanted.iter().map(|status| status.as_str()).collect();
        query.push_str(&format!("&status={}", encoded(&names.join(","))));
    }
    if let Some(name) = &args.blueprint {
        query.push_str(&format!("&blueprint={}", encoded(name)));
    }
    for label in &args.labels {
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

async fn show(args: JobArgs, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let job = remote.get(&path(&args, "")).await?.body;
    let mut text = String::new();
    for (name, value) in job.as_object().into_iter().flatten() {
        let value = match value {
            Value::Object(_) | Value::Array(_) => {
                let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
                pretty.replace('\n', "\n  ")
            }
            other => cell(other),
        };
        text.push_str(&format!("{name}: {value}\n"));
    }
    printer.item(&job, &text);
    Ok(Exit::Ok)
}

async fn history(args: JobArgs, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let mut events: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let reply = remote
            .get(&path(&args, &format!("/history?limit=1000{cursor}")))
            .await?;
        events.extend(reply.body.as_array().cloned().unwrap_or_default());
        let Some(next) = reply.next else { break };
        cursor = format!("&cursor={}", encoded(&next));
    }
    let mut table = Table::new(&["TIME", "EVENT", "STATE", "NEXT", "WORKER", "DETAILS"]);
    for event in &events {
        table.row(&[
            cell(&event["timestamp"]),
            cell(&event["event_type"]),
            cell(&event["state"]),
            cell(&event["next_state"]),
            cell(&event["worker_id"]),
            short(&cell(&event["details"]), 80),
        ]);
    }
    printer.list(&events, &table);
    Ok(Exit::Ok)
}

async fn explain(args: JobArgs, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let answer = remote.get(&path(&args, "/explain")).await?.body;
    printer.item(&answer, &explanation::in_words(&answer));
    Ok(Exit::Ok)
}

async fn deliveries(args: JobArgs, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let items = remote.get(&path(&args, "/deliveries")).await?.body;
    let items = items.as_array().cloned().unwrap_or_default();
    let mut table = Table::new(&["ID", "EVENT", "STATUS", "TRIES", "URL", "LAST ERROR"]);
    for item in &items {
        table.row(&[
            cell(&item["id"]),
            cell(&item["event"]),
            cell(&item["status"]),
            cell(&item["attempts"]),
            cell(&item["url"]),
            short(&cell(&item["last_error"]), 60),
        ]);
    }
    printer.list(&items, &table);
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
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
