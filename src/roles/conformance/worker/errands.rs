//! Tasks, and what comes back of them. Source: wire-protocol §5, §6.2, §8.2–8.6, §10.3, §13.2.

use std::time::Duration;

use serde_json::{Value, json};

use super::play::{Errand, Play};
use super::seen::{Kind, Reply, Seen};
use super::{Check, check};
use crate::domain::TaskErrorCode;
use crate::roles::conformance::report::{Miss, Outcome, broken, unseen};

/// A skill that no worker has.
const UNKNOWN_SKILL: &str = "conformance_unknown_skill";
/// The status of a task that was stopped.
const CANCELLED: &str = "cancelled";

pub(super) const CHECKS: [Check; 10] = [
    check(
        (
            "W-14",
            "§13.2.4",
            "a task signed over its canonical form is run",
        ),
        |play| Box::pin(signed(play)),
    ),
    check(
        (
            "W-16",
            "§13.2.4",
            "unsigned `skill_version`, `skill_type` and `security` are tolerated",
        ),
        |play| Box::pin(unsigned_members(play)),
    ),
    check(
        (
            "W-18",
            "§13.2.9",
            "a result names its task, and its `data` is an object",
        ),
        |play| Box::pin(data(play)),
    ),
    check(
        (
            "W-19",
            "§13.2.8",
            "a skill that the worker has not is a `failure` with TRANSIENT_ERROR",
        ),
        |play| Box::pin(unknown_skill(play)),
    ),
    check(
        (
            "W-20",
            "§5",
            "a failure's `error` has a known `code` and a `message`",
        ),
        |play| Box::pin(error(play)),
    ),
    check(
        (
            "W-23",
            "§10.1",
            "a result that was answered 503 is sent again",
        ),
        |play| Box::pin(sent_again(play)),
    ),
    check(
        (
            "W-26",
            "§8.2",
            "a running task is listed in `current_tasks`",
        ),
        |play| Box::pin(listed(play)),
    ),
    check(
        (
            "W-27",
            "§8.2",
            "`cancel_task_ids` stops a task, and its result says `cancelled`",
        ),
        |play| Box::pin(cancelled_by_beat(play)),
    ),
    check(
        (
            "W-28",
            "§8.6",
            "`cancel_task` on the WebSocket stops a task, and its result says `cancelled`",
        ),
        |play| Box::pin(cancelled_by_socket(play)),
    ),
    // Sets up what is judged at the end.
    check(
        (
            "W-31",
            "§10.7",
            "tasks are still taken after results that were ignored or came for nothing",
        ),
        |play| Box::pin(goes_on(play)),
    ),
];

/// What ends the polling of a worker that cannot take it, hence after the others.
pub(super) const HARD: [Check; 2] = [
    check(
        (
            "W-17",
            "§13.2.3",
            "a `deadline` and a `priority` may be floats",
        ),
        |play| Box::pin(floats(play)),
    ),
    check(
        (
            "W-21",
            "§8.3 WQ7",
            "a task that cannot be read does not end the polling",
        ),
        |play| Box::pin(unreadable(play)),
    ),
];

/// Hands out a task in bytes that this function writes itself.
async fn signed(play: &Play) -> Outcome {
    let Errand { skill, params } = play.errand()?;
    let (job, id) = (play.entropy.uuid(), play.entropy.uuid());
    let now = play.clock.now().as_secs();
    // Only metadata may hold what the skill does not expect.
    let canonical = format!(
        "{{\"job_id\":\"{job}\",\"metadata\":{{\"\":6,\"Z\":0,\"a\":[1,null,2.5,1e-7,{{}}],\"z\":\"/\\\"\\\\\\n\\u0001\u{7f}\u{2028}\",\"é\":0.00001,\"\u{ffff}\":7,\"\u{10000}\":8}},\"params\":{params},\"priority\":0,\"task_id\":\"{id}\",\"timestamp\":{now},\"tracing_context\":{{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}},\"type\":\"{skill}\"}}",
        params = canonical_text(&params),
    );
    let Some(sig) = play.hmac(&canonical) else {
        return Err(unseen("tasks are not signed: --secret is empty"));
    };
    let mark = play.desk.mark();
    let task = canonical.replacen('{', &format!("{{\"sig\":\"{sig}\","), 1);
    play.desk.give(task.into_bytes());
    let result = play.result_of(&id.to_string(), mark).await?;
    give_forged(play)?;
    // They have been handed out when the one after them has been run.
    play.run_short().await?;
    Ok(result.body.to_string())
}

