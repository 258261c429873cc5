//! An orchestrator of ours, the relay to it, and the original's worker.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{PATIENCE, Process};
use crate::python::Environment;
use crate::relay::{Relay, Seen};
use crate::site::{CLIENT, Server, Site, WORKER};

const PROBE: &str = "blueprint: probe
version: v1
endpoint: /jobs/probe
start: work
states:
  work:
    dispatch:
      skill: probe
      params:
        act: \"{{ initial_data.act | default('echo') }}\"
        code: \"{{ initial_data.code | default('') }}\"
        gate: \"{{ initial_data.gate | default('') }}\"
      retry: { max_attempts: 2, backoff: { initial: 10ms, factor: 1, max: 10ms, jitter: 0 } }
    on: { success: done, needs_review: reviewed }
  done: { end: finished, result: \"{{ state_history }}\" }
  reviewed: { end: failed, error: \"looked at {{ state_history.looked_at }}\" }
";

/// The worker's id.
pub(crate) const ID: &str = "python-1";

/// Makes a blueprint of one task whose parameters are the job's input.
fn single(skill: &str, params: &str) -> String {
    format!(
        "blueprint: {skill}
version: v1
endpoint: /jobs/{skill}
start: work
states:
  work:
    dispatch: {{ skill: {skill}, params: {params} }}
    on: {{ success: done }}
  done: {{ end: finished, result: \"{{{{ state_history }}}}\" }}
"
    )
}

/// An orchestrator, and the way to it that workers take.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) server: Server,
    pub(crate) relay: Relay,
}

impl Stage {
    /// Starts an orchestrator and the relay to it.
    pub(crate) async fn new() -> Self {
        Self::told(&[]).await
    }

    /// The same, with settings of the orchestrator's.
    pub(crate) async fn told(settings: &[(&str, &str)]) -> Self {
        let strict =
            "{ n: \"{{ initial_data.n }}\", cheat: \"{{ initial_data.cheat | default(false) }}\" }";
        let site = Site::new(&[
            ("probe.yaml", PROBE),
            ("learned.yaml", &single("learned", "{}")),
            ("unready.yaml", &single("unready", "{}")),
            ("strict.yaml", &single("strict", strict)),
            (
                "process_blobs.yaml",
                &single(
                    "process_blobs",
                    "{ content: \"{{ initial_data.content }}\" }",
                ),
            ),
        ]);
        // Operators see all of a worker's record.
        let client = format!("[someone]\ntoken = \"{CLIENT}\"\nadmin = true\n");
        site.write("clients.toml", &client);
        let server = Self::serve(&site, "data", settings).await;
        let relay = Relay::start(server.port()).await;
        Self {
            site,
            server,
            relay,
        }
    }

    async fn serve(site: &Site, data: &str, settings: &[(&str, &str)]) -> Server {
        let mut command = site.orchestrator(0);
        command
            .env("DATA_DIR", site.path(data))
            // The worker fails on purpose, again and again.
            .env("REPUTATION_MIN_THRESHOLD", "0")
            .envs(settings.iter().copied());
        Server::start(command).await
    }

    /// Replaces the orchestrator by another that has its store in `data`.
    pub(crate) async fn restart(&mut self, data: &str) {
        let next = Self::serve(&self.site, data, &[]).await;
        let last = std::mem::replace(&mut self.server, next);
        self.relay.turn_to(self.server.port());
        last.process.stop().await.with(0);
    }

    /// Kills the orchestrator, lets the held task end, and starts the orchestrator again.
    pub(crate) async fn crash(self) -> Self {
        let Self {
            site,
            server,
            relay,
        } = self;
        server.process.signal("KILL").await;
        server.process.ended().await;
        site.write("gate", "");
        let server = Self::serve(&site, "data", &[]).await;
        relay.turn_to(server.port());
        Self {
            site,
            server,
            relay,
        }
    }

    /// Starts the original's worker, told to be quick.
    pub(crate) fn worker(&self, id: &str, settings: &[(&str, &str)]) -> Process {
        let mut command = Environment::Worker.script("worker.py", self.site.folder());
        command
            .env("ORCHESTRATOR_URL", &self.relay.url)
            .env("WORKER_ID", id)
            .env("WORKER_TOKEN", WORKER)
            .env("ORCHESTRATOR_SECRET_KEY", crate::site::SECRET)
            .env("TASK_FILES_DIR", self.site.path("payloads"))
            .env("HEARTBEAT_INTERVAL", "0.2")
            .env("WORKER_HEARTBEAT_COOLDOWN", "0.05")
            .env("IDLE_POLL_DELAY", "0.01")
            .env("POLL_BACKOFF_INITIAL", "0.1")
            .env("POLL_BACKOFF_MAX", "0.3")
            .env("RESULT_RETRY_INITIAL_DELAY", "0.2")
            .env("REGISTRATION_RETRY_INITIAL_DELAY", "0.1")
            .env("REGISTRATION_RETRY_MAX_DELAY", "0.3")
            .envs(settings.iter().copied());
        Process::start(command)
    }

    /// Starts a job.
    pub(crate) async fn submit(&self, blueprint: &str, input: Value) -> String {
        let body = json!({ "initial_data": input });
        let created = self.server.post(&format!("/jobs/{blueprint}"), &body).await;
        created["job_id"].as_str().expect("an id").to_owned()
    }

    /// Starts a job and waits for its end.
    pub(crate) async fn run(&self, blueprint: &str, input: Value) -> Value {
        let job = self.submit(blueprint, input).await;
        self.outcome(&job).await
    }

    /// Starts a job whose task waits for a file, and waits until a worker has it.
    pub(crate) async fn hold(&self, gate: &str) -> String {
        let gate = self.site.path(gate);
        let job = self
            .submit("probe", json!({ "act": "hold", "gate": gate }))
            .await;
        self.event(&job, |event| event["event_type"] == "worker_event:progress")
            .await;
        job
    }

    /// Waits for a job's end; tells what has happened so far when there is none.
    pub(crate) async fn outcome(&self, job: &str) -> Value {
        let end = tokio::time::timeout(PATIENCE, self.server.outcome(job)).await;
        if let Ok(end) = end {
            return end;
        }
        let why = self.site.ask(&self.server, &["jobs", "explain", job]).await;
        panic!("no end of {job}: {why:?}\n{:#?}", self.history(job).await);
    }

    /// Waits for an event of a job's.
    pub(crate) async fn event(&self, job: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let event = tokio::time::timeout(PATIENCE, self.next_event(job, fits)).await;
        if let Ok(event) = event {
            return event;
        }
        panic!("no such event of {job}: {:#?}", self.history(job).await);
    }

    async fn next_event(&self, job: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut events = self.server.events(job).await;
        while let Some(event) = events.next().await {
            let event = event.expect("the stream goes on");
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            if fits(&data) {
                return data;
            }
        }
        panic!("the job ended without the event");
    }

    /// Returns a job's history.
    pub(crate) async fn history(&self, job: &str) -> Vec<Value> {
        let history = ["jobs", "history", job, "-o", "json"];
        let history = self.site.ask(&self.server, &history).await.with(0).json();
        history.as_array().expect("a list").clone()
    }

    /// Returns what the orchestrator knows of a worker.
    pub(crate) async fn record(&self, worker: &str) -> Value {
        let show = ["workers", "show", worker, "-o", "json"];
        self.site.ask(&self.server, &show).await.with(0).json()
    }

    /// Waits until the orchestrator says something of a worker.
    pub(crate) async fn knows(&self, worker: &str, member: &str, value: &Value) {
        let known = async {
            while self.record(worker).await[member] != *value {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let known = tokio::time::timeout(PATIENCE, known).await;
        assert!(
            known.is_ok(),
            "{member} is not {value}: {}",
            self.record(worker).await
        );
    }

    /// Stops everything in good order.
    pub(crate) async fn end(self, worker: Process) {
        worker.stop().await.with(0);
        self.server.process.stop().await.with(0);
    }
}

/// Tells whether it is a registration.
pub(crate) fn is_register(seen: &Seen) -> bool {
    seen.line == "POST /_worker/workers/register"
}

/// Tells whether it is a heartbeat.
pub(crate) fn is_beat(seen: &Seen) -> bool {
    seen.line == format!("PATCH /_worker/workers/{ID}")
}

/// Tells whether it is a poll.
pub(crate) fn is_poll(seen: &Seen) -> bool {
    seen.line == format!("GET /_worker/workers/{ID}/tasks/next")
}

/// Waits for another so many heartbeats that fit.
pub(crate) async fn beats(relay: &Relay, more: usize, fits: impl Fn(&Seen) -> bool) {
    let count = || {
        relay
            .seen()
            .iter()
            .filter(|one| is_beat(one) && fits(one))
            .count()
    };
    let wanted = count() + more;
    let come = async {
        while count() < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let come = tokio::time::timeout(PATIENCE, come).await;
    assert!(come.is_ok(), "too few heartbeats: {:#?}", relay.seen());
}

/// Tells whether a heartbeat leaves out what the worker can do.
pub(crate) fn is_compact(seen: &Seen) -> bool {
    seen.body["supported_skills"].is_null()
}
