//! `bench`: a load generator that plays workers and clients over HTTP, against this orchestrator or
//! the original.
//!
//! **A job's begin** is the moment before its request is sent; in an open loop the moment for which
//! it was planned, so that a slow orchestrator cannot hide behind requests that were sent late.
//!
//! **A job's end**, by `--end`:
//! * `acknowledged` (the default): the last message about the job was answered, which is the
//!   request itself where there are no tasks, else the last task's result. This orchestrator
//!   answers when the step is on disk, so the job is over then; the original answers first and
//!   works later, so it is let off the rest. Every client looks at each sixteenth of its jobs, and
//!   at its last one, until that one is over, within the measured time: answers cannot run away
//!   from the work.
//! * `seen`: a look at the job says that its status is final. The first look follows the last
//!   acknowledgement, the next ones after 1, 2, 4 … 50 ms. It costs a request more for each job,
//!   and is exact on both. `nested` always ends like this.
//!
//! **Throughput** is the number of jobs that started after the warm-up, by the time from then to
//! the end of the last one.
//!
//! **The books** are kept over the whole run. When the clock has stopped, every job whose end was
//! not seen is looked at: lost is what is gone or does not end. Each task carries its job's number
//! and its own, so one that is handed out twice is seen whatever its id.

mod client;
mod conduct;
mod fleet;
mod ledger;
mod plan;
mod process;
mod report;
mod wire;
mod workload;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::exit::{Exit, Failure, RoleResult};
use super::printer::Printer;
use super::remote::RemoteArgs;
use crate::base::{Clock, Entropy, Secret};
use crate::config::value::parse_duration;

pub use ledger::Totals;
pub use plan::{End, Plan};
pub use report::{Latency, Report, Used};
pub use workload::{BLUEPRINTS, Workload, write_blueprints};

/// The token that an orchestrator in development knows without being told.
pub const CLIENT_TOKEN: &str = "secure-orchestrator-token";

/// What `bench` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika bench --write-blueprints /tmp/bench
  RATE_LIMITING_ENABLED=false avtomatika orchestrator --blueprints /tmp/bench --data-dir /tmp/data
  avtomatika bench one_task --duration 30s --pid PID         as fast as 64 clients can
  avtomatika bench one_task --rate 20 --end seen -o json     latency at a low, steady load
  avtomatika bench idle --idle-polls 5000 --pid PID          what waiting workers cost
  avtomatika bench --url http://a:8080 --also http://b:8080  two orchestrators on one Redis

Exit code 1 tells that jobs were lost or doubled, or that requests failed.")]
pub struct Args {
    /// What each job does
    #[arg(value_enum, default_value = "one_task")]
    pub workload: Workload,
    /// Clients, each with one job under way at a time
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrency: u32,
    /// Start so many jobs a second, whether earlier ones have ended or not; latency counts from the
    /// planned start
    #[arg(long, value_name = "JOBS/S", value_parser = rate)]
    pub rate: Option<f64>,
    /// Workers, each with one task at a time
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub workers: u32,
    /// Polls that are held open meanwhile and get nothing
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub idle_polls: u32,
    /// Size of a text that each job, task and result carries
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub payload: usize,
    /// How long jobs are started; 10s when --jobs is not given either
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many jobs count at most
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub jobs: Option<u64>,
    /// Run jobs for so long before they count
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = span)]
    pub warm_up: Duration,
    /// When a job counts as over
    #[arg(long, value_enum, default_value = "acknowledged")]
    pub end: End,
    /// Longest wait for a job's end; it is lost after that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub patience: Duration,
    /// Do not look at every job when the clock has stopped
    #[arg(long)]
    pub no_audit: bool,
    /// The orchestrator's process, whose use of processor and memory is reported
    #[arg(long)]
    pub pid: Option<u32>,
    /// Write the blueprints that the orchestrator has to serve, and exit
    #[arg(long, value_name = "DIR")]
    pub write_blueprints: Option<PathBuf>,
    /// A further orchestrator on the same store: players are spread over all of them; may be repeated
    #[arg(long, value_name = "URL")]
    pub also: Vec<String>,
    /// The workers' token
    #[arg(
        long,
        env = "WORKER_TOKEN",
        hide_env_values = true,
        default_value = "secure-worker-token"
    )]
    pub worker_token: String,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.001..=1e6).contains(rate))
        .ok_or_else(|| "expected a number of jobs a second, 0.001 to 1000000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    span(text).and_then(|duration| {
        let is_some = !duration.is_zero();
        is_some
            .then_some(duration)
            .ok_or_else(|| "expected more than nothing".to_owned())
    })
}

