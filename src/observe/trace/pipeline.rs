//! From the queue to the collector: batches, each within its time; what fails is counted, and nobody
//! ever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp;
use super::{On, TraceSettings, Traces};
use crate::base::{Clock, Entropy};
use crate::observe::Outages;

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
    let (queue, spans) = mpsc::channel(settings.queue_max);
    let stop = CancellationToken::new();
    let sending = Sending {
        exporter,
        spans,
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
        queue,
        counted,
        entropy,
        scope,
    })));
    Ok((traces, Pipeline { running, stop }))
}

impl Pipeline {
    /// Sends what is left and ends. Takes a few seconds at most.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if timeout(FLUSH_MAX, self.running.join_next()).await.is_err() {
            tracing::warn!("the last spans did not go out in time");
        }
    }
}

/// The loop's own.
struct Sending {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    counted: Counted,
    outages: Outages,
    stop: CancellationToken,
    settings: TraceSettings,
}

impl Sending {
    async fn run(mut self) {
        let batch_max = self.settings.batch_max;
        let mut batch = Vec::new();
        let mut due: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            let room = batch_max - batch.len();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = reached(due) => {}
                count = self.spans.recv_many(&mut batch, room) => {
                    if count == 0 {
                        break;
                    }
                    due.get_or_insert_with(|| Instant::now() + self.settings.delay);
                    if batch.len() < batch_max {
                        continue;
                    }
                }
            }
            due = None;
            self.send(std::mem::take(&mut batch)).await;
        }
        self.spans.close();
        loop {
            while batch.len() < batch_max
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    async fn send(&self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let sent = timeout(self.settings.export_timeout, self.exporter.export(batch)).await;
        match sent {
            Ok(Ok(())) => {
                self.counted.exported.inc_by(count);
                self.outages.answered();
            }
            Ok(Err(error)) => {
                self.counted.failed.inc_by(count);
                self.outages.failed(&error);
            }
            Err(_) => {
                self.counted.failed.inc_by(count);
                self.outages.failed(&"it took too long");
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
