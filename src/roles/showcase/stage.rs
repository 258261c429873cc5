//! The stage: a stack with its workers, and a client that plays on it over HTTP.

use std::path::Path;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use crate::base::crypto;
use crate::roles::context::Context;
use crate::roles::exit::Failure;
use crate::roles::printer::Printer;
use crate::roles::remote::{Remote, RemoteArgs};
use crate::roles::stack::{CLIENT_TOKEN, Stack, StackOptions, StackWorker};
use crate::roles::worker::Profile;

/// Maintenance every few seconds, so that nobody has to wait a minute for it.
const SCHEDULES: &str = "[maintenance_task]
blueprint = \"periodic_maintenance\"
interval_seconds = 3
";
/// How long a dead worker keeps its tasks, in seconds.
pub(super) const LEASE_SECONDS: u64 = 3;
/// The worker that is killed in the middle of its work.
pub(super) const DOOMED: &str = "gpu-worker-02";

/// Everything that a scenario plays with.
pub(super) struct Stage {
    /// Orchestrator, sink.
    pub stack: Stack,
    /// The client's way in.
    pub remote: Remote,
    /// Bars are drawn on it.
    pub printer: Printer,
    /// Cancelled when the user wants to stop.
    pub stop: CancellationToken,
    /// Token of the worker that is killed.
    pub doomed_token: String,
    /// Divides the time that simulated work takes.
    pub speed: f64,
    /// Every job that was started with a webhook.
    pub jobs: Mutex<Vec<String>>,
    workers: Vec<StackWorker>,
}

impl Stage {
    /// Builds it in an empty folder.
    pub async fn build(context: &Context, folder: &Path, speed: f64) -> anyhow::Result<Self> {
        let doomed_token = context.entropy.token();
        let options = StackOptions {
            port: 0,
            data_dir: folder.to_owned(),
            uses_environment: false,
            lease_seconds: LEASE_SECONDS,
            schedules: SCHEDULES.to_owned(),
            more_workers: format!("[\"{DOOMED}\"]\ntoken = \"{doomed_token}\"\n"),
            blueprints: None,
        };
        let stack = Stack::start(options, context).await?;
        let remote = Remote::new(&RemoteArgs {
            url: stack.orchestrator.url(),
            token: Some(CLIENT_TOKEN.to_owned()),
            prefix: "api".to_owned(),
            api_version: "v1".to_owned(),
        })
        .map_err(|failure: Failure| anyhow::anyhow!(failure.to_string()))?;
        let workers = vec![
            stack.worker(
                Profile::Gpu,
                "gpu-worker-01",
                "super-secret-gpu-worker-token",
                speed,
            ),
            stack.worker(
                Profile::Cpu,
                "cpu-worker-01",
                "super-secret-cpu-worker-token",
                speed,
            ),
        ];
        Ok(Self {
            stack,
            remote,
            printer: context.printer.clone(),
            stop: context.stop.clone(),
            doomed_token,
            speed,
            jobs: Mutex::default(),
            workers,
        })
    }

    /// Returns the API's address.
    pub fn url(&self) -> String {
        self.stack.orchestrator.url()
    }

    /// Starts the worker that fails at half of its analyses.
    pub fn flaky(&self) -> StackWorker {
        self.stack.worker(
            Profile::Flaky,
            "cpu-worker-02",
            "super-secret-cpu-worker-token-2",
            self.speed,
        )
    }

    /// Returns a fresh idempotency key.
    pub fn key(&self) -> String {
        let entropy = self.stack.orchestrator.runtime().entropy();
        let mut random = [0_u8; 8];
        entropy.fill(&mut random);
        format!("showcase-{}", crypto::hex(&random))
    }

    /// Takes everything down.
    pub async fn strike(self) {
        futures::future::join_all(self.workers.into_iter().map(StackWorker::stop)).await;
        self.stack.stop().await;
    }
}
