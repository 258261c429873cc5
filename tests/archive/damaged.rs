//! What somebody's hand, or a newer release, has left in an archive hides nothing else.

use std::sync::Arc;

use avtomatika::domain::JobStatus;
use avtomatika::store::archive::JobSearch;
use avtomatika::store::{Archive, JobQuery, SqliteArchive};

use crate::fixtures::*;
use crate::servers::postgres::Postgres;
use crate::suite::all;
use crate::{hasher, on_server};

/// Six jobs, the fifth and the third of which get damaged.
async fn fill(archive: &Arc<dyn Archive>) {
    for n in 1..=6 {
        bring_one(archive, &ended(&job(n, 0), JobStatus::Finished, 5)).await;
    }
}

/// Goes through all jobs by pages of two.
async fn pages(archive: &Arc<dyn Archive>) {
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let search = all();
        let jobs = JobQuery {
            limit: 2,
            after,
            ..search.jobs.clone()
        };
        let page = archive.search(JobSearch { jobs, ..search }).await;
        let page = page.expect("searches");
        pages.push(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected = [
        vec![id(6, 0)],
        vec![id(4, 0)],
        vec![id(2, 0), id(1, 0)],
        vec![],
    ];
    assert_eq!(pages, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_summaries_of_a_file_end_no_search() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&path, hasher()).expect("opens"));
    fill(&archive).await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    for n in [5, 3] {
        let damage = "UPDATE jobs SET summary = '{}' WHERE id = ?1";
        let changed = db.execute(damage, [id(n, 0).0.as_bytes()]);
        assert_eq!(changed.expect("changes"), 1);
    }
    pages(&archive).await;
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_damaged_summaries_end_no_search() {
    let server = Postgres::start();
    let archive = on_server(&server);
    fill(&archive).await;
    for n in [5, 3] {
        let id = id(n, 0);
        server.run(&format!(
            "UPDATE history_jobs SET summary = '{{}}' WHERE id = '{id}'"
        ));
    }
    pages(&archive).await;
}
