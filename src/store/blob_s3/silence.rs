//! Times in which the server does not answer. Whoever needs it is told so at once, instead of waiting for
//! what others have just waited for in vain.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two tries at a server that is silent.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Whether the server is silent.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Unheard>,
    answered_at: Option<Instant>,
}

#[derive(Debug)]
struct Unheard {
    /// What the last call came to.
    reason: String,
    /// Who comes first from then on may try.
    next_try: Instant,
}

impl Silence {
    /// A call that began then was not answered. One of many may be lost without the server being silent:
    /// then another was answered meanwhile. Tells whether it is silent.
    pub(super) fn begins(&self, began: Instant, reason: &str) -> bool {
        let mut state = self.lock();
        let is_silent = state.answered_at.is_none_or(|at| at <= began);
        if is_silent {
            state.since = Some(Unheard {
                reason: reason.to_owned(),
                next_try: Instant::now() + TRY_EVERY,
            });
        }
        is_silent
    }

    /// The server has answered.
    pub(super) fn ends(&self) {
        let mut state = self.lock();
        state.since = None;
        state.answered_at = Some(Instant::now());
    }

    pub(super) fn is_on(&self) -> bool {
        self.lock().since.is_some()
    }

    /// Returns why there is no use in a call just now; nothing when it may be made.
    pub(super) fn holds_back(&self) -> Option<String> {
        let mut state = self.lock();
        let unheard = state.since.as_mut()?;
        let now = Instant::now();
        if now >= unheard.next_try {
            unheard.next_try = now + TRY_EVERY;
            return None;
        }
        Some(format!(
            "{}; it is tried again within a second",
            unheard.reason
        ))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every operation leaves it whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
