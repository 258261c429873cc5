//! The archive with a million finished jobs (`BENCH_JOBS`): how fast they come in, and how long a
//! search takes: `cargo bench --bench history`. A file and a private PostgreSQL, one after the other;
//! `BENCH_HISTORY=sqlite` or `postgres` takes one.

#[path = "../tests/servers/mod.rs"]
#[expect(dead_code, reason = "only PostgreSQL is started here")]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::{JobId, Secret, Timestamp};
use avtomatika::domain::{Event, EventKind, Job, JobStatus, Object};
use avtomatika::store::archive::chain::Hasher;
use avtomatika::store::archive::postgres::PostgresArchive;
use avtomatika::store::archive::uri::Protection;
use avtomatika::store::archive::{JobSearch, words};
use avtomatika::store::{Archive, EventText, FeedBatch, JobQuery, JobText, SqliteArchive};
use serde_json::json;
use tokio::time::Instant;

/// Jobs of one batch, as the export takes them.
const BATCH: u32 = 250;
/// Events of one job.
const EVENTS: u32 = 5;
/// Searches of each kind.
const ROUNDS: u32 = 50;
/// Over which time the jobs are spread: 60 days, so three months.
const SPAN_MS: u64 = 60 * 86_400_000;
const NOW: Timestamp = Timestamp(1_795_422_000_000);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let setting = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let jobs = setting("BENCH_JOBS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let only = setting("BENCH_HISTORY");
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let hasher = || Hasher::new(&Secret::new("bench"));
    runtime.block_on(async {
        if wanted("sqlite") {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("history.db");
            let archive = SqliteArchive::open(&path, hasher()).expect("opens");
            measure("SQLite", jobs, Arc::new(archive), || ()).await;
        }
        if wanted("postgres") {
            let server = servers::postgres::Postgres::start();
            let archive = PostgresArchive::new(&server.url(), &Protection::Disable, hasher());
            let archive = Arc::new(archive.expect("good"));
            // As the server does by itself within a minute; a load of weeks takes no longer than that here.
            let settle = || drop(server.run("vacuum analyze"));
            measure("PostgreSQL", jobs, archive, settle).await;
        }
    });
}

#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
async fn measure(name: &str, jobs: u32, archive: Arc<dyn Archive>, settle: impl FnOnce()) {
    let started = Instant::now();
    for first in (0..jobs).step_by(BATCH as usize) {
        let last = jobs.min(first + BATCH);
        let all: Vec<Job> = (first..last).map(|n| job(n, jobs)).collect();
        let events = all.iter().flat_map(events);
        let events = events.map(|event| EventText::of(&event)).collect();
        let batch = FeedBatch {
            events,
            jobs: all.iter().map(|job| Arc::new(JobText::of(job))).collect(),
            through: "1".to_owned(),
            is_full: true,
        };
        archive.append(Arc::new(batch)).await.expect("appends");
    }
    let rate = f64::from(jobs) / started.elapsed().as_secs_f64();
    settle();
    println!("\n{name}: {jobs} jobs with {EVENTS} events each, {rate:.0} jobs/s\n");
    println!("| Search | Found | p50, ms | p95, ms | Most, ms |\n|---|--:|--:|--:|--:|");
    let mut all = Vec::new();
    for (name, search) in searches() {
        let mut times = Vec::new();
        let mut found = 0;
        for round in 0..ROUNDS {
            let search = search(round, jobs);
            let began = Instant::now();
            found = archive.search(search).await.expect("searches").jobs.len();
            times.push(began.elapsed());
        }
        row(name, &found.to_string(), &mut times);
        all.extend(times);
    }
    row("all", "", &mut all);
    archive.close().await;
}

#[expect(clippy::print_stdout, reason = "figures are what a bench is for")]
fn row(name: &str, found: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "| {name} | {found} | {:.1} | {:.1} | {:.1} |",
        ms(at(50)),
        ms(at(95)),
        ms(at(100))
    );
}

/// Returns when the `n`th job was created.
fn created(n: u32, jobs: u32) -> Timestamp {
    let ago = SPAN_MS - SPAN_MS * u64::from(n) / u64::from(jobs);
    Timestamp(NOW.0 - i64::try_from(ago).expect("small"))
}

