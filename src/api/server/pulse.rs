//! What a connection is doing, and how long it may go on doing it.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{LINGER, LONG, ServerSettings};

/// What one connection is doing. Times are ms since its start, plus one; 0 is "not now".
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    in_flight: AtomicUsize,
    /// Since when a request's header has been coming in.
    head_since: AtomicU64,
    /// Since when nothing has been under way.
    idle_since: AtomicU64,
    /// Since when the peer has taken nothing of what is to be sent.
    stuck_since: AtomicU64,
    /// Since when the peer has been told that no more will come, while it still sends.
    parting_since: AtomicU64,
    /// An answer of ours is, or may be, still to be written.
    answered: AtomicBool,
    /// The peer was not heard out.
    unheard: AtomicBool,
    ending: AtomicBool,
    /// The request under way is going to wait for long.
    waits: AtomicBool,
    /// The last request that was put aside had to wait for long.
    has_waited: AtomicBool,
    /// What happens to the connection happens in other tasks as well.
    is_shared: AtomicBool,
    changed: Notify,
}

/// What has become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has done one thing for too long.
    Overdue,
    /// Its request is going to wait for long.
    Waits,
}

impl Pulse {
    /// Starts idle.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
            parting_since: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            has_waited: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Notes that the connection's requests are handled in tasks of their own, which have to wake it.
    pub(super) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Wakes the connection where it would not look by itself. In its own task it looks anyway, and
    /// waking it would cost a turn of its task, and often another thread's.
    fn moved(&self) {
        if self.is_shared.load(Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Notes how long the last request that was put aside had to wait.
    pub(super) fn waited(&self, time: Duration) {
        self.has_waited.store(time >= LONG, Ordering::Relaxed);
    }

    /// Tells whether the last request that was put aside had to wait for long.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited.load(Ordering::Relaxed)
    }

    /// Notes that the connection has been told to end.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Tells whether the connection has been told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Notes that the request under way is going to wait for long.
    pub(super) fn wait_long(&self) {
        self.waits.store(true, Ordering::Relaxed);
        self.moved();
    }

    /// Tells whether all that was to be sent has been taken by the peer.
    pub(super) fn is_sent(&self) -> bool {
        self.stuck_since.load(Ordering::Relaxed) == 0
    }

    /// Notes that what the peer sends will not be read to its end.
    pub(super) fn leave_unheard(&self) {
        self.unheard.store(true, Ordering::Relaxed);
    }

    /// Tells whether what the peer sends will not be read to its end.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard.load(Ordering::Relaxed)
    }

    /// Notes that all that was written has gone out.
    pub(super) fn flushed(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            self.answered.store(false, Ordering::Relaxed);
        }
    }

    /// Tells whether nothing of ours is under way or still to be written: what is written then, the
    /// protocol has written by itself.
    pub(super) fn is_silent(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && !self.answered.load(Ordering::Relaxed)
    }

    /// Notes that the peer has been told that no more will come.
    pub(super) fn part(&self) {
        self.parting_since.store(self.mark(), Ordering::Relaxed);
        self.moved();
    }

    fn mark(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Returns when the connection is to be closed unless it moves on.
    fn deadline(&self, settings: &ServerSettings) -> Option<Instant> {
        let at = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            0 => None,
            mark => Some(self.start + Duration::from_millis(mark - 1) + limit),
        };
        if let Some(parted) = at(&self.parting_since, LINGER) {
            return Some(parted);
        }
        let waiting = if self.in_flight.load(Ordering::Relaxed) > 0 {
            None
        } else {
            at(&self.head_since, settings.header_timeout)
                .or_else(|| at(&self.idle_since, settings.idle_timeout))
        };
        let stuck = at(&self.stuck_since, settings.write_timeout);
        match (waiting, stuck) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Waits until the connection has done one thing for too long, or is going to. Looks whenever it
    /// is polled: poll it after all that may have changed the pulse in the same task.
    pub(super) async fn turn(&self, settings: &ServerSettings) -> Turn {
        let mut changed = pin!(self.changed.notified());
        let mut alarm = pin!(tokio::time::sleep(settings.idle_timeout));
        poll_fn(|cx| {
            loop {
                while changed.as_mut().poll(cx).is_ready() {
                    changed.set(self.changed.notified());
                }
                if self.waits.swap(false, Ordering::Relaxed) {
                    return Poll::Ready(Turn::Waits);
                }
                let deadline = self.deadline(settings);
                // An alarm that comes too early is set anew then, one that comes too late at once: of
                // two requests in a row the second mostly moves it on.
                if let Some(at) = deadline.filter(|at| *at < alarm.deadline()) {
                    if at <= Instant::now() {
                        return Poll::Ready(Turn::Overdue);
                    }
                    alarm.as_mut().reset(at);
                }
                ready!(alarm.as_mut().poll(cx));
                match deadline {
                    Some(at) if at <= Instant::now() => return Poll::Ready(Turn::Overdue),
                    Some(at) => alarm.as_mut().reset(at),
                    // A request is under way: its handler and the body's reader have bounds of their
                    // own.
                    None => alarm.as_mut().reset(Instant::now() + settings.idle_timeout),
                }
            }
        })
        .await
    }

    /// Notes that the peer has sent something.
    pub(super) fn read_some(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.mark(), Ordering::Relaxed);
            self.moved();
        }
    }

    /// Notes that the peer takes nothing just now.
    pub(super) fn write_pending(&self) {
        if self.stuck_since.load(Ordering::Relaxed) == 0 {
            self.stuck_since.store(self.mark(), Ordering::Relaxed);
            self.moved();
        }
    }

    /// Notes that the peer has taken something.
    pub(super) fn written(&self) {
        if self.stuck_since.swap(0, Ordering::Relaxed) != 0 {
            self.moved();
        }
    }
}

/// A request under way, from its header to the end of its answer's body.
pub(super) struct InFlight(Arc<Pulse>);

impl InFlight {
    /// Begins one.
    pub(super) fn begin(pulse: &Arc<Pulse>) -> Self {
        pulse.in_flight.fetch_add(1, Ordering::Relaxed);
        pulse.head_since.store(0, Ordering::Relaxed);
        pulse.answered.store(true, Ordering::Relaxed);
        pulse.waits.store(false, Ordering::Relaxed);
        // There is a next request, so the one before was passed over in whole.
        pulse.unheard.store(false, Ordering::Relaxed);
        pulse.moved();
        Self(Arc::clone(pulse))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.mark(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.moved();
    }
}
