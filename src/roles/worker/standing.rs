//! How the worker does, for whoever supervises or measures it.

use std::collections::BTreeMap;

use super::Worker;
use super::link::Link;
use crate::domain::worker::WorkerStatus;
use crate::observe::WorkerStanding;
use crate::roles::probes::{Readiness, Telling};

impl Telling for Worker {
    fn figures(&self) -> String {
        let (running, room) = self.board.load();
        let standing = WorkerStanding {
            running: running as u64,
            room: room as u64,
            orchestrators: self.links.iter().map(Link::standing).collect(),
        };
        self.config.metrics.text(&standing)
    }

    /// A worker whose hands are full takes work all the same: as soon as they are not.
    fn readiness(&self) -> Readiness {
        let answering = self.links.iter().filter(|link| link.standing().is_up);
        let (answering, known) = (answering.count(), self.links.len());
        let (running, room) = self.board.load();
        let is_draining = self.board.status() == WorkerStatus::Draining;
        let tasks = if is_draining {
            format!("none are taken any more, {running} under way")
        } else {
            format!("{running} of {room} under way")
        };
        Readiness {
            ready: answering > 0 && !is_draining,
            checks: BTreeMap::from([
                ("orchestrators", format!("{answering} of {known} answer")),
                ("tasks", tasks),
            ]),
        }
    }
}