/// Writes parameters of the command line; what is special is in the metadata.
fn canonical_text(params: &Value) -> String {
    String::from_utf8_lossy(&super::desk::written(params)).into_owned()
}

/// Hands out two tasks that nobody may run; whether somebody does is judged at the end.
fn give_forged(play: &Play) -> Result<(), Miss> {
    let errand = play.errand()?;
    let wrong = json!({"sig": "0".repeat(64)});
    let task = play.give(play.task(&errand), wrong);
    play.remember_forged(&task, "a wrong `sig`");
    let task = play.give(play.task(&errand), json!({"sig": null}));
    play.remember_forged(&task, "no `sig`");
    Ok(())
}

async fn unsigned_members(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    let task = play.task(&play.errand()?);
    let more = json!({
        "skill_version": "1.0.0",
        "skill_type": "any",
        "security": {"signer_id": "orchestrator", "signature": "another's"},
    });
    let id = play.give(task, more);
    Ok(play.result_of(&id, mark).await?.body.to_string())
}

async fn floats(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    let mut task = play.task(&play.errand()?);
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since the epoch are far below 2^53"
    )]
    let deadline = play.clock.now().as_secs() as f64 + 600.5;
    task["deadline"] = json!(deadline);
    task["priority"] = json!(2.5);
    let id = play.give(task, json!({}));
    Ok(play.result_of(&id, mark).await?.body.to_string())
}

async fn data(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    let task = play.task(&play.errand()?);
    let job = task["job_id"].clone();
    let id = play.give(task, json!({}));
    let result = play.result_of(&id, mark).await?.body;
    if result["job_id"] != job {
        return Err(broken(
            format!("`job_id` {}", result["job_id"]),
            "the task's",
        ));
    }
    match &result["data"] {
        Value::Null if result["status"] == "failure" => Err(unseen(format!(
            "the task failed: give --skill and --params of one that succeeds; {}",
            result["error"]
        ))),
        Value::Object(_) | Value::Null => Ok(result.to_string()),
        other => Err(broken(format!("`data`: {other}"), "an object")),
    }
}

/// Hands out a task of a skill that the worker has not.
async fn failed(play: &Play) -> Result<Value, Miss> {
    let mark = play.desk.mark();
    let errand = Errand {
        skill: UNKNOWN_SKILL.to_owned(),
        params: json!({}),
    };
    let id = play.give(play.task(&errand), json!({}));
    Ok(play.result_of(&id, mark).await?.body)
}

async fn unknown_skill(play: &Play) -> Outcome {
    let result = failed(play).await?;
    let seen = format!("status {}, error {}", result["status"], result["error"]);
    if result["status"] == "failure" && result["error"]["code"] == "TRANSIENT_ERROR" {
        Ok(seen)
    } else {
        Err(broken(seen, "`failure` with TRANSIENT_ERROR"))
    }
}

async fn error(play: &Play) -> Outcome {
    let result = failed(play).await?;
    let error = &result["error"];
    let code = error["code"].as_str().unwrap_or_default();
    let is_known = TaskErrorCode::ALL
        .iter()
        .any(|known| known.as_str() == code);
    if is_known && error["message"].is_string() {
        Ok(error.to_string())
    } else {
        Err(broken(error, "a code of §5.1 and a text"))
    }
}

async fn unreadable(play: &Play) -> Outcome {
    let mut task = play.task(&play.errand()?);
    task["params"] = json!("no object");
    play.give(task, json!({}));
    let result = play.run_short().await?;
    Ok(format!("the next task was run: {}", result.body))
}

fn id_of(task: &Value) -> String {
    task["task_id"].as_str().unwrap_or_default().to_owned()
}

