//! The command line of the worker.

use std::path::PathBuf;

use super::profile::Profile;
use crate::roles::probes::ProbeArgs;

/// Pulls tasks from one or several orchestrators and runs them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  avtomatika worker --profile gpu --id gpu-worker-01 --token super-secret-gpu-worker-token
  avtomatika worker --skill resize='python3 resize.py' --orchestrator http://localhost:8080
  avtomatika worker --skill resize=./resize --skill-schema resize=resize.schema.json
  ORCHESTRATOR_URL=http://orchestrator:8080 avtomatika worker --profile cpu --speed 10

A command skill gets the parameters as JSON on standard input and writes its result as JSON to
standard output. Exit code 0 is success, 75 a failure that may pass, any other a permanent one.
The environment variables of the original's worker are honoured; flags go first.")]
pub struct WorkerArgs {
    /// Demonstration skills, prices and resources [env: WORKER_PROFILE]
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Run an executable as a skill; may be repeated
    #[arg(long = "skill", value_name = "NAME=COMMAND")]
    pub skills: Vec<String>,
    /// Refuse parameters of a command skill that break the JSON Schema in a file; may be repeated
    #[arg(long = "skill-schema", value_name = "NAME=FILE")]
    pub skill_schemas: Vec<String>,
    /// This worker's id [env: WORKER_ID] [default: worker-UUID]
    #[arg(long)]
    pub id: Option<String>,
    /// Read this worker's token from a file, so that it is not in the list of processes
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// This worker's token and signing key [env: WORKER_INDIVIDUAL_TOKEN, WORKER_TOKEN]
    #[arg(long)]
    pub token: Option<String>,
    /// Where the orchestrator is; may be repeated, the first is asked first
    /// [env: ORCHESTRATORS_CONFIG, ORCHESTRATOR_URL] [default: http://localhost:8080]
    #[arg(long = "orchestrator", value_name = "URL")]
    pub orchestrators: Vec<String>,
    /// Tasks at once [env: MAX_CONCURRENT_TASKS] [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub max_tasks: Option<usize>,
    /// Divide the time that simulated work takes [env: WORKER_SPEED] [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub speed: Option<f64>,
    /// Switch chance off: simulated skills fail only when a trigger says so
    #[arg(long)]
    pub deterministic: bool,
    /// Where it tells how it does.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// The same on this port of all addresses, by the original's name [env: WORKER_PORT]
    #[arg(long)]
    pub port: Option<u16>,
}
