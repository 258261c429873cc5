//! The original's worker on our orchestrator, its SDK unchanged.

use serde_json::json;

use crate::relay::Seen;
use crate::stage::{ID, Stage, beats, is_beat, is_compact, is_poll, is_register};

#[tokio::test]
async fn python_worker_registers_beats_and_polls() {
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let registered = stage.relay.wait("registration", is_register).await.body;
    beats(&stage.relay, 5, is_compact).await;
    // Five heartbeats long one poll has been open, and no other.
    let polls = stage.relay.seen().iter().filter(|one| is_poll(one)).count();
    assert_eq!(polls, 1, "{:#?}", stage.relay.seen());

    let record = stage.record(ID).await;
    assert_eq!(record["worker_type"], "probe_worker", "{record}");
    assert_eq!(record["status"], "idle", "{record}");
    assert_eq!(record["skills_hash"], registered["skills_hash"], "{record}");
    assert_eq!(
        record["capabilities"]["cost_per_skill"],
        json!({"probe": 0.25})
    );
    assert_eq!(
        record["capabilities"]["extra"],
        json!({"websockets": false, "zone": "eu"})
    );
    assert_eq!(
        record["skills"],
        json!(["process_blobs", "probe", "strict", "unready"])
    );
    let strict = &record["supported_skills"][2];
    assert_eq!(
        strict["input_schema"]["required"],
        json!(["n"]),
        "{registered}"
    );

    // A compact heartbeat changes what it names and nothing else.
    let warm = stage.run("probe", json!({"act": "heat"})).await;
    assert_eq!(warm["status"], "finished", "{warm}");
    stage.knows(ID, "hot_skills", &json!(["probe"])).await;
    // A full one brings the skill that the worker has learned meanwhile, and compact ones keep it.
    stage.run("probe", json!({"act": "learn"})).await;
    for _ in 0..2 {
        let learned = stage.run("learned", json!({})).await;
        assert_eq!(learned["result"]["learned"], true, "{learned}");
        beats(&stage.relay, 2, is_compact).await;
    }
    let full = |seen: &Seen| is_beat(seen) && !is_compact(seen);
    let full = stage.relay.wait("full heartbeat", full).await.body;
    assert_eq!(
        full["supported_skills"].as_array().map(Vec::len),
        Some(5),
        "{full}"
    );
    stage.end(worker).await;
}

#[tokio::test]
async fn python_worker_reports_progress_statuses_costs_and_files() {
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let job = stage.hold("gate").await;
    let progress = stage
        .event(&job, |event| event["event_type"] == "worker_event:progress")
        .await;
    assert_eq!(progress["worker_id"], ID, "{progress}");
    assert!(
        progress.to_string().contains("held at the gate"),
        "{progress}"
    );
    stage.site.write("gate", "");
    let done = stage.outcome(&job).await;
    assert_eq!(done["status"], "finished", "{done}");
    assert_eq!(done["result"]["echo"]["act"], "hold", "{done}");
    let result =
        |seen: &Seen| seen.line == "POST /_worker/tasks/result" && seen.body["job_id"] == job;
    let result = stage.relay.wait("result", result).await.body;
    assert_eq!(result["costs"]["energy"], 1.5, "{result}");

    let reviewed = stage.run("probe", json!({"act": "review"})).await;
    assert_eq!(reviewed["status"], "failed", "{reviewed}");
    assert_eq!(
        reviewed["error"]["message"], "looked at twice",
        "{reviewed}"
    );

    // Without a blob store the result names the worker's own file.
    let stored = stage
        .run("process_blobs", json!({"content": "naïve → 日本"}))
        .await;
    assert_eq!(stored["result"]["size"], 10, "{stored}");
    assert_eq!(stored["result"]["names"], json!(["blob.txt"]), "{stored}");
    let path = stored["result"]["path"].as_str().expect("a path");
    let payloads = stage.site.path("payloads").display().to_string();
    assert!(path.starts_with(&payloads), "{stored}");
    assert!(path.ends_with("/blob.txt"), "{stored}");
    stage.end(worker).await;
}

