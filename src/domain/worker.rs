//! The worker: what it says it can do, how it stands, and what a task may require of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;
use crate::base::{TaskId, Timestamp, WorkerId};

/// A skill as a worker declares it. Source: wire-protocol §5.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SkillInfo {
    /// The name that blueprints dispatch to.
    pub name: String,
    /// The group that concurrency limits go by.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Exact version text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// JSON Schema of the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Object>,
    /// JSON Schema of a success's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Object>,
    /// JSON Schema of the payload by event type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_schema: Option<Object>,
    /// Statuses that the skill may report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_statuses: Option<Vec<String>>,
    /// `json-schema` unless another language is used, whose schemas are then not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_dialect: Option<String>,
    /// Anything else that a task may require by `requires.skill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Object>,
}

/// A device of a worker, or one that a task requires.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Device {
    /// `gpu`, `tpu`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Required: any part of the offer's, whatever its case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Required: exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Required: each by the property rule (numbers: at least).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Object>,
    /// Present readings; never required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Object>,
}

/// Devices and properties of a worker, or those that a task requires.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Resources {
    /// Each required device takes one device of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
    /// `cpu_cores`, `ram_gb`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Object>,
}

/// A model, data set or other file that a worker has at hand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Artifact {
    /// The name.
    pub name: String,
    /// Exact version text; `unknown` or none fits any when required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For people.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// By the property rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Object>,
}

/// What a worker costs and where it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The machine's address, as the worker sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// Price per second by skill; a skill without one costs infinitely much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_skill: Option<BTreeMap<String, f64>>,
    /// First 16 hex digits over the worker's S3 settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_config_hash: Option<String>,
    /// Anything else that a task may require by `requires.extra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Object>,
}

/// What a task requires of a worker besides the skill. Source: engine-semantics §5.2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requirements {
    /// Devices and properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// All of these must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Version by name; `any` fits any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub software: BTreeMap<String, String>,
    /// Members or properties of the skill itself.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub skill: Object,
    /// Members of `capabilities.extra`.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub extra: Object,
    /// Exact version of the skill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_version: Option<String>,
    /// Exact type of the skill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_type: Option<String>,
}

/// How a worker says it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Takes work.
    #[default]
    Idle,
    /// At work, and takes more (not sent by the SDK, part of the protocol).
    Active,
    /// No skill is free.
    Busy,
    /// At its limit.
    Full,
    /// Finishes what it has and takes nothing more.
    Draining,
    /// Has said goodbye.
    Offline,
}

impl WorkerStatus {
    /// Reads a status's text; an unknown one is taken as busy, which gets no work.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "idle" => Self::Idle,
            "active" => Self::Active,
            "full" => Self::Full,
            "draining" => Self::Draining,
            "offline" => Self::Offline,
            _ => Self::Busy,
        }
    }

    /// Returns the status's text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Offline => "offline",
        }
    }
}

/// A worker as the orchestrator knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// The id.
    pub id: WorkerId,
    /// `gpu_worker`, `generic`, …
    pub worker_type: String,
    /// What it can do, in the order of its registration.
    pub skills: Vec<SkillInfo>,
    /// The skills that it has a place for just now; none is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_skills: Option<Vec<String>>,
    /// The skills whose models are loaded: preferred, never required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hot_skills: Vec<String>,
    /// Opaque digest of skills and prices, for compact heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills_hash: Option<String>,
    /// Its devices and properties.
    #[serde(default)]
    pub resources: Resources,
    /// Version by name.
    #[serde(default)]
    pub installed_software: BTreeMap<String, String>,
    /// Its artifacts.
    #[serde(default)]
    pub installed_artifacts: Vec<Artifact>,
    /// Its price and place.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Object>,
    /// As it last said.
    pub status: WorkerStatus,
    /// Load and memory, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// Tasks under way, as it last said.
    #[serde(default)]
    pub current_tasks: Vec<TaskId>,
    /// 0 to 1; kept across registrations (fixes WQ13).
    pub reputation: f64,
    /// When it registered last.
    pub registered_at: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// When it counts as dead unless heard of again.
    pub expires_at: Timestamp,
}

impl Worker {
    /// Returns the worker's price for a skill, per second; infinite when it names none.
    #[must_use]
    pub fn cost(&self, skill: &str) -> f64 {
        self.capabilities
            .cost_per_skill
            .as_ref()
            .and_then(|costs| costs.get(skill).copied())
            .unwrap_or(f64::INFINITY)
    }

    /// Returns the declared skill of that name.
    #[must_use]
    pub fn skill(&self, name: &str) -> Option<&SkillInfo> {
        self.skills.iter().find(|skill| skill.name == name)
    }
}
