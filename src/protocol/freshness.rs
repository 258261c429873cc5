//! Freshness and replay: whether a message is recent, and what makes it unique.
//!
//! Pure: the caller brings the time and keeps the nonces. Source: wire-protocol §7.

use std::time::Duration;

use serde_json::Value;

use super::errors::WireError;
use super::members::Members;
use crate::base::Timestamp;

/// How far a message's timestamp may lie from now, either way. Units: seconds.
pub const WINDOW_S: i64 = 60;

/// How long a nonce is remembered: twice the window and some slack, because a message stamped in
/// the future stays fresh for two windows (fixes WQ10).
pub const NONCE_TTL: Duration = Duration::from_secs(150);

/// Tells whether a message of that timestamp (whole seconds) is recent enough.
#[must_use]
pub fn is_fresh(timestamp: i64, now: Timestamp) -> bool {
    now.as_secs().abs_diff(timestamp) <= WINDOW_S.unsigned_abs()
}

/// Returns the raw message's `timestamp`; a missing one is an error here, because nothing that is
/// signed may come without it.
pub fn timestamp_of(message: &Value) -> Result<i64, WireError> {
    Members::root(message)?.int("timestamp")
}

/// Returns what makes the raw message unique: the first of `event_id`, `nonce`, `message_id` and
/// `security.signature` that is a text and not empty.
#[must_use]
pub fn nonce_of(message: &Value) -> Option<&str> {
    ["/event_id", "/nonce", "/message_id", "/security/signature"]
        .into_iter()
        .filter_map(|pointer| message.pointer(pointer).and_then(Value::as_str))
        .find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn window_is_inclusive_and_in_whole_seconds() {
        let now = Timestamp(1_000_000_999);
        for (timestamp, fresh) in [
            (1_000_000, true),
            (1_000_060, true),
            (999_940, true),
            (1_000_061, false),
            (999_939, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(is_fresh(timestamp, now), fresh, "{timestamp}");
        }
    }

    #[test]
    fn first_non_empty_nonce_wins() {
        for (message, nonce) in [
            (json!({"event_id": "e", "nonce": "n"}), Some("e")),
            (json!({"event_id": "", "nonce": "n"}), Some("n")),
            (
                json!({"message_id": "m", "security": {"signature": "s"}}),
                Some("m"),
            ),
            (
                json!({"nonce": 5, "security": {"signature": "s"}}),
                Some("s"),
            ),
            (json!({"security": {"signature": ""}}), None),
            (json!([]), None),
        ] {
            assert_eq!(nonce_of(&message), nonce, "{message}");
        }
    }

    #[test]
    fn timestamps_are_integers() {
        assert_eq!(timestamp_of(&json!({"timestamp": 5})), Ok(5));
        for bad in [
            json!({}),
            json!({"timestamp": 5.0}),
            json!({"timestamp": "5"}),
            json!([]),
        ] {
            assert!(timestamp_of(&bad).is_err(), "{bad}");
        }
    }
}
