//! Results that come well, twice, late, or for nothing. Source: wire-protocol §8.4, §13.1.5.

use serde_json::{Value, json};

use super::super::report::{Miss, Outcome, broken};
use super::expect::{expect_status, json_of, told};
use super::stage::{Handed, Stage};
use super::{Check, check};
use crate::net::HttpAnswer;

/// The statuses of a job that has ended.
const ENDED: [&str; 5] = ["finished", "failed", "quarantined", "cancelled", "error"];

pub(super) const CHECKS: [Check; 7] = [
    check(
        ("O-11", "§13.1.2", "a result without `status` is a success"),
        |stage| Box::pin(success(stage)),
    ),
    check(
        (
            "O-12",
            "§10.3",
            "a result of failure ends the job otherwise",
        ),
        |stage| Box::pin(failure(stage)),
    ),
    check(
        (
            "O-33",
            "§13.1.5",
            "the same result again, byte for byte, is answered 200",
        ),
        |stage| Box::pin(same_bytes(stage)),
    ),
    check(
        (
            "O-34",
            "§13.1.5",
            "the same result again, newly signed, is answered 200 and changes nothing",
        ),
        |stage| Box::pin(signed_anew(stage)),
    ),
    check(
        (
            "O-35",
            "§8.4",
            "a result of another task of the job is ignored with 200",
        ),
        |stage| Box::pin(stale(stage)),
    ),
    check(
        (
            "O-36",
            "§8.4",
            "a result of an unknown job is ignored with 200",
        ),
        |stage| Box::pin(unknown(stage)),
    ),
    check(
        (
            "O-37",
            "§13.1.5",
            "a result that comes after the job's end is ignored with 200",
        ),
        |stage| Box::pin(late(stage)),
    ),
];

/// Refuses what is not `ignored`.
fn expect_ignored(answer: &HttpAnswer, what: &str) -> Outcome {
    expect_status(answer, 200, what)?;
    let body = json_of(answer)?;
    if body["status"] == "ignored" && body["reason"].is_string() {
        Ok(told(answer))
    } else {
        Err(broken(
            format!("{what} answered {}", told(answer)),
            "`status`: `ignored` with a `reason`",
        ))
    }
}

async fn success(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("success")).await?;
    // Nothing that may be left out is there: no worker, no data, no costs.
    let mut message = stage.stamped(json!({"job_id": task.job, "task_id": task.id}));
    message.remove("worker_id");
    let body = stage.signed(message, stage.token.expose());
    let answer = stage.result(body).await?;
    expect_status(&answer, 200, "the least result")?;
    if json_of(&answer)?["status"] == "ignored" {
        return Err(broken(told(&answer), "an accepted result"));
    }
    stage.until_status(&task.job, &["finished"]).await?;
    Ok(told(&answer))
}

async fn failure(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("failure")).await?;
    let answer = stage.result(stage.result_of(&task, failed())).await?;
    expect_status(&answer, 200, "a result of failure")?;
    let ended = stage.until_status(&task.job, &ENDED).await?;
    if ended == "finished" {
        return Err(broken("a finished job", "a failed or quarantined one"));
    }
    Ok(format!("{}, the job is {ended}", told(&answer)))
}

/// Members of a result that no retry can help.
fn failed() -> Value {
    json!({
        "status": "failure",
        "error": {"code": "PERMANENT_ERROR", "message": "a conformance check wanted it"},
    })
}

/// Takes a task and finishes its job; returns the result's bytes too.
async fn finished(stage: &Stage, probe: &str) -> Result<(Handed, Vec<u8>), Miss> {
    let task = stage.handed(&json!(probe)).await?;
    let body = stage.result_of(&task, json!({"data": {"n": 1}}));
    let answer = stage.result(body.clone()).await?;
    expect_status(&answer, 200, "the first result")?;
    stage.until_status(&task.job, &["finished"]).await?;
    Ok((task, body))
}

async fn same_bytes(stage: &Stage) -> Outcome {
    let (_, body) = finished(stage, "same bytes").await?;
    let answer = stage.result(body).await?;
    expect_status(&answer, 200, "the same bytes again")?;
    json_of(&answer)?;
    Ok(told(&answer))
}

async fn signed_anew(stage: &Stage) -> Outcome {
    let (task, _) = finished(stage, "signed anew").await?;
    // If it counted, the job would not be finished any more.
    let answer = stage.result(stage.result_of(&task, failed())).await?;
    expect_status(&answer, 200, "a second result")?;
    stage.until_status(&task.job, &["finished"]).await?;
    Ok(told(&answer))
}

async fn stale(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("stale")).await?;
    let other = Handed {
        job: task.job.clone(),
        id: format!("task-{}", stage.unique()),
        message: Value::Null,
    };
    let answer = stage.result(stage.result_of(&other, failed())).await?;
    stage.result(stage.result_of(&task, json!({}))).await?;
    let seen = expect_ignored(&answer, "a result of another task")?;
    stage.until_status(&task.job, &["finished"]).await?;
    Ok(seen)
}

async fn unknown(stage: &Stage) -> Outcome {
    stage.register().await?;
    let nobody = Handed {
        job: stage.unique(),
        id: format!("task-{}", stage.unique()),
        message: Value::Null,
    };
    let answer = stage.result(stage.result_of(&nobody, json!({}))).await?;
    expect_ignored(&answer, "a result of an unknown job")
}

async fn late(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("late")).await?;
    stage.cancel(&task.job).await?;
    let ended = stage.until_status(&task.job, &ENDED).await?;
    let answer = stage.result(stage.result_of(&task, json!({}))).await?;
    let seen = expect_ignored(&answer, "a result of a cancelled job")?;
    let still = stage.until_status(&task.job, &ENDED).await?;
    if still == ended {
        Ok(seen)
    } else {
        Err(broken(
            format!("a job that was {ended} and is {still}"),
            "no change",
        ))
    }
}
