//! The tables of exit codes and error codes in `docs/codes.md`, of metrics in `docs/metrics.md`, and the
//! reference of the API in `docs/api.md` are those of the code. `UPDATE_DOCS=1 cargo test --test codes` writes the files anew.

use std::fmt::Write as _;
use std::path::Path;

use avtomatika::api::CODES;
use avtomatika::domain::TaskErrorCode;
use avtomatika::domain::error_code::FailureClass;
use avtomatika::engine::codes;
use avtomatika::observe::{Definition, Kind, ORCHESTRATOR, PROCESS, SCHEDULER, SINK, WORKER};
use avtomatika::roles::exit::Exit;

#[path = "codes/api.rs"]
mod api;

/// Adds to a text.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writes to a string");
}

fn expected() -> String {
    let mut text = String::from(
        "# Codes\n\nWritten by `UPDATE_DOCS=1 cargo test --test codes`; the same test compares it with the code.\n\n\
         ## Exit codes\n\n| Code | Meaning |\n|--:|---|\n",
    );
    for exit in Exit::ALL {
        writeln!(text, "| {} | {} |", exit.code(), exit.meaning()).expect("writes to a string");
    }
    text.push_str(
        "\n## Error codes of the API\n\nEvery error answer is `{\"error\": TEXT, \"code\": CODE, \"request_id\": ID}`; \
         the text may change, the code does not.\n\n| Code | Status | Meaning |\n|---|--:|---|\n",
    );
    for (code, status, meaning) in CODES {
        writeln!(text, "| `{code}` | {status} | {meaning} |").expect("writes to a string");
    }
    text.push_str(
        "\n## Error codes of jobs\n\nA job that did not finish has `error.code`: one of these, or the code of \
         its worker.\n\n| Code | Meaning |\n|---|---|\n",
    );
    for (code, meaning) in codes_of_jobs() {
        writeln!(text, "| `{code}` | {meaning} |").expect("writes to a string");
    }
    text.push_str(
        "\n## Error codes of workers\n\nWhat a worker reports a failure with; the engine itself uses \
         `TIMEOUT_ERROR` and `CONTRACT_VIOLATION_ERROR`. Any other code may pass.\n\n\
         | Code | What happens to its task |\n|---|---|\n",
    );
    for code in TaskErrorCode::ALL {
        let what = match TaskErrorCode::class_of(code.as_str()) {
            FailureClass::Transient => "may pass: tried again, with growing pauses",
            FailureClass::Permanent => {
                "for good: not tried again; without `on.failure` the job is quarantined"
            }
            FailureClass::Contract => "as one for good, and the worker loses more reputation",
            FailureClass::Input => {
                "the input's fault: not tried again; without `on.failure` the job fails"
            }
        };
        writeln!(text, "| `{}` | {what} |", code.as_str()).expect("writes to a string");
    }
    text
}

/// Returns the engine's codes with what the sources say of each.
fn codes_of_jobs() -> Vec<(&'static str, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/codes.rs");
    let source = std::fs::read_to_string(source).expect("is there");
    let of_code = |code: &&'static str| {
        let (before, _) = source
            .split_once(&format!(" = \"{code}\";"))
            .expect("a constant");
        let line = before.lines().rev().find(|line| line.starts_with("///"));
        (
            *code,
            line.expect("a description")
                .trim_start_matches("/// ")
                .to_owned(),
        )
    };
    codes::ALL.iter().map(of_code).collect()
}

/// Compares a file of the documentation with what the code says, or writes it.
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("the documentation can be written");
    }
    let seen = std::fs::read_to_string(&path).expect("the documentation is there");
    assert_eq!(
        seen, expected,
        "write docs/{name} anew: UPDATE_DOCS=1 cargo test --test codes"
    );
}

#[test]
fn the_tables_are_those_of_the_code() {
    check("codes.md", &expected());
}

/// What stands before the tables of metrics.
const METRICS: &str = "# Metrics

Written by `UPDATE_DOCS=1 cargo test --test codes`; the same test compares it with the code.

