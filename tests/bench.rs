//! The load generator against a whole orchestrator: its books balance, and its report has the form
//! that scripts rely on.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use avtomatika::base::SystemClock;
use avtomatika::roles::bench::{
    Args, End, Load, Report, Target, Totals, Workload, measure, write_blueprints,
};
use avtomatika::roles::cli::{Cli, Command};
use avtomatika::roles::context::{Context, LogArgs};
use avtomatika::roles::exit::{Exit, Failure};
use avtomatika::roles::printer::{Output as Form, Printer};
use avtomatika::roles::stack::{Stack, StackOptions};
use clap::Parser as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything: far more than is needed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The next run's number.
static RUNS: AtomicU32 = AtomicU32::new(7);

/// Starts an orchestrator that serves the bench's blueprints, or those of the program.
async fn start(folder: &Path, has_blueprints: bool) -> Stack {
    let blueprints = folder.join("blueprints");
    if has_blueprints {
        write_blueprints(&blueprints).expect("written");
    }
    let options = StackOptions {
        port: 0,
        data_dir: folder.join("data"),
        redis: None,
        uses_environment: false,
        lease_seconds: 30,
        schedules: String::new(),
        more_workers: String::new(),
        blueprints: has_blueprints.then_some(blueprints),
    };
    let context = Context::new(Printer::plain(Form::Text), LogArgs::default());
    Stack::start(options, &context).await.expect("it starts")
}

fn args(stack: &Stack, arguments: &[&str]) -> Args {
    let url = stack.orchestrator.url();
    let whole = ["avtomatika", "bench", "--url", &url, "--warm-up", "0"];
    let cli = Cli::try_parse_from(whole.iter().chain(arguments)).expect("good arguments");
    match cli.command {
        Command::Bench(args) => args,
        other => panic!("{other:?}"),
    }
}

async fn run(
    stack: &Stack,
    arguments: &[&str],
    stop: CancellationToken,
) -> Result<Report, Failure> {
    let args = args(stack, arguments);
    let load = Load {
        plan: args.plan(),
        target: Target::new(&args).await?,
        clock: Arc::new(SystemClock),
        stop,
        printer: Printer::plain(Form::Text),
    };
    // Runs beside each other are told apart by their numbers.
    measure(load, RUNS.fetch_add(1, Ordering::Relaxed)).await
}

/// Every job of every workload ends exactly once, and each of its tasks is executed once.
#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance() {
    let folder = TempDir::new().expect("a folder");
    let stack = start(folder.path(), true).await;
    for (workload, tasks, end) in [
        ("noop", 0, End::Acknowledged),
        ("one_task", 1, End::Acknowledged),
        ("one_task", 1, End::Seen),
        ("chain5", 5, End::Acknowledged),
        ("fan10", 10, End::Acknowledged),
        ("nested", 1, End::Seen),
    ] {
        let arguments = [
            workload,
            "--jobs",
            "40",
            "-c",
            "6",
            "--workers",
            "4",
            "--payload",
            "100",
            "--end",
            end.name(),
        ];
        let report = run(&stack, &arguments, CancellationToken::new()).await;
        let report = report.expect("a report");
        let expected = Totals {
            jobs_sent: 40,
            jobs_accepted: 40,
            jobs_finished: 40,
            tasks_executed: 40 * tasks,
            ..Totals::default()
        };
        assert_eq!(report.totals, expected, "{workload}: {report:#?}");
        assert_eq!(report.end, end.name(), "{workload}");
        assert_eq!(report.jobs_measured, 40, "{workload}");
        assert!(report.errors.is_empty(), "{workload}: {:?}", report.errors);
        assert_eq!(report.exit(), Exit::Ok, "{workload}");
        assert!(report.latency_ms.is_some(), "{workload}");
    }
    stack.stop().await;
}

/// Jobs start at their times, not when others end, and waiting polls take nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_with_waiting_workers() {
    let folder = TempDir::new().expect("a folder");
    let stack = start(folder.path(), true).await;
    let pid = std::process::id().to_string();
    let arguments = [
        "one_task",
        "--rate",
        "400",
        "--jobs",
        "60",
        "--idle-polls",
        "20",
        "--pid",
        &pid,
    ];
    let report = run(&stack, &arguments, CancellationToken::new()).await;
    let report = report.expect("a report");
    assert_eq!((report.load, report.idle_polls), ("open", 20));
    assert_eq!(report.totals.jobs_finished, 60, "{report:#?}");
    assert_eq!(report.exit(), Exit::Ok, "{report:#?}");
    // 60 jobs at 400 a second: they cannot have been sent at once.
    assert!(report.seconds > 0.14, "{report:#?}");
    let server = report.server.expect("the process was watched");
    assert!(
        server.memory_peak_mib >= server.memory_start_mib,
        "{server:?}"
    );
    stack.stop().await;
}

