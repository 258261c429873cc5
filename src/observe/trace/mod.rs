//! Traces: what happened to a job, as spans for OpenTelemetry.
//!
//! A span is recorded when it has ended, whole, with the times that the job's record and the step
//! have; nothing is kept in memory until then. Its id derives from what it is about
//! ([`TraceContext::derived`]), so that a task can name its parent before that is recorded, by
//! another process or after a restart. Recording never waits: spans go into a bounded queue, and
//! those that find it full are dropped and counted. Without settings nothing of this runs.
//!
//! No payload, no message of an error and no address with a path becomes an attribute, but that of a
//! file on S3.

mod http;
mod ids;
mod job;
mod otlp;
mod pipeline;
mod queue;
mod sampler;
mod settings;
mod span;
mod task;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use opentelemetry::InstrumentationScope;

use crate::base::TraceContext;
use crate::base::trace::TRACEPARENT;
use ids::Ids;
use queue::{Full, Queue};

pub use http::{Answering, asking, transfer_span};
pub use job::StepTrace;
pub use pipeline::{Counted, Pipeline, Service, start};
pub use sampler::Sampler;
pub use settings::{Protocol, TraceSettings};
pub use span::{Kind, Lap, Span};

tokio::task_local! {
    static CURRENT: Current;
}

/// The span within which something is done.
struct Current {
    context: TraceContext,
    /// What vendors have added to its trace.
    state: Option<String>,
}

/// Where spans are recorded, or nowhere. Cheap to clone; every clone is the same one.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

/// What all clones share.
struct On {
    sampler: Sampler,
    queue: Arc<Queue>,
    counted: Counted,
    ids: Ids,
    scope: InstrumentationScope,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() {
            "Traces(on)"
        } else {
            "Traces(off)"
        })
    }
}

/// The place of a span that begins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its own.
    pub context: TraceContext,
    /// The id of its parent, unless it is the trace's first.
    pub parent: Option<[u8; 8]>,
}

impl Traces {
    /// Tells whether spans are recorded at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the place of a span that begins now: in the trace that a `traceparent` names, or as a
    /// trace's first. Whether the trace is recorded is decided here. Nothing while traces are off.
    #[must_use]
    pub fn begin(&self, traceparent: Option<&str>) -> Option<Place> {
        let on = self.0.as_deref()?;
        let parent = traceparent.and_then(TraceContext::parse);
        let trace_id = match parent {
            Some(parent) => parent.trace_id,
            None => on.ids.next(),
        };
        let is_sampled = on.sampler.takes(trace_id, parent.as_ref());
        Some(Place {
            context: TraceContext::root(trace_id, on.ids.next(), is_sampled),
            parent: parent.map(|parent| parent.span_id),
        })
    }

    /// Returns the place of a span within another one, with an id of its own. Nothing while traces
    /// are off.
    #[must_use]
    pub fn within(&self, parent: TraceContext) -> Option<Place> {
        let on = self.0.as_deref()?;
        let context = TraceContext::root(parent.trace_id, on.ids.next(), parent.is_sampled());
        Some(Place {
            context,
            parent: Some(parent.span_id),
        })
    }

    /// Records a span that has ended, unless its trace is not recorded. Never waits.
    pub fn record(&self, span: Span) {
        let Some(on) = self.0.as_deref().filter(|_| span.is_sampled()) else {
            return;
        };
        if let Err(Full) = on.queue.put(|| span.data(&on.scope)) {
            on.counted.dropped();
        }
    }
}

impl Traces {
    /// Returns what log lines stand in while something is done that is no request: the trace that it
    /// is part of is named in them, once that is known. Nothing while traces are off.
    #[must_use]
    pub fn log_span(&self) -> tracing::Span {
        if self.is_on() {
            tracing::error_span!("work", trace.id = tracing::field::Empty)
        } else {
            tracing::Span::none()
        }
    }

    /// Names the trace of what is carried in the log lines from here on, unless a request has named
    /// it: see [`Traces::log_span`].
    pub fn name_in_log(&self, carried: &BTreeMap<String, String>) {
        if self.is_on()
            && let Some(context) = recorded(carried)
            && current().is_none()
        {
            tracing::Span::current().record("trace.id", context.trace_id_text());
        }
    }
}

/// Runs what is done within a span that is recorded; [`current`] tells those who ask there.
pub async fn scope<F: Future>(span: &Answering, work: F) -> F::Output {
    let current = Current {
        context: span.place().context,
        state: span.tracestate().map(str::to_owned),
    };
    CURRENT.scope(current, work).await
}

/// Returns the span within which the caller runs, if it runs within one that is recorded.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|current| current.context).ok()
}

/// Returns the `tracestate` of that span's trace, if it has one.
#[must_use]
pub fn current_state() -> Option<String> {
    CURRENT.try_with(|current| current.state.clone()).ok()?
}

/// Returns the place that a carried context names, if its trace is recorded.
fn recorded(carried: &BTreeMap<String, String>) -> Option<TraceContext> {
    TraceContext::parse_sampled(carried.get(TRACEPARENT)?)
}

/// Returns a carried context with another span in it; what else it carries stays.
#[must_use]
pub fn carried(
    known: &BTreeMap<String, String>,
    context: TraceContext,
) -> BTreeMap<String, String> {
    let mut carried = known.clone();
    carried.insert(TRACEPARENT.to_owned(), context.to_string());
    carried
}
