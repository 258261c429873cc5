//! The showcase with workers on the original's SDK.

use crate::process::{command, run};
use crate::python::{Environment, script_path};

/// Plays every scenario with the profiles' workers in Python.
async fn play(profiles: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let python = Environment::Worker.interpreter();
    let script = script_path("worker.py");
    let mut arguments = vec!["showcase".to_owned(), "-o".to_owned(), "json".to_owned()];
    for profile in profiles {
        arguments.push("--worker".to_owned());
        arguments.push(format!(
            "{profile}=exec '{}' '{}'",
            python.display(),
            script.display()
        ));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut showcase = command(folder.path(), &arguments);
    showcase
        .env("PATH", "/usr/bin:/bin")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = run(showcase).await.with(0);
    let rows = ended.json();
    let rows = rows.as_array().expect("a list");
    assert!(rows.len() >= 15, "{ended:?}");
    for row in rows {
        assert_eq!(row["ok"], true, "{row}: {ended:?}");
    }
}

#[tokio::test]
async fn python_workers_alone_play_the_showcase() {
    play(&["gpu", "cpu", "flaky"]).await;
}

#[tokio::test]
async fn python_workers_play_the_showcase_with_ours() {
    play(&["gpu"]).await;
}
