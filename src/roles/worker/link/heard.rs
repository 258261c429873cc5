//! What was last heard of an orchestrator: whether it answers, and whose it is.

use std::sync::{MutexGuard, PoisonError};

use super::Link;
use crate::base::Timestamp;
use crate::observe::OrchestratorStanding;

/// What was last heard of an orchestrator.
#[derive(Default)]
pub(super) struct Heard {
    at: Option<Timestamp>,
    is_answering: bool,
    /// What it and all others on its store call themselves; the original does not say.
    deployment: Option<String>,
}

impl Link {
    fn last_heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the orchestrator has answered a registration or heartbeat.
    pub(in crate::roles::worker) fn heard(&self, is_answering: bool) {
        let mut heard = self.last_heard();
        heard.is_answering = is_answering;
        if is_answering {
            heard.at = Some(self.clock.now());
        }
    }

    /// Notes what the orchestrator's answer to a registration said of its deployment.
    pub(super) fn heard_from(&self, deployment: Option<String>) {
        self.last_heard().deployment = deployment;
    }

    /// Tells whether the last registration or heartbeat was answered.
    pub(in crate::roles::worker) fn is_answering(&self) -> bool {
        self.last_heard().is_answering
    }

    /// Tells whether that is the deployment that it has named.
    pub(in crate::roles::worker) fn is_of(&self, deployment: Option<&str>) -> bool {
        deployment.is_some() && self.last_heard().deployment.as_deref() == deployment
    }

    /// Tells whether both orchestrators have said that they are on the same store.
    pub(in crate::roles::worker) fn shares_store(&self, other: &Self) -> bool {
        // One after the other: a lock within the other's could meet its opposite.
        let deployment = self.last_heard().deployment.clone();
        deployment.is_some() && other.last_heard().deployment == deployment
    }

    /// Returns how this worker and the orchestrator stand. What names it has neither path nor user:
    /// anybody may read it.
    pub(in crate::roles::worker) fn standing(&self) -> OrchestratorStanding {
        let heard = self.last_heard();
        let rest = self.base.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let name = authority.rsplit('@').next().unwrap_or_default();
        OrchestratorStanding {
            name: name.to_owned(),
            is_up: heard.is_answering && self.is_registered(),
            heard: heard.at.map(|at| self.clock.now().since(at)),
        }
    }
}
