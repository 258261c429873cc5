//! Workers that are not known, polls that wait, cancels. Source: wire-protocol §8, §13.1.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::super::report::{Miss, Outcome, broken, unseen};
use super::expect::{expect_no_task, expect_status, json_of, told};
use super::stage::{Ask, POLL_MARGIN, Stage};
use super::{Check, check};
use crate::net::{Method, TlsFiles, client_config};
use crate::protocol::headers::{
    REGISTER_PATH, WORKER_ID, WORKER_TOKEN, heartbeat_path, socket_path,
};
use crate::protocol::{seal, to_wire_bytes};

/// Looks at `cancel_task_ids` before they are given up, and the time between two.
const BEATS_MAX: u32 = 5;
const BETWEEN_BEATS: Duration = Duration::from_secs(1);
/// How long a poll is open before its connection goes.
const ABANDON_AFTER: Duration = Duration::from_millis(500);
/// How long the end of the connection is given to arrive, try by try.
const END_ARRIVES: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];

pub(super) const CHECKS: [Check; 7] = [
    check(
        (
            "O-38",
            "§13.1.6 WQ14",
            "a heartbeat of an unknown worker is answered 404 with `not found`",
        ),
        |stage| Box::pin(unknown(stage)),
    ),
    check(
        (
            "O-39",
            "§13.1.9",
            "unknown members of a registration are tolerated",
        ),
        |stage| Box::pin(extended(stage)),
    ),
    check(
        (
            "O-40",
            "§13.1.8",
            "a poll is answered within its `timeout`, before the worker gives up",
        ),
        |stage| Box::pin(short_poll(stage)),
    ),
    check(
        ("O-41", "§13.1.8", "a poll is held for 30 s at the most"),
        |stage| Box::pin(long_poll(stage)),
    ),
    check(
        (
            "O-43",
            "§10.5",
            "a worker that is draining is handed no task",
        ),
        |stage| Box::pin(draining(stage)),
    ),
    check(
        (
            "O-44",
            "§13.1.10 WQ19",
            "the cancel of a job reaches its worker over the WebSocket",
        ),
        |stage| Box::pin(cancel_by_socket(stage)),
    ),
    check(
        (
            "O-45",
            "§13.1.10 WQ15",
            "the cancel of a job reaches its worker by `cancel_task_ids`",
        ),
        |stage| Box::pin(cancel_by_beat(stage)),
    ),
];

/// What may lose a task, hence after the others.
pub(super) const ABANDONED: Check = check(
    (
        "O-42",
        "§8.3 WQ17",
        "a poll whose connection has gone takes no task with it",
    ),
    |stage| Box::pin(abandoned_poll(stage)),
);

async fn unknown(stage: &Stage) -> Outcome {
    let id = format!("conformance-{}", stage.unique());
    let message = stage.stamped(json!({"worker_id": id, "status": "idle", "current_tasks": []}));
    let mut message = message;
    seal(&mut message, stage.token.expose(), &id, &[])
        .expect("messages of this program have a canonical form");
    let path = heartbeat_path(&id);
    let ask = Ask {
        id: Some(&id),
        ..stage.ask(
            Method::Patch,
            &path,
            Some(to_wire_bytes(&Value::Object(message))),
        )
    };
    let answer = stage.call(ask).await?;
    let text = String::from_utf8_lossy(&answer.body).to_ascii_lowercase();
    match answer.status {
        404 if text.contains("not found") => Ok(told(&answer)),
        401 | 403 => Err(unseen(
            "the token is good for one worker id only; with a global token this can be seen",
        )),
        _ => Err(broken(told(&answer), "404 with `not found`")),
    }
}

async fn extended(stage: &Stage) -> Outcome {
    let body = stage.sealed(json!({
        "supported_skills": [{
            "name": stage.skill,
            "type": stage.skill,
            "vendor_extension": {"quality": [1, 2.5, "high"]},
            "price_list": [],
        }],
        "capabilities": {"hostname": "h", "extra": {"websockets": true}, "vendor": {"x": 1}},
        "resources": {"devices": [{"type": "gpu", "vendor": "v"}], "vendor": [null]},
        "vendor_member": {"nested": {"deep": true}},
    }));
    let ask = stage.ask(Method::Post, REGISTER_PATH, Some(body));
    let answer = stage.call(ask).await?;
    expect_status(&answer, 200, "a registration with members of its own")?;
    Ok(told(&answer))
}

async fn short_poll(stage: &Stage) -> Outcome {
    stage.register().await?;
    stage.beat("idle", Value::Null).await?;
    let limit = Duration::from_secs(1) + POLL_MARGIN;
    let answer = stage.poll_within(1, limit).await?;
    expect_no_task(&answer, "a poll of 1 s")?;
    Ok("answered in time".to_owned())
}

