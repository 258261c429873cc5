//! Signatures over the received bytes, freshness, replay. Source: wire-protocol §6, §7.

use serde_json::{Value, json};

use super::super::report::{Outcome, broken};
use super::super::vectors::NESTED;
use super::expect::{expect_refusal, expect_status, json_of, told};
use super::stage::{Handed, Stage};
use super::{Check, check};
use crate::base::crypto;
use crate::domain::Object;
use crate::net::Method;
use crate::protocol::headers::{EVENTS_PATH, REGISTER_PATH};

pub(super) const CHECKS: [Check; 10] = [
    check(
        (
            "O-13",
            "§6.4",
            "signatures hold over the canonical form, byte for byte",
        ),
        |stage| Box::pin(vectors(stage)),
    ),
    check(
        (
            "O-14",
            "§13.1.3",
            "signatures cover the message as it came, unknown members included",
        ),
        |stage| Box::pin(raw(stage)),
    ),
    check(
        (
            "O-15",
            "§6.3",
            "a message whose signature is another's is refused",
        ),
        |stage| Box::pin(refuses_forged(stage)),
    ),
    check(
        ("O-16", "§6.3", "a message without a signature is refused"),
        |stage| Box::pin(refuses_unsigned(stage)),
    ),
    check(
        (
            "O-17",
            "§6.3",
            "a signer other than the authenticated worker is refused",
        ),
        |stage| Box::pin(refuses_signer(stage)),
    ),
    check(
        (
            "O-18",
            "§8.1",
            "a registration in another worker's name is refused",
        ),
        |stage| Box::pin(refuses_names(stage)),
    ),
    check(
        (
            "O-19",
            "§6.2",
            "an event's signature leaves `bubbling_chain` out",
        ),
        |stage| Box::pin(takes_events(stage)),
    ),
    check(
        (
            "O-20",
            "§7",
            "a message within 60 s of now is taken, one beyond is refused",
        ),
        |stage| Box::pin(window(stage)),
    ),
    check(
        ("O-21", "§7 WQ9", "the same heartbeat twice is no attack"),
        |stage| Box::pin(same_beat(stage)),
    ),
    check(
        (
            "O-22",
            "§7 WQ8",
            "a refused message does not use up its nonce",
        ),
        |stage| Box::pin(nonce_kept(stage)),
    ),
];

/// Returns the signature of canonical bytes that this file writes itself.
fn hmac(stage: &Stage, canonical: &str) -> String {
    let key = stage.token.expose().as_bytes();
    crypto::hex(&crypto::hmac_sha256(key, canonical.as_bytes()))
}

async fn vectors(stage: &Stage) -> Outcome {
    stage.register().await?;
    let worker = stage.worker.as_str();
    let mut failed = Vec::new();
    for vector in &NESTED {
        let (now, nonce) = (stage.now(), stage.unique());
        let canonical = format!(
            r#"{{"nonce":"{nonce}","status":"idle","timestamp":{now},"vector":{},"worker_id":"{worker}"}}"#,
            vector.canonical
        );
        let signature = hmac(stage, &canonical);
        let body = format!(
            r#"{{"worker_id":"{worker}","vector":{},"status":"idle","timestamp":{now},"security":{{"signature":"{signature}","signer_id":"{worker}"}},"nonce":"{nonce}"}}"#,
            vector.text
        );
        let answer = stage.send_beat(body.into_bytes()).await?;
        if answer.status != 200 {
            failed.push(format!("{} answered {}", vector.name, told(&answer)));
        }
    }
    if failed.is_empty() {
        Ok(format!("{} vectors", NESTED.len()))
    } else {
        Err(broken(failed.join("; "), "200 for each"))
    }
}

async fn raw(stage: &Stage) -> Outcome {
    let worker = stage.worker.as_str();
    let (now, nonce, skill) = (stage.now(), stage.unique(), &stage.skill);
    let canonical = format!(
        r#"{{"nonce":"{nonce}","supported_skills":[{{"name":"{skill}","vendor":{{"x":2.5}}}}],"timestamp":{now},"worker_id":"{worker}","zz":{{"a":[null,1e-7],"b":1}}}}"#
    );
    let signature = hmac(stage, &canonical);
    let body = format!(
        r#"{{ "zz" : {{"b": 1.0, "a": [null, 1E-7]}}, "worker_id": "{worker}",
 "supported_skills": [{{"vendor": {{"y": null, "x": 2.50}}, "name": "{skill}"}}],
 "timestamp": {now}, "nonce": "{nonce}",
 "security": {{"signature": "{signature}", "signer_id": "{worker}"}} }}"#
    );
    let ask = stage.ask(Method::Post, REGISTER_PATH, Some(body.into_bytes()));
    let answer = stage.call(ask).await?;
    expect_status(&answer, 200, "a registration with unknown members")?;
    let task = stage.handed(&json!("raw")).await?;
    let answer = raw_result(stage, &task).await?;
    stage.until_status(&task.job, &["finished"]).await?;
    Ok(answer)
}

