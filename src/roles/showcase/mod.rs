//! `showcase`: plays every demonstration scenario on a stack of its own and compares what happens
//! with what should.

mod cast;
mod play;
mod scenarios;
mod stage;

use std::time::Duration;

use serde_json::json;

use super::context::Context;
use super::dev::DataFolder;
use super::exit::{Exit, Failure, RoleResult};
use super::printer::Table;
use crate::base::crypto;
use stage::{Props, Stage};

/// The longest that one scenario may take.
const SCENARIO_MAX: Duration = Duration::from_mins(1);

/// What `showcase` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika showcase                              all scenarios, a table at the end
  avtomatika showcase --only cancel --only approval
  avtomatika showcase --keep                       leave it running afterwards
  avtomatika showcase --store redis://127.0.0.1    with its jobs in Redis
  avtomatika showcase --worker gpu='python3 worker.py' --worker cpu='python3 worker.py'

A command of --worker plays the workers of a profile: gpu (transcode_video, analyze_file), cpu
(analyze_file) or flaky (analyze_file, failing at half of them). The shell runs it with
ORCHESTRATOR_URL, WORKER_ID and WORKER_TOKEN, as the original's worker has them, with
WORKER_PROFILE, and with WORKER_SPEED, by which it should divide the time that its work takes.")]
pub struct Args {
    /// Leave everything running afterwards
    #[arg(long)]
    pub keep: bool,
    /// Play only the scenarios whose name contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Redis server that keeps the jobs, below a prefix of their own; temporary files when not given
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Divide the time that simulated work takes
    #[arg(long, value_name = "FACTOR", default_value_t = 4.0)]
    pub speed: f64,
    /// Let a command of your own be the workers of a profile; may be repeated, once for each
    #[arg(long = "worker", value_name = "PROFILE=COMMAND", value_parser = cast::parse)]
    pub workers: Vec<cast::Guest>,
}

/// How one scenario went.
struct Played {
    name: &'static str,
    expected: String,
    actual: String,
    note: String,
    took: Duration,
}

impl Played {
    fn is_as_expected(&self) -> bool {
        self.expected == self.actual
    }
}

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    let folder = DataFolder::new(None)?;
    let props = Props {
        speed: args.speed,
        guests: args.workers,
        redis: args.store.map(|url| (url, prefix(context))),
    };
    let left_behind = props.redis.as_ref().map(|(_, prefix)| prefix.clone());
    let stage = Stage::build(context, folder.path(), props).await?;
    let mut played = Vec::new();
    for (name, scenario) in scenarios::ALL {
        let wanted = args.only.is_empty() || args.only.iter().any(|text| name.contains(text));
        if !wanted {
            continue;
        }
        if context.stop.is_cancelled() {
            break;
        }
        let one = play_one(name, scenario, &stage).await;
        context.printer.note(&format!(
            "{} {}: {} ({:.1} s)",
            if one.is_as_expected() { "ok  " } else { "FAIL" },
            one.name,
            one.actual,
            one.took.as_secs_f64()
        ));
        played.push(one);
    }
    print(&played, context);
    let all_well = !played.is_empty() && played.iter().all(Played::is_as_expected);
    if args.keep && !context.stop.is_cancelled() {
        context.printer.note(&format!(
            "still running at {}; Ctrl-C stops it",
            stage.url()
        ));
        context.stop.cancelled().await;
    }
    stage.strike().await;
    if let Some(prefix) = left_behind {
        context.printer.note(&format!(
            "Redis still has the jobs; remove them by: redis-cli --scan --pattern '{prefix}:*' | xargs redis-cli unlink"
        ));
    }
    if context.stop.is_cancelled() && !args.keep {
        return Ok(Exit::Interrupted);
    }
    Ok(if all_well { Exit::Ok } else { Exit::JobFailed })
}

/// Returns what no other key on the server begins with.
fn prefix(context: &Context) -> String {
    let mut random = [0_u8; 4];
    context.entropy.fill(&mut random);
    format!("showcase-{}", crypto::hex(&random))
}

async fn play_one(name: &'static str, scenario: scenarios::Scenario, stage: &Stage) -> Played {
    let started = tokio::time::Instant::now();
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(SCENARIO_MAX, scenario(stage)) => outcome,
        () = stage.stop.cancelled() => Ok(Err(Failure::new(Exit::Interrupted, "stopped by the user"))),
    };
    let (expected, actual, note) = match outcome {
        Ok(Ok(seen)) => (seen.expected, seen.actual, seen.note),
        Ok(Err(failure)) => ("no error".to_owned(), failure.to_string(), String::new()),
        Err(_) => (
            "an end".to_owned(),
            format!("none within {} s", SCENARIO_MAX.as_secs()),
            String::new(),
        ),
    };
    Played {
        name,
        expected,
        actual,
        note,
        took: started.elapsed(),
    }
}

fn print(played: &[Played], context: &Context) {
    let mut table = Table::new(&["SCENARIO", "EXPECTED", "ACTUAL", "", "SECONDS", "NOTE"]);
    let mut items = Vec::new();
    for one in played {
        let verdict = if one.is_as_expected() { "ok" } else { "FAIL" };
        let seconds = format!("{:.1}", one.took.as_secs_f64());
        table.row(&[
            one.name.to_owned(),
            one.expected.clone(),
            one.actual.clone(),
            verdict.to_owned(),
            seconds,
            one.note.clone(),
        ]);
        items.push(json!({
            "scenario": one.name,
            "expected": one.expected,
            "actual": one.actual,
            "ok": one.is_as_expected(),
            "duration_ms": one.took.as_millis().try_into().unwrap_or(u64::MAX),
            "note": one.note,
        }));
    }
    context.printer.list(&items, &table);
    let failed = played.iter().filter(|one| !one.is_as_expected()).count();
    context.printer.note(&format!(
        "{} played, {failed} not as expected",
        played.len()
    ));
}
