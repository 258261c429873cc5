//! The orchestrator's own schedules, on a real store.

use std::path::Path;

use super::*;
use crate::config::{self, Flag, Sources};

const BLUEPRINT: &str = "blueprint: b\nstart: done\nstates:\n  done: { end: finished }\n";
const SLOT: Timestamp = Timestamp(1_800_000_000_000);

/// Starts an orchestrator without schedules of its own.
async fn start(folder: &Path) -> Orchestrator {
    let flag = |key, text: &str| Flag {
        key,
        flag: "test",
        text: text.to_owned(),
    };
    let sources = Sources {
        flags: vec![
            flag("API_PORT", "0"),
            flag("DATA_DIR", &folder.display().to_string()),
        ],
        env: &|_| None,
        file: None,
    };
    let configuration = config::load(&sources).expect("good");
    let files = vec![("b.yaml".to_owned(), BLUEPRINT.to_owned())];
    Orchestrator::start(configuration, BlueprintFiles::Built(files))
        .await
        .expect("starts")
}

fn schedule() -> Schedule {
    let mut problems = config::Problems::default();
    let text = "[nightly]\nblueprint = \"b\"\ninterval_seconds = 60\n";
    let read = config::schedules::parse(Path::new("s.toml"), text, "UTC", &mut problems);
    assert_eq!(problems.all(), []);
    read.into_iter().next().expect("one")
}

/// The slot is not given up: whoever runs next makes its one job.
#[tokio::test]
async fn a_slot_that_meets_a_shutdown_is_left_for_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let schedule = schedule();
    let first = start(folder.path()).await;
    first.runtime().shutdown().await;
    let met = fire(first.runtime(), &schedule, SLOT).await;
    assert!(matches!(met, Err(FireError::Later(_))), "{met:?}");
    first.stop().await;
    let second = start(folder.path()).await;
    let job = fire(second.runtime(), &schedule, SLOT)
        .await
        .expect("a job");
    assert_eq!(fire(second.runtime(), &schedule, SLOT).await, Ok(job));
    second.stop().await;
}
