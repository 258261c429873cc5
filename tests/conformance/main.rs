//! The conformance checks: all rules are kept by our own orchestrator and worker, and one that
//! breaks a single rule is found by exactly that rule's check.

mod documents;
mod orchestrator;
mod proxy;
mod worker;

use avtomatika::roles::cli::Cli;
use avtomatika::roles::conformance::{Report, Verb, Verdict};
use avtomatika::roles::context::Context;
use avtomatika::roles::printer::{Output, Printer};
use clap::Parser as _;

/// What a run is given of the process around it.
fn context() -> Context {
    Context::new(
        Printer::plain(Output::Text),
        avtomatika::roles::context::LogArgs::default(),
    )
}

/// Reads the verb as a person types it.
fn verb(words: &[&str]) -> Verb {
    let line = ["avtomatika", "conformance"].iter().chain(words);
    match Cli::try_parse_from(line).expect("it can be read").command {
        avtomatika::roles::cli::Command::Conformance(verb) => verb,
        other => panic!("{other:?}"),
    }
}

/// Compares which rules were broken and which were not seen; returns what differs.
fn compare(name: &str, report: &Report, failed: &[&str], not_observed: &[&str]) -> Option<String> {
    let seen = (report.ids(Verdict::Fail), report.ids(Verdict::NotObserved));
    if seen == (failed.to_vec(), not_observed.to_vec()) {
        return None;
    }
    let told: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Pass)
        .map(|finding| {
            let (id, verdict) = (finding.rule.id, finding.verdict.as_str());
            format!("  {id} {verdict}: {}", finding.evidence)
        })
        .collect();
    Some(format!(
        "{name}: expected {failed:?} and not observed {not_observed:?}:\n{}",
        told.join("\n")
    ))
}

/// Fails with all that differs.
fn expect(differences: impl IntoIterator<Item = Option<String>>) {
    let all: Vec<String> = differences.into_iter().flatten().collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}
