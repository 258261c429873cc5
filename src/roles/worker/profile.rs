//! Profiles: the workers of the original's demonstration.

use std::sync::Arc;

use serde_json::json;

use super::config::WorkerConfig;
use super::skills::{AnalyzeFile, ProcessBlobs, TranscodeVideo};
use crate::domain::worker::Device;

/// A ready-made worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Transcodes on a GPU, analyses files, processes blobs
    Gpu,
    /// Analyses files, reliably
    Cpu,
    /// Analyses files a little cheaper and fails at half of them
    Flaky,
}

/// Price of `analyze_file` per second, reliable.
const CPU_ANALYZE: f64 = 0.000_05;
/// A tenth less, so that the best value is here until reputation has fallen below nine tenths.
const FLAKY_ANALYZE: f64 = 0.000_045;

impl Profile {
    /// Reads a profile's name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        clap::ValueEnum::from_str(text, true).ok()
    }

    /// Gives the worker the profile's skills, prices and resources.
    pub(super) fn apply(self, config: &mut WorkerConfig) {
        let mut price = |skill: &str, cost: f64| {
            config.cost_per_skill.insert(skill.to_owned(), cost);
        };
        match self {
            Self::Gpu => {
                price("transcode_video", 0.000_5);
                price("analyze_file", 0.000_1);
            }
            Self::Cpu => price("analyze_file", CPU_ANALYZE),
            Self::Flaky => price("analyze_file", FLAKY_ANALYZE),
        }
        let cores = if self == Self::Gpu { 8 } else { 4 };
        config.resources.properties = json!({"cpu_cores": cores, "ram_gb": 16})
            .as_object()
            .cloned();
        if self == Self::Gpu {
            "gpu_worker".clone_into(&mut config.worker_type);
            config
                .software
                .insert("ffmpeg".to_owned(), "5.1".to_owned());
            config.resources.devices = Some(vec![Device {
                kind: "gpu".to_owned(),
                model: Some("NVIDIA T4".to_owned()),
                id: Some("0".to_owned()),
                properties: json!({"memory_gb": 16}).as_object().cloned(),
                metrics: None,
            }]);
            config.skills.add(Arc::new(TranscodeVideo::default()));
        } else {
            "cpu_worker".clone_into(&mut config.worker_type);
        }
        let failing_share = if self == Self::Flaky { 0.5 } else { 0.0 };
        config.skills.add(Arc::new(AnalyzeFile { failing_share }));
        if self == Self::Gpu {
            let folder = config.task_files_dir.clone();
            config.skills.add(Arc::new(ProcessBlobs { folder }));
        }
    }
}
