//! E1: what a worker says of itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Sparse;
use super::parts::{self, SecurityContext};
use crate::base::{Timestamp, WorkerId, ids};
use crate::domain::Object;
use crate::domain::worker::{Artifact, Capabilities, Resources, SkillInfo, Worker, WorkerStatus};
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// The type of a worker that names none.
pub const WORKER_TYPE_DEFAULT: &str = "generic";

/// `WorkerRegistration`.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// An [identifier](ids::is_identifier).
    pub worker_id: WorkerId,
    /// `generic` unless named.
    pub worker_type: String,
    /// In the order of registration, which the hash depends on.
    pub supported_skills: Option<Vec<SkillInfo>>,
    /// Skills that have a place free.
    pub available_skills: Option<Vec<String>>,
    /// Skills whose models are loaded.
    pub hot_skills: Option<Vec<String>>,
    /// Devices and properties.
    pub resources: Option<Resources>,
    /// Version by name.
    pub installed_software: Option<BTreeMap<String, String>>,
    /// Models and other files.
    pub installed_artifacts: Option<Vec<Artifact>>,
    /// Price and place.
    pub capabilities: Option<Capabilities>,
    /// Opaque to the orchestrator.
    pub skills_hash: Option<String>,
    /// Added by [`seal`](crate::protocol::seal) on the way out.
    pub security: Option<SecurityContext>,
    /// Free.
    pub metadata: Option<Object>,
    /// Units: seconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

impl Registration {
    /// Reads the message.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        let worker_id = from.string("worker_id")?;
        if !ids::is_identifier(&worker_id) {
            return Err(from.refuse("worker_id", "1 to 128 of A-Z a-z 0-9 _ -"));
        }
        Ok(Self {
            worker_id: WorkerId::from(worker_id),
            worker_type: from
                .opt_string("worker_type")?
                .unwrap_or_else(|| WORKER_TYPE_DEFAULT.to_owned()),
            supported_skills: from.opt_list("supported_skills", parts::skill)?,
            available_skills: from.opt_strings("available_skills")?,
            hot_skills: from.opt_strings("hot_skills")?,
            resources: from.opt_nested("resources", parts::resources)?,
            installed_software: from.opt_string_map("installed_software")?,
            installed_artifacts: from.opt_list("installed_artifacts", parts::artifact)?,
            capabilities: from.opt_nested("capabilities", parts::capabilities)?,
            skills_hash: from.opt_string("skills_hash")?,
            security: from.opt_nested("security", parts::security)?,
            metadata: from.opt_object("metadata")?,
            timestamp: from.opt_int("timestamp")?,
        })
    }

    /// Returns the message without its signature.
    #[must_use]
    pub fn encode(&self) -> Object {
        Sparse::default()
            .with("worker_id", self.worker_id.as_str())
            .with("worker_type", self.worker_type.as_str())
            .with_serde("supported_skills", self.supported_skills.as_ref())
            .with_some("available_skills", self.available_skills.clone())
            .with_some("hot_skills", self.hot_skills.clone())
            .with_serde("resources", self.resources.as_ref())
            .with_serde("installed_software", self.installed_software.as_ref())
            .with_serde("installed_artifacts", self.installed_artifacts.as_ref())
            .with_serde("capabilities", self.capabilities.as_ref())
            .with_some("skills_hash", self.skills_hash.clone())
            .with_some("metadata", self.metadata.clone())
            .with_some("timestamp", self.timestamp)
            .done()
    }

    /// Returns the worker as it describes itself: idle, with full reputation and no times, which
    /// the registry fills in from what it knows.
    #[must_use]
    pub fn into_worker(self) -> Worker {
        Worker {
            id: self.worker_id,
            worker_type: self.worker_type,
            skills: self.supported_skills.unwrap_or_default(),
            available_skills: self.available_skills,
            hot_skills: self.hot_skills.unwrap_or_default(),
            skills_hash: self.skills_hash,
            resources: self.resources.unwrap_or_default(),
            installed_software: self.installed_software.unwrap_or_default(),
            installed_artifacts: self.installed_artifacts.unwrap_or_default(),
            capabilities: self.capabilities.unwrap_or_default(),
            metadata: self.metadata,
            status: WorkerStatus::Idle,
            usage: None,
            current_tasks: Vec::new(),
            reputation: 1.0,
            registered_at: Timestamp::default(),
            last_seen: Timestamp::default(),
            expires_at: Timestamp::default(),
        }
    }
}
