//! The program's own verbs over a history: what is exported is checked offline, and what was changed
//! is named.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use avtomatika::domain::JobStatus;
use avtomatika::store::{Archive, SqliteArchive};
use serde_json::Value;

use crate::fixtures::*;
use crate::hasher;
use crate::servers::postgres::Postgres;

/// Runs the program in a folder, with the salt of the tests.
pub fn avtomatika(folder: &Path, history: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_avtomatika"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("AUDIT_SALT", "salt of the tests")
        .env("HISTORY_DATABASE_URI", history)
        .output()
        .expect("runs")
}

pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(&[&out[..], &err[..]].concat()).into_owned()
}

/// Two jobs over two days.
async fn fill(archive: &Arc<dyn Archive>) {
    for n in 1..=2 {
        bring(archive, &[job(n, 0)]).await;
        bring(archive, &[ended(&job(n, 0), JobStatus::Finished, DAY)]).await;
    }
}

/// Goes through export, offline check and change, whatever the history lies in.
fn round_trip(folder: &Path, history: &str) {
    let run = |arguments: &[&str]| avtomatika(folder, history, arguments);
    let good = run(&["audit", "verify", "-o", "json"]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    let report: Value = serde_json::from_slice(&good.stdout).expect("JSON");
    assert_eq!(report["events"], 4);
    assert_eq!(report["heads"][1]["of"], "2026-11-24");
    let one = id(1, 0).to_string();
    let of_job = run(&["audit", "verify", "--job", &one]);
    assert_eq!(of_job.status.code(), Some(0), "{}", said(&of_job));
    let of_day = run(&[
        "audit",
        "verify",
        "--from",
        "2026-11-24",
        "--to",
        "2026-11-24",
    ]);
    assert!(
        said(&of_day).starts_with("every link holds: 2 events"),
        "{}",
        said(&of_day)
    );
    for (part, count) in [
        (vec![], 4),
        (vec!["--job", &one], 2),
        (vec!["--to", "2026-11-23"], 2),
    ] {
        let written = run(&[vec!["jobs", "export"], part].concat());
        let text = String::from_utf8(written.stdout).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), count + 2, "{text}");
        let check = |lines: &[&str]| {
            std::fs::write(folder.join("export.jsonl"), lines.join("\n")).expect("writes");
            // Offline: there is no history to look at.
            avtomatika(folder, "", &["audit", "verify", "export.jsonl"])
        };
        let held = check(&lines);
        assert_eq!(held.status.code(), Some(0), "{}", said(&held));
        let changed = lines[2].replace("\"start\"", "\"other\"");
        assert_ne!(changed, lines[2]);
        let mut altered = lines.clone();
        altered[2] = &changed;
        let broken = check(&altered);
        assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
        let line: Value = serde_json::from_str(lines[2]).expect("JSON");
        let name = format!(
            "broken: event {} of job {}",
            line["job_number"],
            line["event"]["job_id"].as_str().expect("an id")
        );
        assert!(said(&broken).starts_with(&name), "{}", said(&broken));
        let cut = check(&lines[..lines.len() - 1]);
        assert_eq!(cut.status.code(), Some(8), "{}", said(&cut));
        assert!(said(&cut).contains("the end is missing"), "{}", said(&cut));
        several(&lines, check);
    }
    let unknown = run(&["jobs", "export", "--job", &id(9, 0).to_string()]);
    assert_eq!(unknown.status.code(), Some(7), "{}", said(&unknown));
}

/// Checks files that hold an export twice, and what else may lie behind one.
fn several(lines: &[&str], check: impl Fn(&[&str]) -> Output) {
    let both = check(&[lines, lines].concat());
    assert_eq!(both.status.code(), Some(0), "{}", said(&both));
    let told = format!("{} events of 2 exports", 2 * (lines.len() - 2));
    assert!(said(&both).contains(&told), "{}", said(&both));
    let changed = lines[1].replace("\"start\"", "\"other\"");
    let mut altered = lines.to_vec();
    altered[1] = &changed;
    let broken = check(&[lines, &altered].concat());
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    let no_end = &lines[..lines.len() - 1];
    for (behind, problem) in [
        ([lines, &lines[1..]].concat(), "no export begins here"),
        ([lines, no_end].concat(), "the end is missing"),
        ([no_end, lines].concat(), "the end of the export before"),
        ([lines, &[""]].concat(), "no export begins here"),
    ] {
        // Without a last line break an empty line would be none.
        let refused = check(&[&behind[..], &[""]].concat());
        assert_eq!(refused.status.code(), Some(8), "{}", said(&refused));
        assert!(said(&refused).contains(problem), "{}", said(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_of_a_file_is_checked_and_exported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&path, hasher()).expect("opens"));
    fill(&archive).await;
    // An orchestrator may be writing meanwhile.
    round_trip(folder.path(), "sqlite:history.db");
    archive.close().await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    let last = "DELETE FROM events WHERE day_number = 2 AND day = (SELECT max(day) FROM events)";
    assert_eq!(db.execute(last, []).expect("deletes"), 1);
    let cut = avtomatika(folder.path(), "sqlite:history.db", &["audit", "verify"]);
    assert_eq!(cut.status.code(), Some(1), "{}", said(&cut));
    assert!(
        said(&cut).contains("the history tells of 2 events"),
        "{}",
        said(&cut)
    );
    let missing = avtomatika(folder.path(), "sqlite:nowhere.db", &["audit", "verify"]);
    assert_eq!(missing.status.code(), Some(6), "{}", said(&missing));
    let none = avtomatika(folder.path(), "", &["audit", "verify"]);
    assert_eq!(none.status.code(), Some(2), "{}", said(&none));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_audit_trail_is_checked_and_exported() {
    let server = Postgres::start();
    fill(&crate::on_server(&server)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    round_trip(folder.path(), &server.url());
    let asked = avtomatika(
        folder.path(),
        &server.url(),
        &["config", "check", "--connect"],
    );
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    assert!(said(&asked).contains("history: ok"), "{}", said(&asked));
}