#[tokio::test]
async fn python_worker_fails_with_each_code() {
    const TABLE: [(&str, &str, usize); 13] = [
        ("TRANSIENT_ERROR", "quarantined", 1),
        ("PERMANENT_ERROR", "quarantined", 0),
        ("INVALID_INPUT_ERROR", "failed", 0),
        ("INTEGRITY_MISMATCH_ERROR", "failed", 0),
        ("TIMEOUT_ERROR", "quarantined", 1),
        ("LATE_RESULT", "quarantined", 1),
        ("RESOURCE_EXHAUSTED_ERROR", "quarantined", 1),
        ("LIMIT_EXCEEDED_ERROR", "quarantined", 1),
        ("CONTRACT_VIOLATION_ERROR", "quarantined", 0),
        ("DEPENDENCY_MISSING_ERROR", "quarantined", 1),
        ("DEPENDENCY_ERROR", "quarantined", 0),
        ("SECURITY_ERROR", "quarantined", 0),
        ("INTERNAL_ERROR", "quarantined", 1),
    ];
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let mut jobs = Vec::new();
    for (code, status, retries) in TABLE {
        let input = json!({"act": "fail", "code": code});
        jobs.push((stage.submit("probe", input).await, code, status, retries));
    }
    // What the SDK makes of a skill that breaks.
    for (blueprint, input, code, status, retries) in [
        (
            "probe",
            json!({"act": "bad_value"}),
            "INTEGRITY_MISMATCH_ERROR",
            "failed",
            0,
        ),
        (
            "probe",
            json!({"act": "crash"}),
            "TRANSIENT_ERROR",
            "quarantined",
            1,
        ),
        ("unready", json!({}), "INVALID_INPUT_ERROR", "failed", 0),
        (
            "strict",
            json!({"n": 1, "cheat": true}),
            "CONTRACT_VIOLATION_ERROR",
            "quarantined",
            0,
        ),
    ] {
        jobs.push((stage.submit(blueprint, input).await, code, status, retries));
    }
    for (job, code, status, retries) in jobs {
        let end = stage.outcome(&job).await;
        let history = stage.history(&job).await;
        let retried = history
            .iter()
            .filter(|event| event["event_type"] == "task_retried")
            .count();
        let seen = (end["error"]["code"].as_str(), end["status"].as_str());
        assert_eq!(seen, (Some(code), Some(status)), "{end}");
        assert_eq!(retried, retries, "{code}: {history:#?}");
    }
    // The SDK would refuse these parameters, so the worker does not get them.
    let many = stage.submit("strict", json!({"n": "many"})).await;
    let good = stage.run("strict", json!({"n": 7})).await;
    assert_eq!(good["result"]["n"], 7, "{good}");
    let why = ["jobs", "explain", &many, "-o", "json"];
    let why = stage.site.ask(&stage.server, &why).await.with(0).stdout;
    assert!(why.contains("params_schema"), "{why}");
    stage.end(worker).await;
}

#[tokio::test]
async fn python_worker_is_cancelled_over_its_websocket() {
    let stage = Stage::new().await;
    // Heartbeats only when a task comes or goes, so that they cannot bring the news.
    let worker = stage.worker(
        ID,
        &[
            ("WORKER_ENABLE_WEBSOCKETS", "true"),
            ("HEARTBEAT_INTERVAL", "3600"),
            ("WORKER_HEARTBEAT_COOLDOWN", "0"),
        ],
    );
    let socket = |seen: &Seen| seen.line == format!("GET /_worker/ws/{ID}");
    stage.relay.wait("upgrade", socket).await;
    // The one that follows the registration.
    stage.relay.wait("heartbeat", is_beat).await;
    let job = stage.hold("gate").await;
    let working = |seen: &Seen| is_beat(seen) && seen.body["current_tasks"][0].is_string();
    stage.relay.wait("heartbeat of the task", working).await;

    stage
        .server
        .post(&format!("/jobs/{job}/cancel"), &json!({}))
        .await;
    worker.prints(&format!("told to drop {job}")).await;
    let end = stage.outcome(&job).await;
    assert_eq!(end["status"], "cancelled", "{end}");
    let working = stage.relay.seen().into_iter().filter(working).count();
    assert_eq!(working, 1, "{:#?}", stage.relay.seen());
    // Progress has come by the socket, too.
    let by_http = |seen: &Seen| seen.line == "POST /_worker/events";
    assert!(!stage.relay.seen().iter().any(by_http));
    let next = stage.run("probe", json!({})).await;
    assert_eq!(next["status"], "finished", "{next}");
    stage.end(worker).await;
}

