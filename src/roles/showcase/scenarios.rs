//! The scenarios: each plays one pattern and says what should come of it.

use std::sync::PoisonError;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::play::{Played, Seen, count, outcome, worker_in};
use super::stage::{DOOMED, FLAKY, LEASE_SECONDS, Stage};
use crate::domain::JobStatus;
use crate::domain::client::SYSTEM_CLIENT;
use crate::roles::exit::Failure;
use crate::store::JobQuery;

/// Plays on the stage.
pub(super) type Scenario = for<'s> fn(&'s Stage) -> BoxFuture<'s, Played>;

/// All of them, in the order in which they are played: the reputations are fresh for the first.
pub(super) const ALL: [(&str, Scenario); 15] = [
    ("best value", |stage| Box::pin(best_value(stage))),
    ("default", |stage| Box::pin(default(stage))),
    ("low quality", |stage| Box::pin(low_quality(stage))),
    ("round robin", |stage| Box::pin(round_robin(stage))),
    ("cheapest with max_cost", |stage| Box::pin(cheapest(stage))),
    ("approval approved", |stage| Box::pin(approved(stage))),
    ("approval rejected", |stage| Box::pin(rejected(stage))),
    ("transient error", |stage| Box::pin(transient(stage))),
    ("permanent error", |stage| Box::pin(permanent(stage))),
    ("needs review", |stage| Box::pin(needs_review(stage))),
    ("child failure", |stage| Box::pin(child_failure(stage))),
    ("cancel", |stage| Box::pin(cancel(stage))),
    ("worker killed", |stage| Box::pin(worker_killed(stage))),
    ("scheduled maintenance", |stage| {
        Box::pin(maintenance(stage))
    }),
    ("webhooks", |stage| Box::pin(webhooks(stage))),
];

/// Jobs that may be needed until the choice has moved.
const VALUED_JOBS_MAX: u32 = 40;
/// Jobs that are started so that the doomed worker gets one of them.
const KILL_JOBS: usize = 6;

/// An input that leaves nothing to chance.
fn input(more: Value) -> Value {
    let mut input = json!({ "path": "/s3/bucket/input.mp4", "deterministic": true });
    if let (Some(input), Value::Object(more)) = (input.as_object_mut(), more) {
        input.extend(more);
    }
    input
}

