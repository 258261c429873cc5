//! What the worker has under way: which tasks, for whom, and whether there is room for more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::TaskId;
use crate::domain::worker::WorkerStatus;
use crate::protocol::wire::{TaskPayload, TaskResult};
use crate::protocol::{parse_json, to_wire_bytes};

/// Results that are remembered, so that a task which is handed out again is not run again (WQ11).
const REMEMBERED_MAX: usize = 1_024;
/// The same, all together. Units: bytes of JSON.
const REMEMBERED_BYTES_MAX: usize = 8 << 20;

struct Running {
    link: usize,
    cancel: CancellationToken,
    /// The latest handout that came while it was here.
    again: Option<(usize, TaskPayload)>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<TaskId, Running>,
    /// Results as JSON, which is smaller than what it stands for.
    remembered: BTreeMap<TaskId, Vec<u8>>,
    /// Their tasks, oldest first.
    order: VecDeque<TaskId>,
    remembered_bytes: usize,
    draining: bool,
}

impl State {
    fn begin(&mut self, link: usize, task: TaskPayload) -> Given {
        let cancel = CancellationToken::new();
        let running = Running {
            link,
            cancel: cancel.clone(),
            again: None,
        };
        self.running.insert(task.task_id.clone(), running);
        Given { link, task, cancel }
    }

    fn given_again(&mut self, task: &TaskId) -> Option<Given> {
        let (link, task) = self.running.get_mut(task)?.again.take()?;
        Some(self.begin(link, task))
    }

    fn recall(&mut self, task: &TaskId) -> Option<TaskResult> {
        let bytes = self.remembered.remove(task)?;
        self.remembered_bytes -= bytes.len();
        self.order.retain(|id| id != task);
        TaskResult::decode(&parse_json(&bytes).ok()?).ok()
    }

    fn remember(&mut self, result: &TaskResult) {
        let bytes = to_wire_bytes(&Value::Object(result.encode()));
        self.order.push_back(result.task_id.clone());
        self.remembered_bytes += bytes.len();
        self.remembered.insert(result.task_id.clone(), bytes);
        while self.order.len() > REMEMBERED_MAX || self.remembered_bytes > REMEMBERED_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(forgotten) = self.remembered.remove(&oldest) {
                self.remembered_bytes -= forgotten.len();
            }
        }
    }

    fn finish(&mut self, task: &TaskId, remember: Option<&TaskResult>) {
        // Only what was taken in: a task that could not be read has no right to be remembered.
        if self.running.remove(task).is_some()
            && let Some(result) = remember
        {
            self.remember(result);
        }
    }
}

/// A task that was handed out.
pub(super) struct Given {
    /// The orchestrator that it came from.
    pub(super) link: usize,
    pub(super) task: TaskPayload,
    pub(super) cancel: CancellationToken,
}

/// What becomes of a task that was handed out.
pub(super) enum Admission {
    /// It is to be run.
    Run(Given),
    /// It was run already: the result is to be sent again.
    Report(Given, Box<TaskResult>),
    /// It is under way, and goes on.
    Running,
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

    /// Takes a task in. An orchestrator hands the same one out again when it does not know that
    /// its answer has arrived.
    pub(super) fn admit(&self, task: TaskPayload, link: usize) -> Admission {
        let mut state = self.state();
        if let Some(running) = state.running.get_mut(&task.task_id) {
            running.again = Some((link, task));
            return Admission::Running;
        }
        let recalled = state.recall(&task.task_id);
        let given = state.begin(link, task);
        drop(state);
        self.changed.send_replace(());
        match recalled {
            Some(result) => Admission::Report(given, Box::new(result)),
            None => Admission::Run(given),
        }
    }

    /// Returns, once, the handout of a task that came while it was under way; it is under way anew.
    pub(super) fn given_again(&self, task: &TaskId) -> Option<Given> {
        self.state().given_again(task)
    }

    /// The same; but when there is none the task is let go, and its result is remembered if there
    /// is one to remember.
    pub(super) fn given_again_or_finish(
        &self,
        task: &TaskId,
        remember: Option<&TaskResult>,
    ) -> Option<Given> {
        let mut state = self.state();
        let again = state.given_again(task);
        if again.is_none() {
            state.finish(task, remember);
        }
        drop(state);
        self.changed.send_replace(());
        again
    }

    /// Lets a task go; its result is remembered if there is one to remember.
    pub(super) fn finish(&self, task: &TaskId, remember: Option<&TaskResult>) {
        self.state().finish(task, remember);
        self.changed.send_replace(());
    }

