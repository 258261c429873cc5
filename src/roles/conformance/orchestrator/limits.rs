//! Encodings of bodies, and limits of rates. Source: wire-protocol §4.1, §9.

use serde_json::{Value, json};

use super::super::report::{Miss, Outcome, broken, unseen};
use super::expect::{expect_status, json_of, told};
use super::stage::{Ask, Stage};
use super::{Check, check};
use crate::net::{HttpAnswer, Method};
use crate::protocol::headers::{RXON_VERSION, heartbeat_path};

/// Heartbeats that are sent in a row to meet the limit.
const FLOOD: u32 = 300;

/// Most tasks that other checks may have left behind.
const LEFT_OVER_MAX: u32 = 20;

pub(super) const ENCODINGS: [Check; 3] = [
    check(
        (
            "O-46",
            "§4.1 WQ6",
            "a compressed answer is in an encoding that was asked for and keeps its headers",
        ),
        |stage| Box::pin(compressed(stage)),
    ),
    check(
        ("O-47", "§4.1 WQ6", "an encoding of quality 0 is not used"),
        |stage| Box::pin(not_wanted(stage)),
    ),
    check(
        (
            "O-48",
            "§4.1",
            "a message compressed with gzip is understood",
        ),
        |stage| Box::pin(compressed_request(stage)),
    ),
];

/// After this one nothing else can be asked for a while.
pub(super) const RATE: Check = check(
    (
        "O-49",
        "§13.1.7 WQ5",
        "too many requests are answered 429 with Retry-After and a plain JSON `error`",
    ),
    |stage| Box::pin(too_many(stage)),
);

/// Hands out a task of some kilobytes and returns its answer as it came.
async fn large_task(stage: &Stage, accepts: &str) -> Result<HttpAnswer, Miss> {
    stage.register().await?;
    stage.beat("idle", Value::Null).await?;
    // Tasks of other checks: nothing of them is wanted any more.
    for _ in 0..LEFT_OVER_MAX {
        if json_of(&stage.poll(0).await?)?["task_id"].is_null() {
            break;
        }
    }
    let job = stage.job(&json!("large ".repeat(500))).await?;
    let path = stage.poll_path(5);
    let headers = [("accept-encoding", accepts)];
    let mut ask = stage.ask(Method::Get, &path, None);
    ask.headers = &headers;
    ask.timeout = stage.wait;
    let (to, call) = stage.prepared(ask);
    let answer = stage.plain.send(call).await;
    stage.cancel(&job).await?;
    let answer = answer.map_err(|error| broken(format!("{to}: {error}"), "an answer"))?;
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(unseen(format!("no task came: {}", answer.status)))
    }
}

async fn compressed(stage: &Stage) -> Outcome {
    let mut seen = Vec::new();
    for (asked, magic) in [("gzip", [0x1f, 0x8b]), ("zstd", [0x28, 0xb5])] {
        let answer = large_task(stage, asked).await?;
        match answer.header("content-encoding") {
            None | Some("identity") => seen.push(format!("{asked}: identity")),
            Some(encoding) if encoding != asked => {
                return Err(broken(
                    format!("{encoding} where {asked} was asked for"),
                    asked,
                ));
            }
            Some(_) if !answer.body.starts_with(&magic) => {
                return Err(broken(format!("other bytes than those of {asked}"), asked));
            }
            Some(_) if answer.header(RXON_VERSION).is_none() => {
                return Err(broken(
                    format!("{asked} without X-RXON-Version"),
                    "the headers of an answer that is not compressed",
                ));
            }
            Some(_) => seen.push(asked.to_owned()),
        }
    }
    Ok(seen.join(", "))
}

async fn not_wanted(stage: &Stage) -> Outcome {
    let answer = large_task(stage, "zstd;q=0, gzip;q=0").await?;
    match answer.header("content-encoding") {
        None | Some("identity") => Ok("identity".to_owned()),
        Some(encoding) => Err(broken(
            format!("{encoding} for Accept-Encoding: zstd;q=0, gzip;q=0"),
            "no compression",
        )),
    }
}

async fn compressed_request(stage: &Stage) -> Outcome {
    stage.register().await?;
    let path = heartbeat_path(stage.worker.as_str());
    let body = gzip_stored(&stage.sealed(json!({"status": "idle", "current_tasks": []})));
    let ask = Ask {
        headers: &[("content-encoding", "gzip")],
        ..stage.ask(Method::Patch, &path, Some(body))
    };
    let answer = stage.call(ask).await?;
    expect_status(&answer, 200, "a heartbeat in gzip")?;
    Ok(told(&answer))
}

/// Wraps bytes as a gzip file of one block that is stored and not compressed.
///
/// Source: RFC 1951 §3.2.4, RFC 1952 §2.3.
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("messages of this program are short");
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    out.extend(crc32(bytes).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = 0_u32.wrapping_sub(crc & 1);
            crc = (crc >> 1) ^ (0xedb8_8320 & mask);
        }
    }
    !crc
}

async fn too_many(stage: &Stage) -> Outcome {
    stage.register().await?;
    for count in 1..=FLOOD {
        let answer = stage.send_beat(Vec::new()).await?;
        if answer.status != 429 {
            expect_status(&answer, 200, "an empty heartbeat")?;
            continue;
        }
        let Some(wait) = answer.retry_after() else {
            return Err(broken(
                format!("429 after {count} heartbeats without Retry-After in seconds"),
                "the header",
            ));
        };
        let body = json_of(&answer)?;
        let error = body["error"].as_str().unwrap_or_default();
        if error.is_empty() || serde_json::from_str::<Value>(error).is_ok() {
            return Err(broken(told(&answer), "`error` as a text for people"));
        }
        return Ok(format!(
            "429 after {count} heartbeats, again in {} s",
            wait.as_secs_f64()
        ));
    }
    Err(unseen(format!(
        "{FLOOD} heartbeats in a row were taken: the limit is higher or switched off"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(gzip_stored(b"a").len(), 10 + 5 + 1 + 8);
    }
}