async fn sent_again(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    let task = play.task(&play.errand()?);
    let trouble = Reply::new(503, json!({"error": "not now"})).of_task(&id_of(&task));
    play.desk.reply(Kind::Result, [trouble]);
    let id = play.give(task, json!({}));
    let first = play.result_of(&id, mark).await?;
    let again = |seen: &Seen| {
        seen.kind == Kind::Result && seen.body["task_id"] == id.as_str() && seen.at > first.at
    };
    let second = play.until(mark, "the result once more", again).await?;
    let after = (second.at - first.at).as_secs_f64();
    Ok(format!("again after {after:.1} s"))
}

async fn goes_on(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    let task = play.task(&play.errand()?);
    let ignored = json!({"status": "ignored", "reason": "stale_task", "message": "too late"});
    let ignored = Reply::new(200, ignored).of_task(&id_of(&task));
    play.desk.reply(Kind::Result, [ignored]);
    let id = play.give(task, json!({}));
    play.remember("ignored", &id);
    play.result_of(&id, mark).await?;
    let task = play.task(&play.errand()?);
    let id = play.give(task.clone(), json!({}));
    play.remember("twice", &id);
    play.result_of(&id, mark).await?;
    play.give(task, json!({}));
    Ok(play.run_short().await?.body.to_string())
}

/// Hands out a task that runs for a while and waits until a heartbeat lists it.
async fn running(play: &Play) -> Result<(String, usize), Miss> {
    let Some(errand) = &play.long else {
        return Err(unseen(
            "it takes a task that runs for a while: give --long-skill",
        ));
    };
    let mark = play.desk.mark();
    let id = play.give(play.task(errand), json!({}));
    let fits = |seen: &Seen| lists(seen, &id) || is_result_of(seen, &id);
    let seen = play
        .until(mark, "a heartbeat that lists the task", fits)
        .await?;
    if seen.kind == Kind::Result {
        return Err(unseen(format!(
            "the task ended before it was stopped: --long-skill has to run longer; {}",
            seen.body
        )));
    }
    Ok((id, mark))
}

fn lists(seen: &Seen, task: &str) -> bool {
    let tasks = seen.body["current_tasks"].as_array();
    seen.kind == Kind::Beat && tasks.is_some_and(|tasks| tasks.iter().any(|id| id == task))
}

fn is_result_of(seen: &Seen, task: &str) -> bool {
    seen.kind == Kind::Result && seen.body["task_id"] == task
}

/// Stops a running task by the heartbeat's answer and waits for its result.
async fn stopped(play: &Play, id: &str, mark: usize) -> Result<Value, Miss> {
    let answer = json!({"status": "ok", "cancel_task_ids": [id]});
    play.desk.reply(Kind::Beat, [Reply::new(200, answer)]);
    Ok(play.result_of(id, mark).await?.body)
}

async fn listed(play: &Play) -> Outcome {
    let (id, mark) = running(play).await?;
    // Whether it can be stopped is the next check's business.
    drop(stopped(play, &id, mark).await);
    Ok(format!("task {id} was listed"))
}

/// As [`running`], for checks of something else.
async fn to_be_stopped(play: &Play) -> Result<(String, usize), Miss> {
    running(play).await.map_err(|miss| match miss {
        Miss::Broken(why) => unseen(format!("no task is known to run: {why}")),
        other @ Miss::Unseen(_) => other,
    })
}

fn expect_cancelled(result: &Value) -> Outcome {
    if result["status"] == CANCELLED {
        Ok(result.to_string())
    } else {
        Err(broken(result, "`status`: `cancelled`"))
    }
}

async fn cancelled_by_beat(play: &Play) -> Outcome {
    let (id, mark) = to_be_stopped(play).await?;
    expect_cancelled(&stopped(play, &id, mark).await?)
}

async fn cancelled_by_socket(play: &Play) -> Outcome {
    // A worker opens it after it has registered; it is given a moment.
    let opened = play
        .desk
        .until(0, Duration::from_secs(5), |seen| seen.kind == Kind::Socket);
    if opened.await.is_none() || !play.desk.has_socket() {
        return Err(unseen("the worker opens no WebSocket"));
    }
    let (id, mark) = to_be_stopped(play).await?;
    let command = json!({"command": "cancel_task", "task_id": id, "job_id": "job"});
    if !play.desk.command(&command) {
        return Err(unseen("the WebSocket has gone"));
    }
    expect_cancelled(&play.result_of(&id, mark).await?.body)
}