`GET /_public/metrics` of every orchestrator answers in Prometheus' text format, version 0.0.4. Each
orchestrator tells of itself: add up what several of them count, and take the maximum of what they all
see (queues and workers on a shared Redis). Anybody who reaches the port may read it; it names
blueprints, states and skills, but no job, no client, no worker and no payload.

What is counted costs a few atomic operations. What can be looked at (queues, workers, leases) is looked
at when somebody scrapes, in memory; the store and the history are asked for one bounded count each, at
most once a second and for at most a second, however much they hold.

Labels are closed sets, or names from blueprints and workers: 500 blueprints, 100 states of each and 500
skills are told apart, and `other` stands for all beyond.

The other roles answer the same way at `/metrics` of the address that `--metrics-addr` or `METRICS_ADDR`
gives them (`/_public/metrics` is the same there), each with the figures of its own process. Without an
address they listen nowhere, and what `dev` runs beside its orchestrator has none. A worker's first three
are the original's, under the names that OpenTelemetry's become in Prometheus.
";

fn table(text: &mut String, title: &str, definitions: &[&Definition]) {
    write!(
        text,
        "\n## {title}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
    )
    .expect("writes to a string");
    for one in definitions {
        let labels: Vec<String> = one
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind, labels) = (one.name, one.kind.as_str(), labels.join(", "));
        writeln!(text, "| `{name}` | {kind} | {labels} | {} |", one.help)
            .expect("writes to a string");
    }
}

#[test]
fn the_tables_of_metrics_are_those_of_the_code() {
    let mut text = METRICS.to_owned();
    table(&mut text, "Orchestrator", ORCHESTRATOR);
    table(&mut text, "Worker", WORKER);
    table(&mut text, "Scheduler", SCHEDULER);
    table(&mut text, "Webhook sink", SINK);
    table(&mut text, "Every process", PROCESS);
    check("metrics.md", &text);
}

#[test]
fn no_code_stands_for_two_things() {
    let mut codes: Vec<&str> = CODES.iter().map(|(code, _, _)| *code).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count);
}

/// Returns what each role has besides the figures of its process.
fn of_roles() -> impl Iterator<Item = &'static &'static Definition> {
    [ORCHESTRATOR, WORKER, SCHEDULER, SINK]
        .into_iter()
        .flatten()
}

/// Returns the words of a text that look like names of metrics.
fn names(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let begins = [
        "orchestrator_",
        "process_",
        "worker_",
        "scheduler_",
        "webhook_sink_",
    ];
    let is_name = |word: &&str| begins.iter().any(|begin| word.starts_with(begin));
    words.filter(is_name).collect()
}

/// The dashboard and the alerts ask for nothing that the program does not have.
#[test]
fn what_is_asked_for_is_there() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut known: Vec<String> = Vec::new();
    for one in of_roles().chain(PROCESS) {
        known.push(one.name.to_owned());
        if one.kind == Kind::Histogram {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", one.name)));
        }
    }
    let mut asked = 0;
    for file in [
        "grafana/dashboards/avtomatika-overview.json",
        "alerts.yml",
        "alerts_test.yml",
    ] {
        let text = std::fs::read_to_string(config.join(file)).expect("is there");
        for name in names(&text) {
            assert!(known.iter().any(|one| one == name), "{file}: {name}");
            asked += 1;
        }
    }
    assert!(asked > 100, "the names were found: {asked}");
}

/// Every panel says what it shows and in which unit; every figure is somewhere.
#[test]
fn the_dashboard_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config/grafana/dashboards/avtomatika-overview.json");
    let text = std::fs::read_to_string(path).expect("is there");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(dashboard["title"], "Avtomatika Overview");
    let variables = dashboard["templating"]["list"].as_array().expect("a list");
    let variables: Vec<_> = variables.iter().map(|one| &one["name"]).collect();
    assert_eq!(variables, ["blueprint", "instance"]);
    for panel in dashboard["panels"].as_array().expect("a list") {
        if panel["type"] == "row" {
            continue;
        }
        let title = &panel["title"];
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.len() > 20, "{title} has a description");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(
            unit.is_some_and(|unit| !unit.is_empty()),
            "{title} has a unit"
        );
    }
    for one in of_roles() {
        assert!(text.contains(one.name), "{} is on the dashboard", one.name);
    }
}
