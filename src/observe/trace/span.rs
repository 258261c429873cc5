//! One span that has ended, and the clock that its ends are read from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::Place;
use crate::base::trace::TRACESTATE;
use crate::base::{Clock, Timestamp, TraceContext};

/// What most spans have at most: room that is made once instead of three times.
const ATTRIBUTES: usize = 9;

/// What a span is to those outside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Internal,
    /// An answer to a request.
    Server,
    /// A request.
    Client,
    /// Something for others to take up.
    Producer,
    /// Something taken up.
    Consumer,
}

/// A span of time that is being measured: its beginning by the wall clock, its length exactly.
#[derive(Debug, Clone, Copy)]
pub struct Lap {
    wall: Timestamp,
    began: Instant,
}

impl Lap {
    /// Begins now.
    #[must_use]
    pub fn begin(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            began: Instant::now(),
        }
    }

    /// Returns the beginning.
    pub(super) fn start(&self) -> SystemTime {
        time(self.wall)
    }

    /// Returns this moment, on the same clock.
    pub(super) fn so_far(&self) -> SystemTime {
        self.start() + self.began.elapsed()
    }
}

/// Returns a timestamp as spans have it.
pub(super) fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + at.since(Timestamp(0))
}

/// A span that has ended.
#[derive(Debug)]
pub struct Span {
    name: Cow<'static, str>,
    place: Place,
    kind: Kind,
    start: SystemTime,
    end: SystemTime,
    attributes: Vec<KeyValue>,
    error: Option<String>,
    state: TraceState,
}

impl Span {
    /// Makes a span that began with the lap and ends now.
    #[must_use]
    pub fn ended(name: impl Into<Cow<'static, str>>, place: Place, lap: &Lap) -> Self {
        Self::between(name, place, (lap.start(), lap.so_far()))
    }

    /// Makes a span of known ends.
    #[must_use]
    pub(super) fn between(
        name: impl Into<Cow<'static, str>>,
        place: Place,
        (start, end): (SystemTime, SystemTime),
    ) -> Self {
        Self {
            name: name.into(),
            place,
            kind: Kind::Internal,
            start,
            // Clocks of two machines may differ; no span ends before it begins.
            end: end.max(start),
            attributes: Vec::with_capacity(ATTRIBUTES),
            error: None,
            state: TraceState::NONE,
        }
    }

    /// Makes a span from one time of a job's record to another.
    #[must_use]
    pub fn from_to(
        name: impl Into<Cow<'static, str>>,
        place: Place,
        (from, to): (Timestamp, Timestamp),
    ) -> Self {
        Self::between(name, place, (time(from), time(to)))
    }

    /// Sets its kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Takes over what vendors have added to the trace: the `tracestate` that came with it. One that
    /// cannot be read counts as none, as the recommendation has it.
    #[must_use]
    pub fn state(mut self, tracestate: Option<&str>) -> Self {
        self.state = tracestate
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        self
    }

    /// The same, from what a job, a task or a message carries.
    #[must_use]
    pub fn state_of(self, carried: &BTreeMap<String, String>) -> Self {
        self.state(carried.get(TRACESTATE).map(String::as_str))
    }

    /// Adds an attribute: a name, a number or a word, never a payload or a secret.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(name, value));
        self
    }

    /// Adds an attribute that there may be.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Says that what it is of has failed, by a stable code.
    #[must_use]
    pub fn failed(mut self, code: impl Into<String>) -> Self {
        let code = code.into();
        self.attributes
            .push(KeyValue::new("error.type", code.clone()));
        self.error = Some(code);
        self
    }

    pub(super) const fn is_sampled(&self) -> bool {
        self.place.context.is_sampled()
    }

    /// Returns it as the SDK has it.
    pub(super) fn data(self, scope: &InstrumentationScope) -> SpanData {
        let TraceContext {
            trace_id, span_id, ..
        } = self.place.context;
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace_id),
                SpanId::from_bytes(span_id),
                TraceFlags::SAMPLED,
                false,
                self.state,
            ),
            parent_span_id: self
                .place
                .parent
                .map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: match self.kind {
                Kind::Internal => SpanKind::Internal,
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Producer => SpanKind::Producer,
                Kind::Consumer => SpanKind::Consumer,
            },
            name: self.name,
            start_time: self.start,
            end_time: self.end,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: self.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope.clone(),
        }
    }
}

/// Returns a number as attributes have it.
pub(super) fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
