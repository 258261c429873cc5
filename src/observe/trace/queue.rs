//! Spans that wait for others to go out with. Putting one in never waits, and wakes whoever sends
//! them only when that one has something to do: not for every span.

use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;

/// A bounded queue with one taker.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    max: usize,
    batch_max: usize,
    call: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<SpanData>,
    is_closed: bool,
}

/// A span found the queue full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// Makes one for so many spans, of which so many go out at once.
    pub(super) fn new(max: usize, batch_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            max,
            // A full queue is a whole batch in any case.
            batch_max: batch_max.min(max),
            call: Notify::new(),
        }
    }

    /// Puts a span in. Once the queue has been closed it is gone: there is nobody to tell.
    ///
    /// Errors: the queue is full.
    pub(super) fn put(&self, span: impl FnOnce() -> SpanData) -> Result<(), Full> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Ok(());
        }
        if waiting.spans.len() >= self.max {
            return Err(Full);
        }
        waiting.spans.push(span());
        let count = waiting.spans.len();
        drop(waiting);
        if count == 1 || count == self.batch_max {
            self.call.notify_one();
        }
        Ok(())
    }

    /// Completes when a first span has come, or the last one of a batch; perhaps also when none has.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }

    /// Tells whether there is any span, and whether there is a whole batch of them.
    pub(super) fn has(&self) -> (bool, bool) {
        let count = self.lock().spans.len();
        (count > 0, count >= self.batch_max)
    }

    /// Takes the oldest spans, a batch at most.
    pub(super) fn take(&self) -> Vec<SpanData> {
        let mut waiting = self.lock();
        let count = self.batch_max.min(waiting.spans.len());
        let rest = waiting.spans.split_off(count);
        std::mem::replace(&mut waiting.spans, rest)
    }

    /// Takes no further spans; those that wait stay.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::base::{SystemClock, TraceContext};
    use crate::observe::trace::{Lap, Place, Span};

    fn span() -> SpanData {
        let place = Place {
            context: TraceContext::root([1; 16], [1; 8], true),
            parent: None,
        };
        let lap = Lap::begin(&SystemClock);
        Span::ended("span", place, &lap).data(&opentelemetry::InstrumentationScope::default())
    }

    #[test]
    fn the_first_and_the_last_of_a_batch_call_and_no_other() {
        let queue = Queue::new(5, 3);
        let mut calls = Vec::new();
        for _ in 0..6 {
            let is_in = queue.put(span).is_ok();
            calls.push((is_in, queue.called().now_or_never().is_some(), queue.has()));
        }
        let (some, whole) = ((true, false), (true, true));
        let expected = [
            (true, true, some),
            (true, false, some),
            (true, true, whole),
            (true, false, whole),
            (true, false, whole),
            (false, false, whole),
        ];
        assert_eq!(calls, expected);
        assert_eq!((queue.take().len(), queue.has()), (3, some));
        queue.close();
        assert_eq!(queue.put(span), Ok(()));
        assert_eq!((queue.take().len(), queue.take().len()), (2, 0));
    }
}
