//! The original's worker in a trace of ours.

use serde_json::json;

use crate::collector::{Collector, KEY, Seen, Spoken, tree};
use crate::stage::{ID, Stage};

/// The task's context names the task's span, so the worker's own stands below it; and what the worker
/// says meanwhile is part of the same trace.
#[tokio::test]
async fn python_worker_joins_the_trace_of_its_task() {
    let collector = Collector::start(Spoken::Grpc).await;
    let header = format!("api-key={KEY}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", header.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let stage = Stage::told(&settings).await;
    let worker = [settings.as_slice(), &[("WORKER_ENABLE_METRICS", "true")]].concat();
    let worker = stage.worker(ID, &worker);
    let done = stage.run("probe", json!({"act": "echo"})).await;
    assert_eq!(done["status"], "finished", "{done}");
    let find = |all: &[Seen], name: &str| all.iter().find(|seen| seen.span.name == name).cloned();
    let names = ["job probe", "task probe", "task.probe"];
    let all = collector
        .until(|all| names.iter().all(|name| find(all, name).is_some()))
        .await;
    let [job, task, run] = names.map(|name| find(&all, name).expect("it has come"));
    assert_eq!(run.span.parent_span_id, task.span.span_id, "{}", tree(&all));
    for one in [&task, &run] {
        assert_eq!(one.span.trace_id, job.span.trace_id, "{}", tree(&all));
    }
    assert_ne!(run.service, task.service);
    stage.end(worker).await;
}
