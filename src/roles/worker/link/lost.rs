//! Polls that broke: whether they were given a task, only the orchestrator's store knows, and that the
//! worker does not have it, only the worker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::net::NetError;
use crate::protocol::headers::LOST_LEASES_MAX;

/// Ids for leases of polls that brought no answer; the next poll names them.
#[derive(Default)]
pub(super) struct Lost(Mutex<VecDeque<Uuid>>);

impl Lost {
    /// Returns what the next poll says of it, as a part of its query; empty when nothing is lost.
    pub(super) fn parameter(&self) -> String {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_empty() {
            return String::new();
        }
        let ids: Vec<String> = lost.iter().map(Uuid::to_string).collect();
        format!("&lost_lease_ids={}", ids.join(","))
    }

    /// Takes note of how a poll ended. An answer tells that what was named as lost has been heard.
    pub(super) fn settle(&self, lease: Uuid, error: Option<&NetError>) {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => lost.clear(),
            Some(error) if may_be_leased(error) => {
                lost.push_back(lease);
                if lost.len() > LOST_LEASES_MAX {
                    // It ends by its time.
                    lost.pop_front();
                }
            }
            Some(_) => {}
        }
    }
}

/// Tells whether the orchestrator may have seen the poll and given it a task. A status from 500 on may
/// be the word of a proxy that lost it.
fn may_be_leased(error: &NetError) -> bool {
    match error {
        NetError::Status { code, .. } => *code >= 500,
        NetError::Connect(_) | NetError::Certificate(_) => false,
        _ => true,
    }
}
