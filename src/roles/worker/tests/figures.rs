//! What happens is counted.

use serde_json::json;

use super::stub::Stub;
use super::*;
use crate::base::Secret;
use crate::observe::WorkerStanding;

#[tokio::test]
async fn what_happens_to_a_worker_is_counted() {
    let stub = Stub::start().await;
    // Whichever comes first is sent again.
    stub.reply("result", [(503, json!({}))]);
    let mut config = config(&[&stub.url]);
    config.task_secret = Some(Secret::from("orchestrator"));
    config.require_task_signature = false;
    let metrics = config.metrics.clone();
    let worker = start(config);
    let task = |id: &str| json!({"job_id": "job-1", "task_id": id, "type": "echo", "params": {}});
    let mut forged = task("forged");
    forged["sig"] = json!("somebody else's");
    let mut reviewed = task("reviewed");
    reviewed["params"] = json!({"do": "review"});
    let unreadable = json!({"job_id": "job-1", "task_id": "unreadable"});
    for message in [forged, unreadable, task("plain"), reviewed] {
        stub.give(message);
    }
    for id in ["unreadable", "plain", "reviewed"] {
        stub.until("result", |seen| seen.body["task_id"] == id)
            .await;
    }
    worker.stop().await;
    let text = metrics.text(&WorkerStanding::default());
    for line in [
        r#"worker_deliveries_total{outcome="forged"} 1"#,
        r#"worker_deliveries_total{outcome="unreadable"} 1"#,
        r#"worker_deliveries_total{outcome="taken"} 2"#,
        r#"worker_deliveries_total{outcome="repeated"} 0"#,
        r#"worker_polls_total{outcome="task"} 4"#,
        r#"worker_polls_total{outcome="failed"} 0"#,
        r#"worker_results_total{outcome="accepted"} 3"#,
        r#"worker_results_total{outcome="retried"} 1"#,
        r#"worker_results_total{outcome="lost"} 0"#,
        r#"worker_heartbeats_total{outcome="failed"} 0"#,
        r#"worker_tasks_total{status="success",task_type="echo"} 1"#,
        r#"worker_tasks_total{status="other",task_type="echo"} 1"#,
        r#"worker_tasks_duration_seconds_count{task_type="echo"} 2"#,
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    assert!(!text.contains(r#"worker_heartbeats_total{outcome="answered"} 0"#));
}
