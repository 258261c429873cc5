//! From the queue to the collector: batches, each within its time; what fails is counted, and nobody
//! ever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus::IntCounter;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::ids::Ids;
use super::otlp;
use super::queue::Queue;
use super::{On, TraceSettings, Traces};
use crate::base::{Clock, Entropy};
use crate::observe::{Asked, Outages};

/// The longest that the end of a process waits for the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Who a process is, for collectors.
#[derive(Debug, Clone)]
pub struct Service {
    /// `service.name`, unless the operator gives another.
    pub name: String,
    /// `service.instance.id`.
    pub instance: String,
    /// What else the role says of itself.
    pub attributes: Vec<(&'static str, String)>,
}

/// What becomes of spans, counted.
#[derive(Clone)]
pub struct Counted {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
    is_told: Arc<AtomicBool>,
}

impl Counted {
    /// Counts with these: sent, dropped because the queue was full, lost because the collector did
    /// not take them.
    #[must_use]
    pub fn new([exported, dropped, failed]: [IntCounter; 3]) -> Self {
        Self {
            exported,
            dropped,
            failed,
            is_told: Arc::default(),
        }
    }

    /// A span found the queue full.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("spans are dropped: more end than the collector takes (told once)");
        }
    }
}

impl Default for Counted {
    /// Counts for nobody, in roles that have no metrics.
    fn default() -> Self {
        let names = ["exported", "dropped", "failed"];
        Self::new(
            names
                .map(|name| IntCounter::new(name, name).expect("a word of letters is a good name")),
        )
    }
}

/// The way of spans out of this process, while it runs.
pub struct Pipeline {
    running: JoinSet<()>,
    queue: Arc<Queue>,
    stop: CancellationToken,
}

/// Starts the way out. Nothing is sent yet: a collector need not be there.
///
/// Errors: the settings cannot be used; says why.
pub fn start(
    settings: &TraceSettings,
    service: &Service,
    counted: Counted,
    (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
) -> Result<(Traces, Pipeline), String> {
    let exporter = otlp::exporter(settings, service)?;
    let queue = Arc::new(Queue::new(settings.queue_max, settings.batch_max));
    let stop = CancellationToken::new();
    let sending = Sending {
        exporter,
        queue: Arc::clone(&queue),
        counted: counted.clone(),
        outages: Outages::new("collector", clock),
        stop: stop.clone(),
        settings: settings.clone(),
    };
    let mut running = JoinSet::new();
    running.spawn(sending.run());
    let scope = InstrumentationScope::builder("avtomatika")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    let traces = Traces(Some(Arc::new(On {
        sampler: settings.sampler,
        queue: Arc::clone(&queue),
        counted,
        ids: Ids::new(entropy),
        scope,
    })));
    let pipeline = Pipeline {
        running,
        queue,
        stop,
    };
    Ok((traces, pipeline))
}

impl Pipeline {
    /// Sends what is left and ends. Takes a few seconds at most.
    pub async fn finish(self) {
        self.finish_within(FLUSH_MAX).await;
    }

    async fn finish_within(mut self, limit: Duration) {
        self.stop.cancel();
        if timeout(limit, self.running.join_next()).await.is_err() {
            self.queue.close();
            tracing::warn!("the last spans did not go out in time");
        }
    }
}

/// The loop's own.
struct Sending {
    exporter: SpanExporter,
    queue: Arc<Queue>,
    counted: Counted,
    outages: Outages,
    stop: CancellationToken,
    settings: TraceSettings,
}

impl Sending {
    async fn run(self) {
        let mut due: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            let (has_any, has_batch) = self.queue.has();
            if has_any {
                due.get_or_insert_with(|| Instant::now() + self.settings.delay);
            }
            if !has_batch {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => break,
                    () = reached(due) => {}
                    () = self.queue.called() => continue,
                }
            }
            due = None;
            self.send(self.queue.take()).await;
        }
        self.queue.close();
        loop {
            let batch = self.queue.take();
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    async fn send(&self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let sent = timeout(self.settings.export_timeout, self.exporter.export(batch)).await;
        match sent {
            Ok(Ok(())) => {
                self.counted.exported.inc_by(count);
                self.outages.answered(Asked::Answer);
            }
            Ok(Err(error)) => {
                self.counted.failed.inc_by(count);
                self.outages.failed(Asked::Answer, &error);
            }
            Err(_) => {
                self.counted.failed.inc_by(count);
                self.outages.failed(Asked::Answer, &"it took too long");
            }
        }
    }
}

/// Completes at the time, or never without one.
async fn reached(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::base::{SystemClock, SystemEntropy};
    use crate::observe::trace::{Lap, Span};

    /// A collector that takes connections and never answers costs the spans, and no time.
    #[tokio::test]
    async fn nobody_waits_for_a_collector_that_does_not_answer() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", silent.local_addr().expect("bound"));
        let settings = TraceSettings::read(&|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(address.clone()),
            "OTEL_BSP_MAX_QUEUE_SIZE" => Some("3".to_owned()),
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => Some("2".to_owned()),
            // Long past the end of this test.
            "OTEL_BSP_EXPORT_TIMEOUT" | "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("600000".to_owned()),
            _ => None,
        });
        let settings = settings.expect("good").expect("on");
        let service = Service {
            name: "test".to_owned(),
            instance: "1".to_owned(),
            attributes: Vec::new(),
        };
        let counted = Counted::default();
        let ports = (Arc::new(SystemClock) as _, Arc::new(SystemEntropy) as _);
        let started = start(&settings, &service, counted.clone(), ports);
        let (traces, pipeline) = started.expect("it starts");
        let record = || {
            let place = traces.begin(None).expect("traces are on");
            let lap = Lap::begin(&SystemClock);
            traces.record(Span::ended("span", place, &lap));
        };
        // Nothing else runs meanwhile: the queue holds what it may, and the rest is dropped.
        for _ in 0..10 {
            record();
        }
        assert_eq!(counted.dropped.get(), 7);
        // The first batch is on its way to the silent one, which gives its room back.
        let (_connection, _) = silent.accept().await.expect("it connects");
        record();
        pipeline.finish_within(Duration::from_millis(10)).await;
        assert_eq!((counted.exported.get(), counted.dropped.get()), (0, 7));
        // And who still records tells nobody, and harms nobody.
        record();
        assert_eq!(counted.dropped.get(), 7);
    }
}
