//! What somebody's hand, or a newer release, has left in an archive hides nothing else.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::Timestamp;
use avtomatika::domain::JobStatus;
use avtomatika::store::archive::{JobSearch, words};
use avtomatika::store::{Archive, JobQuery, SqliteArchive};

use crate::fixtures::*;
use crate::servers::postgres::Postgres;
use crate::suite::{all, find};
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

/// What comes of such a job later is stored, and it goes when its time has come, as all others do.
#[tokio::test]
async fn damaged_summaries_of_a_file_hold_up_neither_what_comes_nor_what_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::open(&path, hasher()).expect("opens"));
    fill(&archive).await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    let damage = |what: &str| {
        let sql = format!("UPDATE jobs SET summary = '{what}' WHERE id IN (?1, ?2)");
        let ids = [id(3, 0), id(5, 0)].map(|id| *id.0.as_bytes());
        assert_eq!(db.execute(&sql, ids).expect("changes"), 2);
    };
    damage("{}");
    let again = ended(&job(3, 0), JobStatus::Finished, 5);
    let again = failed(&again, "TIMEOUT", "too slow", 9);
    bring_one(&archive, &again).await;
    let found = JobSearch {
        words: words::of("slow"),
        ..all()
    };
    assert_eq!(find(&archive, found).await, [again.id]);
    damage("no JSON");
    let late = Timestamp(NOW.0 + 400 * DAY);
    let month = Some(Duration::from_hours(24 * 30));
    archive.upkeep(late, month).await.expect("lets go");
    for table in ["jobs", "bodies", "events"] {
        let count = format!("SELECT count(*) FROM {table}");
        let left: i64 = db.query_row(&count, [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 0, "{table}");
    }
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

/// A migration that goes through all that is kept takes its time.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_has_no_timeout_for_a_migration() {
    let server = Postgres::start();
    server.run(include_str!(
        "../../src/store/archive/postgres/schema_1.sql"
    ));
    server.run(
        "CREATE TABLE history_migrations (version integer PRIMARY KEY,
             applied_at timestamptz NOT NULL DEFAULT now());
         INSERT INTO history_migrations (version) VALUES (1);
         CREATE TABLE history_events_2026_11 PARTITION OF history_events
             FOR VALUES FROM ('2026-11-01T00:00:00Z') TO ('2026-12-01T00:00:00Z');
         INSERT INTO history_events VALUES ('2026-11-23T00:00:00Z', gen_random_uuid(), 1, 1, 0, 20780,
             1, 'log', '', '', '', '{}');
         CREATE FUNCTION is_bounded() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('statement_timeout') <> '0' THEN
                 RAISE EXCEPTION 'it ends after %', current_setting('statement_timeout');
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER is_bounded BEFORE UPDATE ON history_events_2026_11
             FOR EACH ROW EXECUTE FUNCTION is_bounded()",
    );
    on_server(&server).health().await.expect("migrates");
    let versions = server.run("SELECT version FROM history_migrations");
    assert_eq!(versions, "1\n2\n3\n4");
}
