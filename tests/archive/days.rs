//! Each day goes on from the one before it, in whatever order they begin, so that a day that was taken out
//! whole is missed; and what went with its time, or was there before days went on from each other, is not.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::{Event, Job};
use avtomatika::store::archive::{Day, DayBefore, Links};
use avtomatika::store::{Archive, SqliteArchive};

use crate::audit::{avtomatika, said};
use crate::fixtures::*;
use crate::links::verify_days;
use crate::servers::postgres::Postgres;
use crate::{hasher, on_server};

type Tested = Arc<dyn Archive>;

/// Returns the day so many days after [`NOW`]'s.
fn day(days: i64) -> Day {
    Day::of(at(days * DAY))
}

fn before(days: i64, number: u64) -> DayBefore {
    let day = day(days);
    DayBefore { day, number }
}

/// Brings one event of each of these days over, each of a job of its own; `n` is the first's number.
async fn bring_days(archive: &Tested, n: u16, days: &[i64]) {
    let jobs: Vec<Job> = (n..).zip(days).map(|(n, day)| job(n, day * DAY)).collect();
    bring(archive, &jobs).await;
}

/// Returns what each day goes on from, oldest day first.
async fn all_before(archive: &Tested) -> Vec<(Day, Option<DayBefore>)> {
    let mut all = Vec::new();
    for (day, _) in archive.days().await.expect("reads") {
        let first = archive.links(Links::Day(day), 0, 9).await.expect("reads");
        assert!(first[1..].iter().all(|link| link.day_before.is_none()));
        all.push((day, first[0].day_before));
    }
    all
}

/// The order in which days begin is not that of the calendar: clocks differ, and what was away comes late.
pub async fn goes_on_from_the_latest_earlier_day(archive: Tested) {
    bring_days(&archive, 0, &[0, 0]).await;
    // Of one batch, old to new; then one between them, and more of those that are named.
    bring_days(&archive, 2, &[2, 3]).await;
    bring_days(&archive, 4, &[1]).await;
    bring_days(&archive, 5, &[0, 3]).await;
    // New to old: jobs come in the order of their ids, their events in their own.
    let slow = job(9, 0);
    let told = [(0, 6), (1, 5), (2, 6)].map(|(n, day)| event(&slow, n, day * DAY));
    let twice: Vec<Event> = told.iter().chain(&told).cloned().collect();
    for events in [twice, told.to_vec()] {
        let appended = archive.append(batch(events, [slow.clone()])).await;
        appended.expect("appends");
    }
    bring_days(&archive, 10, &[7]).await;
    let expected = [
        (day(0), None),
        (day(1), Some(before(0, 2))),
        (day(2), Some(before(0, 2))),
        (day(3), Some(before(2, 1))),
        (day(5), Some(before(3, 2))),
        (day(6), Some(before(3, 2))),
        (day(7), Some(before(6, 2))),
    ];
    assert_eq!(all_before(&archive).await, expected);
    assert_eq!(verify_days(&archive).await, Ok(11));
    let links = archive.links(Links::Job(id(2, 2 * DAY)), 0, 9).await;
    assert_eq!(links.expect("reads")[0].day_before, Some(before(0, 2)));
}

/// Rows of many jobs have it, too.
pub async fn goes_on_with_many_jobs(archive: Tested) {
    for day in 0..3 {
        let jobs: Vec<Job> = (0..20).map(|n| job(n, day * DAY)).collect();
        bring(&archive, &jobs).await;
    }
    let expected = [
        (day(0), None),
        (day(1), Some(before(0, 20))),
        (day(2), Some(before(1, 20))),
    ];
    assert_eq!(all_before(&archive).await, expected);
    assert_eq!(verify_days(&archive).await, Ok(60));
    let links = archive.links(Links::Job(id(0, DAY)), 0, 9).await;
    assert_eq!(links.expect("reads")[0].day_before, Some(before(0, 20)));
}