/// A run without jobs takes none of another that goes on beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_fleet_beside_a_run() {
    let folder = TempDir::new().expect("a folder");
    let stack = start(folder.path(), true).await;
    let stop = CancellationToken::new();
    let fleet = ["idle", "--duration", "1h", "--workers", "8"];
    let beside = async {
        let runtime = stack.orchestrator.runtime();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while runtime.workers().len() < 8 {
            ticks.tick().await;
        }
        let arguments = ["one_task", "--jobs", "40", "--workers", "1"];
        let report = run(&stack, &arguments, CancellationToken::new()).await;
        stop.cancel();
        report.expect("a report").totals
    };
    let both = async { tokio::join!(run(&stack, &fleet, stop.clone()), beside) };
    let (fleet, totals) = tokio::time::timeout(PATIENCE, both).await.expect("it ends");
    assert_eq!((totals.jobs_finished, totals.tasks_executed), (40, 40));
    assert_eq!(fleet.expect("a report").totals.tasks_foreign, 0);
    stack.stop().await;
}

/// Who stops a run is told what it found until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_reports_what_it_has() {
    let folder = TempDir::new().expect("a folder");
    let stack = start(folder.path(), true).await;
    let stop = CancellationToken::new();
    let arguments = ["one_task", "--duration", "1h", "--workers", "2"];
    let wait = async {
        let runtime = stack.orchestrator.runtime();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while runtime.workers().len() < 2 {
            ticks.tick().await;
        }
        stop.cancel();
    };
    let whole = async { tokio::join!(run(&stack, &arguments, stop.clone()), wait).0 };
    let report = tokio::time::timeout(PATIENCE, whole)
        .await
        .expect("it stops");
    let report = report.expect("a report");
    assert!(!report.complete, "{report:#?}");
    assert_eq!(report.exit(), Exit::Interrupted);
    stack.stop().await;
}

/// Where the blueprints are missing, the run ends at once and says how to get them.
#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_without_the_blueprints() {
    let folder = TempDir::new().expect("a folder");
    let stack = start(folder.path(), false).await;
    let refused = run(&stack, &["noop", "--jobs", "5"], CancellationToken::new()).await;
    let failure = refused.expect_err("there is no such blueprint");
    assert_eq!(failure.exit, Exit::Refused, "{failure:?}");
    let hint = failure.hint.expect("a hint");
    assert!(hint.contains("bench --write-blueprints"), "{hint}");
    stack.stop().await;
}

async fn binary(arguments: &[&str]) -> Output {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_avtomatika"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, output).await;
    ended.expect("it ends").expect("it starts")
}

/// Replaces what differs from run to run: every number that is not whole by nature.
fn hide_times(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) if number.is_f64() => *value = "[a number]".into(),
        serde_json::Value::Object(members) => members.values_mut().for_each(hide_times),
        _ => {}
    }
}

/// The whole command: blueprints out, a run as JSON, and nobody there.
#[tokio::test(flavor = "multi_thread")]
async fn the_command() {
    let folder = TempDir::new().expect("a folder");
    let written = folder.path().join("written");
    let written = written.to_str().expect("a path");
    let ended = binary(&["bench", "--write-blueprints", written]).await;
    assert!(ended.status.success(), "{ended:?}");
    let files = String::from_utf8(ended.stdout).expect("paths");
    let check = ["blueprints", "check"].into_iter().chain(files.lines());
    let ended = binary(&check.collect::<Vec<_>>()).await;
    assert!(ended.status.success(), "{ended:?}");

    let stack = start(folder.path(), true).await;
    let url = stack.orchestrator.url();
    let ended = binary(&[
        "bench",
        "fan10",
        "--url",
        &url,
        "--jobs",
        "5",
        "--warm-up",
        "0",
        "-o",
        "json",
    ])
    .await;
    assert!(ended.status.success(), "{ended:?}");
    let mut report: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    hide_times(&mut report);
    insta::assert_json_snapshot!("report", report);
    stack.stop().await;

    let ended = binary(&["bench", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    let ended = binary(&["bench", "--url", "https://127.0.0.1:1"]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}

/// Every workload has a name on the command line.
#[test]
fn names() {
    use clap::ValueEnum as _;
    for workload in Workload::value_variants() {
        let value = workload.to_possible_value().expect("none is hidden");
        assert_eq!(value.get_name(), workload.name());
    }
}
