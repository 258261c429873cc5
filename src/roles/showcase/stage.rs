//! The stage: a stack with its workers, and a client that plays on it over HTTP.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cast::{Actor, ActorProcess, Guest, Role};
use crate::base::{WorkerId, crypto};
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure};
use crate::roles::orchestrator::not_started;
use crate::roles::printer::Printer;
use crate::roles::remote::{Remote, RemoteArgs, TrustArgs};
use crate::roles::stack::{CLIENT_TOKEN, Stack, StackOptions};
use crate::roles::worker::Profile;
use crate::runtime::Runtime;

/// Maintenance every few seconds, so that nobody has to wait a minute for it.
const SCHEDULES: &str = "[maintenance_task]
blueprint = \"periodic_maintenance\"
interval_seconds = 3
";
/// How long a dead worker keeps its tasks, in seconds.
pub(super) const LEASE_SECONDS: u64 = 3;
/// The worker that is killed in the middle of its work.
pub(super) const DOOMED: &str = "gpu-worker-02";
/// The unreliable worker.
pub(super) const FLAKY: &str = "cpu-worker-02";
/// Slow enough to be caught at work.
const DOOMED_SPEED: f64 = 0.2;
/// Between two looks for a worker.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The longest that a worker may take to register.
const ARRIVAL_MAX: Duration = Duration::from_mins(1);

/// What the user says of the stage.
pub(super) struct Props {
    /// Divides the time that simulated work takes.
    pub speed: f64,
    /// Commands that play the parts of profiles.
    pub guests: Vec<Guest>,
    /// Redis server that keeps the jobs, and what its keys begin with.
    pub redis: Option<(String, String)>,
}

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
    /// Every job that was started with a webhook.
    pub jobs: Mutex<Vec<String>>,
    /// Token of the worker that is killed.
    doomed_token: String,
    speed: f64,
    guests: Vec<Guest>,
    workers: Vec<Actor>,
}

impl Stage {
    /// Builds it in an empty folder; the user's commands play the parts of their profiles.
    pub async fn build(context: &Context, folder: &Path, props: Props) -> Result<Self, Failure> {
        let doomed_token = context.entropy.token();
        let options = StackOptions {
            port: 0,
            data_dir: folder.to_owned(),
            redis: props.redis,
            uses_environment: false,
            lease_seconds: LEASE_SECONDS,
            schedules: SCHEDULES.to_owned(),
            more_workers: format!("[\"{DOOMED}\"]\ntoken = \"{doomed_token}\"\n"),
            blueprints: None,
        };
        let stack = Stack::start(options, context).await.map_err(not_started)?;
        let remote = Remote::new(&RemoteArgs {
            url: stack.orchestrator.url(),
            token: Some(CLIENT_TOKEN.to_owned()),
            prefix: "api".to_owned(),
            api_version: "v1".to_owned(),
            trust: TrustArgs::default(),
        })?;
        let mut stage = Self {
            stack,
            remote,
            printer: context.printer.clone(),
            stop: context.stop.clone(),
            doomed_token,
            speed: props.speed,
            jobs: Mutex::default(),
            guests: props.guests,
            workers: Vec::new(),
        };
        if let Err(failure) = stage.enter().await {
            stage.strike().await;
            return Err(failure);
        }
        Ok(stage)
    }

    /// Lets the workers that are there from the beginning come in.
    async fn enter(&mut self) -> Result<(), Failure> {
        let all = [
            (
                Profile::Gpu,
                "gpu-worker-01",
                "super-secret-gpu-worker-token",
            ),
            (
                Profile::Cpu,
                "cpu-worker-01",
                "super-secret-cpu-worker-token",
            ),
        ];
        for (profile, id, token) in all {
            let worker = self.worker(profile, id, token)?;
            self.workers.push(worker);
        }
        for (index, (_, id, _)) in all.into_iter().enumerate() {
            let runtime = self.stack.orchestrator.runtime();
            arrival(runtime, &mut self.workers[index], id, &self.stop).await?;
        }
        Ok(())
    }

    fn worker(&self, profile: Profile, id: &str, token: &str) -> Result<Actor, Failure> {
        let Some(guest) = self.guest(profile) else {
            let worker = self.stack.worker(profile, id, token, self.speed);
            return Ok(Actor::Inside(worker));
        };
        let url = self.url();
        let role = Role {
            id,
            token,
            url: &url,
            profile,
            speed: self.speed,
        };
        Ok(Actor::Process(ActorProcess::start(
            role.guest(&guest.command),
        )?))
    }

    fn guest(&self, profile: Profile) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.profile == profile)
    }

    /// Starts the worker that fails at half of its analyses, and waits for it.
    pub async fn flaky(&self) -> Result<Actor, Failure> {
        let token = "super-secret-cpu-worker-token-2";
        let mut worker = self.worker(Profile::Flaky, FLAKY, token)?;
        let runtime = self.stack.orchestrator.runtime();
        arrival(runtime, &mut worker, FLAKY, &self.stop).await?;
        Ok(worker)
    }

    /// Starts the worker that will be killed, a process in any case, slow enough to be caught at
    /// work; waits for it.
    pub async fn doomed(&self) -> Result<ActorProcess, Failure> {
        let url = self.url();
        let role = Role {
            id: DOOMED,
            token: &self.doomed_token,
            url: &url,
            profile: Profile::Gpu,
            speed: DOOMED_SPEED,
        };
        let command = match self.guest(Profile::Gpu) {
            Some(guest) => role.guest(&guest.command),
            None => role.own()?,
        };
        let mut worker = Actor::Process(ActorProcess::start(command)?);
        let runtime = self.stack.orchestrator.runtime();
        arrival(runtime, &mut worker, DOOMED, &self.stop).await?;
        match worker {
            Actor::Process(process) => Ok(process),
            Actor::Inside(_) => Err(Failure::internal("the worker is no process")),
        }
    }

    /// Returns the API's address.
    pub fn url(&self) -> String {
        self.stack.orchestrator.url()
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
        futures::future::join_all(self.workers.into_iter().map(Actor::stop)).await;
        self.stack.stop().await;
    }
}

/// Waits until a worker has registered, by the only sign that matters: that it is listed.
async fn arrival(
    runtime: &Runtime,
    worker: &mut Actor,
    id: &str,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let known = WorkerId::new(id);
    let listed = async {
        while runtime.worker(&known).is_none() {
            if let Some(end) = worker.left() {
                return Err(Failure::new(
                    Exit::Invalid,
                    format!("worker `{id}` ended before it registered: {end}"),
                ));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    tokio::select! {
        listed = tokio::time::timeout(ARRIVAL_MAX, listed) => listed.unwrap_or_else(|_| {
            let seconds = ARRIVAL_MAX.as_secs();
            Err(Failure::new(Exit::Invalid, format!("worker `{id}` did not register within {seconds} s")))
        }),
        () = stop.cancelled() => Err(Failure::new(Exit::Interrupted, "stopped by the user")),
    }
}
