//! The failure matrix tells what is really seen: codes, log lines, metrics, and tests that show it.

use std::collections::BTreeSet;
use std::fs;

use avtomatika::observe::{ORCHESTRATOR, PROCESS};

use crate::markdown::{guides, read, root, rows, spans};
use crate::names::{sources, tests};

/// Returns the rows of the matrix: failure, engine, seen, test.
fn matrix() -> Vec<Vec<String>> {
    let rows = rows("docs/failures.md");
    rows.into_iter().filter(|row| row.len() == 4).collect()
}

fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Each row names a test that shows it.
#[test]
fn every_failure_has_its_test() {
    let tests = tests();
    let matrix = matrix();
    assert!(matrix.len() >= 60, "{}", matrix.len());
    for row in matrix {
        let is_test = |span: &&str| {
            let parts = span.split_once("::");
            parts.is_some_and(|(program, _)| tests.contains_key(program))
        };
        let names = code(&row[3]);
        assert!(!names.is_empty(), "`{}` has no test", row[0]);
        assert!(names.iter().all(is_test), "`{}`: {names:?}", row[0]);
    }
}

/// What stands in code under "You see" stands in the sources, whole or, with `…`, in its parts.
#[test]
fn what_is_seen_is_said_by_the_program() {
    let mut said = String::new();
    for path in sources(&root().join("src")) {
        // A text that goes on in the next line of a source is one text.
        let source = fs::read_to_string(path).expect("UTF-8");
        let joined: Vec<&str> = source
            .lines()
            .map(|line| line.trim().trim_end_matches('\\'))
            .collect();
        said.push_str(&joined.join("\n"));
    }
    let mut count = 0;
    for row in matrix() {
        for span in code(&row[2]) {
            let is_command = ["jobs ", "audit ", "workers ", "blueprints "];
            if is_command.iter().any(|start| span.starts_with(start)) {
                continue;
            }
            for part in span
                .split('…')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                assert!(said.contains(part), "`{}`: nothing says `{part}`", row[0]);
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count}");
}

/// Figures of size and speed are those that were measured.
#[test]
fn figures_are_those_of_the_benchmarks() {
    let (guide, measured) = (read("docs/operations.md"), read("docs/benchmarks.md"));
    let (_, rest) = guide.split_once("\n## How large").expect("a section");
    let (section, _) = rest.split_once("\n## ").expect("the next one");
    let is_part = |c: char| c.is_ascii_digit() || ".,".contains(c);
    let measured: BTreeSet<&str> = measured.split(|c| !is_part(c)).collect();
    let mut count = 0;
    for word in section.split(|c| !is_part(c)) {
        let word = word.trim_end_matches(['.', ',']);
        // Small whole numbers are no figures.
        if word.len() > 2 {
            assert!(measured.contains(word), "{word} was not measured");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

/// The original's metrics that are not there: the guide to migration says where to look instead.
const LEFT_OUT: [&str; 8] = [
    "orchestrator_history_integrity_failures_total",
    "orchestrator_holarchy_depth_exceeded_total",
    "orchestrator_middleware_errors_total",
    "orchestrator_policy_violations_total",
    "orchestrator_security_identity_mismatch_total",
    "orchestrator_security_replay_detected_total",
    "orchestrator_signature_invalid_total",
    "orchestrator_tasks_hot_dispatched_total",
];

/// Every metric that a guide names is one, or is said to be left out.
#[test]
fn every_metric_that_is_named_is_there() {
    let known: BTreeSet<&str> = ORCHESTRATOR
        .iter()
        .chain(PROCESS)
        .map(|one| one.name)
        .collect();
    let mut count = 0;
    let mut left_out = BTreeSet::new();
    for guide in guides() {
        for (line, span) in spans(&guide) {
            let name = span.split(['{', ' ']).next().unwrap_or_default();
            if guide == "docs/migration.md" && LEFT_OUT.contains(&name) {
                left_out.insert(name.to_owned());
                continue;
            }
            let is_metric = name.starts_with("orchestrator_") && !name.contains("secret");
            if is_metric {
                let base = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end));
                let is_known =
                    known.contains(name) || base.is_some_and(|base| known.contains(base));
                assert!(is_known, "{guide}:{line}: `{span}` is no metric");
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count}");
    assert!(left_out.iter().eq(LEFT_OUT), "{left_out:?}");
    for name in LEFT_OUT {
        assert!(!known.contains(name), "{name} is there");
    }
}
