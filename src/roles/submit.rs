//! `submit`: creates a job, follows it to its end, prints its result.
//!
//! Follows by the event stream; where there is none (the original), or where it breaks for good, by
//! asking for the job. Either way the answer to "has it ended" comes from the job itself.

mod args;
mod bars;
mod follow;
mod progress;

use std::time::Duration;

use serde_json::{Value, json};

pub use args::Args;
pub use progress::{JobProgress, TaskProgress};

use super::context::{Context, env};
use super::exit::{Exit, Failure, RoleResult};
use super::printer::Output;
use super::remote::{Remote, encoded};
use super::traces::{Asking, Tracing, service};
use crate::observe::trace::Counted;
pub use follow::{Ended, Follower};

/// Milliseconds of a second.
const MS: f64 = 1000.0;

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    let tracing = Tracing::from_environment(&service("avtomatika-submit"), Counted::default())?;
    // As OpenTelemetry carries context to processes.
    let outer = env("TRACEPARENT");
    let mut trace = Asking::begin(&tracing.traces, context.clock.as_ref(), outer);
    let name = format!("submit {}", args.blueprint);
    let ended = submit(args, context, &mut trace).await;
    let failed = match &ended {
        Ok(Exit::Ok) => None,
        Ok(_) => Some("ended_badly"),
        Err(_) => Some("failed"),
    };
    trace.ended(name, failed);
    tracing.finish().await;
    ended
}

async fn submit(args: Args, context: &Context, trace: &mut Asking<'_>) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let body = args.body()?;
    let key = match &args.idempotency_key {
        Some(key) => key.clone(),
        None => format!("submit-{}", context.entropy.uuid()),
    };
    let started = context.clock.now();
    trace.asks();
    let door = remote.within(trace.traceparent.clone());
    let created = create(&door, &args, &body, &key).await;
    trace.answered(remote.origin(), created.as_ref().ok().map(String::as_str));
    let job_id = created?;
    context.printer.note(&format!("job {job_id} accepted"));
    if args.detach {
        context
            .printer
            .item(&json!({"job_id": job_id, "status": "accepted"}), &job_id);
        return Ok(Exit::Ok);
    }
    let ended = {
        let mut follower = Follower::new(&remote, &job_id, context.printer.progress());
        let mut waiting = std::pin::pin!(wait(&mut follower, args.timeout));
        tokio::select! {
            ended = &mut waiting => Some(ended?),
            () = context.stop.cancelled() => None,
        }
        // The bars go with the follower, before anything else is written.
    };
    match ended {
        Some(Some(ended)) => {
            let took_ms = context.clock.now().since(started).as_millis();
            Ok(report(
                &ended,
                &job_id,
                u64::try_from(took_ms).unwrap_or(u64::MAX),
                context,
            ))
        }
        Some(None) => still_running(&job_id, &args, context),
        None => interrupted(&remote, &job_id, context).await,
    }
}

async fn wait(follower: &mut Follower, limit: Option<Duration>) -> Result<Option<Ended>, Failure> {
    match limit {
        None => follower.follow().await.map(Some),
        Some(limit) => match tokio::time::timeout(limit, follower.follow()).await {
            Ok(ended) => ended.map(Some),
            Err(_) => Ok(None),
        },
    }
}

/// Creates the job. A blueprint's endpoint is `/jobs/<its name>` by custom; where it is not, the
/// orchestrator is asked for it.
async fn create(remote: &Remote, args: &Args, body: &Value, key: &str) -> Result<String, Failure> {
    let custom = format!("/jobs/{}", encoded(&args.blueprint));
    let path = remote.below(args.path.as_deref().unwrap_or(&custom));
    let created = match remote.post_with_key(&path, body, key).await {
        Err(failure) if args.path.is_none() && no_such_route(&failure) => {
            let path = endpoint(remote, &args.blueprint).await?;
            remote.post_with_key(&path, body, key).await
        }
        other => other,
    }?;
    match created.body["job_id"].as_str() {
        Some(job_id) => Ok(job_id.to_owned()),
        None => Err(Failure::new(Exit::Unreachable, "the answer names no job")
            .hint("is this the address of an orchestrator?")),
    }
}

