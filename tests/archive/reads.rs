//! How many rows the server reads, where there are more than it could read in time.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::{Job, JobStatus};
use avtomatika::store::Archive;
use avtomatika::store::archive::postgres::PostgresArchive;
use avtomatika::store::archive::uri::Protection;

use crate::fixtures::*;
use crate::hasher;
use crate::servers::postgres::Postgres;
use crate::suite::with;

/// Opens an archive whose tables are a mere user's: a superuser is held to no policy.
fn of_a_user(server: &Postgres) -> Arc<dyn Archive> {
    server.run("CREATE ROLE keeper LOGIN; GRANT ALL ON SCHEMA public TO keeper");
    let uri = server.url().replace("postgres@", "keeper@");
    let archive = PostgresArchive::new(&uri, &Protection::Disable, hasher());
    Arc::new(archive.expect("a good address"))
}

/// Has the server count the rows of a table that are read, and end a statement that reads more than so many.
fn count_reads(server: &Postgres, table: &str, most: u32) {
    server.run(&format!(
        "CREATE SEQUENCE rows_read;
         CREATE FUNCTION counts() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
         DECLARE row_number bigint := nextval('rows_read');
         BEGIN
             IF current_setting('reads.statement', true) IS DISTINCT FROM statement_timestamp()::text THEN
                 PERFORM set_config('reads.statement', statement_timestamp()::text, false);
                 PERFORM set_config('reads.first', row_number::text, false);
             END IF;
             IF row_number - current_setting('reads.first')::bigint >= {most} THEN
                 RAISE EXCEPTION 'it reads too much';
             END IF;
             RETURN true;
         END $$;
         CREATE POLICY counted ON {table} USING (counts());
         ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    ));
}

/// Returns how many rows have been read since this was asked last.
fn reads(server: &Postgres) -> u64 {
    let count = "SELECT nextval('rows_read') - 1";
    let count = server.run(count).parse().expect("a number");
    server.run("ALTER SEQUENCE rows_read RESTART");
    count
}

/// A month of more jobs than a statement may read goes all the same, and one that stays for a single job is
/// not read again and again.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_lets_a_large_month_go() {
    let server = Postgres::start();
    let archive = of_a_user(&server);
    let waits = job(2, -91 * DAY);
    let over = ended(&job(1, -92 * DAY), JobStatus::Finished, -92 * DAY);
    bring(&archive, &[over.clone(), waits.clone()]).await;
    let month = "history_jobs_2026_08";
    let before = over.id.0.to_string().replace('-', "");
    server.run(&format!(
        "INSERT INTO {month} SELECT ('{}' || lpad(to_hex(n), 8, '0'))::uuid, client, blueprint, status,
             created_at, ended_at, last_at, revision, number, hash, last_revision, last_place, summary
         FROM {month}, generate_series(1, 120000) AS n WHERE id = '{}';
         UPDATE {month} SET status = status WHERE id = '{}';
         ANALYZE {month}",
        &before[..24],
        over.id,
        waits.id,
    ));
    count_reads(&server, month, 60_000);
    let is_there = || server.run(&format!("SELECT to_regclass('{month}') IS NOT NULL")) == "t";
    let retention = Some(Duration::from_hours(24 * 20));
    archive.upkeep(NOW, retention).await.expect("looks");
    assert!(is_there(), "one still waits");
    assert!(reads(&server) > 120_000, "each is looked at");
    archive.upkeep(NOW, retention).await.expect("looks");
    assert_eq!(reads(&server), 1, "it still waits");
    let waited = ended(&waits, JobStatus::Finished, -90 * DAY);
    server.run("ALTER TABLE history_jobs_2026_08 DISABLE ROW LEVEL SECURITY");
    bring_one(&archive, &waited).await;
    archive.upkeep(NOW, retention).await.expect("lets go");
    assert!(!is_there(), "all of them are over");
    archive.close().await;
}

/// The few jobs of some statuses are read from the index, not from among all of the client's.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_finds_several_statuses_without_reading_all() {
    let server = Postgres::start();
    let archive = of_a_user(&server);
    let jobs: Vec<Job> = (0..4_000_u16)
        .map(|n| {
            let status = match n % 200 {
                0 => JobStatus::Failed,
                1 => JobStatus::Quarantined,
                _ => JobStatus::Finished,
            };
            ended(&job(n, i64::from(n)), status, 5_000)
        })
        .collect();
    bring(&archive, &jobs).await;
    server.run("VACUUM ANALYZE");
    count_reads(&server, "history_jobs", u32::MAX);
    let rare = |job: &&Job| job.status != JobStatus::Finished;
    let expected: Vec<JobId> = jobs.iter().rev().filter(rare).map(|job| job.id).collect();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let search = with(|jobs| {
            jobs.limit = 7;
            jobs.after = after;
            let statuses = [JobStatus::Failed, JobStatus::Quarantined, JobStatus::Failed];
            jobs.statuses = statuses.to_vec();
        });
        let page = archive.search(search).await.expect("searches");
        seen.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        let count = reads(&server);
        // Each that fits for the count, as an entry of the index, and its row; a few that the merge is ahead.
        assert!(count < 150, "{count} rows for a page of 7");
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    archive.close().await;
}
