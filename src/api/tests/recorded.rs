//! What the original's unchanged worker once sent, byte for byte: it is understood, its signatures
//! hold, and it is answered as it was then, or with more, wherever the job does not matter.

use super::fixture::Api;

/// Requests of one run, in order: line, headers, body; its jobs were another orchestrator's.
const RECORDED: &str = include_str!("data/recorded.txt");

#[tokio::test(start_paused = true)]
async fn the_originals_worker_is_understood() {
    let api = Api::start().await;
    let mut answered = std::collections::BTreeMap::new();
    for text in RECORDED.split("\n====\n") {
        let answer = api.send(text.trim_end_matches('\n')).await;
        let line = text.lines().next().unwrap_or_default();
        let path = line.split('?').next().unwrap_or_default();
        let expected: &[&str] = match path {
            // After the deployment's id, which the original has not.
            "POST /_worker/workers/register" => &[r#""status":"registered","version":"1.0b17"}"#],
            "POST /_worker/events" => &[r#"{"status":"event_accepted"}"#],
            "POST /_worker/tasks/result" => &[r#""reason":"job_not_found","status":"ignored"}"#],
            // Tasks that this orchestrator does not know are to be stopped.
            "PATCH /_worker/workers/gpu-worker-01" => {
                &[r#"{"status":"ok"}"#, r#"{"cancel_task_ids":["#]
            }
            "GET /_worker/workers/gpu-worker-01/tasks/next" => &[""],
            other => panic!("{other}"),
        };
        let fits = expected.iter().any(|text| answer.body.contains(text));
        assert!(
            fits && matches!(answer.status, 200 | 204),
            "{line}: {}",
            answer.body
        );
        assert_eq!(answer.headers["x-rxon-version"], "1.0b17");
        *answered.entry(path).or_insert(0) += 1;
    }
    assert_eq!(answered.len(), 5, "{answered:?}");
    let worker = api.state.runtime.worker(&"gpu-worker-01".into());
    assert!(worker.is_none_or(|worker| worker.skills.len() == 3));
}
