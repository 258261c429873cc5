//! What the API answers.

use prometheus::{IntCounter, IntCounterVec};

use super::catalog;
use super::register::Register;

/// Whom a request comes from, as its path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A client, or a stranger who takes himself for one.
    Client,
    /// A worker.
    Worker,
    /// Anybody.
    Public,
}

impl Audience {
    const ALL: [&'static str; 3] = ["client", "worker", "public"];
}

/// Why a request was refused, where that is counted for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There were too many.
    TooMany,
    /// The caller has not shown who it is.
    Unknown,
    /// Anything else.
    Other,
}

/// The API's figures.
pub(super) struct Requests {
    /// By audience, then by class of status from 1xx.
    answered: [[IntCounter; 5]; 3],
    errors: IntCounterVec,
    limited: [IntCounter; 3],
    auth: IntCounterVec,
}

impl Requests {
    pub(super) fn new(register: &Register) -> Self {
        let answered = register.counters(&catalog::REQUESTS);
        let limited = register.counters(&catalog::RATE_LIMITED);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        Self {
            answered: Audience::ALL
                .map(|who| classes.map(|class| answered.with_label_values(&[who, class]))),
            errors: register.counters(&catalog::REQUEST_ERRORS),
            limited: Audience::ALL.map(|who| limited.with_label_values(&[who])),
            auth: register.counters(&catalog::AUTH_FAILURES),
        }
    }

    pub(super) fn answered(&self, audience: Audience, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answered[audience as usize][class].inc();
    }

    /// `code` is one of the API's own, which are few.
    pub(super) fn refused(&self, audience: Audience, code: &str, refusal: Refusal) {
        self.errors.with_label_values(&[code]).inc();
        match refusal {
            Refusal::TooMany => self.limited[audience as usize].inc(),
            Refusal::Unknown => self.auth.with_label_values(&[code]).inc(),
            Refusal::Other => {}
        }
    }
}
