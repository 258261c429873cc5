//! The workloads and the blueprints behind them, which the program carries.

use std::path::{Path, PathBuf};

/// The skill that the bench's tasks ask for.
pub const SKILL: &str = "bench";

/// Names a file and takes its text into the program.
macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../benches/blueprints/", $name)),
        )
    };
}

/// The blueprints' files, by name.
pub const BLUEPRINTS: [(&str, &str); 6] = [
    file!("bench_noop.yaml"),
    file!("bench_one_task.yaml"),
    file!("bench_chain5.yaml"),
    file!("bench_fan.yaml"),
    file!("bench_nested.yaml"),
    file!("bench_child.yaml"),
];

/// What each job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Workload {
    /// Two states, no task
    Noop,
    /// One task
    OneTask,
    /// Five tasks, one after the other
    Chain5,
    /// Ten tasks at once, and their aggregator
    Fan10,
    /// A thousand tasks at once
    Fan1000,
    /// Ten thousand tasks at once
    Fan10000,
    /// A child job with one task
    Nested,
    /// No jobs at all: for what idle polls cost
    Idle,
}

impl Workload {
    /// Returns the name, as the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::OneTask => "one_task",
            Self::Chain5 => "chain5",
            Self::Fan10 => "fan10",
            Self::Fan1000 => "fan1000",
            Self::Fan10000 => "fan10000",
            Self::Nested => "nested",
            Self::Idle => "idle",
        }
    }

    /// Returns the blueprint.
    #[must_use]
    pub const fn blueprint(self) -> &'static str {
        match self {
            Self::Noop | Self::Idle => "bench_noop",
            Self::OneTask => "bench_one_task",
            Self::Chain5 => "bench_chain5",
            Self::Fan10 | Self::Fan1000 | Self::Fan10000 => "bench_fan",
            Self::Nested => "bench_nested",
        }
    }

    /// Returns how many tasks a job has, children included.
    #[must_use]
    pub const fn tasks(self) -> u32 {
        match self {
            Self::Noop | Self::Idle => 0,
            Self::OneTask | Self::Nested => 1,
            Self::Chain5 => 5,
            Self::Fan10 => 10,
            Self::Fan1000 => 1_000,
            Self::Fan10000 => 10_000,
        }
    }

    /// Tells whether the last acknowledgement says that the job is over. A child's does not: the
    /// parent goes on in a step of its own.
    #[must_use]
    pub const fn ends_when_acknowledged(self) -> bool {
        !matches!(self, Self::Nested)
    }
}

/// Writes the blueprints' files into a folder, and returns where they are.
pub fn write_blueprints(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let write = |(name, text): (&str, &str)| {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    BLUEPRINTS.into_iter().map(write).collect()
}