    /// Cancels a running task of one of those orchestrators; tells whether there was one.
    pub(super) fn cancel(&self, task: &TaskId, links: &[usize]) -> bool {
        let mut state = self.state();
        match state.running.get_mut(task) {
            Some(running) if links.contains(&running.link) => {
                running.cancel.cancel();
                // It was meant as well: only what is handed out from now on is to be run.
                running.again = None;
                true
            }
            _ => false,
        }
    }

    /// Returns the tasks that those orchestrators have given, in order of id. Others' tasks are none of
    /// their business: they would ask to cancel what they do not know.
    pub(super) fn current(&self, links: &[usize]) -> Vec<TaskId> {
        let state = self.state();
        let own = state
            .running
            .iter()
            .filter(|(_, running)| links.contains(&running.link));
        own.map(|(id, _)| id.clone()).collect()
    }

    /// Returns how many tasks are under way, and how many may be.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.state().running.len(), self.room)
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
    use serde_json::json;

    use super::*;

    fn task(id: &str) -> TaskPayload {
        TaskPayload::decode(&json!({"job_id": "j", "task_id": id, "type": "t"})).unwrap()
    }

    fn result(id: &str, text: &str) -> TaskResult {
        let message = json!({"job_id": "j", "task_id": id, "data": {"text": text}});
        TaskResult::decode(&message).unwrap()
    }

    fn runs(board: &Board, id: &str, link: usize) -> CancellationToken {
        match board.admit(task(id), link) {
            Admission::Run(given) => given.cancel,
            _ => panic!("{id} was here before"),
        }
    }

    #[test]
    fn room_status_and_owners() {
        let board = Board::new(2);
        let a = TaskId::new("a");
        let cancel = runs(&board, "a", 0);
        assert_eq!(board.status(), WorkerStatus::Idle);
        runs(&board, "b", 1);
        assert_eq!(board.status(), WorkerStatus::Full);
        assert_eq!(board.current(&[0]), std::slice::from_ref(&a));
        assert_eq!(board.current(&[1, 0]).len(), 2, "they share a store");
        assert!(!board.cancel(&a, &[1]), "another orchestrator's task");
        assert!(board.cancel(&a, &[0]));
        assert!(cancel.is_cancelled());
        board.finish(&a, None);
        assert_eq!(board.status(), WorkerStatus::Idle);
        board.drain();
        assert_eq!(board.status(), WorkerStatus::Draining);
    }

    #[test]
    fn a_task_that_is_handed_out_again() {
        let board = Board::new(2);
        let a = TaskId::new("a");
        let first = runs(&board, "a", 0);
        let done = result("a", "done");
        assert!(matches!(board.admit(task("a"), 1), Admission::Running));
        assert!(board.cancel(&a, &[0]), "it is still the first's");
        assert!(board.given_again(&a).is_none(), "both were cancelled");
        assert!(matches!(board.admit(task("a"), 1), Admission::Running));
        let given = board.given_again_or_finish(&a, Some(&done)).unwrap();
        assert_eq!(given.link, 1);
        assert!(first.is_cancelled() && !given.cancel.is_cancelled());
        assert_eq!(board.current(&[1]), std::slice::from_ref(&a));
        assert!(board.given_again(&a).is_none(), "it is told once");
        assert!(board.given_again_or_finish(&a, Some(&done)).is_none());
        assert!(board.current(&[1]).is_empty());
        match board.admit(task("a"), 1) {
            Admission::Report(_, again) => assert_eq!(*again, done),
            _ => panic!("its result is known"),
        }
        assert_eq!(board.current(&[1]), std::slice::from_ref(&a));
        board.finish(&a, None);
        runs(&board, "a", 0);
    }

    #[test]
    fn memory_is_bounded() {
        let board = Board::new(1);
        let large = "x".repeat(REMEMBERED_BYTES_MAX / 4);
        for (count, text, kept) in [(2_000, "small", REMEMBERED_MAX), (9, &large, 3)] {
            for n in 0..count {
                let id = n.to_string();
                drop(board.admit(task(&id), 0));
                board.finish(&TaskId::new(&id), Some(&result(&id, text)));
            }
            let state = board.state();
            assert_eq!((state.order.len(), state.remembered.len()), (kept, kept));
            let bytes: usize = state.remembered.values().map(Vec::len).sum();
            assert_eq!(state.remembered_bytes, bytes);
            drop(state);
            let last = (count - 1).to_string();
            assert!(matches!(board.admit(task(&last), 0), Admission::Report(..)));
            board.finish(&TaskId::from(last), None);
            runs(&board, "0", 0);
            board.finish(&TaskId::new("0"), None);
        }
    }
}
