//! The register of a process's metrics, and its text.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, TextEncoder,
};

use super::definition::Definition;
use super::trace::Counted;

/// The media type of what a scrape answers. Source: Prometheus' text format, version 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of one kind of process.
#[derive(Default)]
pub(super) struct Register(prometheus::Registry);

impl Register {
    /// Returns a register that also has the figures of the process itself.
    pub(super) fn of_process() -> Self {
        let register = Self::default();
        register.add(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ));
        register
    }

    fn add(&self, collector: Box<dyn Collector>) {
        self.0
            .register(collector)
            .expect("each definition is used once, which a test sees by making them all");
    }

    pub(super) fn counters(&self, definition: &Definition) -> IntCounterVec {
        let opts = Opts::new(definition.name, definition.help);
        let made = IntCounterVec::new(opts, definition.labels).expect(NAMES_ARE_GOOD);
        self.add(Box::new(made.clone()));
        made
    }

    pub(super) fn counter(&self, definition: &Definition) -> IntCounter {
        let made = IntCounter::new(definition.name, definition.help).expect(NAMES_ARE_GOOD);
        self.add(Box::new(made.clone()));
        made
    }

    pub(super) fn gauges(&self, definition: &Definition) -> GaugeVec {
        let opts = Opts::new(definition.name, definition.help);
        let made = GaugeVec::new(opts, definition.labels).expect(NAMES_ARE_GOOD);
        self.add(Box::new(made.clone()));
        made
    }

    pub(super) fn gauge(&self, definition: &Definition) -> Gauge {
        let made = Gauge::new(definition.name, definition.help).expect(NAMES_ARE_GOOD);
        self.add(Box::new(made.clone()));
        made
    }

    pub(super) fn histograms(&self, definition: &Definition) -> HistogramVec {
        let opts = HistogramOpts::new(definition.name, definition.help)
            .buckets(definition.buckets.to_vec());
        let made = HistogramVec::new(opts, definition.labels).expect(NAMES_ARE_GOOD);
        self.add(Box::new(made.clone()));
        made
    }

    /// Tells which version runs.
    pub(super) fn version(&self, definition: &Definition) {
        let build = self.gauges(definition);
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
    }

    /// Returns what counts spans.
    pub(super) fn spans(&self, definition: &Definition) -> Counted {
        let spans = self.counters(definition);
        Counted::new(
            ["exported", "dropped", "failed"].map(|outcome| spans.with_label_values(&[outcome])),
        )
    }

    /// Returns all figures as they are.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }
}

const NAMES_ARE_GOOD: &str = "the catalog's names, labels and buckets are checked by a test";

/// Writes figures as text, in order of their names.
pub(super) fn text(mut families: Vec<MetricFamily>) -> String {
    families.sort_by(|a, b| a.name().cmp(b.name()));
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("every family has a name and a series")
}
