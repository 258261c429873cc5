//! `dev`: everything in one process on an embedded store, nothing else needed.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::exit::{Exit, Failure, RoleResult};
use super::stack::{CLIENT_TOKEN, SCHEDULES, Stack, StackOptions};
use super::worker::Profile;

/// What `dev` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika dev                                   a free port, a folder that goes with it
  avtomatika dev --port 8080 --data-dir ./data     jobs stay from one run to the next
  avtomatika dev --blueprints ./blueprints         your own, read again when a file changes")]
pub struct Args {
    /// Port of the API; a free one when not given
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// Where jobs and files are kept; a temporary folder when not given
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of blueprint files; `./blueprints` when there is one, else the program's own
    #[arg(long, value_name = "DIR")]
    pub blueprints: Option<PathBuf>,
    /// Divide the time that simulated work takes
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
}

/// Runs the role until it is told to stop.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    let folder = DataFolder::new(args.data_dir)?;
    let standard = Path::new("blueprints");
    let options = StackOptions {
        port: args.port,
        data_dir: folder.path().to_owned(),
        redis: None,
        uses_environment: true,
        lease_seconds: 5,
        schedules: SCHEDULES.to_owned(),
        more_workers: String::new(),
        blueprints: args
            .blueprints
            .or_else(|| standard.is_dir().then(|| standard.to_owned())),
    };
    let stack = Stack::start(options, context)
        .await
        .map_err(super::orchestrator::not_started)?;
    let workers = standard_workers(&stack, args.speed);
    let url = stack.orchestrator.url();
    context.printer.note(&format!(
        "avtomatika is ready; Ctrl-C stops it
  API           {url}/api/v1   (token {CLIENT_TOKEN})
  API to try    {url}/_public/docs   (as data: /_public/openapi.json)
  webhooks      {sink}   (what was received)
  data          {data}
Next, in another terminal:
  export AVTOMATIKA_URL={url} CLIENT_TOKEN={CLIENT_TOKEN}
  avtomatika submit full_showcase --set quality=high",
        sink = stack.sink_url,
        data = folder.path().display(),
    ));
    context.stop.cancelled().await;
    context.printer.note("stopping");
    futures::future::join_all(workers.into_iter().map(super::stack::StackWorker::stop)).await;
    stack.stop().await;
    Ok(Exit::Ok)
}

/// Starts the example's three workers.
pub fn standard_workers(stack: &Stack, speed: f64) -> Vec<super::stack::StackWorker> {
    [
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
        (
            Profile::Flaky,
            "cpu-worker-02",
            "super-secret-cpu-worker-token-2",
        ),
    ]
    .into_iter()
    .map(|(profile, id, token)| stack.worker(profile, id, token, speed))
    .collect()
}

/// The data directory: the user's own, or a temporary one that goes with the process.
pub struct DataFolder {
    path: PathBuf,
    temporary: bool,
}

impl DataFolder {
    /// Takes the user's directory, or makes a temporary one.
    pub fn new(given: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self {
                path,
                temporary: false,
            });
        }
        let mut random = [0_u8; 8];
        crate::base::Entropy::fill(&crate::base::SystemEntropy, &mut random);
        let name = format!("avtomatika-{}", crate::base::crypto::hex(&random));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| {
            Failure::internal(format!("cannot create {}: {error}", path.display()))
                .hint("name another place by --data-dir")
        })?;
        Ok(Self {
            path,
            temporary: true,
        })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed is the system's to clean up: it lies in the temporary folder.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
