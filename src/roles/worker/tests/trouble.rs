//! When skills or orchestrators misbehave.

use std::collections::BTreeSet;

use serde_json::json;

use super::stub::{self, Seen, Stub};
use super::*;

#[tokio::test]
async fn bad_tasks_are_reported_and_the_worker_lives_on() {
    let stub = Stub::start().await;
    let worker = start(config(&[&stub.url]));
    let task = |id: &str, more: Value| {
        let mut task = json!({"job_id": "job-1", "task_id": id, "type": "echo"});
        task.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        task
    };
    stub.give(json!({"nonsense": 1}));
    for (id, more, code) in [
        (
            "t-panic",
            json!({"params": {"do": "panic"}}),
            "INTERNAL_ERROR",
        ),
        ("t-unknown", json!({"type": "fly"}), "TRANSIENT_ERROR"),
        (
            "t-policy",
            json!({"policy": {"allowed_skills": ["other"]}}),
            "SECURITY_ERROR",
        ),
        ("t-typed", json!({"step": 1.5}), "INVALID_INPUT_ERROR"),
        (
            "t-late",
            json!({"params": {"do": "wait"}, "deadline": 1000.5}),
            "TIMEOUT_ERROR",
        ),
        (
            "t-number",
            json!({"params": {"do": "huge number"}}),
            "CONTRACT_VIOLATION_ERROR",
        ),
    ] {
        stub.give(task(id, more));
        let result = stub.result_of(id).await;
        assert_eq!(result["error"]["code"], code, "{id}: {result}");
        assert_eq!(result["status"], "failure", "{id}");
    }
    stub.give(task("t-review", json!({"params": {"do": "review"}})));
    let result = stub.result_of("t-review").await;
    assert_eq!(
        (&result["status"], &result["data"]),
        (&json!("needs_review"), &json!({}))
    );
    worker.stop().await;
}

/// Takes a number and promises a text, but gives the number back.
struct Lying;

#[async_trait]
impl Skill for Lying {
    fn info(&self) -> SkillInfo {
        let with = |kind: &str| {
            let n = json!({"type": kind});
            json!({"type": "object", "properties": {"n": n}, "required": ["n"]})
        };
        SkillInfo {
            output_schema: with("string").as_object().cloned(),
            ..describe("lying", "Breaks its promise.", &with("integer"))
        }
    }

    async fn run(&self, _: &TaskContext, params: &Object) -> Outcome {
        Outcome::success(params.clone())
    }
}

