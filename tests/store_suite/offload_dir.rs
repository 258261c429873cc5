//! Heavy values in a directory beside the embedded store: what both have been told outlasts them.

use std::path::Path;
use std::sync::Arc;

use avtomatika::base::crypto;
use avtomatika::domain::Job;
use avtomatika::store::{BlobStore, CommitError, DirBlobStore, JobStore, Offloading, SqliteStore};
use serde_json::{Value, json};

use crate::fixtures::{commit, job, next};
use crate::sqlite_only;

/// What is larger lies in the directory. Units: bytes of JSON.
const BYTES_MAX: usize = 1024;

/// One start of a process: the store, the directory, and both together.
struct Start {
    jobs: Arc<SqliteStore>,
    blobs: Arc<DirBlobStore>,
    heavy: Offloading,
}

async fn start(folder: &Path) -> Start {
    let jobs = Arc::new(sqlite_only::open(&folder.join("jobs.db")));
    let blobs = DirBlobStore::open(&folder.join("files"), "files").await;
    let blobs = Arc::new(blobs.expect("opens"));
    let heavy = Offloading::new(jobs.clone(), blobs.clone(), BYTES_MAX);
    Start { jobs, blobs, heavy }
}

fn large(letter: &str) -> Value {
    json!(letter.repeat(100_000))
}

fn key(job: &Job, value: &Value) -> String {
    let sha256 = crypto::sha256_hex(value.to_string().as_bytes());
    format!("jobs/{}/payloads/{sha256}", job.id)
}

#[tokio::test]
async fn a_directory_has_the_large_values_and_another_start_finds_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = start(folder.path()).await;
    let mut job = job(1);
    job.initial_data = Arc::new(json!({"large": large("a"), "small": 1}));
    job.state_history.insert("step".to_owned(), large("b"));
    let new = commit(job.clone(), vec![], vec![]);
    first.heavy.commit(new).await.expect("commits");
    first.heavy.close().await;
    drop(first);

    let second = start(folder.path()).await;
    let read = second.heavy.load(job.id).await.expect("reads");
    assert_eq!(read.as_ref(), Some(&job));
    let record = second.jobs.load(job.id).await.expect("reads");
    let record = serde_json::to_string(&record.expect("is there")).expect("is JSON");
    assert!(record.len() < 4 * BYTES_MAX, "{} bytes", record.len());
    let listed = second.blobs.list("jobs/").await.expect("lists");
    let mut keys = vec![key(&job, &large("a")), key(&job, &large("b"))];
    keys.sort_unstable();
    let listed: Vec<String> = listed.into_iter().map(|blob| blob.key).collect();
    assert_eq!(listed, keys);
    second.heavy.close().await;
}

/// As after a kill between the two: the value is there, and the commit that refers to it is not.
#[tokio::test]
async fn a_value_whose_commit_never_came_is_nothing_to_the_job() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = start(folder.path()).await;
    let job = job(1);
    let new = commit(job.clone(), vec![], vec![]);
    first.heavy.commit(new).await.expect("commits");
    let mut changed = next(&next(&job));
    changed.state_history.insert("step".to_owned(), large("c"));
    let late = first.heavy.commit(commit(changed.clone(), vec![], vec![]));
    let refused = late.await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    first.heavy.close().await;
    drop(first);

    let second = start(folder.path()).await;
    let left = second.blobs.head(&key(&changed, &large("c"))).await;
    assert!(left.expect("reads").is_some(), "it was stored first");
    let read = second.heavy.load(job.id).await.expect("reads");
    assert_eq!(read, Some(job.clone()));
    // It goes with the job's other files.
    let prefix = format!("jobs/{}/", job.id);
    second.blobs.delete_prefix(&prefix).await.expect("deletes");
    assert!(second.blobs.list("").await.expect("lists").is_empty());
    second.heavy.close().await;
}