/// As [`duration`], and nothing at all.
fn span(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 45s, 10m or 2h".to_owned())
}

impl Args {
    /// Returns the run that is asked for.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let usual = self.jobs.is_none().then_some(Duration::from_secs(10));
        Plan {
            workload: self.workload,
            end: self.end,
            concurrency: self.concurrency,
            rate: self.rate,
            workers: self.workers,
            idle_polls: self.idle_polls,
            warm_up: self.warm_up,
            duration: self.duration.or(usual),
            jobs: self.jobs,
            patience: self.patience,
            audit: !self.no_audit,
            pid: self.pid,
        }
    }
}

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    if let Some(folder) = &args.write_blueprints {
        let written = write_blueprints(folder).map_err(|error| {
            Failure::internal(format!("cannot write into {}: {error}", folder.display()))
                .hint("name another folder")
        })?;
        for path in written {
            context.printer.text(&path.display().to_string());
        }
        return Ok(Exit::Ok);
    }
    let target = Target::new(&args).await?;
    let load = Load {
        plan: args.plan(),
        target,
        clock: Arc::clone(&context.clock),
        stop: context.stop.child_token(),
        printer: context.printer.clone(),
    };
    let mut run = [0; 4];
    Entropy::fill(&*context.entropy, &mut run);
    let report = measure(load, u32::from_be_bytes(run)).await?;
    let value = serde_json::to_value(&report)
        .map_err(|error| Failure::internal(format!("the report cannot be written: {error}")))?;
    context.printer.item(&value, &report.text());
    Ok(report.exit())
}

/// A run and all that it needs.
pub struct Load {
    /// What is to be done.
    pub plan: Plan,
    /// To whom.
    pub target: Target,
    /// For signatures.
    pub clock: Arc<dyn Clock>,
    /// Ends the run early; what was measured until then is reported.
    pub stop: CancellationToken,
    /// For progress.
    pub printer: Printer,
}

/// An orchestrator and how to speak to it.
pub struct Target {
    addresses: Vec<std::net::SocketAddr>,
    host: String,
    mount: String,
    client_token: Secret,
    worker_token: Secret,
    payload: String,
}

impl Target {
    /// Reads the arguments and looks the hosts up.
    pub async fn new(args: &Args) -> Result<Self, Failure> {
        let mut addresses = Vec::new();
        for url in std::iter::once(&args.remote.url).chain(&args.also) {
            let no_host = || bad_address(url, "names no host that is known");
            let found = tokio::net::lookup_host(with_port(host_of(url)?)).await;
            let found = found.ok().and_then(|mut found| found.next());
            addresses.push(found.ok_or_else(no_host)?);
        }
        let host = host_of(&args.remote.url)?;
        let parts = [&args.remote.prefix, &args.remote.api_version];
        let parts = parts.map(|part| part.trim_matches('/'));
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        Ok(Self {
            addresses,
            host: host.to_owned(),
            mount: parts.map(|part| format!("/{part}")).collect(),
            client_token: Secret::new(args.remote.token.as_deref().unwrap_or(CLIENT_TOKEN)),
            worker_token: Secret::new(args.worker_token.as_str()),
            payload: "x".repeat(args.payload),
        })
    }
}

/// Returns host and, where it is named, port of an address.
fn host_of(url: &str) -> Result<&str, Failure> {
    url.trim_end_matches('/')
        .strip_prefix("http://")
        .filter(|host| !host.is_empty() && !host.contains(['/', '@']))
        .ok_or_else(|| bad_address(url, "is not an address that bench can speak to"))
}

fn with_port(host: &str) -> String {
    let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => host.to_owned(),
        _ => format!("{host}:80"),
    }
}

fn bad_address(url: &str, why: &str) -> Failure {
    Failure::usage(format!("`{url}` {why}"))
        .hint("write --url http://HOST:PORT; put nothing between bench and orchestrator")
}

/// Makes the run under a number of its own, on a thread of its own, and reports.
///
/// Errors: nobody is there, or the orchestrator refuses what no later try can make better.
pub async fn measure(load: Load, run: u32) -> Result<Report, Failure> {
    let Load {
        plan,
        target,
        clock,
        stop,
        printer,
    } = load;
    let wire = wire::Wire {
        addresses: target.addresses,
        host: target.host,
        mount: target.mount,
        client_token: target.client_token,
        worker_token: target.worker_token,
        run: u64::from(run),
        workload: plan.workload,
        payload: target.payload,
    };
    let make = move || world::World::new(plan, wire, clock, stop);
    tokio::task::spawn_blocking(move || conduct::run(make, &printer))
        .await
        .map_err(|error| Failure::internal(format!("the run broke off: {error}")))?
}
