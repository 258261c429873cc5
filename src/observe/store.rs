//! How the store does: how long it takes, how often it fails, what commits come to.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::catalog;
use super::jobs::in_seconds;
use super::register::Register;
use crate::store::{CommitError, Committed};

/// What the store is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Load,
    Branches,
    Commit,
    Lease,
    Extend,
    Release,
    Queue,
    Due,
    Outbox,
    Settle,
    Find,
    List,
    Purge,
    Blueprints,
    Health,
    WorkerPut,
    WorkerBeat,
    WorkerExtend,
    WorkerList,
    WorkerForget,
    Reputation,
    Tokens,
    Nonce,
    SecretPurge,
    History,
}

impl Operation {
    const ALL: [(Self, &'static str); 25] = [
        (Self::Load, "load"),
        (Self::Branches, "branches"),
        (Self::Commit, "commit"),
        (Self::Lease, "lease"),
        (Self::Extend, "extend"),
        (Self::Release, "release"),
        (Self::Queue, "queue"),
        (Self::Due, "due"),
        (Self::Outbox, "outbox"),
        (Self::Settle, "settle"),
        (Self::Find, "find"),
        (Self::List, "list"),
        (Self::Purge, "purge"),
        (Self::Blueprints, "blueprints"),
        (Self::Health, "health"),
        (Self::WorkerPut, "worker_put"),
        (Self::WorkerBeat, "worker_beat"),
        (Self::WorkerExtend, "worker_extend"),
        (Self::WorkerList, "worker_list"),
        (Self::WorkerForget, "worker_forget"),
        (Self::Reputation, "reputation"),
        (Self::Tokens, "tokens"),
        (Self::Nonce, "nonce"),
        (Self::SecretPurge, "secret_purge"),
        (Self::History, "history"),
    ];

    /// Tells whether it is one that a store answers, too, which takes nothing more.
    pub(super) const fn only_reads(self) -> bool {
        matches!(
            self,
            Self::Load
                | Self::Branches
                | Self::Queue
                | Self::Due
                | Self::List
                | Self::WorkerList
                | Self::History
        )
    }
}

/// What a commit came to, in the order of the counters.
const OUTCOMES: [&str; 4] = ["stored", "conflict", "refused", "failed"];

/// The store's figures.
pub(super) struct Store {
    latency: [Histogram; Operation::ALL.len()],
    errors: [IntCounter; Operation::ALL.len()],
    commits: [IntCounter; 4],
    pub(super) extended: IntCounter,
    pub(super) released: IntCounter,
}

impl Store {
    pub(super) fn new(register: &Register) -> Self {
        let latency = register.histograms(&catalog::STORE_LATENCY);
        let errors = register.counters(&catalog::STORE_ERRORS);
        let commits = register.counters(&catalog::COMMITS);
        Self {
            latency: Operation::ALL.map(|(_, name)| latency.with_label_values(&[name])),
            errors: Operation::ALL.map(|(_, name)| errors.with_label_values(&[name])),
            commits: OUTCOMES.map(|outcome| commits.with_label_values(&[outcome])),
            extended: register.counter(&catalog::LEASES_EXTENDED),
            released: register.counter(&catalog::LEASES_RELEASED),
        }
    }

    /// Counts a call.
    pub(super) fn called(&self, operation: Operation, took: Duration, has_failed: bool) {
        self.latency[operation as usize].observe(in_seconds(took));
        if has_failed {
            self.errors[operation as usize].inc();
        }
    }

    /// Counts what a commit came to.
    pub(super) fn committed(&self, ended: &Result<Committed, CommitError>) {
        let outcome = match ended {
            Ok(_) => 0,
            Err(
                CommitError::Conflict
                | CommitError::TaskChanged(_)
                | CommitError::OtherJobChanged(_),
            ) => 1,
            Err(CommitError::KeyTaken { .. } | CommitError::QuotaExceeded { .. }) => 2,
            Err(CommitError::Store(_)) => 3,
        };
        self.commits[outcome].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_stands_in_its_own_place() {
        for (place, (operation, _)) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
    }
}