/// Reports a task with members out of order, spaces, an unknown member and floats.
async fn raw_result(stage: &Stage, task: &Handed) -> Outcome {
    let worker = stage.worker.as_str();
    let (now, nonce) = (stage.now(), stage.unique());
    let Handed { job, id, .. } = task;
    let canonical = format!(
        r#"{{"data":{{"n":2,"z":0.1}},"job_id":"{job}","nonce":"{nonce}","task_id":"{id}","timestamp":{now},"unknown":{{"é":[1,{{}}]}},"worker_id":"{worker}"}}"#
    );
    let signature = hmac(stage, &canonical);
    let body = format!(
        r#"{{"unknown": {{"\u00e9": [1.0, {{"gone": null}}]}}, "task_id": "{id}", "job_id": "{job}",
 "data": {{"z": 1e-1, "n": 2.0}}, "worker_id": "{worker}", "error": null, "timestamp": {now},
 "security": {{"signature": "{signature}"}}, "nonce": "{nonce}"}}"#
    );
    let answer = stage.result(body.into_bytes()).await?;
    expect_status(&answer, 200, "a result with unknown members")?;
    Ok(told(&answer))
}

async fn refuses_forged(stage: &Stage) -> Outcome {
    stage.register().await?;
    let message = stage.stamped(json!({"status": "idle"}));
    let answer = stage
        .send_beat(stage.signed(message, "another worker's key"))
        .await?;
    expect_refusal(&answer, "a heartbeat signed with another key")?;
    Ok(told(&answer))
}

async fn refuses_unsigned(stage: &Stage) -> Outcome {
    stage.register().await?;
    let message = Value::Object(stage.stamped(json!({"status": "idle"})));
    let answer = stage.send_beat(message.to_string().into_bytes()).await?;
    expect_refusal(&answer, "a heartbeat without a signature")?;
    Ok(told(&answer))
}

async fn refuses_signer(stage: &Stage) -> Outcome {
    stage.register().await?;
    let body = stage.sealed(json!({"status": "idle"}));
    let mut message: Object = serde_json::from_slice(&body).unwrap_or_default();
    message["security"]["signer_id"] = json!("somebody-else");
    let answer = stage
        .send_beat(Value::Object(message).to_string().into_bytes())
        .await?;
    expect_refusal(&answer, "a heartbeat of signer `somebody-else`")?;
    Ok(told(&answer))
}

async fn refuses_names(stage: &Stage) -> Outcome {
    let body = stage.sealed(json!({"worker_id": "somebody-else"}));
    let ask = stage.ask(Method::Post, REGISTER_PATH, Some(body));
    let answer = stage.call(ask).await?;
    expect_refusal(&answer, "a registration of `somebody-else`")?;
    Ok(told(&answer))
}

async fn takes_events(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("event")).await?;
    let worker = stage.worker.as_str();
    let event = stage.sealed(json!({
        "event_id": stage.unique(),
        "origin_worker_id": worker,
        "event_type": "progress",
        "payload": {"progress": 0.5, "message": "half"},
        "origin_task_id": task.id,
        "target_task_id": task.id,
        "target_job_id": task.job,
        "bubbling_chain": [worker],
        "trace_context": {},
        "priority": 0,
    }));
    let answer = stage
        .call(stage.ask(Method::Post, EVENTS_PATH, Some(event)))
        .await?;
    stage.result(stage.result_of(&task, json!({}))).await?;
    expect_status(&answer, 200, "the event")?;
    if json_of(&answer)?["status"] == "event_accepted" {
        Ok(told(&answer))
    } else {
        Err(broken(told(&answer), "`status`: `event_accepted`"))
    }
}

async fn window(stage: &Stage) -> Outcome {
    stage.register().await?;
    let stamped = |seconds: i64| {
        let timestamp = stage.now() + seconds;
        stage.sealed(json!({"status": "idle", "timestamp": timestamp}))
    };
    // Some seconds off the edge: the two clocks may differ a little, and time passes.
    for seconds in [-50, 50] {
        let answer = stage.send_beat(stamped(seconds)).await?;
        expect_status(&answer, 200, &format!("a heartbeat {seconds} s from now"))?;
    }
    for seconds in [-90, 90] {
        let answer = stage.send_beat(stamped(seconds)).await?;
        expect_refusal(&answer, &format!("a heartbeat {seconds} s from now"))?;
    }
    let mut message = stage.stamped(json!({"status": "idle"}));
    message.remove("timestamp");
    let answer = stage
        .send_beat(stage.signed(message, stage.token.expose()))
        .await?;
    expect_refusal(&answer, "a heartbeat without a timestamp")?;
    Ok("±50 s taken, ±90 s and no timestamp refused".to_owned())
}

async fn same_beat(stage: &Stage) -> Outcome {
    stage.register().await?;
    let mut message = stage.stamped(json!({"status": "idle", "current_tasks": []}));
    // As the original's worker sends it: nothing in it is new but the time.
    message.remove("nonce");
    let body = stage.signed(message, stage.token.expose());
    for which in ["the heartbeat", "the same heartbeat again"] {
        let answer = stage.send_beat(body.clone()).await?;
        expect_status(&answer, 200, which)?;
    }
    Ok("200 twice".to_owned())
}

async fn nonce_kept(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("nonce")).await?;
    let message = stage.stamped(json!({"job_id": task.job, "task_id": task.id}));
    let forged = stage.signed(message.clone(), "another worker's key");
    let refused = stage.result(forged).await?;
    expect_refusal(&refused, "a result signed with another key")?;
    let answer = stage
        .result(stage.signed(message, stage.token.expose()))
        .await?;
    expect_status(&answer, 200, "the same result, well signed")?;
    stage.until_status(&task.job, &["finished"]).await?;
    Ok(told(&answer))
}
