//! Polls that broke: whether they were given a task, only the orchestrators' store knows, and that the
//! worker does not have it, only the worker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::net::NetError;
use crate::protocol::headers::LOST_LEASES_MAX;

/// Answered polls of each orchestrator that name an id: an answer does not tell that it was dealt with,
/// since who stops, or has no store, answers as well.
const NAMED_TO_EACH: usize = 3;

/// Ids for leases of polls that brought no answer. The next polls name them to every orchestrator, for
/// another one on the same store may have to deal with it.
pub(in crate::roles::worker) struct Lost {
    /// With how many more answered polls are to name it, oldest first.
    ids: Mutex<VecDeque<(Uuid, usize)>>,
    times: usize,
}

impl Lost {
    /// Begins with none, for so many orchestrators.
    pub(in crate::roles::worker) fn new(orchestrators: usize) -> Self {
        Self {
            ids: Mutex::default(),
            times: NAMED_TO_EACH * orchestrators,
        }
    }

    /// Returns what the next poll says of it, as a part of its query; empty when nothing is lost.
    pub(super) fn parameter(&self) -> String {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.is_empty() {
            return String::new();
        }
        let ids: Vec<String> = ids.iter().map(|(id, _)| id.to_string()).collect();
        format!("&lost_lease_ids={}", ids.join(","))
    }

    /// Takes note of how the poll ended that has said so.
    pub(super) fn settle(&self, lease: Uuid, error: Option<&NetError>) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => ids.retain_mut(|(_, times)| {
                *times -= 1;
                *times > 0
            }),
            Some(error) if may_be_leased(error) => {
                ids.push_back((lease, self.times));
                if ids.len() > LOST_LEASES_MAX {
                    // It ends by its time.
                    ids.pop_front();
                }
            }
            Some(_) => {}
        }
    }
}

/// Tells whether the orchestrator may have given the poll a task that another try would bring here. A
/// status from 500 on may be the word of a proxy that lost the orchestrator.
fn may_be_leased(error: &NetError) -> bool {
    match error {
        NetError::Timeout { .. } | NetError::Broken(_) => true,
        NetError::Status { code, .. } => *code >= 500,
        _ => false,
    }
}