#[tokio::test]
async fn parameters_and_data_are_held_against_the_skills_schemas() {
    let stub = Stub::start().await;
    let mut config = config(&[&stub.url]);
    config.skills.add(Arc::new(Lying));
    let worker = start(config);
    for (id, params, code, part) in [
        ("t-1", json!({"n": "1"}), "INVALID_INPUT_ERROR", "/n: "),
        ("t-2", json!({}), "INVALID_INPUT_ERROR", "required"),
        ("t-3", json!({"n": 1}), "CONTRACT_VIOLATION_ERROR", "/n: "),
    ] {
        stub.give(json!({"job_id": "j", "task_id": id, "type": "lying", "params": params}));
        let result = stub.result_of(id).await;
        assert_eq!(result["error"]["code"], code, "{result}");
        let message = result["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
        assert!(result.get("data").is_none());
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_does_not_start_with_a_skill_whose_schema_is_none() {
    struct Broken;
    #[async_trait]
    impl Skill for Broken {
        fn info(&self) -> SkillInfo {
            describe("broken", "Never runs.", &json!({"type": "objct"}))
        }
        async fn run(&self, _: &TaskContext, _: &Object) -> Outcome {
            Outcome::cancelled()
        }
    }
    let mut config = config(&["http://127.0.0.1:9"]);
    config.skills.add(Arc::new(Broken));
    let error = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(
        error.to_string().contains("`broken`: its input_schema"),
        "{error}"
    );
}

#[tokio::test]
async fn registration_is_tried_until_it_works() {
    let stub = Stub::start().await;
    stub.reply(
        "register",
        [
            (503, json!({})),
            (429, json!({"retry-after": "0.01"})),
            (500, json!({})),
        ],
    );
    let worker = start(config(&[&stub.url]));
    stub.until("beat", |_| true).await;
    assert_eq!(stub.seen("register").len(), 4);
    worker.stop().await;
}

#[tokio::test]
async fn a_forgotten_worker_registers_again_and_an_incomplete_one_sends_its_skills() {
    let stub = Stub::start().await;
    stub.reply(
        "beat",
        [
            (200, json!({"status": "ok", "require_full_sync": true})),
            (404, json!({"error": "Worker not found"})),
            (403, json!({"error": "Unauthorized: no"})),
        ],
    );
    let worker = start(config(&[&stub.url]));
    let full = stub
        .until("beat", |seen| seen.body.get("supported_skills").is_some())
        .await
        .body;
    assert_eq!(full["supported_skills"][0]["name"], "echo");
    let registrations = async {
        while stub.seen("register").len() < 3 {
            let known = stub.seen("beat").len();
            stub.until("beat", |_| stub.seen("beat").len() > known)
                .await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), registrations)
        .await
        .expect("three of them");
    worker.stop().await;
}

#[tokio::test]
async fn results_are_signed_anew_for_each_attempt() {
    let stub = Stub::start().await;
    stub.reply(
        "result",
        [
            (500, json!({})),
            (403, json!({"error": "replay"})),
            (200, json!("?")),
        ],
    );
    let worker = start(config(&[&stub.url]));
    stub.give(json!({"job_id": "job-1", "task_id": "t-1", "type": "echo"}));
    stub.until("result", |_| stub.seen("result").len() == 3)
        .await;
    worker.stop().await;
    let signatures: BTreeSet<String> = stub
        .seen("result")
        .into_iter()
        .map(|seen| seen.body["security"]["signature"].to_string())
        .collect();
    assert_eq!(signatures.len(), 3);
}

/// As an orchestrator answers whose store is away, and a proxy whose orchestrator is.
#[tokio::test]
async fn a_result_outlasts_the_outage_of_what_is_behind_the_address() {
    let stub = Stub::start().await;
    let answers = [503, 502, 504, 503].map(|code| (code, json!({})));
    stub.reply("result", answers);
    let mut config = config(&[&stub.url]);
    config.timing.result_attempts = 2;
    let worker = start(config);
    let far = 4_000_000_000_u32;
    stub.give(json!({"job_id": "job-1", "task_id": "t-1", "type": "echo", "deadline": far}));
    stub.until("result", |_| stub.seen("result").len() == 5)
        .await;
    worker.stop().await;
}

#[test]
fn a_wish_to_be_asked_at_once_is_no_busy_loop() {
    let ms = Duration::from_millis;
    for (code, wish, expected) in [
        (429, None, ms(30_000)),
        (429, Some(ms(0)), ms(100)),
        (429, Some(ms(70_000)), ms(70_000)),
        (503, None, ms(1_000)),
        (503, Some(ms(0)), ms(1_000)),
        (503, Some(ms(2_000)), ms(2_000)),
    ] {
        let error = crate::net::NetError::Status {
            code,
            body: Vec::new(),
            retry_after: wish,
        };
        let pause = link::pause_after(&error, ms(1_000), ms(30_000));
        assert_eq!(pause, expected, "{code} {wish:?}");
    }
}

#[tokio::test]
async fn a_result_that_is_too_large_becomes_a_failure() {
    let stub = Stub::start().await;
    stub.reply("result", [(413, json!({"error": "too large"}))]);
    let worker = start(config(&[&stub.url]));
    stub.give(json!({"job_id": "job-1", "task_id": "t-1", "type": "echo", "params": {"a": 1}}));
    let failure = stub
        .until("result", |seen| seen.body.get("error").is_some())
        .await
        .body;
    assert_eq!(failure["error"]["code"], "LIMIT_EXCEEDED_ERROR");
    assert!(failure.get("data").is_none());
    worker.stop().await;
}

#[tokio::test]
async fn expired_tokens_are_renewed_and_signatures_keep_the_static_key() {
    let stub = Stub::start().await;
    let tokens = |access: &str, refresh: &str| json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600, "worker_id": "w-1"});
    stub.reply("token", [(200, tokens("a-1", "r-1"))]);
    stub.reply("refresh", [(200, tokens("a-2", "r-2"))]);
    stub.reply(
        "beat",
        [(401, json!({})), (200, json!({})), (401, json!({}))],
    );
    let worker = start(config(&[&stub.url]));
    // The stub checks every signature against the static key.
    stub.until("beat", |seen| seen.token == "a-2").await;
    assert_eq!(stub.seen("token")[0].token, KEY);
    assert_eq!(
        stub.seen("refresh")[0].body,
        json!({"refresh_token": "r-1"})
    );
    assert_eq!(
        stub.seen("register").len(),
        1,
        "a renewed token needs no new registration"
    );
    worker.stop().await;
}

#[tokio::test]
async fn polls_respect_the_orchestrators_wish_to_be_left_alone() {
    let stub = Stub::start().await;
    stub.reply(
        "poll",
        [
            (429, json!({"retry-after": "0.05"})),
            (500, json!({})),
            (429, json!({})),
        ],
    );
    let worker = start(config(&[&stub.url]));
    stub.until("poll", |_| true).await;
    let refused_at = tokio::time::Instant::now();
    stub.until("poll", |_| stub.seen("poll").len() == 2).await;
    assert!(refused_at.elapsed() >= Duration::from_millis(45));
    stub.give(json!({"job_id": "job-1", "task_id": "t-1", "type": "echo"}));
    stub.result_of("t-1").await;
    worker.stop().await;
}

#[tokio::test]
async fn after_an_outage_the_worker_registers_again() {
    let stub = Stub::start().await;
    stub.reply("beat", [(200, json!({})), (stub::BROKEN, json!({}))]);
    let worker = start(config(&[&stub.url]));
    stub.until("register", |_| stub.seen("register").len() == 2)
        .await;
    worker.stop().await;
}

#[tokio::test]
async fn the_next_poll_names_those_that_brought_no_answer() {
    let stub = Stub::start().await;
    let broken = |status| (status, json!({}));
    let answers = [stub::BROKEN, 502, 403, 204, 204, 204];
    stub.reply("poll", answers.map(broken));
    let mut config = config(&[&stub.url]);
    config.timing.poll_backoff_max = config.timing.poll_backoff;
    let worker = start(config);
    let polls = async {
        stub.give(json!({"job_id": "j", "task_id": "t", "type": "echo"}));
        stub.result_of("t").await;
        stub.seen("poll")
    };
    let polls = polls.await;
    let part = |seen: &Seen, name: &str| -> Option<String> {
        let parts = seen.body.as_str().expect("a query").split('&');
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        pairs
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.to_owned())
    };
    let own = |index: usize| part(&polls[index], "lease_id").expect("each has one");
    let lost = |index: usize| part(&polls[index], "lost_lease_ids");
    assert_eq!(lost(0), None);
    assert_eq!(lost(1), Some(own(0)), "the connection broke");
    let both = format!("{},{}", own(0), own(1));
    assert_eq!(lost(2), Some(both.clone()), "a proxy lost the orchestrator");
    for answered in 3..6 {
        // An orchestrator that stops answers as well.
        assert_eq!(lost(answered), Some(both.clone()), "after {answered} polls");
    }
    assert_eq!(lost(6), None, "three were answered");
    worker.stop().await;
}

#[tokio::test]
async fn what_one_orchestrator_lost_the_others_are_told() {
    let (first, second) = (Stub::start().await, Stub::start().await);
    first.reply("poll", [(stub::BROKEN, json!({}))]);
    let worker = start(config(&[&first.url, &second.url]));
    let names = |seen: &Seen, name: &str| seen.body.as_str().is_some_and(|q| q.contains(name));
    let lost = first.until("poll", |_| true).await;
    let query = lost.body.as_str().expect("a query");
    let (_, id) = query.split_once("&lease_id=").expect("each has one");
    let told = format!("&lost_lease_ids={id}");
    second.until("poll", |seen| names(seen, &told)).await;
    worker.stop().await;
}
