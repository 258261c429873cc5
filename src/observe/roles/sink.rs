//! What a webhook sink counts. What strangers write into a body becomes no label: events are told
//! apart when they are the program's own.

use std::sync::Arc;

use prometheus::IntCounterVec;

use super::super::catalog::catalog;
use super::super::definition::{Definition, counter, gauge};
use super::super::register::{Register, text};
use super::super::trace::Counted;

catalog! { SINK, "Every metric that a webhook sink has besides those of its process.":
    BUILD = gauge("webhook_sink_build_info", &["version"], "Always 1; the label says which version runs.");
    WEBHOOKS = counter("webhook_sink_webhooks_total", &["event", "outcome"], "Webhooks received, by event (worker_event stands for all of workers' and blueprints' own, other for what is none) and outcome: verified, unchecked (the sink has no secret), repeated, bad_signature or unreadable.");
    SPANS = counter("webhook_sink_trace_spans_total", &["outcome"], "Spans of traces, by outcome: exported, dropped (the queue was full) or failed (the collector did not take them); 0 while traces are off.");
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is new, and its signature is good.
    Verified,
    /// It is new, and there is no secret to check it with.
    Unchecked,
    /// It was here before.
    Repeated,
    /// Its signature or time is not good, or missing.
    BadSignature,
    /// Its body is not JSON.
    Unreadable,
}

impl Receipt {
    /// Returns the outcome as figures name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unchecked => "unchecked",
            Self::Repeated => "repeated",
            Self::BadSignature => "bad_signature",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The events that have a name of their own.
const EVENTS: [&str; 5] = [
    "approval_required",
    "job_finished",
    "job_failed",
    "job_quarantined",
    "job_cancelled",
];

fn event_label(event: &str) -> &'static str {
    if event.starts_with("worker_event:") {
        return "worker_event";
    }
    let known = EVENTS.into_iter().find(|known| *known == event);
    known.unwrap_or("other")
}

/// What all clones share.
struct All {
    register: Register,
    webhooks: IntCounterVec,
    spans: Counted,
}

/// The metrics of one webhook sink. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct SinkMetrics(Arc<All>);

impl Default for SinkMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl SinkMetrics {
    /// Makes the metrics of a sink, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let register = Register::of_process();
        register.version(&BUILD);
        Self(Arc::new(All {
            webhooks: register.counters(&WEBHOOKS),
            spans: register.spans(&SPANS),
            register,
        }))
    }

    /// Returns what counts spans.
    #[must_use]
    pub fn spans(&self) -> Counted {
        self.0.spans.clone()
    }

    /// Counts a webhook; `event` is what its body says, if it may be believed.
    pub fn received(&self, event: &str, receipt: Receipt) {
        let labels = [event_label(event), receipt.as_str()];
        self.0.webhooks.with_label_values(&labels).inc();
    }

    /// Returns everything as text.
    #[must_use]
    pub fn text(&self) -> String {
        text(self.0.register.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_s_words_become_no_label() {
        for (event, label) in [
            ("job_finished", "job_finished"),
            ("worker_event:progress", "worker_event"),
            ("made up", "other"),
            ("", "other"),
        ] {
            assert_eq!(event_label(event), label);
        }
    }
}