/// Returns the `n`th job as it ended: 97 of 100 well.
fn job(n: u32, jobs: u32) -> Job {
    let at = created(n, jobs);
    let mut random = [0; 10];
    random[2..6].copy_from_slice(&n.to_be_bytes());
    let (status, error) = match n % 200 {
        0..4 => (
            JobStatus::Failed,
            Some(json!({
                "code": if n % 400 < 200 { "DISK_FULL" } else { "TIMEOUT" },
                "message": format!("worker host{} gave up: no space left or no answer", n % 5_000),
            })),
        ),
        4 => (
            JobStatus::Quarantined,
            Some(json!({"code": "worker_lost", "message": "three workers died with it"})),
        ),
        5 => (JobStatus::Cancelled, None),
        _ => (JobStatus::Finished, None),
    };
    serde_json::from_value(json!({
        "id": JobId::from_parts(at, random),
        "revision": 3,
        "blueprint": format!("blueprint_{}", n % 7),
        "blueprint_revision": "r1",
        "client": {"id": "acme", "plan": "free", "params": {}},
        "status": status,
        "state": "done",
        "visit": 3,
        "initial_data": {"path": format!("/in/{n}.png"), "text": "x".repeat(200)},
        "state_history": {"width": 100, "text": "y".repeat(200)},
        "result": {"path": format!("/out/{n}.png")},
        "error": error,
        "labels": {"team": format!("t{}", n % 10), "tenant": format!("c{}", n % 1_000)},
        "step": 3,
        "max_transitions": 100,
        "created_at": at,
        "updated_at": at.after_ms(50),
        "entered_at": at.after_ms(50),
        "ended_at": at.after_ms(50),
    }))
    .expect("a job")
}

fn events(job: &Job) -> Vec<Event> {
    let event = |index: u32| Event {
        event_id: Event::derive_id(job.id, 1, index),
        job_id: job.id,
        client: job.client.id.clone(),
        revision: 1,
        index,
        at: job.created_at.after_ms(u64::from(index)),
        kind: EventKind::StateFinished,
        state: "first".to_owned(),
        previous_state: Some("first".to_owned()),
        next_state: Some("second".to_owned()),
        worker_id: None,
        task_id: None,
        attempt: None,
        duration_ms: Some(5),
        details: Object::new(),
    };
    (0..EVENTS).map(event).collect()
}

/// Makes a search of one kind, each round another.
type Make = fn(u32, u32) -> JobSearch;

fn page(narrow: impl FnOnce(&mut JobQuery)) -> JobSearch {
    let mut jobs = JobQuery {
        client: Some("acme".into()),
        limit: 100,
        ..JobQuery::default()
    };
    narrow(&mut jobs);
    JobSearch {
        jobs,
        words: Vec::new(),
    }
}

fn label(query: &mut JobQuery, name: &str, value: String) {
    query.labels.insert(name.to_owned(), value);
}

fn text(text: &str) -> JobSearch {
    JobSearch {
        words: words::of(text),
        ..page(|_| {})
    }
}

fn searches() -> Vec<(&'static str, Make)> {
    vec![
        ("newest", |_, _| page(|_| {})),
        ("a page in the middle", |round, jobs| {
            page(|query| query.after = Some(job(jobs / 2 + round, jobs).id))
        }),
        ("blueprint", |round, _| {
            page(|query| query.blueprint = Some(format!("blueprint_{}", round % 7)))
        }),
        ("failed", |_, _| {
            page(|query| query.statuses = vec![JobStatus::Failed])
        }),
        ("failed or quarantined", |_, _| {
            page(|query| query.statuses = vec![JobStatus::Failed, JobStatus::Quarantined])
        }),
        ("a day", |round, jobs| {
            page(|query| {
                let from = created(jobs / 100 * round, jobs);
                query.created_from = Some(from);
                query.created_to = Some(from.after_ms(86_400_000));
                query.statuses = vec![JobStatus::Failed];
            })
        }),
        ("common label", |round, _| {
            page(|query| label(query, "team", format!("t{}", round % 10)))
        }),
        ("rare label", |round, _| {
            page(|query| label(query, "tenant", format!("c{round}")))
        }),
        ("label, status, blueprint", |round, _| {
            page(|query| {
                label(query, "team", format!("t{}", round % 10));
                query.statuses = vec![JobStatus::Cancelled];
                query.blueprint = Some("blueprint_3".to_owned());
            })
        }),
        ("labels that never meet", |_, _| {
            page(|query| {
                label(query, "team", "t1".to_owned());
                label(query, "tenant", "c2".to_owned());
            })
        }),
        ("common word", |_, _| text("space")),
        ("rare word", |round, _| {
            text(&format!("host{}", 200 * (round % 25)))
        }),
        ("two words", |_, _| text("disk left")),
        ("words and label", |round, _| {
            let mut search = text("timeout");
            label(&mut search.jobs, "team", format!("t{}", round % 4));
            search
        }),
    ]
}