#[tokio::test]
async fn python_worker_is_cancelled_over_its_heartbeat() {
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let job = stage.hold("gate").await;
    stage
        .server
        .post(&format!("/jobs/{job}/cancel"), &json!({}))
        .await;
    worker.prints(&format!("told to drop {job}")).await;
    let end = stage.outcome(&job).await;
    assert_eq!(end["status"], "cancelled", "{end}");
    // Its late word on the task changes nothing, and is not refused.
    let late = |seen: &Seen| seen.body["status"] == "cancelled" && seen.body["job_id"] == job;
    stage.relay.wait("result of the dropped task", late).await;
    let next = stage.run("probe", json!({})).await;
    assert_eq!(next["status"], "finished", "{next}");
    stage.end(worker).await;
}

/// The task goes on while nobody listens, and is delivered to the next process.
#[tokio::test]
async fn python_worker_outlives_a_restart_of_the_orchestrator() {
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let job = stage.hold("gate").await;
    let stage = stage.crash().await;
    let end = stage.outcome(&job).await;
    assert_eq!(end["status"], "finished", "{end}");
    let history = stage.history(&job).await;
    let finished = history
        .iter()
        .filter(|event| event["event_type"] == "task_finished")
        .count();
    assert_eq!(finished, 1, "{history:#?}");
    let more = stage.run("probe", json!({})).await;
    assert_eq!(more["status"], "finished", "{more}");
    stage.end(worker).await;
}

/// An orchestrator that knows nothing says so, and the worker introduces itself anew.
#[tokio::test]
async fn python_worker_registers_again_where_it_is_not_known() {
    let mut stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let first = stage.run("probe", json!({})).await;
    assert_eq!(first["status"], "finished", "{first}");
    let registrations = |stage: &Stage| {
        stage
            .relay
            .seen()
            .iter()
            .filter(|one| is_register(one))
            .count()
    };
    assert_eq!(registrations(&stage), 1);
    stage.restart("another").await;
    let second = stage.run("probe", json!({})).await;
    assert_eq!(second["status"], "finished", "{second}");
    assert!(registrations(&stage) > 1, "{:#?}", stage.relay.seen());
    stage.end(worker).await;
}

/// It finishes what it has, takes nothing more, and leaves.
#[tokio::test]
async fn python_worker_leaves_in_good_order() {
    let stage = Stage::new().await;
    let worker = stage.worker(ID, &[]);
    let held = stage.hold("gate").await;
    worker.signal("TERM").await;
    let farewell = |seen: &Seen| is_beat(seen) && seen.body["status"] == "offline";
    stage.relay.wait("farewell", farewell).await;
    let left_over = stage.submit("probe", json!({})).await;
    stage.site.write("gate", "");
    let end = stage.outcome(&held).await;
    assert_eq!(end["status"], "finished", "{end}");
    let events = stage.history(&held).await;
    let by: Vec<_> = events
        .iter()
        .filter(|event| event["event_type"] == "task_finished")
        .map(|event| &event["worker_id"])
        .collect();
    assert_eq!(by, [ID]);
    worker.ended().await.with(0);

    let heir = stage.worker("python-2", &[]);
    let end = stage.outcome(&left_over).await;
    assert_eq!(end["status"], "finished", "{end}");
    let events = stage.history(&left_over).await;
    let taken_by_first = events.iter().any(|event| event["worker_id"] == ID);
    assert!(!taken_by_first, "{events:#?}");
    stage.end(heir).await;
}
