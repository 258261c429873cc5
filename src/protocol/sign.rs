//! Signatures and hashes over the canonical form. Source: wire-protocol §6 and §11.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::canonical::{canonical_bytes, canonical_form};
use super::errors::WireError;
use crate::base::crypto;
use crate::domain::Object;
use crate::domain::worker::SkillInfo;

/// Members that a task's signature leaves out.
pub const TASK_IGNORED: [&str; 2] = ["sig", "orchestrator_signature"];
/// Members that an event's signature leaves out.
pub const EVENT_IGNORED: [&str; 1] = ["bubbling_chain"];

/// Returns the message's signature: HMAC-SHA256 of its canonical bytes, lower-case hex.
///
/// Errors only for what [`parse_json`](super::parse_json) would have refused.
pub fn sign(message: &Value, key: &str, ignored: &[&str]) -> Result<String, WireError> {
    let bytes = canonical_bytes(message, ignored)?;
    Ok(crypto::hex(&crypto::hmac_sha256(key.as_bytes(), &bytes)))
}

/// Tells whether the signature is the message's, in a time that does not depend on where they
/// differ. The message is the raw object as received, unknown members included.
#[must_use]
pub fn verify(message: &Value, key: &str, ignored: &[&str], signature: &str) -> bool {
    sign(message, key, ignored)
        .is_ok_and(|own| crypto::constant_time_eq(own.as_bytes(), signature.as_bytes()))
}

/// Signs the message as its sender: adds `security` with signature and signer.
pub fn seal(
    message: &mut Object,
    key: &str,
    signer: &str,
    ignored: &[&str],
) -> Result<(), WireError> {
    message.remove("security");
    let unsigned = Value::Object(std::mem::take(message));
    let signature = sign(&unsigned, key, ignored);
    if let Value::Object(members) = unsigned {
        *message = members;
    }
    message.insert(
        "security".to_owned(),
        json!({"signature": signature?, "signer_id": signer}),
    );
    Ok(())
}

/// Returns the SHA-256 of the value's whole canonical form, as hex.
pub fn dict_hash(value: &Value) -> Result<String, WireError> {
    Ok(crypto::sha256_hex(&canonical_form(value)?))
}

/// Returns the digest by which a worker says that its skills and prices have not changed.
///
/// Skills come in the order of registration.
pub fn skills_hash(
    skills: &[SkillInfo],
    cost_per_skill: &BTreeMap<String, f64>,
    extra: &Object,
) -> Result<String, WireError> {
    dict_hash(&json!({"skills": skills, "capabilities": cost_per_skill, "extra": extra}))
}

/// Returns the digest of the blob store's settings; none when any part is empty.
#[must_use]
pub fn s3_config_hash(endpoint: &str, access_key: &str, bucket: &str) -> Option<String> {
    if [endpoint, access_key, bucket]
        .iter()
        .any(|part| part.is_empty())
    {
        return None;
    }
    let mut hash = crypto::sha256_hex(format!("{endpoint}|{access_key}|{bucket}").as_bytes());
    hash.truncate(16);
    Some(hash)
}
