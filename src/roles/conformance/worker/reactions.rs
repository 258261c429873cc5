//! How the worker takes what an orchestrator answers. Source: wire-protocol §8, §10, §13.2.

use std::time::Duration;

use serde_json::json;

use super::play::Play;
use super::seen::{Kind, Reply, Seen};
use super::{Check, check};
use crate::protocol::verify;
use crate::roles::conformance::report::{Miss, Outcome, broken, unseen};

/// Shortest pause after a 429 that does not say for how long.
const FLOOR: Duration = Duration::from_secs(30);
/// What clocks and schedulers may take off a pause.
const SLACK: Duration = Duration::from_millis(100);

pub(super) const FIRST: [Check; 3] = [
    check(
        (
            "W-01",
            "§8.1",
            "a worker registers before it says or asks anything, with its id and its skills",
        ),
        |play| Box::pin(async { registers(play) }),
    ),
    check(
        ("W-25", "§13.2.7", "a worker that is free says `idle`"),
        |play| Box::pin(idles(play)),
    ),
    check(
        (
            "W-13",
            "§8.3",
            "200 with `null` or `{}` means no task, as 204 does",
        ),
        |play| Box::pin(nothing(play)),
    ),
];

pub(super) const LATER: [Check; 6] = [
    check(
        (
            "W-29",
            "§8.2",
            "`require_full_sync` brings the skills with a heartbeat",
        ),
        |play| Box::pin(syncs(play)),
    ),
    check(
        (
            "W-10",
            "§8.2 WQ14",
            "404 for a heartbeat makes the worker register again",
        ),
        |play| Box::pin(registers_again(play)),
    ),
    check(
        (
            "W-08",
            "§13.2.1",
            "with an access token in its header the worker signs with the static one",
        ),
        |play| Box::pin(signs_with_static(play)),
    ),
    check(
        (
            "W-09",
            "§10.2",
            "401 makes the worker fetch new tokens or register again",
        ),
        |play| Box::pin(renews(play)),
    ),
    check(
        ("W-11", "§10.1", "429 with Retry-After is waited out"),
        |play| Box::pin(waits_as_told(play)),
    ),
    check(
        (
            "W-12",
            "§13.2.5",
            "429 without Retry-After is waited out for 30 s",
        ),
        |play| Box::pin(waits_untold(play)),
    ),
];

/// The last one: nobody is there after it.
pub(super) const LAST: Check = check(
    (
        "W-30",
        "§10.5",
        "a worker that stops says `offline` without skills, and polls no more",
    ),
    |play| Box::pin(says_goodbye(play)),
);

fn registers(play: &Play) -> Outcome {
    let log = play.desk.log();
    let Some(first) = log.first() else {
        return Err(unseen("nobody came"));
    };
    // Tokens and the command channel may come before; nothing else may.
    let before = log
        .iter()
        .take_while(|seen| seen.kind != Kind::Register)
        .find(|seen| !matches!(seen.kind, Kind::Token | Kind::Refresh | Kind::Socket));
    if let Some(seen) = before {
        return Err(broken(
            format!("{:?} {}", seen.kind, seen.path),
            "a registration first",
        ));
    }
    let worker = play.worker();
    if !crate::base::ids::is_identifier(&worker) {
        return Err(broken(
            format!("`worker_id`: `{worker}`"),
            "1 to 128 of A-Z a-z 0-9 _ -",
        ));
    }
    let registration = log
        .iter()
        .find(|seen| seen.kind == Kind::Register)
        .unwrap_or(first);
    if registration.body["supported_skills"].is_array() {
        Ok(format!("worker `{worker}`"))
    } else {
        Err(broken("no `supported_skills`", "a list of them"))
    }
}

async fn idles(play: &Play) -> Outcome {
    let beat = play
        .until(0, "a heartbeat", |seen| {
            seen.kind == Kind::Beat && seen.body.is_object()
        })
        .await?;
    match beat.body["status"].as_str() {
        Some("idle") => Ok("idle".to_owned()),
        _ => Err(broken(
            format!("`status`: {}", beat.body["status"]),
            "`idle`",
        )),
    }
}

async fn nothing(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    for body in [json!(null), json!({})] {
        let text = body.to_string();
        let at = play.answered(Kind::Poll, Reply::new(200, body)).await?;
        play.after(
            at,
            &[Kind::Poll],
            &format!("a poll after 200 with `{text}`"),
        )
        .await?;
    }
    let mut since = play.desk.log().into_iter().skip(mark);
    match since.find(|seen| seen.kind == Kind::Result) {
        Some(seen) => Err(broken(format!("a result {}", seen.body), "none")),
        None => Ok("polls went on".to_owned()),
    }
}

async fn syncs(play: &Play) -> Outcome {
    let answer = Reply::new(200, json!({"status": "ok", "require_full_sync": true}));
    // Of two heartbeats on their way at once, the original forgets what it was told for the one.
    let full = |seen: &Seen| seen.kind == Kind::Beat && seen.body["supported_skills"].is_array();
    let mark = play.desk.insist(Kind::Beat, answer, full);
    play.until(mark, "a heartbeat with `supported_skills`", |seen| {
        seen.heeds
    })
    .await?;
    Ok("`supported_skills` came".to_owned())
}

