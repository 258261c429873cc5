//! What all players of one run share. One thread plays them all, so nothing here is locked.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::plan::{End, Plan};
use super::wire::Wire;
use crate::base::Clock;
use crate::net::{NetError, Pipe, PipeAnswer};
use crate::roles::exit::{Exit, Failure};

/// Longest wait for an answer that is not a poll's.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest latency that is told apart; longer ones count as this. Units: microseconds, an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Jobs run, but do not count.
    WarmUp,
    /// Jobs that start now count.
    Measured,
    /// No job starts any more.
    Ending,
}

/// The shared state of a run.
pub struct World {
    /// What was asked for.
    pub plan: Plan,
    /// The bytes of requests.
    pub wire: Wire,
    /// The books.
    pub ledger: RefCell<Ledger>,
    /// The time of day, for signatures.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when no job may start any more.
    pub ending: CancellationToken,
    /// Cancelled when the user wants to stop.
    pub interrupted: CancellationToken,
    /// Cancelled when the workers may go.
    pub over: CancellationToken,
    phase: Cell<Phase>,
    measured_started: Cell<u64>,
    tally: RefCell<Tally>,
    waiting: RefCell<HashMap<u64, Rc<Notify>>>,
    failure: RefCell<Option<Failure>>,
}

/// What the measured jobs and all requests add up to.
pub struct Tally {
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// Errors by what was tried and what came of it.
    pub errors: BTreeMap<String, u64>,
    /// Jobs that ended, counted or not.
    pub ended: u64,
    /// Jobs that started and ended while it counted.
    pub measured: u64,
    /// From the start of the first of these to the last one's end. A job that is lost is waited for,
    /// which is no part of the speed of the others.
    pub span: Option<(Instant, Instant)>,
}

impl World {
    /// Makes the state of a run that has not begun.
    pub fn new(
        plan: Plan,
        wire: Wire,
        clock: Arc<dyn Clock>,
        interrupted: CancellationToken,
    ) -> Self {
        let tasks = plan.workload.tasks();
        Self {
            plan,
            wire,
            ledger: RefCell::new(Ledger::new(tasks)),
            clock,
            ending: CancellationToken::new(),
            interrupted,
            over: CancellationToken::new(),
            phase: Cell::new(Phase::WarmUp),
            measured_started: Cell::new(0),
            tally: RefCell::new(Tally {
                latencies: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                    .expect("the bounds are in order, and three digits within its own"),
                errors: BTreeMap::new(),
                ended: 0,
                measured: 0,
                span: None,
            }),
            waiting: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    /// Goes on to the next phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if phase == Phase::Ending {
            self.ending.cancel();
        }
    }

    /// Enters a job into the books, if one may start now. Tells its number and whether it counts.
    pub fn begin(&self) -> Option<(u64, bool)> {
        let counts = match self.phase.get() {
            Phase::WarmUp => false,
            Phase::Measured => {
                let started = self.measured_started.get();
                if self.plan.jobs.is_some_and(|jobs| started >= jobs) {
                    return None;
                }
                self.measured_started.set(started + 1);
                true
            }
            Phase::Ending => return None,
        };
        Some((self.ledger.borrow_mut().open(), counts))
    }

    /// Returns what is added up, to read or to change; not to be held over a wait.
    pub fn tally(&self) -> std::cell::RefMut<'_, Tally> {
        self.tally.borrow_mut()
    }

    /// Notes a job's end.
    pub fn ended(&self, since: Instant, counts: bool) {
        let took = since.elapsed();
        let mut tally = self.tally();
        tally.ended += 1;
        if counts {
            tally.measured += 1;
            let first = tally.span.map_or(since, |(first, _)| first.min(since));
            tally.span = Some((first, since + took));
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            tally.latencies.saturating_record(micros);
        }
    }

    /// Notes an error.
    pub fn error(&self, tried: &str, seen: impl std::fmt::Display) {
        let key = format!("{tried}: {seen}");
        *self.tally().errors.entry(key).or_default() += 1;
    }

    /// Makes the call; an error is noted, an answer of any status is not.
    pub async fn call<'a>(
        &self,
        tried: &str,
        pipe: &'a mut Pipe,
        request: &[u8],
    ) -> Option<PipeAnswer<'a>> {
        match pipe.exchange(request, ANSWER_TIMEOUT).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.error(tried, &error);
                None
            }
        }
    }

    /// Ends the run when the orchestrator's answer says that no later one can be better.
    pub fn judge(&self, tried: &str, status: u16, body: &[u8]) {
        let hint = match status {
            401 | 403 => {
                "give the tokens that the orchestrator knows by --token and --worker-token"
            }
            // Without the endpoint its path is that of a job, which can only be read.
            404 | 405 => {
                "serve the bench's blueprints: `avtomatika bench --write-blueprints DIR` writes them"
            }
            429 => "start the orchestrator with RATE_LIMITING_ENABLED=false",
            _ => return,
        };
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            let text = String::from_utf8_lossy(body);
            let message = format!("{tried}: the orchestrator answers {status}: {text}");
            *failure = Some(Failure::new(Exit::Refused, message).hint(hint));
        }
        drop(failure);
        self.interrupted.cancel();
        self.enter(Phase::Ending);
    }

    /// Returns why the run could not go on.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    /// Waits until the job's last result was acknowledged; tells whether it was.
    pub async fn acknowledged(&self, number: u64) -> bool {
        if self.ledger.borrow().is_acknowledged(number) {
            return true;
        }
        let notify = Rc::new(Notify::new());
        let waiter = Rc::clone(&notify);
        self.waiting.borrow_mut().insert(number, waiter);
        let patience = self.plan.patience;
        tokio::select! {
            () = notify.notified() => {}
            () = self.interrupted.cancelled() => {}
            () = tokio::time::sleep(patience) => self.error("job", "no end in time"),
        }
        self.waiting.borrow_mut().remove(&number);
        self.ledger.borrow().is_acknowledged(number)
    }

    /// Notes that a job's result was acknowledged, and tells who waits for it.
    pub fn acknowledge(&self, number: u64) {
        if self.ledger.borrow_mut().acknowledged(number)
            && let Some(waiter) = self.waiting.borrow_mut().remove(&number)
        {
            waiter.notify_one();
        }
    }

    /// Returns when a job counts as over.
    pub fn end(&self) -> End {
        if self.plan.workload.ends_when_acknowledged() {
            self.plan.end
        } else {
            End::Seen
        }
    }
}

/// Names an unexpected status for the list of errors.
pub struct StatusSeen(pub u16);

impl std::fmt::Display for StatusSeen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}", self.0)
    }
}

/// Names an answer that cannot be read.
pub struct Unreadable;

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer cannot be read")
    }
}

/// Tells whether nobody is there, in contrast to somebody in trouble.
pub const fn nobody_there(error: &NetError) -> bool {
    matches!(error, NetError::Connect(_))
}
