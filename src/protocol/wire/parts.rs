//! Parts that several messages share: skills, resources, artifacts, prices, signatures, files.

use serde_json::Value;

use super::Sparse;
use crate::domain::Object;
use crate::domain::task::TaskError;
use crate::domain::worker::{Artifact, Capabilities, Device, Resources, SkillInfo};
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// Who signed a message. No signature covers it, so nothing in it may be trusted by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecurityContext {
    /// Lower-case hex.
    pub signature: Option<String>,
    /// Who says to have signed.
    pub signer_id: Option<String>,
    /// Transported, never checked.
    pub identity_chain: Option<Vec<String>>,
    /// Free.
    pub metadata: Option<Object>,
}

impl SecurityContext {
    /// Returns the object's wire form.
    #[must_use]
    pub fn encode(&self) -> Value {
        let object = Sparse::default()
            .with_some("signature", self.signature.clone())
            .with_some("signer_id", self.signer_id.clone())
            .with_some("identity_chain", self.identity_chain.clone())
            .with_some("metadata", self.metadata.clone());
        Value::Object(object.done())
    }
}

pub(super) fn security(from: &Members<'_>) -> Result<SecurityContext, WireError> {
    Ok(SecurityContext {
        signature: from.opt_string("signature")?,
        signer_id: from.opt_string("signer_id")?,
        identity_chain: from.opt_strings("identity_chain")?,
        metadata: from.opt_object("metadata")?,
    })
}

pub(super) fn skill(from: &Members<'_>) -> Result<SkillInfo, WireError> {
    Ok(SkillInfo {
        name: from.string("name")?,
        kind: from.opt_string("type")?,
        description: from.opt_string("description")?,
        version: from.opt_string("version")?,
        input_schema: from.opt_object("input_schema")?,
        output_schema: from.opt_object("output_schema")?,
        events_schema: from.opt_object("events_schema")?,
        output_statuses: from.opt_strings("output_statuses")?,
        schema_dialect: from.opt_string("schema_dialect")?,
        properties: from.opt_object("properties")?,
    })
}

fn device(from: &Members<'_>) -> Result<Device, WireError> {
    Ok(Device {
        kind: from.string("type")?,
        model: from.opt_string("model")?,
        id: from.opt_string("id")?,
        properties: from.opt_object("properties")?,
        metrics: from.opt_object("metrics")?,
    })
}

pub(super) fn resources(from: &Members<'_>) -> Result<Resources, WireError> {
    Ok(Resources {
        devices: from.opt_list("devices", device)?,
        properties: from.opt_object("properties")?,
    })
}

pub(super) fn artifact(from: &Members<'_>) -> Result<Artifact, WireError> {
    Ok(Artifact {
        name: from.string("name")?,
        version: from.opt_string("version")?,
        kind: from.opt_string("type")?,
        properties: from.opt_object("properties")?,
    })
}

pub(super) fn capabilities(from: &Members<'_>) -> Result<Capabilities, WireError> {
    Ok(Capabilities {
        hostname: from.opt_string("hostname")?,
        ip_address: from.opt_string("ip_address")?,
        cost_per_skill: from.opt_number_map("cost_per_skill")?,
        s3_config_hash: from.opt_string("s3_config_hash")?,
        extra: from.opt_object("extra")?,
    })
}

pub(super) fn task_error(from: &Members<'_>) -> Result<TaskError, WireError> {
    Ok(TaskError {
        code: from.string("code")?,
        message: from.string("message")?,
        details: from.opt_object("details")?,
    })
}

/// Reads a map of file descriptions; only the known members are kept.
pub(in crate::protocol) fn files(
    from: &Members<'_>,
    name: &str,
) -> Result<Option<Object>, WireError> {
    let entries = from.opt_map(name, |file| {
        let size = file.opt_int("size")?.filter(|size| *size != 0);
        let object = Sparse::default()
            .with("uri", file.string("uri")?)
            .with_some("size", size)
            .with_some("etag", file.opt_string("etag")?)
            .with_some("metadata", file.opt_object("metadata")?);
        Ok(Value::Object(object.done()))
    })?;
    Ok(entries.map(|entries| entries.into_iter().collect()))
}
