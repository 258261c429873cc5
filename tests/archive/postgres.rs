//! What only a server brings: rivals at the start, partitions, several who append, hands that change
//! rows, encryption.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::JobId;
use avtomatika::domain::{Job, JobStatus};
use avtomatika::store::archive::postgres::PostgresArchive;
use avtomatika::store::archive::uri::{Protection, Target};
use avtomatika::store::{Archive, StoreError};

use crate::fixtures::*;
use crate::links::verify_days;
use crate::servers::postgres::Postgres;
use crate::{hasher, on_server};

/// Several orchestrators start at once on an empty database, and all of them get on.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_is_migrated_once_by_many() {
    let server = Postgres::start();
    let rivals: Vec<_> = (0..6).map(|_| on_server(&server)).collect();
    let upkeep = rivals.iter().map(|archive| archive.upkeep(NOW, None));
    for done in futures::future::join_all(upkeep).await {
        done.expect("one migrates, the others wait");
    }
    let versions = server.run("SELECT version FROM history_migrations");
    assert_eq!(versions, "1\n2\n3\n4");
    let ahead = server.run(
        "SELECT inhrelid::regclass FROM pg_inherits
         WHERE inhparent = 'history_events'::regclass ORDER BY 1",
    );
    assert_eq!(
        ahead,
        "history_events_2026_11\nhistory_events_2026_12\nhistory_events_2027_01"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_of_a_newer_release_is_left_alone() {
    let server = Postgres::start();
    on_server(&server).health().await.expect("migrates");
    server.run("INSERT INTO history_migrations (version) VALUES (99)");
    let error = on_server(&server).health().await.expect_err("newer");
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("99")),
        "{error}"
    );
}

/// What `config check --connect` asks before an orchestrator is started.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_says_what_is_in_the_way() {
    let server = Postgres::start();
    let obstacle = async |url: &str| {
        let archive = PostgresArchive::to_read(url, &Protection::Prefer, hasher());
        let found = archive.expect("a good address").obstacle().await;
        found.expect("it answers").unwrap_or_default()
    };
    assert_eq!(obstacle(&server.url()).await, "", "an empty database");
    let made = server.run("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'history%'");
    assert_eq!(made, "0", "whoever asks changes nothing");
    on_server(&server).health().await.expect("migrates");
    assert_eq!(obstacle(&server.url()).await, "");

    server.run("CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let as_reader = server.url().replacen("postgres@", "reader@", 1);
    let found = obstacle(&as_reader).await;
    assert!(
        found.starts_with("`reader` may make no tables in the schema `public`"),
        "{found}"
    );

    server.run("INSERT INTO history_migrations (version) VALUES (99)");
    let found = obstacle(&server.url()).await;
    assert!(
        found.contains("schema version 99, written by a newer release"),
        "{found}"
    );
}

/// Several orchestrators append what they have, some of it the same: one chain comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_links_what_many_append() {
    let server = Postgres::start();
    let mut appends = tokio::task::JoinSet::new();
    for rival in 0..4_u16 {
        let archive = on_server(&server);
        appends.spawn(async move {
            for n in 0..25_u16 {
                let own = job(100 * (rival + 1) + n, i64::from(n));
                let shared = job(n, i64::from(n));
                bring(&archive, &[own, shared]).await;
            }
        });
    }
    appends.join_all().await;
    assert_eq!(verify_days(&on_server(&server)).await, Ok(125));
}

/// Months go as tables, and only those in which nothing is left to come.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_drops_whole_months() {
    let server = Postgres::start();
    let archive = on_server(&server);
    let tables = |parent: &str| {
        server.run(&format!(
            "SELECT inhrelid::regclass FROM pg_inherits
             WHERE inhparent = '{parent}'::regclass ORDER BY 1"
        ))
    };
    let over = ended(&job(1, -92 * DAY), JobStatus::Finished, -92 * DAY);
    let waits = job(2, -60 * DAY);
    bring(&archive, &[over, waits]).await;
    let month = Some(Duration::from_hours(24 * 20));
    archive.upkeep(NOW, month).await.expect("lets go");
    let ahead = |parent: &str| {
        ["2026_11", "2026_12", "2027_01"]
            .map(|month| format!("{parent}_{month}"))
            .join("\n")
    };
    assert_eq!(tables("history_events"), ahead("history_events"));
    let jobs = format!("history_jobs_2026_09\n{}", ahead("history_jobs"));
    assert_eq!(tables("history_jobs"), jobs, "one of September still waits");
    // Something old comes after its month has gone.
    let late = job(3, -92 * DAY);
    bring_one(&archive, &late).await;
    assert_eq!(
        archive.by_job(late.id, None, 9).await.expect("reads").len(),
        1
    );
}

