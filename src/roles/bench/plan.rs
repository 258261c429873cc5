//! What a run is asked to do.

use std::time::Duration;

use super::workload::Workload;

/// When a job counts as over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum End {
    /// When the last message about it was acknowledged; a sample is looked at meanwhile, all at the end
    Acknowledged,
    /// When its status is seen to be final
    Seen,
}

impl End {
    /// Returns the name, as the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Seen => "seen",
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What each job does.
    pub workload: Workload,
    /// When it is over.
    pub end: End,
    /// Clients; each has one job under way at a time.
    pub concurrency: u32,
    /// Jobs a second in an open loop; none is a closed loop.
    pub rate: Option<f64>,
    /// Workers.
    pub workers: u32,
    /// Polls that are held open and never get anything.
    pub idle_polls: u32,
    /// Jobs run so long before they count.
    pub warm_up: Duration,
    /// How long jobs are started after that.
    pub duration: Option<Duration>,
    /// How many jobs count at most.
    pub jobs: Option<u64>,
    /// Longest wait for a job's end.
    pub patience: Duration,
    /// Whether each job's end is looked at when the clock has stopped.
    pub audit: bool,
    /// The process to watch.
    pub pid: Option<u32>,
}

impl Plan {
    /// Returns how many files the run opens: a connection for each player, and some to spare.
    #[must_use]
    pub fn files(&self) -> u64 {
        let players = [self.concurrency, self.workers, self.idle_polls];
        players.into_iter().map(u64::from).sum::<u64>() + 100
    }
}
