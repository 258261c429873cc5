//! The task as it is handed out. Source: wire-protocol §5, §6.2, §13.1.4.

use serde_json::{Value, json};

use super::super::report::{Outcome, broken, unseen};
use super::stage::{Handed, Stage};
use super::{Check, check};
use crate::base::Secret;
use crate::protocol::verify_task;

pub(super) const CHECKS: [Check; 4] = [
    check(
        ("O-29", "§13.1.4", "a task's members have their exact types"),
        |stage| Box::pin(types(stage)),
    ),
    check(
        (
            "O-30",
            "§13.1.4",
            "a task leaves out nulls and zeros of `step` and `depth`",
        ),
        |stage| Box::pin(omissions(stage)),
    ),
    check(
        (
            "O-31",
            "§13.1.4",
            "a task's `sig` is that of its known members",
        ),
        |stage| Box::pin(sig(stage)),
    ),
    check(
        (
            "O-32",
            "§5",
            "parameters arrive as they were given, large ones, too",
        ),
        |stage| Box::pin(params(stage)),
    ),
];

/// What a member has to be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Number,
    Object,
    Texts,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::Texts => value
                .as_object()
                .is_some_and(|members| members.values().all(Value::is_string)),
        }
    }

    const fn named(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::Texts => "an object of strings",
        }
    }
}

/// The members of a task. Source: wire-protocol §5.
const MEMBERS: [(&str, Kind, bool); 16] = [
    ("job_id", Kind::Text, true),
    ("task_id", Kind::Text, true),
    ("type", Kind::Text, true),
    ("params", Kind::Object, false),
    ("tracing_context", Kind::Texts, false),
    ("params_metadata", Kind::Object, false),
    ("priority", Kind::Number, false),
    ("deadline", Kind::Integer, false),
    ("security", Kind::Object, false),
    ("metadata", Kind::Object, false),
    ("timestamp", Kind::Integer, false),
    ("policy", Kind::Object, false),
    ("sig", Kind::Text, false),
    ("step", Kind::Integer, false),
    ("depth", Kind::Integer, false),
    ("parent_hash", Kind::Text, false),
];

/// Gives a task up that was only looked at.
async fn done(stage: &Stage, task: &Handed) -> Result<(), super::super::report::Miss> {
    stage.result(stage.result_of(task, json!({}))).await?;
    Ok(())
}

async fn types(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("types")).await?;
    done(stage, &task).await?;
    let mut faults = Vec::new();
    for (name, kind, is_required) in MEMBERS {
        match task.message.get(name) {
            None | Some(Value::Null) if is_required => faults.push(format!("no `{name}`")),
            None | Some(Value::Null) => {}
            Some(value) if kind.fits(value) => {}
            Some(value) => faults.push(format!("`{name}` is {value}, not {}", kind.named())),
        }
    }
    if faults.is_empty() {
        Ok(task.message.to_string())
    } else {
        Err(broken(faults.join(", "), "the types of the task's model"))
    }
}

async fn omissions(stage: &Stage) -> Outcome {
    let task = stage.handed(&json!("omissions")).await?;
    done(stage, &task).await?;
    let members = task.message.as_object().into_iter().flatten();
    let faults: Vec<String> = members
        .filter(|(name, value)| {
            let is_zero = value.as_f64() == Some(0.0);
            value.is_null() || (is_zero && matches!(name.as_str(), "step" | "depth"))
        })
        .map(|(name, value)| format!("`{name}`: {value}"))
        .collect();
    if faults.is_empty() {
        Ok(task.message.to_string())
    } else {
        Err(broken(faults.join(", "), "these members left out"))
    }
}

async fn sig(stage: &Stage) -> Outcome {
    let Some(secret) = &stage.task_secret else {
        return Err(unseen(
            "the orchestrator's key is not known here: give --task-secret",
        ));
    };
    // Parameters that are written differently by those who take a short cut.
    let probe =
        json!({"é\u{2028}": [null, 0.1, 1e-7, {"b": 1, "a": "\u{7f}"}], "Z": 1.0, "a": true});
    let task = stage.handed(&probe).await?;
    done(stage, &task).await?;
    if !task.message["sig"].is_string() {
        return Err(broken("a task without `sig`", "a signed one"));
    }
    if verify_task(&task.message, secret) {
        let other = Secret::from("another key");
        assert!(!verify_task(&task.message, &other), "a check that can fail");
        Ok(task.message["sig"].to_string())
    } else {
        Err(broken(
            format!("a signature that does not match {}", task.message),
            "HMAC-SHA256 over the known members with --task-secret",
        ))
    }
}

async fn params(stage: &Stage) -> Outcome {
    let large = "0123456789 ü \u{1f600}".repeat(100);
    let probe = json!({"text": large, "list": [1, null, 2.5, -7], "deep": {"a": {"b": [true]}}});
    let task = stage.handed(&probe).await?;
    done(stage, &task).await?;
    let seen = &task.message["params"]["probe"];
    if *seen == probe {
        Ok(format!("{} bytes of parameters", probe.to_string().len()))
    } else {
        Err(broken(
            format!("params {}", task.message["params"]),
            "`probe` as the job was given it; is the blueprint that of --print-blueprint?",
        ))
    }
}
