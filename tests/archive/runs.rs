//! What only rows that hold several events bring: who changes a part of one, places between others,
//! rows of the version before.

use std::collections::BTreeMap;

use avtomatika::base::JobId;
use avtomatika::domain::JobStatus;
use avtomatika::store::EventText;
use avtomatika::store::archive::chain::{Days, Linked, Linker};

use crate::fixtures::*;
use crate::links::verify_days;
use crate::servers::postgres::Postgres;
use crate::{hasher, on_server};

/// A row holds what a batch brought of a job, and whoever changes a part of it is found out.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_tells_who_has_changed_a_part_of_a_row() {
    let server = Postgres::start();
    let archive = on_server(&server);
    let jobs: Vec<_> = (1..=3).map(|n| job(n, 0)).collect();
    let fill = async || {
        let events = (0..9_u32).map(|n| event(&jobs[n as usize % 3], n / 3, i64::from(n)));
        let appended = archive.append(batch(events, jobs.clone()));
        appended.await.expect("appends");
        assert_eq!(verify_days(&archive).await, Ok(9));
    };
    fill().await;
    let rows =
        server.run("SELECT count(*), sum(jsonb_array_length(body::jsonb)) FROM history_events");
    assert_eq!(rows, "3|9", "a row for a job");
    let second = format!("WHERE job = '{}'", jobs[1].id);
    // The second job's events are the fourth to the sixth of the day.
    for (change, job_number) in [
        ("body = replace(body, '\"index\":1', '\"index\":7')", 2),
        ("body = (body::jsonb - 1)::text", 2),
        ("body = (body::jsonb - 2)::text", 3),
        ("body = (body::jsonb || (body::jsonb -> 0))::text", 4),
        ("body = '[]'", 1),
        ("hashes = substr(hashes, 1, 64)", 3),
        ("hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1)", 2),
        ("hashes = ''", 1),
        ("previous_in_job = set_byte(previous_in_job, 3, 1)", 1),
        (
            "previous_in_day = set_byte(previous_in_day, 3, get_byte(previous_in_day, 3) # 1)",
            1,
        ),
    ] {
        server.run(&format!("UPDATE history_events SET {change} {second}"));
        let broken = verify_days(&archive).await.expect_err(change);
        let found = (broken.job_number, broken.day_number);
        assert_eq!(found, (job_number, 3 + job_number), "{change}: {broken}");
        server.run("TRUNCATE history_events, history_jobs, history_days, history_bodies");
        fill().await;
    }
}

/// What an earlier version has written is read, and its chains go on.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_reads_rows_of_the_version_before() {
    let server = Postgres::start();
    server.run("CREATE TABLE history_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())");
    server.run(include_str!(
        "../../src/store/archive/postgres/schema_1.sql"
    ));
    server.run("INSERT INTO history_migrations (version) VALUES (1)");
    server.run("CREATE TABLE history_events_2026_11 PARTITION OF history_events FOR VALUES FROM ('2026-11-01T00:00:00Z') TO ('2026-12-01T00:00:00Z')");
    server.run("CREATE TABLE history_jobs_2026_11 PARTITION OF history_jobs FOR VALUES FROM (minvalue) TO (maxvalue)");
    let one = job(1, 0);
    let events = [event(&one, 0, 0), event(&one, 1, 5)];
    let mut linker = Linker::new(hasher(), BTreeMap::new(), Days::default());
    for event in &events {
        insert_as_before(&server, one.id, &linker.link(&EventText::of(event)));
    }
    let (day, head) = linker.days().iter().next().expect("one day");
    let hash = head.hash.to_string();
    server.run(&format!(
        "INSERT INTO history_days VALUES ({}, 2, decode('{hash}', 'hex'));
         INSERT INTO history_jobs VALUES ('{}', 'acme', 'render', 'waiting_for_worker', now(), null,
             now(), 1, 2, decode('{hash}', 'hex'), 1, 1, '{{}}')",
        day.0, one.id.0,
    ));
    let archive = on_server(&server);
    let over = ended(&one, JobStatus::Finished, 9);
    bring_one(&archive, &over).await;
    let read = archive.by_job(one.id, None, 9).await.expect("reads");
    assert_eq!(read[..2], events);
    assert_eq!(read[2..], [event(&over, 0, 9)]);
    assert_eq!(verify_days(&archive).await, Ok(3));
}

fn insert_as_before(server: &Postgres, job: JobId, linked: &Linked<'_>) {
    server.run(&format!(
        "INSERT INTO history_events VALUES ('{at}', '{job}', {job_number}, {revision}, {place}, {day},
             {day_number}, 'log', decode('{in_job}', 'hex'), decode('{in_day}', 'hex'),
             decode('{hash}', 'hex'), '{body}')",
        at = linked.event.at.to_rfc3339(),
        job = job.0,
        job_number = linked.job.number,
        revision = linked.event.revision,
        place = linked.event.index,
        day = linked.day.0,
        day_number = linked.on_day.number,
        in_job = linked.previous_in_job,
        in_day = linked.previous_in_day,
        hash = linked.job.hash,
        body = linked.event.as_str(),
    ));
}