async fn long_poll(stage: &Stage) -> Outcome {
    if !stage.slow {
        return Err(unseen("it takes half a minute; --slow looks at it"));
    }
    stage.register().await?;
    stage.beat("idle", Value::Null).await?;
    // What it asks for is no matter: nobody waits longer than 35 s.
    let answer = stage
        .poll_within(60, Duration::from_secs(30) + POLL_MARGIN)
        .await?;
    expect_no_task(&answer, "a poll of 60 s")?;
    Ok("answered within 35 s".to_owned())
}

/// The end of a connection takes its way, too, and longer with a proxy in it. A task that is handed out
/// meanwhile is lost to any orchestrator, and says nothing of the rule: hence a second try.
async fn abandoned_poll(stage: &Stage) -> Outcome {
    let mut missed = unseen("no try was made");
    for pause in END_ARRIVES {
        stage.register().await?;
        stage.beat("idle", Value::Null).await?;
        // The limit ends the call, and with it the connection.
        let gone = stage.poll_within(20, ABANDON_AFTER).await;
        if let Ok(answer) = gone {
            return Err(unseen(format!(
                "the poll was answered at once: {}",
                told(&answer)
            )));
        }
        tokio::time::sleep(pause).await;
        let job = stage.job(&json!("abandoned")).await?;
        match stage.task_of(&job).await {
            Ok(task) => {
                stage.result(stage.result_of(&task, json!({}))).await?;
                return Ok(format!("task {} came with the next poll", task.id));
            }
            Err(Miss::Unseen(why)) => missed = broken(why, "the task with the next poll"),
            Err(other @ Miss::Broken(_)) => return Err(other),
        }
        // It would come in the way of the next try.
        stage.cancel(&job).await?;
    }
    Err(missed)
}

async fn draining(stage: &Stage) -> Outcome {
    stage.register().await?;
    let said = stage
        .beat("draining", json!({"available_skills": []}))
        .await?;
    expect_status(&said, 200, "a heartbeat with status `draining`")?;
    let job = stage.job(&json!("draining")).await?;
    let answer = stage.poll(1).await?;
    stage.cancel(&job).await?;
    stage.beat("idle", Value::Null).await?;
    expect_no_task(&answer, "the poll of a draining worker")?;
    Ok("no task".to_owned())
}

async fn cancel_by_socket(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("cancel by socket")).await?;
    let mut socket = open_socket(stage).await?;
    stage.cancel(&task.job).await?;
    let told_so = async {
        while let Some(frame) = socket.next().await {
            let Ok(Message::Text(text)) = frame else {
                continue;
            };
            let command: Value = serde_json::from_str(&text).unwrap_or_default();
            if command["command"] == "cancel_task" && command["task_id"] == task.id.as_str() {
                return Ok(text.to_string());
            }
        }
        Err(broken("the end of the socket", "a `cancel_task` frame"))
    };
    let seen = tokio::time::timeout(stage.wait.min(Duration::from_secs(10)), told_so).await;
    let end = json!({"status": "cancelled"});
    stage.result(stage.result_of(&task, end)).await?;
    seen.unwrap_or_else(|_| Err(broken("no frame", "`cancel_task` with the task's id")))
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens E8 as the worker does.
async fn open_socket(stage: &Stage) -> Result<Socket, Miss> {
    let origin = stage.remote.origin();
    // `http` becomes `ws` and `https` becomes `wss`.
    let url = format!("ws{}{}", &origin[4..], socket_path(stage.worker.as_str()));
    let no_socket = |why: String| broken(format!("GET {url}: {why}"), "an open WebSocket");
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| no_socket(error.to_string()))?;
    for (name, value) in [
        (WORKER_TOKEN, stage.token.expose()),
        (WORKER_ID, stage.worker.as_str()),
    ] {
        let value = value
            .parse()
            .map_err(|_| no_socket(format!("{name} cannot be sent")))?;
        request.headers_mut().insert(name, value);
    }
    let tls = client_config(&TlsFiles::default()).map_err(|error| no_socket(error.to_string()))?;
    let opening = tokio_tungstenite::connect_async_tls_with_config(
        request,
        None,
        true,
        Some(Connector::Rustls(Arc::clone(&tls))),
    );
    match tokio::time::timeout(stage.wait, Box::pin(opening)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(no_socket(error.to_string())),
        Err(_) => Err(no_socket("no answer".to_owned())),
    }
}

async fn cancel_by_beat(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("cancel by heartbeat")).await?;
    stage.cancel(&task.job).await?;
    let mut last = String::new();
    for _ in 0..BEATS_MAX {
        let answer = stage
            .beat("idle", json!({"current_tasks": [task.id]}))
            .await?;
        expect_status(&answer, 200, "the heartbeat")?;
        last = told(&answer);
        let body = json_of(&answer)?;
        let ids = body["cancel_task_ids"].as_array();
        if ids.is_some_and(|ids| ids.iter().any(|id| *id == task.id.as_str())) {
            let end = json!({"status": "cancelled"});
            stage.result(stage.result_of(&task, end)).await?;
            return Ok(last);
        }
        tokio::time::sleep(BETWEEN_BEATS).await;
    }
    Err(broken(
        format!("{last} for a heartbeat that lists the task"),
        "its id in `cancel_task_ids`",
    ))
}
