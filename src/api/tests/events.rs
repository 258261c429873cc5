//! The event stream: replay, live, resume, end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::fixture::{ALICE, Api, SECRET, WORKER, request};
use crate::api::ApiSettings;
use crate::base::Secret;
use crate::store::memory::MemoryStore;

/// A reader of a stream.
struct Reader {
    body: Body,
    text: String,
}

/// One event: id, name, data.
type Line = (String, String, Value);

impl Reader {
    async fn open(api: &Api, job: &str, after: Option<&str>) -> Self {
        let after = after
            .map(|id| format!("\nLast-Event-ID: {id}"))
            .unwrap_or_default();
        let text = format!("GET /api/v1/jobs/{job}/events\nX-Client-Token: {ALICE}{after}");
        let response = api.call(request(&text)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// Returns the next event; nothing when the stream is over.
    async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.starts_with(':') {
                    continue;
                }
                return Some(line_of(&block));
            }
            let frame = self.body.frame().await?.expect("an open stream");
            let bytes = frame.into_data().expect("data");
            self.text
                .push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }

    /// Returns what is there; after it the reader waits.
    async fn history(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(1), self.next());
            next.await.ok()
        };
        while let Some(line) = next().await {
            lines.push(line.expect("an open stream"));
        }
        lines
    }

    async fn rest(mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

fn line_of(block: &str) -> Line {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        block
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_default()
            .to_owned()
    };
    let data = serde_json::from_str(&field("data")).expect("JSON");
    (field("id"), field("event"), data)
}

