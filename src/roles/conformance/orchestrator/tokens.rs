//! Short-lived tokens. Source: wire-protocol §3.3, §13.1.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::report::{Miss, Outcome, broken, unseen};
use super::expect::{expect_refusal, expect_status, json_of, told};
use super::stage::{Ask, Stage};
use super::{Check, check};
use crate::net::{HttpAnswer, Method};
use crate::protocol::headers::{TOKEN_PATH, TOKEN_REFRESH_PATH, heartbeat_path};

/// Longest life of a token that is waited for without `--slow`, and with it.
const LIFE_MAX: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(2)];

pub(super) const CHECKS: [Check; 6] = [
    check(
        ("O-23", "§3.3", "a worker gets a pair of short-lived tokens"),
        |stage| Box::pin(issues(stage)),
    ),
    check(
        (
            "O-24",
            "§13.1.3",
            "with an access token in the header, the static token signs",
        ),
        |stage| Box::pin(static_key(stage)),
    ),
    check(
        (
            "O-25",
            "§13.1.3 WQ1",
            "the access token in the header may sign, too",
        ),
        |stage| Box::pin(access_key(stage)),
    ),
    check(
        ("O-26", "§3.3", "a refresh token buys a new pair that works"),
        |stage| Box::pin(refreshes(stage)),
    ),
    check(
        ("O-27", "§3.3 WQ2", "a refresh token is good once"),
        |stage| Box::pin(refreshes_once(stage)),
    ),
    check(
        (
            "O-28",
            "§13.1.6",
            "an access token that has expired is answered 401, not 403",
        ),
        |stage| Box::pin(expires(stage)),
    ),
];

/// A pair as it was answered.
struct Pair {
    access: String,
    refresh: String,
    expires_in: u64,
}

fn pair_of(answer: &HttpAnswer, what: &str) -> Result<Pair, Miss> {
    expect_status(answer, 200, what)?;
    let body = json_of(answer)?;
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    if let (Some(access), Some(refresh), Some(expires_in), Some(_)) = (
        text("access_token"),
        text("refresh_token"),
        body["expires_in"].as_u64(),
        text("worker_id"),
    ) {
        return Ok(Pair {
            access: access.to_owned(),
            refresh: refresh.to_owned(),
            expires_in,
        });
    }
    // Names only: the values are secrets.
    let members = body.as_object().into_iter().flatten();
    let names: Vec<&str> = members.map(|(name, _)| name.as_str()).collect();
    Err(broken(
        format!("members {names:?}"),
        "access_token, expires_in (an integer), refresh_token, worker_id",
    ))
}

async fn issue(stage: &Stage) -> Result<Pair, Miss> {
    let answer = stage
        .call(stage.ask(Method::Post, TOKEN_PATH, None))
        .await?;
    pair_of(&answer, "the token call")
}

async fn refresh(stage: &Stage, token: &str) -> Result<HttpAnswer, Miss> {
    let body = json!({"refresh_token": token}).to_string().into_bytes();
    // A worker whose access token has expired has nothing better to show.
    let ask = Ask {
        token: "",
        ..stage.ask(Method::Post, TOKEN_REFRESH_PATH, Some(body))
    };
    stage.call(ask).await
}

/// Sends a heartbeat with a token in its header, signed with a key.
async fn beat_with(stage: &Stage, header: &str, key: &str) -> Result<HttpAnswer, Miss> {
    let path = heartbeat_path(stage.worker.as_str());
    let message = stage.stamped(json!({"status": "idle"}));
    let ask = Ask {
        token: header,
        ..stage.ask(Method::Patch, &path, Some(stage.signed(message, key)))
    };
    stage.call(ask).await
}

async fn issues(stage: &Stage) -> Outcome {
    let pair = issue(stage).await?;
    Ok(format!("a pair that lives {} s", pair.expires_in))
}

async fn static_key(stage: &Stage) -> Outcome {
    stage.register().await?;
    let pair = issue(stage).await?;
    let answer = beat_with(stage, &pair.access, stage.token.expose()).await?;
    expect_status(&answer, 200, "a heartbeat signed with the static token")?;
    Ok(told(&answer))
}

async fn access_key(stage: &Stage) -> Outcome {
    stage.register().await?;
    let pair = issue(stage).await?;
    let answer = beat_with(stage, &pair.access, &pair.access).await?;
    expect_status(&answer, 200, "a heartbeat signed with the access token")?;
    Ok(told(&answer))
}

async fn refreshes(stage: &Stage) -> Outcome {
    stage.register().await?;
    let pair = issue(stage).await?;
    let answer = refresh(stage, &pair.refresh).await?;
    let next = pair_of(&answer, "the refresh")?;
    if next.access == pair.access || next.refresh == pair.refresh {
        return Err(broken("a token of the old pair", "two new ones"));
    }
    let answer = beat_with(stage, &next.access, stage.token.expose()).await?;
    expect_status(&answer, 200, "a heartbeat with the new access token")?;
    Ok("a new pair, and it works".to_owned())
}

async fn refreshes_once(stage: &Stage) -> Outcome {
    let pair = issue(stage).await?;
    pair_of(&refresh(stage, &pair.refresh).await?, "the refresh")?;
    let again = refresh(stage, &pair.refresh).await?;
    if again.status == 200 {
        return Err(broken("200 and another pair", "401 or 403"));
    }
    expect_refusal(&again, "the used refresh token")?;
    Ok(told(&again))
}

async fn expires(stage: &Stage) -> Outcome {
    stage.register().await?;
    stage.beat("idle", Value::Null).await?;
    let pair = issue(stage).await?;
    let life = Duration::from_secs(pair.expires_in);
    let life_max = LIFE_MAX[usize::from(stage.slow)];
    if life > life_max {
        return Err(unseen(format!(
            "access tokens live {} s; up to {} s are waited for",
            life.as_secs(),
            life_max.as_secs()
        )));
    }
    // A second more, because lifetimes are told in whole ones.
    tokio::time::sleep(life + Duration::from_secs(1)).await;
    let answer = beat_with(stage, &pair.access, stage.token.expose()).await?;
    expect_status(&answer, 401, "a heartbeat with the expired token")?;
    Ok(told(&answer))
}
