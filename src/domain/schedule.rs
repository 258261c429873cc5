//! Schedules: when a job is due, as data. The next slot is computed, never polled for.

use serde::{Deserialize, Serialize};

use super::Object;

/// What becomes of slots that passed while no scheduler ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// The last of them runs.
    #[default]
    One,
    /// Each of them runs, oldest first.
    All,
}

/// When slots are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timetable {
    /// Every so many seconds, counted from the Unix epoch, so that every scheduler agrees.
    Interval {
        /// At least 1.
        seconds: u64,
    },
    /// A cron expression in a time zone; gap and fold as croner defines them (a slot in the gap
    /// runs right after it, a slot in the fold runs once).
    Cron {
        /// Five or six fields.
        expression: String,
        /// IANA name.
        time_zone: String,
    },
}

/// One entry of `schedules.toml`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The table's name.
    pub name: String,
    /// What it starts.
    pub blueprint: String,
    /// With this.
    pub input_data: Object,
    /// When.
    pub timetable: Timetable,
    /// Each slot is put off by a share of this many seconds that a hash of the slot decides.
    pub jitter_seconds: u64,
    /// What becomes of missed slots.
    pub catch_up: CatchUp,
    /// How far back missed slots are looked for, in seconds.
    pub catch_up_window_seconds: u64,
    /// For the job.
    pub dispatch_timeout_seconds: Option<u64>,
    /// For the job.
    pub result_timeout_seconds: Option<u64>,
    /// For the job.
    pub security: Option<Object>,
    /// For the job.
    pub metadata: Option<Object>,
}