async fn finish(api: &Api) {
    let task = api.poll(WORKER).await.expect("a task");
    let event = api.sealed(
        WORKER,
        json!({
            "event_id": "e-1", "origin_worker_id": WORKER.0, "event_type": "progress",
            "payload": {"progress": 0.5, "message": "half"}, "target_job_id": task["job_id"],
            "target_task_id": task["task_id"],
        }),
    );
    assert_eq!(
        api.tell(WORKER, "POST /_worker/events", &event)
            .await
            .status,
        200
    );
    api.report(WORKER, &task, json!({"data": {"answer": 1}}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_then_what_comes_then_the_end() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let mut reader = Reader::open(&api, &job, None).await;
    let (_, name, first) = reader.next().await.expect("the history");
    assert_eq!(
        (name.as_str(), &first["event_type"]),
        ("state", &json!("job_created"))
    );
    finish(&api).await;
    let lines = reader.rest().await;
    let (_, name, end) = lines.last().expect("an end");
    assert_eq!((name.as_str(), &end["status"]), ("end", &json!("finished")));
    assert_eq!(end["result"], json!({"answer": 1}));
    let progress: Vec<&Line> = lines
        .iter()
        .filter(|(_, name, _)| name == "progress")
        .collect();
    assert_eq!(progress.len(), 1);
    assert_eq!(progress[0].2["details"]["progress"], 0.5);
    assert!(lines.iter().any(|(_, name, _)| name == "task"));
    let live: Vec<&String> = lines.iter().map(|(id, ..)| id).collect();
    let mut distinct = live.clone();
    distinct.dedup();
    assert_eq!(live, distinct, "nothing twice");
    let history = api
        .get(ALICE, &format!("/api/v1/jobs/{job}/history"))
        .await
        .json();
    assert_eq!(
        history.as_array().map(Vec::len),
        Some(lines.len() + 1),
        "nothing missed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_goes_on_where_it_was() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    finish(&api).await;
    let all = Reader::open(&api, &job, None).await.rest().await;
    for (index, (id, ..)) in all.iter().enumerate().take(all.len() - 1) {
        let rest = Reader::open(&api, &job, Some(id)).await.rest().await;
        assert_eq!(rest, all[index + 1..]);
    }
    let (last, ..) = all.last().expect("an end");
    let after_all = Reader::open(&api, &job, Some(last)).await.rest().await;
    assert_eq!(after_all.len(), 1, "the end is told again");
    assert_eq!(after_all[0].1, "end");
}

#[tokio::test(start_paused = true)]
async fn a_retried_job_has_not_ended() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/fragile", &json!({})).await;
    let task = api.poll(WORKER).await.expect("a task");
    let error = json!({"code": "PERMANENT_ERROR", "message": "no"});
    api.report(WORKER, &task, json!({"status": "failure", "error": error}))
        .await;
    api.pass(1000);
    assert_eq!(
        api.post(ALICE, &format!("/api/v1/jobs/{job}/retry"), &json!({}))
            .await
            .status,
        202
    );
    let reader = Reader::open(&api, &job, None).await;
    let task = api.poll(WORKER).await.expect("a task again");
    api.report(WORKER, &task, json!({"data": {}})).await;
    let lines = reader.rest().await;
    let ends: Vec<&Line> = lines.iter().filter(|(_, name, _)| name == "end").collect();
    assert_eq!(ends.len(), 1, "{lines:?}");
    assert_eq!(ends[0].2["status"], "finished");
}

/// The page is empty when it is read; before the job is looked at, the job has ended.
#[tokio::test(start_paused = true)]
async fn a_job_that_ends_between_replay_and_live_is_shown_whole() {
    let api = Api::start().await;
    api.register(WORKER).await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let reader = Reader::open(&api, &job, None).await;
    api.history.arm();
    let meanwhile = async {
        api.history.reached.notified().await;
        finish(&api).await;
        api.history.open.notify_one();
    };
    let (lines, ()) = tokio::join!(reader.rest(), meanwhile);
    let path = format!("/api/v1/jobs/{job}/history");
    let history = api.get(ALICE, &path).await.json();
    assert_eq!(history.as_array().map(Vec::len), Some(lines.len()));
    let (id, name, _) = lines.last().expect("an end");
    assert_eq!(name, "end");
    assert!(!id.is_empty(), "the end is the event itself");
}

/// Two on one store, of which neither hears what the other does, as when its word is lost.
async fn two() -> [Api; 2] {
    let store = Arc::new(MemoryStore::new());
    let settings = || ApiSettings {
        task_secret: Secret::from(SECRET),
        rate_limits: None,
        ..ApiSettings::default()
    };
    let first = Api::over(settings(), Arc::clone(&store), None).await;
    let second = Api::over(settings(), store, None).await;
    first.register(WORKER).await;
    second.register(WORKER).await;
    [first, second]
}

#[tokio::test(start_paused = true)]
async fn what_nobody_tells_of_is_found() {
    let [api, other] = two().await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let mut reader = Reader::open(&api, &job, None).await;
    assert!(!reader.history().await.is_empty());
    let task = api.poll(WORKER).await.expect("a task");
    other
        .report(WORKER, &task, json!({"data": {"answer": 1}}))
        .await;
    let rest = tokio::time::timeout(Duration::from_mins(1), reader.rest()).await;
    let lines = rest.expect("within a minute of the clock, which stands still");
    let (_, name, end) = lines.last().expect("an end");
    assert_eq!((name.as_str(), &end["status"]), ("end", &json!("finished")));
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_hide_those_before_it() {
    let [api, other] = two().await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let mut reader = Reader::open(&api, &job, None).await;
    let first = reader.history().await;
    let task = api.poll(WORKER).await.expect("a task");
    let progress = other.sealed(
        WORKER,
        json!({
            "event_id": "e-1", "origin_worker_id": WORKER.0, "event_type": "progress",
            "payload": {"progress": 0.5}, "target_job_id": job, "target_task_id": task["task_id"],
        }),
    );
    let told = other.tell(WORKER, "POST /_worker/events", &progress).await;
    assert_eq!(told.status, 200);
    api.report(WORKER, &task, json!({"data": {}})).await;
    let lines = [first, reader.rest().await].concat();
    assert!(lines.iter().any(|(_, name, _)| name == "progress"));
    let path = format!("/api/v1/jobs/{job}/history");
    let history = api.get(ALICE, &path).await.json();
    assert_eq!(history.as_array().map(Vec::len), Some(lines.len()));
}
