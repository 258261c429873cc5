//! Which orchestrators a task's messages may go to: the one that handed it out and, while that cannot be
//! reached, any other on the same store. One of another store would not know the task, and what is said of
//! it is none of its business.

use super::Worker;
use super::link::Link;

impl Worker {
    /// Returns this orchestrator and all that are known to share its store.
    pub(super) fn sharing(&self, link: usize) -> Vec<usize> {
        let own = &self.links[link];
        let others = (0..self.links.len()).filter(|other| *other != link);
        let others = others.filter(|other| own.shares_store(&self.links[*other]));
        std::iter::once(link).chain(others).collect()
    }
}

/// The ways of one message, one after the other.
pub(super) struct Ways<'a> {
    worker: &'a Worker,
    own: usize,
    /// Those not tried yet, the next one last.
    left: Vec<usize>,
    link: usize,
}

impl<'a> Ways<'a> {
    /// Begins with the orchestrator that the task is from, unless another one is known to answer and it
    /// is known not to.
    pub(super) fn of(worker: &'a Worker, own: usize) -> Self {
        let mut ways = Self {
            worker,
            own,
            left: Vec::new(),
            link: own,
        };
        ways.begin();
        ways
    }

    /// Begins anew, with what is known by now.
    pub(super) fn begin(&mut self) {
        self.left = self.worker.sharing(self.own);
        // Stable: the own one is first among equals.
        self.left
            .sort_by_key(|link| !self.worker.links[*link].is_answering());
        self.left.reverse();
        self.go_on();
    }

    /// Goes on to the next; false when there is none that was not tried.
    pub(super) fn go_on(&mut self) -> bool {
        let next = self.left.pop();
        self.link = next.unwrap_or(self.own);
        next.is_some()
    }

    /// Tells whether the turn is another orchestrator's than the task's own.
    pub(super) fn is_other(&self) -> bool {
        self.link != self.own
    }

    /// Returns the orchestrator whose turn it is.
    pub(super) fn link(&self) -> &'a Link {
        &self.worker.links[self.link]
    }
}
