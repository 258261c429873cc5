//! What a metric is called, what it counts and how it is told apart: the one place that the code,
//! the documentation and the tests read.

/// What kind of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from the start of the process.
    Counter,
    /// As it is just now.
    Gauge,
    /// How often a value was at most so large; with sum and count.
    Histogram,
}

impl Kind {
    /// Returns the kind's name in the text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    /// Ends with its unit, or with `_total` when it counts.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// What tells its series apart. Each label's values are a closed set, or names from blueprints
    /// and workers up to a bound.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets, in its unit.
    pub buckets: &'static [f64],
}

/// Waits and runs of jobs and tasks: a hundredth of a second to a day, in seconds.
pub(super) const LONG: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0,
];

/// Calls of servers: a tenth of a millisecond to ten seconds, in seconds.
pub(super) const SHORT: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0,
];

pub(super) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition {
        name,
        kind: Kind::Counter,
        help,
        labels,
        buckets: &[],
    }
}

pub(super) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition {
        kind: Kind::Gauge,
        ..counter(name, labels, help)
    }
}

pub(super) const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Definition {
    Definition {
        kind: Kind::Histogram,
        buckets,
        ..counter(name, labels, help)
    }
}
