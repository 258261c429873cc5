//! The record of a world: every line that was seen, in order, and the auditor's verdict on it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use avtomatika::base::crypto;

use crate::auditor::{Auditor, Violation};
use crate::seen::{Remains, Seen, Who};

/// Lines that a failing seed shows.
const SHOWN: usize = 60;

/// One line.
struct Line {
    at_ms: u64,
    who: Who,
    seen: Seen,
}

/// The record.
pub struct Ledger(Mutex<State>);

struct State {
    lines: Vec<Line>,
    auditor: Auditor,
    violation: Option<Violation>,
}

impl Ledger {
    /// Begins a record.
    pub fn new(auditor: Auditor) -> Self {
        Self(Mutex::new(State {
            lines: Vec::new(),
            auditor,
            violation: None,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line and lets the auditor see it. False once a rule has been broken.
    pub fn write(&self, at_ms: u64, who: Who, seen: Seen) -> bool {
        let mut state = self.state();
        if state.violation.is_none()
            && let Err(violation) = state.auditor.see(&seen)
        {
            state.violation = Some(violation);
            state.lines.push(Line { at_ms, who, seen });
            return false;
        }
        // What comes after the first broken rule explains nothing.
        if state.violation.is_none() {
            state.lines.push(Line { at_ms, who, seen });
        }
        state.violation.is_none()
    }

    /// Asks the auditor whether all that was begun has come to its end.
    pub fn unfinished(&self) -> Option<String> {
        self.state().auditor.unfinished()
    }

    /// Lets the auditor compare its own books with what is left, unless a rule was broken before.
    pub fn close(&self, remains: &Remains) {
        let mut state = self.state();
        if state.violation.is_none() {
            state.violation = state.auditor.close(remains).err();
        }
    }

    /// Breaks a rule from outside the auditor.
    pub fn accuse(&self, violation: Violation) {
        self.state().violation.get_or_insert(violation);
    }

    /// Returns the first broken rule.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// Returns how many lines there are, and a digest of them all.
    pub fn digest(&self) -> (usize, String) {
        let state = self.state();
        let mut hash = String::new();
        for line in &state.lines {
            let text = format!("{hash}{}{}{}", line.at_ms, line.who, line.seen.line());
            hash = crypto::sha256_hex(text.as_bytes());
        }
        (state.lines.len(), hash)
    }

    /// Returns the kinds of things that were seen.
    pub fn kinds(&self) -> BTreeSet<String> {
        let state = self.state();
        let lines = state.lines.iter();
        lines.flat_map(|line| line.seen.kinds()).collect()
    }

    /// Returns the last lines as text.
    pub fn tail(&self) -> String {
        let state = self.state();
        let from = state.lines.len().saturating_sub(SHOWN);
        let mut text = String::new();
        for line in &state.lines[from..] {
            let seconds = line.at_ms / 1000;
            let rest = line.at_ms % 1000;
            let shown = line.seen.line();
            writeln!(text, "{seconds:>5}.{rest:03}s {:<10} {shown}", line.who)
                .expect("a string takes what it is given");
        }
        text
    }
}
