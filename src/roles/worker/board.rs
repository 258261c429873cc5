//! What the worker has under way: which tasks, for whom, and whether there is room for more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::TaskId;
use crate::domain::worker::WorkerStatus;

/// Task ids that are remembered so that a task is never run twice (WQ11).
const RECENT_MAX: usize = 4_096;

struct Running {
    link: usize,
    cancel: CancellationToken,
}

#[derive(Default)]
struct State {
    running: BTreeMap<TaskId, Running>,
    recent: VecDeque<TaskId>,
    draining: bool,
}

/// The tasks under way. Never blocks for longer than a map operation.
pub(super) struct Board {
    state: Mutex<State>,
    room: usize,
    changed: watch::Sender<()>,
}

impl Board {
    /// Makes a board with room for so many tasks at once.
    pub(super) fn new(room: usize) -> Self {
        Self {
            state: Mutex::default(),
            room,
            changed: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every operation leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a receiver that wakes whenever tasks begin or end, or draining begins.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes a task in; returns its cancellation, or nothing when its id was seen before.
    pub(super) fn admit(&self, task: &TaskId, link: usize) -> Option<CancellationToken> {
        let mut state = self.state();
        if state.recent.contains(task) {
            return None;
        }
        if state.recent.len() == RECENT_MAX {
            state.recent.pop_front();
        }
        state.recent.push_back(task.clone());
        let cancel = CancellationToken::new();
        state.running.insert(
            task.clone(),
            Running {
                link,
                cancel: cancel.clone(),
            },
        );
        drop(state);
        self.changed.send_replace(());
        Some(cancel)
    }

    /// Lets a task go.
    pub(super) fn finish(&self, task: &TaskId) {
        self.state().running.remove(task);
        self.changed.send_replace(());
    }

    /// Cancels a running task of that orchestrator; tells whether there was one.
    pub(super) fn cancel(&self, task: &TaskId, link: usize) -> bool {
        let state = self.state();
        match state.running.get(task) {
            Some(running) if running.link == link => {
                running.cancel.cancel();
                true
            }
            _ => false,
        }
    }

    /// Returns the tasks that an orchestrator has given, in order of id. Others' tasks are none of
    /// its business: it would ask to cancel what it does not know.
    pub(super) fn current(&self, link: usize) -> Vec<TaskId> {
        let state = self.state();
        let own = state
            .running
            .iter()
            .filter(|(_, running)| running.link == link);
        own.map(|(id, _)| id.clone()).collect()
    }

    /// Wakes whoever waits for news, without any on the board itself.
    pub(super) fn poke(&self) {
        self.changed.send_replace(());
    }

    /// Begins to take nothing more.
    pub(super) fn drain(&self) {
        self.state().draining = true;
        self.changed.send_replace(());
    }

    /// Returns how the worker stands.
    pub(super) fn status(&self) -> WorkerStatus {
        let state = self.state();
        if state.draining {
            WorkerStatus::Draining
        } else if state.running.len() >= self.room {
            WorkerStatus::Full
        } else {
            WorkerStatus::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_status_and_owners() {
        let board = Board::new(2);
        let (a, b) = (TaskId::new("a"), TaskId::new("b"));
        let cancel = board.admit(&a, 0).unwrap();
        assert_eq!(board.status(), WorkerStatus::Idle);
        board.admit(&b, 1).unwrap();
        assert_eq!(board.status(), WorkerStatus::Full);
        assert_eq!(board.current(0), std::slice::from_ref(&a));
        assert!(!board.cancel(&a, 1), "another orchestrator's task");
        assert!(board.cancel(&a, 0));
        assert!(cancel.is_cancelled());
        board.finish(&a);
        assert_eq!(board.status(), WorkerStatus::Idle);
        assert!(board.admit(&a, 0).is_none(), "it was run already");
        board.drain();
        assert_eq!(board.status(), WorkerStatus::Draining);
    }

    #[test]
    fn memory_is_bounded() {
        let board = Board::new(1);
        for n in 0..=RECENT_MAX {
            let id = TaskId::from(n.to_string());
            board.admit(&id, 0).unwrap();
            board.finish(&id);
        }
        assert_eq!(board.state().recent.len(), RECENT_MAX);
        assert!(board.admit(&TaskId::new("0"), 0).is_some());
    }
}
