//! Somebody who has just got the binary and has nothing else.

use serde_json::json;

use crate::process::{Ended, Process, command, run};

/// Reads what follows a word up to the next blank.
fn after<'l>(line: &'l str, word: &str) -> &'l str {
    let (_, rest) = line.split_once(word).expect("the word");
    rest.split_whitespace().next().expect("a value")
}

/// Every scenario of the demonstration does what it should.
#[tokio::test]
async fn the_showcase_plays_as_promised() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(command(folder.path(), &["showcase", "-o", "json"])).await;
    check_showcase(&ended.with(0));
    assert_empty(folder.path());
}

/// Checks that every scenario went as it should.
pub(crate) fn check_showcase(ended: &Ended) {
    let rows = ended.json();
    let rows = rows.as_array().expect("a list");
    assert!(rows.len() >= 15, "{ended:?}");
    for row in rows {
        assert_eq!(row["ok"], true, "{row}");
    }
}

/// The first job, the first failure, the first slip of the pen, and nothing left behind.
#[tokio::test]
async fn the_first_quarter_of_an_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Process::start(command(folder.path(), &["dev", "--speed", "10"]));
    let hint = dev.says("export AVTOMATIKA_URL=").await;
    let ask = async |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command
            .env("AVTOMATIKA_URL", after(&hint, "AVTOMATIKA_URL="))
            .env("CLIENT_TOKEN", after(&hint, "CLIENT_TOKEN="));
        run(command).await
    };
    let submit = ["submit", "full_showcase", "--set", "deterministic=true"];
    let good = ask(&[&submit[..], &["-o", "json"]].concat()).await.with(0);
    let summary = good.json();
    assert_eq!(summary["status"], "finished");
    let analyses = summary["result"].as_object().expect("one for each file");
    assert_eq!(analyses.len(), 3);
    let id = summary["job_id"].as_str().expect("an id");
    let shown = ask(&["jobs", "show", id, "-o", "json"]).await.with(0);
    assert_eq!(shown.json()["result"], summary["result"]);

    let failed = [&submit[..], &["--set", "trigger=security", "-o", "json"]].concat();
    let failed = ask(&failed).await.with(1);
    assert_eq!(failed.json()["status"], "failed");

    let slip = ask(&["submit", "full_shwocase"]).await.with(7);
    assert!(
        slip.stderr
            .contains("there is no blueprint `full_shwocase`"),
        "{slip:?}"
    );
    assert!(slip.stderr.contains("did you mean `full_showcase`?"));
    let refused = ask(&["submit", "full_showcase", "--set", "quality=5"]).await;
    let refused = refused.with(7);
    assert!(
        refused.stderr.contains("/quality: 5 is not of type"),
        "{refused:?}"
    );

    assert_eq!(json!(dev.stop().await.with(0).stdout), "");
    assert_empty(folder.path());
}

fn assert_empty(folder: &std::path::Path) {
    let left: Vec<_> = std::fs::read_dir(folder)
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A user's own worker that does not come up is named, and nothing goes on without it.
#[tokio::test]
async fn the_showcase_names_a_worker_that_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["showcase", "--worker", "cpu=exit 3"];
    let ended = run(command(folder.path(), &arguments)).await.with(8);
    let message = "worker `cpu-worker-01` ended before it registered: exit status: 3";
    assert!(ended.stderr.contains(message), "{ended:?}");
    assert_empty(folder.path());
}
