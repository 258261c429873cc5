//! The tables of exit codes and error codes in `docs/codes.md`, and of metrics in `docs/metrics.md`,
//! are those of the code. `UPDATE_DOCS=1 cargo test --test codes` writes the files anew.

use std::fmt::Write as _;
use std::path::Path;

use avtomatika::api::CODES;
use avtomatika::observe::{Definition, ORCHESTRATOR, PROCESS};
use avtomatika::roles::exit::Exit;

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
    text
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