async fn registers_again(play: &Play) -> Outcome {
    let mut answer = json!({"status": "registered"});
    if let (Some(answer), Some(tokens)) = (answer.as_object_mut(), play.new_tokens().as_object()) {
        // What the next checks look at.
        answer.extend(tokens.clone());
    }
    play.desk.reply(Kind::Register, [Reply::new(200, answer)]);
    let unknown = json!({"error": "Worker not found"});
    // The original hears it in its own rhythm's heartbeats only, not in those that tell of a task.
    let registers = |seen: &Seen| seen.kind == Kind::Register;
    let mark = play
        .desk
        .insist(Kind::Beat, Reply::new(404, unknown), registers);
    // Its answer carries tokens for the next checks, so it has to have been given.
    let answered = |seen: &Seen| seen.heeds && seen.told.is_some();
    play.until(mark, "a registration after 404", answered)
        .await?;
    Ok("registered again".to_owned())
}

async fn signs_with_static(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    // Not the very next one: it may have been written before the tokens came.
    let with_token = |seen: &Seen| {
        let token = seen.token.as_deref().unwrap_or_default();
        seen.kind == Kind::Beat && !seen.body.is_null() && play.is_access_token(token)
    };
    let Ok(beat) = play.until(mark, "a heartbeat", with_token).await else {
        return Err(unseen(
            "the worker does not use the tokens of the registration's answer",
        ));
    };
    let token = beat.token.as_deref().unwrap_or_default();
    let signature = beat.body["security"]["signature"]
        .as_str()
        .unwrap_or_default();
    if verify(&beat.body, &play.token, &[], signature) {
        Ok("signed with the static token".to_owned())
    } else if verify(&beat.body, token, &[], signature) {
        Err(broken(
            "a signature with the access token",
            "one with the static token",
        ))
    } else {
        Err(broken(
            "a signature with another key",
            "one with the static token",
        ))
    }
}

async fn renews(play: &Play) -> Outcome {
    let tokens = Reply::new(200, play.new_tokens());
    play.desk.reply(Kind::Token, [tokens.clone()]);
    play.desk.reply(Kind::Refresh, [tokens]);
    let expired = json!({"error": "Unauthorized: the access token has expired"});
    let at = play.answered(Kind::Beat, Reply::new(401, expired)).await?;
    let ways = [Kind::Token, Kind::Refresh, Kind::Register];
    let renewed = play.after(at, &ways, "new tokens after 401").await?;
    play.after(renewed.at, &[Kind::Beat], "a heartbeat with them")
        .await?;
    Ok(format!("{:?}, then a heartbeat", renewed.kind))
}

/// Answers a poll with 429; returns how long it was until the next one.
async fn pause_after_429(
    play: &Play,
    retry_after: Option<u32>,
    limit: Duration,
) -> Result<Duration, Miss> {
    let mut reply = Reply::new(429, json!({"error": "Too Many Requests"}));
    reply.retry_after = retry_after;
    let at = play.answered(Kind::Poll, reply).await?;
    let next = |seen: &Seen| seen.kind == Kind::Poll && seen.at > at;
    let poll = play.desk.until(0, limit, next).await;
    let poll = poll.ok_or_else(|| {
        broken(
            format!("no poll within {} s after it", limit.as_secs()),
            "another one",
        )
    })?;
    Ok(poll.at - at)
}

async fn waits_as_told(play: &Play) -> Outcome {
    let told = Duration::from_secs(2);
    let pause = pause_after_429(play, Some(2), play.wait + told).await?;
    if pause + SLACK < told {
        return Err(broken(
            format!("a poll after {} ms", pause.as_millis()),
            "2 s",
        ));
    }
    Ok(format!("a poll after {} ms", pause.as_millis()))
}

async fn waits_untold(play: &Play) -> Outcome {
    if !play.slow {
        return Err(unseen("it takes half a minute; --slow looks at it"));
    }
    let pause = pause_after_429(play, None, play.wait + FLOOR * 3).await?;
    if pause + SLACK < FLOOR {
        return Err(broken(
            format!("a poll after {} ms", pause.as_millis()),
            "30 s",
        ));
    }
    Ok(format!("a poll after {} s", pause.as_secs()))
}

async fn says_goodbye(play: &Play) -> Outcome {
    let mark = play.desk.mark();
    (play.stop_worker)();
    let offline = |seen: &Seen| seen.kind == Kind::Beat && seen.body["status"] == "offline";
    let beat = play.desk.until(mark, play.wait, offline).await;
    let Some(beat) = beat else {
        let log = play.desk.log();
        let last = log.iter().rev().find(|seen| seen.kind == Kind::Beat);
        return match last {
            Some(seen) if seen.at.elapsed() < play.wait / 2 => Err(unseen(format!(
                "the worker was not stopped: it still says {}",
                seen.body["status"]
            ))),
            _ => Err(broken("silence", "a last heartbeat with `offline`")),
        };
    };
    if beat.body["supported_skills"] != json!([]) {
        return Err(broken(
            format!("`supported_skills`: {}", beat.body["supported_skills"]),
            "`[]`",
        ));
    }
    let log = play.desk.log();
    let poll = log
        .iter()
        .find(|seen| seen.kind == Kind::Poll && seen.at > beat.at);
    match poll {
        Some(_) => Err(broken("a poll after `offline`", "none")),
        None => Ok("offline, and no poll after it".to_owned()),
    }
}