/// While one job holds up its month, another process is told that one before it was set going again: the month
/// stays for that one, too, whose chain would else begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_keeps_a_month_of_which_a_job_is_set_going_again() {
    let server = Postgres::start();
    let (archive, rival) = (on_server(&server), on_server(&server));
    let is_there = || server.run("SELECT to_regclass('history_jobs_2026_08') IS NOT NULL") == "t";
    let over = ended(&job(1, -92 * DAY), JobStatus::Finished, -92 * DAY);
    let waits = job(2, -91 * DAY);
    bring(&archive, &[over.clone(), waits.clone()]).await;
    let retention = Some(Duration::from_hours(24 * 20));
    archive.upkeep(NOW, retention).await.expect("looks");
    assert!(is_there(), "the second job waits");

    let again = Job {
        revision: over.revision + 1,
        status: JobStatus::WaitingForWorker,
        ended_at: None,
        updated_at: at(-DAY),
        ..over.clone()
    };
    bring_one(&rival, &again).await;
    let waited = ended(&waits, JobStatus::Finished, -90 * DAY);
    bring_one(&archive, &waited).await;
    archive.upkeep(NOW, retention).await.expect("looks");
    assert!(is_there(), "the first job is under way");
    let over = ended(&again, JobStatus::Finished, 0);
    bring_one(&archive, &over).await;
    let head = archive.head(over.id).await.expect("reads");
    assert_eq!(head.map(|head| head.number), Some(3), "its chain goes on");
    assert_eq!(verify_days(&archive).await, Ok(2), "of what is kept");

    let later = at(60 * DAY);
    archive.upkeep(later, retention).await.expect("lets go");
    assert!(!is_there(), "all of them are over");
    let facts = "SELECT name FROM history_facts";
    assert_eq!(server.run(facts), "kept_from", "no count is left behind");
}

/// Who changes, takes out or puts in a row is found out.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_tells_who_has_changed_rows() {
    let server = Postgres::start();
    let archive = on_server(&server);
    let ids: Vec<JobId> = (1..=3).map(|n| id(n, 0)).collect();
    let fill = async || {
        for n in 1..=3 {
            bring(&archive, &[job(n, 0)]).await;
            bring(&archive, &[ended(&job(n, 0), JobStatus::Finished, 9)]).await;
        }
        assert_eq!(verify_days(&archive).await, Ok(6));
    };
    fill().await;
    let second = format!("job = '{}' AND job_number = 2", ids[1]);
    for (change, job_number, day_number) in [
        (
            format!(
                "UPDATE history_events SET body = replace(body, 'start', 'other') WHERE {second}"
            ),
            2,
            4,
        ),
        (format!("DELETE FROM history_events WHERE {second}"), 1, 5),
        (
            format!(
                "UPDATE history_events SET previous_in_day = decode(repeat('00', 32), 'hex') WHERE {second}"
            ),
            2,
            4,
        ),
    ] {
        server.run(&change);
        let broken = verify_days(&archive).await.expect_err("it was changed");
        assert_eq!(
            (broken.job_number, broken.day_number),
            (job_number, day_number),
            "{broken}"
        );
        server.run(
            "TRUNCATE history_events, history_jobs, history_days, history_bodies, history_terms",
        );
        fill().await;
    }
}

/// A server that does not answer is given up in time, and the next call gets another connection.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_that_is_not_there_is_told() {
    let mut server = Postgres::start();
    let archive = on_server(&server);
    archive.health().await.expect("is there");
    server.kill();
    let error = archive.health().await.expect_err("is away");
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("PostgreSQL")),
        "{error}"
    );
    server.restart();
    let again = async {
        while archive.health().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let again = tokio::time::timeout(Duration::from_mins(1), again).await;
    again.expect("broken connections are replaced");
}

/// Encrypted with a certificate of one's own, which is checked when that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_is_reached_over_tls() {
    let mut server = Postgres::start();
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let signed = signed.expect("a certificate");
    server.serve_tls(&signed.cert.pem(), &signed.signing_key.serialize_pem());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, signed.cert.pem()).expect("writes");
    let open = |query: &str| -> Arc<dyn Archive> {
        let target = Target::parse(&format!("{}?{query}", server.url())).expect("good");
        let Target::Postgres { uri, protection } = target else {
            panic!("a server");
        };
        Arc::new(PostgresArchive::new(&uri, &protection, hasher()).expect("good"))
    };
    open("sslmode=require").health().await.expect("encrypts");
    open("sslmode=prefer").health().await.expect("encrypts");
    let own = format!("sslmode=verify-full&sslrootcert={}", ca.display());
    open(&own).health().await.expect("its own authority");
    let error = open("sslmode=verify-full")
        .health()
        .await
        .expect_err("nobody's");
    assert!(error.to_string().contains("certificate"), "{error}");
    let ssl = "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE ssl AND application_name = 'avtomatika'";
    let held = open("sslmode=require");
    held.health().await.expect("encrypts");
    assert_eq!(server.run(ssl), "t");
    drop(held);
    let plain = Postgres::start();
    let refused = PostgresArchive::new(&plain.url(), &Protection::Require, hasher());
    let error = refused.expect("good").health().await.expect_err("no TLS");
    assert!(error.to_string().contains("TLS"), "{error}");
}