/// What a day goes on from may go with its time, and begin again with what comes late.
pub async fn goes_on_from_what_has_gone(archive: Tested) {
    bring_days(&archive, 0, &[-93, -92, -23, -22, 0]).await;
    let month = Some(Duration::from_hours(24 * 22));
    archive.upkeep(NOW, month).await.expect("lets go");
    let kept_from = archive.kept_from().await.expect("reads");
    assert!(kept_from > Some(day(-92)) && kept_from <= Some(day(-22)));
    assert_ne!(verify_days(&archive).await.expect("holds"), 5);
    bring_days(&archive, 9, &[-92, -91, -23]).await;
    bring_days(&archive, 12, &[1]).await;
    verify_days(&archive).await.expect("holds");
    archive.upkeep(NOW, month).await.expect("lets go again");
    verify_days(&archive).await.expect("holds");
}

/// Runs the program's checks over three days of which the second, of two jobs, is taken out.
struct Taken<'a> {
    folder: &'a Path,
    history: &'a str,
}

impl Taken<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        avtomatika(self.folder, self.history, arguments)
    }

    fn holds(&self, part: &[&str]) {
        let good = self.run(&[&["audit", "verify"], part].concat());
        assert_eq!(good.status.code(), Some(0), "{part:?}: {}", said(&good));
    }

    fn is_missed(&self, part: &[&str], problem: &str) {
        let broken = self.run(&[&["audit", "verify"], part].concat());
        let told = said(&broken);
        assert_eq!(broken.status.code(), Some(1), "{part:?}: {told}");
        let name = format!(
            "broken: event 1 of job {} (event 1 of 2026-11-25)",
            id(9, 2 * DAY)
        );
        assert!(told.starts_with(&name), "{told}");
        assert!(told.contains(problem), "{told}");
    }

    /// Writes an export; returns its lines without their ends.
    fn export(&self, name: &str, part: &[&str]) -> Vec<String> {
        let written = self.run(&[&["jobs", "export"], part].concat());
        assert_eq!(written.status.code(), Some(0), "{}", said(&written));
        std::fs::write(self.folder.join(name), &written.stdout).expect("writes");
        let text = String::from_utf8(written.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    fn write(&self, name: &str, lines: &[String]) {
        std::fs::write(self.folder.join(name), lines.join("\n")).expect("writes");
    }

    fn whole(&self) {
        for part in [&[][..], &["--from", "2026-11-25"], &["--to", "2026-11-24"]] {
            self.holds(part);
            self.export("part.jsonl", part);
            self.holds(&["part.jsonl"]);
        }
        let lines = self.export("all.jsonl", &[]);
        assert!(lines[4].contains(r#""day_before":{"day":"2026-11-24","number":1}"#));
        let both = [&lines[..], &lines[..]].concat();
        self.write("both.jsonl", &both);
        self.holds(&["both.jsonl"]);
        // Whoever takes it out of the file mends the count, too.
        let mut cut: Vec<String> = lines.clone();
        cut.retain(|line| !line.contains(r#""day":"2026-11-24","day_number""#));
        assert_eq!(cut.len(), 4, "a first line, two events, a last line");
        cut[3] = cut[3].replace("\"events\":4", "\"events\":2");
        self.write("cut.jsonl", &cut);
        self.is_missed(
            &["cut.jsonl"],
            "event 1 of 2026-11-24, a day that is missing",
        );
        // A release before days went on from each other says so instead of calling a day changed.
        assert!(
            lines[0].contains("\"avtomatika-history-2\""),
            "{}",
            lines[0]
        );
    }

    fn without(&self) {
        let problem = "goes on from event 1 of 2026-11-24, a day that is missing";
        for part in [
            &[][..],
            &["--from", "2026-11-24"],
            &["--from", "2026-11-25"],
        ] {
            self.is_missed(part, problem);
        }
        self.holds(&["--to", "2026-11-24"]);
        self.holds(&["--job", &id(9, 2 * DAY).to_string()]);
        for part in [
            &[][..],
            &["--from", "2026-11-23"],
            &["--from", "2026-11-24"],
        ] {
            self.export("part.jsonl", part);
            self.is_missed(&["part.jsonl"], problem);
        }
        // What lies before the range of an export is not in it.
        self.export("part.jsonl", &["--from", "2026-11-25"]);
        self.holds(&["part.jsonl"]);
    }
}

/// Three days, and what has come late for the second.
async fn fill(archive: &Tested) {
    bring_days(archive, 0, &[0]).await;
    bring_days(archive, 1, &[1]).await;
    bring_days(archive, 9, &[2]).await;
    bring_days(archive, 2, &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_taken_out_of_a_file_is_missed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let archive: Tested = Arc::new(SqliteArchive::open(&path, hasher()).expect("opens"));
    fill(&archive).await;
    archive.close().await;
    let taken = Taken {
        folder: folder.path(),
        history: "sqlite:history.db",
    };
    taken.whole();
    let db = rusqlite::Connection::open(&path).expect("opens");
    let run = |sql: &str| db.execute_batch(sql).expect("runs");
    let second = day(1).0;
    let whole = "a day that is missing";
    run(&format!(
        "CREATE TABLE before AS SELECT * FROM events;
         DELETE FROM days WHERE day = {second}"
    ));
    taken.is_missed(&[], whole);
    run(&format!("DELETE FROM events WHERE day = {second}"));
    taken.without();
    // Another day in its place.
    run(&format!(
        "INSERT INTO events SELECT * FROM before WHERE day = {second} AND day_number = 2;
         INSERT INTO days SELECT {second}, 2, hash FROM before WHERE day = {second} AND day_number = 2"
    ));
    taken.is_missed(&["--from", "2026-11-25"], "which that day has not");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_a_day_that_is_taken_out_is_missed() {
    let server = Postgres::start();
    fill(&on_server(&server)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = Taken {
        folder: folder.path(),
        history: &server.url(),
    };
    taken.whole();
    let second = day(1).0;
    server.run(&format!("DELETE FROM history_days WHERE day = {second}"));
    taken.is_missed(&[], "a day that is missing");
    server.run(&format!("DELETE FROM history_events WHERE day = {second}"));
    taken.without();
}

/// Two days that an earlier version has stored: neither goes on from the other, since none was there
/// before it.
async fn fill_as_before(archive: &Tested) {
    bring_days(archive, 0, &[1]).await;
    bring_days(archive, 1, &[0]).await;
    assert_eq!(all_before(archive).await, [(day(0), None), (day(1), None)]);
}

async fn goes_on_from_then(archive: &Tested) {
    bring_days(archive, 2, &[1]).await;
    bring_days(archive, 3, &[3]).await;
    let expected = [(day(0), None), (day(1), None), (day(3), Some(before(1, 2)))];
    assert_eq!(all_before(archive).await, expected);
    assert_eq!(verify_days(archive).await, Ok(4));
}

/// What the version before has written is read as it is, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_version_before_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("history.db");
    let open = || -> Tested { Arc::new(SqliteArchive::open(&path, hasher()).expect("opens")) };
    let archive = open();
    fill_as_before(&archive).await;
    archive.close().await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute_batch(
        "ALTER TABLE events DROP COLUMN before_day;
         ALTER TABLE events DROP COLUMN before_number;
         PRAGMA user_version = 1",
    )
    .expect("goes back");
    let schema = |db: &rusqlite::Connection| -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let mut all = db.prepare(sql).expect("prepares");
        let all = all.query_map([], |row| row.get(0)).expect("queries");
        all.map(|sql| sql.expect("a text")).collect()
    };
    let first = rusqlite::Connection::open_in_memory().expect("opens");
    let sql = include_str!("../../src/store/sqlite/archive/schema_1.sql");
    first.execute_batch(sql).expect("runs");
    assert_eq!(schema(&db), schema(&first), "as it was");
    drop(db);
    // Where nobody writes any more it stays as it is, and is checked.
    let good = avtomatika(folder.path(), "sqlite:history.db", &["audit", "verify"]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    let archive = open();
    goes_on_from_then(&archive).await;
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_of_the_version_before_goes_on() {
    let server = Postgres::start();
    fill_as_before(&on_server(&server)).await;
    server.run(
        "ALTER TABLE history_events DROP COLUMN before_day, DROP COLUMN before_number;
         ALTER TABLE history_segments DROP COLUMN before_day, DROP COLUMN before_number;
         DELETE FROM history_migrations WHERE version > 3",
    );
    goes_on_from_then(&on_server(&server)).await;
}
