//! `jobs`: list, show, history, explain, deliveries; cancel, approve, retry.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{audit, cell, explanation, listing, search, short};
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::printer::{Printer, Table};
use crate::roles::remote::{Remote, RemoteArgs, encoded};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List jobs, newest first; those that have ended only with --all or --status
    #[command(after_help = "Examples:
  avtomatika jobs list
  avtomatika jobs list --status failed,quarantined --blueprint full_showcase -o json")]
    List(listing::Args),
    /// Find jobs in the history by what they were and what went wrong, newest first
    #[command(after_help = "Examples:
  avtomatika jobs search disk full                 errors with both words
  avtomatika jobs search --status failed --label team=video --since 2026-11-01 -o jsonl

The orchestrator has to keep a history (--history); what has just happened is in it a moment later.")]
    Search(search::Args),
    /// Write the history of a job or of whole days, with the hashes that link it, one event a line
    #[command(after_help = "Examples:
  avtomatika jobs export --job JOB > job.jsonl
  avtomatika jobs export --from 2026-11-01 --to 2026-11-30 > november.jsonl

Reads the history itself (--history or HISTORY_DATABASE_URI); needs no orchestrator.")]
    Export(audit::ExportArgs),
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

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> RoleResult {
    context.init_logging("WARNING")?;
    let printer = &context.printer;
    match verb {
        Verb::List(args) => listing::run(args, printer).await,
        Verb::Search(args) => search::run(args, printer).await,
        Verb::Export(args) => audit::export(args, context).await,
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