async fn default(stage: &Stage) -> Played {
    let (actual, ended) = stage.play(input(json!({ "quality": "high" }))).await?;
    let branches = ended.job["result"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    Ok(Seen::new(
        "finished, 3 analyses",
        format!("{actual}, {branches} analyses"),
    )
    .note(ended.states.join(" > ")))
}

async fn low_quality(stage: &Stage) -> Played {
    let (actual, ended) = stage.play(input(json!({ "quality": "low" }))).await?;
    let history = stage.history(&job_id(&ended.job)).await?;
    let fast = history
        .iter()
        .any(|event| event["details"]["message"] == "low quality, the fast path");
    let path = if fast {
        "the fast path"
    } else {
        "another path"
    };
    Ok(Seen::new(
        "finished by the fast path",
        format!("{actual} by {path}"),
    ))
}

async fn round_robin(stage: &Stage) -> Played {
    let mut workers = Vec::new();
    let mut actual = String::new();
    for _ in 0..2 {
        let (outcome, ended) = stage
            .play(input(json!({ "use_round_robin": true })))
            .await?;
        actual = outcome;
        let history = stage.history(&job_id(&ended.job)).await?;
        workers.extend(worker_in(&history, "pre_processing_decision"));
    }
    workers.sort();
    workers.dedup();
    let seen = Seen::new(
        "finished, 2 workers in turn",
        format!("{actual}, {} workers in turn", workers.len()),
    );
    Ok(seen.note(workers.join(", ")))
}

/// Plays jobs until the cheap but unreliable worker's reputation has cost it the work.
async fn best_value(stage: &Stage) -> Played {
    let flaky = stage.flaky().await?;
    let mut chosen = Vec::new();
    for _ in 0..VALUED_JOBS_MAX {
        let id = stage.start(json!({ "use_reputation": true })).await?;
        let event = stage
            .wait_for(&id, |event| {
                event["event_type"] == "task_finished"
                    && event["state"] == "pre_processing_decision"
            })
            .await?;
        chosen.push(event["worker_id"].as_str().unwrap_or_default().to_owned());
        let reliable = |worker: &String| worker != FLAKY;
        if chosen.len() > 3 && chosen[chosen.len() - 3..].iter().all(reliable) {
            break;
        }
    }
    let reputations = reputations(stage);
    flaky.stop().await;
    let first = chosen.first().cloned().unwrap_or_default();
    let last = chosen.last().cloned().unwrap_or_default();
    let seen = Seen::new(
        "cpu-worker-02 first, cpu-worker-01 last",
        format!("{first} first, {last} last"),
    );
    Ok(seen.note(format!("{} jobs; reputation {reputations}", chosen.len())))
}

fn reputations(stage: &Stage) -> String {
    let workers = stage.stack.orchestrator.runtime().workers();
    let list: Vec<String> = workers
        .iter()
        .map(|worker| format!("{} {:.3}", worker.id, worker.reputation))
        .collect();
    list.join(", ")
}

async fn cheapest(stage: &Stage) -> Played {
    let (actual, ended) = stage
        .play(input(json!({ "use_advanced_dispatch": true })))
        .await?;
    let history = stage.history(&job_id(&ended.job)).await?;
    let worker = worker_in(&history, "pre_processing_decision").unwrap_or_default();
    Ok(Seen::new(
        "finished, analysed by cpu-worker-01",
        format!("{actual}, analysed by {worker}"),
    ))
}

/// The reviewer has only what the webhook brought: the token.
async fn approved(stage: &Stage) -> Played {
    let id = stage
        .start(input(json!({ "needs_approval": true })))
        .await?;
    let asked = stage
        .stack
        .inbox
        .wait_for(|one| {
            one.body["event"] == "approval_required" && one.body["job_id"] == id.as_str()
        })
        .await;
    let token = asked.body["approval"]["token"].clone();
    let path = format!("/_public/webhooks/approval/{id}");
    let decision = json!({ "decision": "approved", "token": token });
    stage
        .remote
        .post_with_key(&path, &decision, &stage.key())
        .await?;
    let ended = stage.end_of(&id).await?;
    let message = asked.body["approval"]["message"]
        .as_str()
        .unwrap_or_default();
    Ok(Seen::new("finished", outcome(&ended)).note(format!("asked: {message}")))
}

async fn rejected(stage: &Stage) -> Played {
    let id = stage
        .start(input(json!({ "needs_approval": true })))
        .await?;
    stage
        .wait_for(&id, |event| event["event_type"] == "approval_required")
        .await?;
    let path = format!("/jobs/{id}/approve");
    stage
        .remote
        .post(&path, &json!({ "decision": "rejected" }))
        .await?;
    let ended = stage.end_of(&id).await?;
    Ok(Seen::new("failed: human_rejected", outcome(&ended)))
}

async fn transient(stage: &Stage) -> Played {
    let (actual, ended) = stage.play(input(json!({ "trigger": "transient" }))).await?;
    let history = stage.history(&job_id(&ended.job)).await?;
    let retries = count(&history, "task_retried");
    Ok(Seen::new(
        "finished after 2 retries",
        format!("{actual} after {retries} retries"),
    ))
}

async fn permanent(stage: &Stage) -> Played {
    let (actual, ended) = stage.play(input(json!({ "trigger": "security" }))).await?;
    let history = stage.history(&job_id(&ended.job)).await?;
    let retries = count(&history, "task_retried");
    Ok(Seen::new(
        "failed: transcoding_failed, 0 retries",
        format!("{actual}, {retries} retries"),
    ))
}

async fn needs_review(stage: &Stage) -> Played {
    let (actual, _) = stage
        .play(input(json!({ "trigger": "needs_review" })))
        .await?;
    Ok(Seen::new("failed: manual_review", actual))
}

async fn child_failure(stage: &Stage) -> Played {
    let (actual, ended) = stage
        .play(input(json!({ "fail_enrichment": true })))
        .await?;
    let child = ended.job["child_job_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Ok(Seen::new("failed: enrichment_failed", actual).note(format!("child {child}")))
}

async fn cancel(stage: &Stage) -> Played {
    let id = stage.start(input(json!({ "quality": "high" }))).await?;
    stage.wait_for(&id, is_progress).await?;
    stage
        .remote
        .post(&format!("/jobs/{id}/cancel"), &json!({}))
        .await?;
    let ended = stage.end_of(&id).await?;
    let place = ended.job["current_state"].as_str().unwrap_or_default();
    Ok(Seen::new(
        "cancelled in dispatch_transcoding",
        format!("{} in {place}", ended.status),
    ))
}

/// Starts a worker of its own process, gives it work and kills it without a word.
async fn worker_killed(stage: &Stage) -> Played {
    let doomed = stage.doomed().await?;
    let mut jobs = Vec::new();
    for _ in 0..KILL_JOBS {
        jobs.push(stage.start(input(json!({ "quality": "low" }))).await?);
    }
    let victim = held_by_doomed(stage, &jobs).await?;
    doomed.kill().await;
    let ended = stage.end_of(&victim).await?;
    let history = stage.history(&victim).await?;
    let finisher = history
        .iter()
        .rev()
        .filter(|event| event["event_type"] == "task_finished")
        .find(|event| event["state"] == "dispatch_transcoding")
        .and_then(|event| event["worker_id"].as_str())
        .unwrap_or_default();
    let actual = format!("{}, transcoded by {finisher}", outcome(&ended));
    for job in &jobs {
        stage.end_of(job).await?;
    }
    Ok(Seen::new("finished, transcoded by gpu-worker-01", actual)
        .note(format!("lease of {LEASE_SECONDS} s")))
}

/// Returns a job whose task the doomed worker has: its progress says so.
async fn held_by_doomed(stage: &Stage, jobs: &[String]) -> Result<String, Failure> {
    let watches = jobs.iter().map(|id| {
        let by_doomed = |event: &Value| is_progress(event) && event["worker_id"] == DOOMED;
        Box::pin(async move { stage.wait_for(id, by_doomed).await.map(|_| id.clone()) })
    });
    // The others end without it, which is no error here.
    let (found, _) = futures::future::select_ok(watches).await?;
    Ok(found)
}

/// Scheduled jobs belong to the system, not to a client, so they are looked up inside.
async fn maintenance(stage: &Stage) -> Played {
    let runtime = stage.stack.orchestrator.runtime();
    let query = JobQuery {
        client: Some(SYSTEM_CLIENT.into()),
        statuses: vec![JobStatus::Finished],
        blueprint: Some("periodic_maintenance".to_owned()),
        limit: 10,
        ..JobQuery::default()
    };
    loop {
        let jobs = runtime
            .list(query.clone())
            .await
            .map_err(|error| Failure::internal(error.to_string()))?;
        if let Some(job) = jobs.first() {
            let run = job
                .result
                .as_ref()
                .map_or(Value::Null, |result| result["run"].clone());
            return Ok(Seen::new("finished", job.status.as_str()).note(format!("run number {run}")));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Every job of every scenario has told its end exactly once, signed.
async fn webhooks(stage: &Stage) -> Played {
    let jobs = stage
        .jobs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let is_end = |body: &Value| {
        let event = body["event"].as_str().unwrap_or_default();
        matches!(
            event,
            "job_finished" | "job_failed" | "job_quarantined" | "job_cancelled"
        )
    };
    for id in &jobs {
        let job = id.as_str();
        stage
            .stack
            .inbox
            .wait_for(|one| one.body["job_id"] == job && is_end(&one.body))
            .await;
    }
    let received = stage.stack.inbox.all();
    let ends = received.iter().filter(|one| is_end(&one.body)).count();
    let verified = received.iter().filter(|one| one.verified).count();
    let expected = format!("{} ends, all signatures good", jobs.len());
    let signatures = if verified == received.len() {
        "all"
    } else {
        "not all"
    };
    let seen = Seen::new(
        &expected,
        format!("{ends} ends, {signatures} signatures good"),
    );
    let repeats = stage.stack.inbox.repeats();
    Ok(seen.note(format!("{} webhooks, {repeats} repeats", received.len())))
}

fn is_progress(event: &Value) -> bool {
    event["event_type"] == "worker_event:progress"
}

fn job_id(job: &Value) -> String {
    job["id"].as_str().unwrap_or_default().to_owned()
}
