//! The process may be killed at any instruction: what was acknowledged is there, and nothing is
//! there by half. A child process writes and tells of each commit, until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use avtomatika::domain::EventKind;
use avtomatika::engine::{Effect, Signal};
use avtomatika::store::{HistoryStore, JobQuery, JobStore, SqliteSettings, SqliteStore};
use futures::future::join_all;

use crate::fixtures::*;

const FILE: &str = "AVTOMATIKA_CRASH_TEST_FILE";
const FIRST: &str = "AVTOMATIKA_CRASH_TEST_FIRST";

/// Jobs that one child may make; it is killed long before.
const JOBS_PER_CHILD: u16 = 8_000;

/// Writers of one child.
const WRITERS: u16 = 16;

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    for (round, kill_after) in [(0, 1), (1, 57), (2, 400), (3, 999)] {
        let acknowledged = write_and_kill(&path, round * JOBS_PER_CHILD, kill_after);
        assert!(acknowledged.len() >= kill_after);
        let store = SqliteStore::open(&path, &SqliteSettings::default()).expect("opens");
        for (n, revision) in acknowledged {
            let job = store
                .load(job_id(n))
                .await
                .expect("loads")
                .expect("was acknowledged");
            assert!(job.revision >= revision, "job {n}");
        }
        let jobs = JobQuery {
            limit: 100_000,
            ..JobQuery::default()
        };
        for job in store.list(jobs).await.expect("lists") {
            let lines = store.by_job(job.id, None, 9).await.expect("reads");
            let tasks = store.open_tasks(job.id, 9).await.expect("reads");
            let revision = usize::try_from(job.revision).expect("is small");
            assert_eq!(
                (lines.len(), tasks.len()),
                (revision, revision),
                "all or nothing"
            );
        }
        store.close().await;
    }
}

fn write_and_kill(path: &Path, first: u16, kill_after: usize) -> Vec<(u16, u64)> {
    let child = Command::new(std::env::current_exe().expect("is known"))
        .args([
            "crash::writes_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut child = Killed(child);
    let output = child.0.stdout.take().expect("is piped");
    let mut acknowledged = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.expect("is text");
        // The test harness has lines of its own.
        let Some((n, revision)) = line.strip_prefix("done ").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        acknowledged.push((
            n.parse().expect("a job"),
            revision.parse().expect("a revision"),
        ));
        if acknowledged.len() == kill_after {
            child.0.kill().expect("is killed");
        }
    }
    acknowledged
}

#[tokio::test]
#[ignore = "the other process of the test above, which starts it"]
async fn writes_until_it_is_killed() {
    let (Ok(path), Ok(first)) = (std::env::var(FILE), std::env::var(FIRST)) else {
        return;
    };
    let first: u16 = first.parse().expect("a number");
    let store = SqliteStore::open(Path::new(&path), &SqliteSettings::default()).expect("opens");
    let store = &store;
    let writers = (0..WRITERS).map(|writer| async move {
        for n in (first + writer..first + JOBS_PER_CHILD).step_by(WRITERS.into()) {
            let mut job = job(n);
            for _ in 0..3 {
                let ordinal = u32::try_from(job.revision).expect("is small");
                let effects = vec![
                    put(&task(&job, None, ordinal)),
                    Effect::Record(Arc::new(event(&job, 0, EventKind::StateStarted))),
                    Effect::Signal(Signal::CancelChild {
                        child: job.id,
                        reason: String::new(),
                    }),
                ];
                store
                    .commit(commit(job.clone(), effects, vec![]))
                    .await
                    .expect("commits");
                let line = format!("done {n} {}\n", job.revision);
                std::io::stdout()
                    .write_all(line.as_bytes())
                    .expect("is read");
                job = next(&job);
            }
        }
    });
    join_all(writers).await;
}
