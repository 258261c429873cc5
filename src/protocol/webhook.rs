//! Standard Webhooks signatures: what the orchestrator signs and the sink verifies.
//! Source: the Standard Webhooks specification, version 1.

use crate::base::{Secret, crypto};

/// Names the delivery: the same for every attempt.
pub const HEADER_ID: &str = "webhook-id";
/// When the attempt was made, in seconds since the Unix epoch.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several separated by spaces.
pub const HEADER_SIGNATURE: &str = "webhook-signature";
/// The prefix of a secret that is given in base64.
pub const SECRET_PREFIX: &str = "whsec_";
/// How far an attempt's time may be from the receiver's, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Why a webhook is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The time is too far from the receiver's.
    #[error("the timestamp is more than {TOLERANCE_SECONDS} s away")]
    Stale,
    /// No signature matches.
    #[error("no signature matches")]
    Mismatch,
}

/// Returns the `webhook-signature` of a delivery.
#[must_use]
pub fn sign(secret: &Secret, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let mut message = format!("{id}.{timestamp_seconds}.").into_bytes();
    message.extend_from_slice(body);
    format!(
        "v1,{}",
        crypto::base64(&crypto::hmac_sha256(&key_of(secret), &message))
    )
}

/// Checks a delivery's time and signature; any one of several signatures is enough.
pub fn verify(
    secret: &Secret,
    (id, timestamp_seconds, signatures): (&str, i64, &str),
    body: &[u8],
    now_seconds: i64,
) -> Result<(), VerifyError> {
    if now_seconds.abs_diff(timestamp_seconds) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(VerifyError::Stale);
    }
    let expected = sign(secret, id, timestamp_seconds, body);
    let matches = signatures
        .split(' ')
        .any(|seen| crypto::constant_time_eq(seen.as_bytes(), expected.as_bytes()));
    if matches {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// Checks the text of a secret; the message does not show it. The standard asks for 24 bytes and
/// more; shorter ones of other systems are taken down to 16.
pub fn check_secret(text: &str) -> Result<(), String> {
    let bytes = match text.strip_prefix(SECRET_PREFIX) {
        Some(encoded) => crypto::base64_decode(encoded)
            .ok_or_else(|| "what follows `whsec_` is not standard base64".to_owned())?
            .len(),
        None => text.len(),
    };
    if (16..=128).contains(&bytes) {
        Ok(())
    } else {
        Err(format!("the secret has {bytes} bytes, expected 16 to 128"))
    }
}

/// A secret with the prefix is base64; any other is its own bytes.
fn key_of(secret: &Secret) -> Vec<u8> {
    let text = secret.expose();
    text.strip_prefix(SECRET_PREFIX)
        .and_then(crypto::base64_decode)
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example() {
        assert_eq!(sign(&SECRET.into(), ID, TIME, BODY), SIGNATURE);
    }

    #[test]
    fn verification() {
        let check = |id: &str, time: i64, signatures: &str, body: &[u8], now: i64| {
            verify(&SECRET.into(), (id, time, signatures), body, now)
        };
        let several = format!("v1,AAAA v2,{SIGNATURE} {SIGNATURE}");
        assert_eq!(check(ID, TIME, SIGNATURE, BODY, TIME + 300), Ok(()));
        assert_eq!(check(ID, TIME, &several, BODY, TIME), Ok(()));
        assert_eq!(
            check(ID, TIME, SIGNATURE, BODY, TIME + 301),
            Err(VerifyError::Stale)
        );
        assert_eq!(
            check(ID, TIME, SIGNATURE, b"{}", TIME),
            Err(VerifyError::Mismatch)
        );
        assert_eq!(
            check("other", TIME, SIGNATURE, BODY, TIME),
            Err(VerifyError::Mismatch)
        );
        assert_eq!(
            check(ID, TIME + 1, SIGNATURE, BODY, TIME),
            Err(VerifyError::Mismatch)
        );
        assert_eq!(check(ID, TIME, "", BODY, TIME), Err(VerifyError::Mismatch));
    }

    #[test]
    fn secrets_are_judged_without_being_shown() {
        assert_eq!(check_secret(SECRET), Ok(()));
        assert_eq!(check_secret("sixteen bytes ok"), Ok(()));
        for (bad, word) in [
            ("whsec_?", "base64"),
            ("whsec_aGk=", "2 bytes"),
            ("short", "5 bytes"),
        ] {
            let message = check_secret(bad).expect_err("a bad secret");
            assert!(
                message.contains(word) && !message.contains(bad),
                "{message}"
            );
        }
    }

    #[test]
    fn plain_secrets_are_their_own_bytes() {
        let signature = sign(&"plain".into(), "a", 1, b"{}");
        assert_eq!(
            verify(&"plain".into(), ("a", 1, &signature), b"{}", 1),
            Ok(())
        );
        assert_ne!(signature, sign(&"other".into(), "a", 1, b"{}"));
    }
}
