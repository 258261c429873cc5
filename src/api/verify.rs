//! Whether a worker's message is its own and recent. Source: wire-protocol §6.3 and §7.

use serde_json::Value;

use super::error::{ApiError, Code};
use super::worker::auth::{WorkerCaller, token_expired};
use crate::base::{Secret, Timestamp};
use crate::protocol::{self, freshness};

fn refused(message: &str) -> ApiError {
    ApiError::new(Code::InvalidSignature, format!("Forbidden: {message}"))
}

/// Checks that the raw message is signed by the worker and recent.
///
/// The signature comes first, so that nothing is remembered or told of a message that anybody
/// could have sent (WQ8). `ignored` names the members that the signature leaves out.
pub fn verify(
    message: &Value,
    caller: &WorkerCaller,
    ignored: &[&str],
    now: Timestamp,
) -> Result<(), ApiError> {
    let security = message.get("security").and_then(Value::as_object);
    let signature = security
        .and_then(|security| security.get("signature"))
        .and_then(Value::as_str)
        .filter(|signature| !signature.is_empty())
        .ok_or_else(|| refused("the message is not signed"))?;
    match security.and_then(|security| security.get("signer_id")) {
        None | Some(Value::Null) => {}
        Some(Value::String(signer)) if signer == caller.id.as_str() => {}
        Some(_) => return Err(refused("the signer is not the authenticated worker")),
    }
    let is_signed_with = |key: &Secret| protocol::verify(message, key.expose(), ignored, signature);
    if !caller.keys.iter().any(is_signed_with) {
        if caller.has_expired_token {
            // Most likely signed with it; the worker knows what to do about that.
            return Err(token_expired());
        }
        return Err(refused("the signature does not match"));
    }
    let timestamp =
        freshness::timestamp_of(message).map_err(|error| match message.get("timestamp") {
            None | Some(Value::Null) => refused("the message has no timestamp"),
            Some(_) => ApiError::from(error),
        })?;
    if !freshness::is_fresh(timestamp, now) {
        return Err(refused("the timestamp is too far from the present"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::WorkerId;
    use crate::domain::Object;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_767_225_620_500);

    fn caller(keys: &[&str]) -> WorkerCaller {
        WorkerCaller {
            id: WorkerId::from("worker-01"),
            keys: keys.iter().map(|key| Secret::from(*key)).collect(),
            has_expired_token: false,
        }
    }

    fn signed(mut message: Object, key: &str) -> Value {
        protocol::seal(&mut message, key, "worker-01", &[]).expect("canonical");
        Value::Object(message)
    }

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn the_signature_covers_what_was_received() {
        let body = || object(json!({"timestamp": 1_767_225_620, "unknown": {"kept": 1.0}}));
        let good = signed(body(), "k");
        assert!(verify(&good, &caller(&["k"]), &[], NOW).is_ok());
        assert!(
            verify(&good, &caller(&["other", "k"]), &[], NOW).is_ok(),
            "any of its keys"
        );
        assert!(verify(&good, &caller(&["other"]), &[], NOW).is_err());
        let mut changed = good.clone();
        changed["unknown"]["kept"] = json!(2);
        assert!(verify(&changed, &caller(&["k"]), &[], NOW).is_err());
        let mut foreign = good.clone();
        foreign["security"]["signer_id"] = json!("worker-02");
        assert!(verify(&foreign, &caller(&["k"]), &[], NOW).is_err());
        let mut unsigned = good;
        unsigned["security"] = json!({});
        assert!(verify(&unsigned, &caller(&["k"]), &[], NOW).is_err());
    }

    #[test]
    fn only_recent_messages() {
        for (timestamp, code) in [
            (json!(1_767_225_620), None),
            (json!(1_767_225_560), None),
            (json!(1_767_225_680), None),
            (json!(1_767_225_559), Some(Code::InvalidSignature)),
            (json!(1_767_225_681), Some(Code::InvalidSignature)),
            (json!(null), Some(Code::InvalidSignature)),
            (json!("1767225620"), Some(Code::InvalidMessage)),
            (json!(1_767_225_620.5), Some(Code::InvalidMessage)),
        ] {
            let message = signed(object(json!({"timestamp": timestamp})), "k");
            let outcome = verify(&message, &caller(&["k"]), &[], NOW);
            assert_eq!(outcome.err().map(|error| error.code()), code, "{message}");
        }
    }

    #[test]
    fn the_transcripts_result_verifies() {
        // X1 of wire-protocol §6.5.
        let message = json!({
            "costs": {"execution_time_seconds": 0.0123},
            "data": {"out": "s3://b/o", "score": 1},
            "job_id": "job-2", "origin_worker_id": "worker-01", "task_id": "task-2",
            "timestamp": 1_767_225_620, "worker_id": "worker-01",
            "security": {
                "signature": "ee4e8c7a637c80cc07bdec518d9da1baf74076ff2d7c423ddf9f4dcd4e8e43ac",
                "signer_id": "worker-01",
            },
        });
        assert!(verify(&message, &caller(&["worker-token-abc"]), &[], NOW).is_ok());
    }
}
