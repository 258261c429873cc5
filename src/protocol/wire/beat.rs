//! E2: the heartbeat.

use serde_json::Value;

use super::Sparse;
use super::parts::{self, SecurityContext};
use crate::base::{TaskId, WorkerId};
use crate::domain::Object;
use crate::domain::worker::{SkillInfo, WorkerStatus};
use crate::protocol::WireError;
use crate::protocol::members::Members;

/// One device's load.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceUsage {
    /// The device's id.
    pub unit_id: String,
    /// 0 to 100.
    pub load_percent: f64,
    /// Free.
    pub metrics: Option<Object>,
}

/// The machine's load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// 0 to 100.
    pub cpu_load_percent: f64,
    /// In GB.
    pub ram_used_gb: f64,
    /// By device.
    pub devices_usage: Option<Vec<DeviceUsage>>,
}

impl Usage {
    fn read(from: &Members<'_>) -> Result<Self, WireError> {
        let device = |from: &Members<'_>| {
            let load_percent = from.opt_float("load_percent")?;
            Ok(DeviceUsage {
                unit_id: from.string("unit_id")?,
                load_percent: load_percent
                    .ok_or_else(|| from.refuse("load_percent", "a number"))?,
                metrics: from.opt_object("metrics")?,
            })
        };
        Ok(Self {
            cpu_load_percent: from.opt_float("cpu_load_percent")?.unwrap_or(0.0),
            ram_used_gb: from.opt_float("ram_used_gb")?.unwrap_or(0.0),
            devices_usage: from.opt_list("devices_usage", device)?,
        })
    }

    /// Returns the wire form, which is also what the registry keeps.
    #[must_use]
    pub fn encode(&self) -> Value {
        let devices = self.devices_usage.as_ref().map(|devices| {
            devices
                .iter()
                .map(|device| {
                    let object = Sparse::default()
                        .with("unit_id", device.unit_id.as_str())
                        .with("load_percent", device.load_percent)
                        .with_some("metrics", device.metrics.clone());
                    Value::Object(object.done())
                })
                .collect::<Vec<_>>()
        });
        let object = Sparse::default()
            .with("cpu_load_percent", self.cpu_load_percent)
            .with("ram_used_gb", self.ram_used_gb)
            .with_some("devices_usage", devices);
        Value::Object(object.done())
    }
}

/// `Heartbeat`. Only these members are read, whatever else the worker sends (fixes WQ12).
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// Must be the authenticated id; the receiver compares.
    pub worker_id: WorkerId,
    /// How it stands.
    pub status: WorkerStatus,
    /// Only when it has changed.
    pub usage: Option<Usage>,
    /// Tasks under way; keeps their leases alive.
    pub current_tasks: Option<Vec<TaskId>>,
    /// Missing in the compact form.
    pub supported_skills: Option<Vec<SkillInfo>>,
    /// Skills that have a place free.
    pub available_skills: Option<Vec<String>>,
    /// Skills whose models are loaded.
    pub hot_skills: Option<Vec<String>>,
    /// Opaque to the orchestrator.
    pub skills_hash: Option<String>,
    /// Added by [`seal`](crate::protocol::seal) on the way out.
    pub security: Option<SecurityContext>,
    /// Free.
    pub metadata: Option<Object>,
    /// Units: seconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

impl Heartbeat {
    /// Reads the message.
    pub fn decode(message: &Value) -> Result<Self, WireError> {
        let from = Members::root(message)?;
        let tasks = from.opt_strings("current_tasks")?;
        Ok(Self {
            worker_id: WorkerId::from(from.string("worker_id")?),
            status: WorkerStatus::parse(&from.string("status")?),
            usage: from.opt_nested("usage", Usage::read)?,
            current_tasks: tasks.map(|ids| ids.into_iter().map(TaskId::from).collect()),
            supported_skills: from.opt_list("supported_skills", parts::skill)?,
            available_skills: from.opt_strings("available_skills")?,
            hot_skills: from.opt_strings("hot_skills")?,
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
            .with("status", self.status.as_str())
            .with_some("usage", self.usage.as_ref().map(Usage::encode))
            .with_serde("current_tasks", self.current_tasks.as_ref())
            .with_serde("supported_skills", self.supported_skills.as_ref())
            .with_some("available_skills", self.available_skills.clone())
            .with_some("hot_skills", self.hot_skills.clone())
            .with_some("skills_hash", self.skills_hash.clone())
            .with_some("metadata", self.metadata.clone())
            .with_some("timestamp", self.timestamp)
            .done()
    }
}