fn no_such_route(failure: &Failure) -> bool {
    matches!(failure.status, Some(404 | 405))
}

/// Looks a blueprint's endpoint up in the orchestrator's list; returns its whole path.
pub async fn endpoint(remote: &Remote, blueprint: &str) -> Result<String, Failure> {
    let unknown = || {
        Failure::new(
            Exit::Refused,
            format!("there is no blueprint `{blueprint}`"),
        )
    };
    let list = match remote.get("/blueprints").await {
        Ok(reply) => reply.body,
        // The original has no list, so its 404 was the last word.
        Err(mut failure) if no_such_route(&failure) => {
            failure.message = unknown().message;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    let known: Vec<&Value> = list.as_array().into_iter().flatten().collect();
    let Some(found) = known.iter().find(|one| one["name"] == blueprint) else {
        let names: Vec<&str> = known
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        let near = crate::blueprint::suggest::nearest(blueprint, names.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are: {}", names.join(", ")),
        };
        return Err(unknown().hint(hint));
    };
    found["path"].as_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("blueprint `{blueprint}` has no endpoint");
        Failure::new(Exit::Refused, message)
            .hint("it runs only as a child job or by a schedule of the orchestrator's own")
    })
}

fn report(ended: &Ended, job_id: &str, took_ms: u64, context: &Context) -> Exit {
    let job = &ended.job;
    let error = if job["error"].is_null() {
        &job["error_message"]
    } else {
        &job["error"]
    };
    let summary = json!({
        "job_id": job_id,
        "status": ended.status,
        "result": job["result"],
        "error": error,
        "states": ended.states,
        "duration_ms": took_ms,
    });
    let printer = &context.printer;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a duration is far below 2^53 ms"
    )]
    let seconds = took_ms as f64 / MS;
    printer.note(&format!(
        "job {job_id} {} after {seconds:.1} s",
        ended.status
    ));
    if let Some(text) = error_text(error) {
        printer.note(&format!("  {text}"));
    }
    if let Some(cause) = ended.cause.as_ref().filter(|_| ended.status != "finished") {
        printer.note(&format!("  the last failure: {cause}"));
    }
    match printer.output() {
        Output::Text if job["result"].is_null() => {}
        Output::Text => printer.value(&job["result"]),
        Output::Json | Output::Jsonl => printer.value(&summary),
    }
    Exit::of_status(&ended.status).unwrap_or(Exit::Internal)
}

fn error_text(error: &Value) -> Option<String> {
    match error {
        Value::String(text) => Some(text.clone()),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            let code = text("code")
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            text("message").map(|message| format!("{message}{code}"))
        }
        _ => None,
    }
}

fn still_running(job_id: &str, args: &Args, context: &Context) -> RoleResult {
    let seconds = args.timeout.unwrap_or_default().as_secs();
    let body = json!({"job_id": job_id, "status": "running"});
    if context.printer.output() != Output::Text {
        context.printer.value(&body);
    }
    Err(Failure::new(
        Exit::StillRunning,
        format!("job {job_id} has not ended in {seconds} s"),
    )
    .hint(format!(
        "it goes on; `avtomatika jobs show {job_id}` shows it, `jobs explain` says why it waits"
    )))
}

/// Asks what is to become of the job; without anybody to ask, it goes on.
async fn interrupted(remote: &Remote, job_id: &str, context: &Context) -> RoleResult {
    let printer = context.printer.clone();
    let question = format!("\nCancel job {job_id}? [y/N]");
    let answer = tokio::task::spawn_blocking(move || printer.ask(&question))
        .await
        .ok()
        .flatten();
    if answer.is_some_and(|answer| matches!(answer.as_str(), "y" | "Y" | "yes")) {
        let body = json!({"reason": "cancelled by the user"});
        remote
            .post(&format!("/jobs/{}/cancel", encoded(job_id)), &body)
            .await?;
        context
            .printer
            .note(&format!("job {job_id}: cancellation requested"));
        return Ok(Exit::Cancelled);
    }
    context.printer.note(&format!(
        "job {job_id} goes on; `avtomatika jobs show {job_id}` shows it"
    ));
    Ok(Exit::Interrupted)
}
