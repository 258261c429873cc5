//! What the shell counts: each figure moves with the thing that it counts, and a scrape shows all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use avtomatika::domain::{JobStatus, TaskReport};
use avtomatika::engine::Input;
use avtomatika::observe::{Definition, Kind, Metrics, ORCHESTRATOR, PROCESS, Snapshot};
use avtomatika::runtime::Settings;
use avtomatika::store::MemoryStore;
use serde_json::json;

use crate::fixture::{self, Fixture, data};

/// A scrape's figures, by series.
struct Figures(BTreeMap<String, f64>);

impl Figures {
    async fn of(world: &Fixture) -> Self {
        Self::read(&world.runtime.scrape().await)
    }

    fn read(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let series = series.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    /// Returns what a series says; none that is missing has anything to say.
    fn get(&self, series: &str) -> Option<f64> {
        self.0.get(&format!("orchestrator_{series}")).copied()
    }

    /// Compares several series at once.
    #[track_caller]
    fn are(&self, expected: &[(&str, f64)]) {
        let seen: Vec<_> = expected
            .iter()
            .map(|(name, _)| (*name, self.get(name)))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (*name, Some(*value)))
            .collect();
        assert_eq!(seen, expected);
    }
}

/// Lists what a scrape may show, as its comments say it.
fn described(definitions: &[&Definition]) -> BTreeMap<String, (String, String)> {
    let described = definitions.iter().map(|one| {
        let kind = one.kind.as_str().to_owned();
        (one.name.to_owned(), (kind, one.help.to_owned()))
    });
    described.collect()
}

fn comments(text: &str) -> BTreeMap<String, (String, String)> {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(said)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let entry = seen.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => said.clone_into(&mut entry.0),
            _ => said.clone_into(&mut entry.1),
        }
    }
    seen
}

#[test]
fn the_catalog_keeps_to_the_rules() {
    for one in ORCHESTRATOR {
        let name = one.name;
        assert!(name.starts_with("orchestrator_"), "{name}");
        assert_eq!(
            one.kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}"
        );
        assert_eq!(
            one.kind == Kind::Histogram,
            !one.buckets.is_empty(),
            "{name}"
        );
        assert!(one.help.ends_with('.') && one.help.len() > 20, "{name}");
        assert!(one.buckets.is_sorted(), "{name}");
    }
}

/// Runs one task to its end with that report.
async fn run(world: &Fixture, worker: &avtomatika::base::WorkerId, report: TaskReport) {
    let job = world.submit("one", json!({})).await;
    let task = world.take(worker).await;
    world.report(worker, &task, report).await;
    world.ended(job).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_are_counted_with_their_ends_and_durations() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    run(&world, &worker, TaskReport::success(data(json!({})))).await;
    run(
        &world,
        &worker,
        TaskReport::failure("PERMANENT_ERROR", "no"),
    )
    .await;
    let job = world.submit("one", json!({})).await;
    let reason = "enough".to_owned();
    world
        .runtime
        .apply(job, Input::Cancel { reason })
        .await
        .unwrap();
    // One waits in the queue for five seconds, and is with its worker for three.
    let slow = world.submit("one", json!({})).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let task = world.take(&worker).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let done = TaskReport::success(data(json!({})));
    world.report(&worker, &task, done).await;
    assert_eq!(world.job(slow).await.status, JobStatus::Finished);
    let figures = Figures::of(&world).await;
    figures.are(&[
        (r#"jobs_total{blueprint="one"}"#, 4.0),
        (
            r#"jobs_ended_total{blueprint="one",outcome="finished"}"#,
            2.0,
        ),
        (
            r#"jobs_ended_total{blueprint="one",outcome="quarantined"}"#,
            1.0,
        ),
        (r#"jobs_ended_total{blueprint="one",outcome="failed"}"#, 0.0),
        (
            r#"jobs_ended_total{blueprint="one",outcome="cancelled"}"#,
            1.0,
        ),
        (r#"jobs_failed_total{blueprint="one",reason="worker"}"#, 1.0),
        (r#"job_duration_seconds_sum{blueprint="one"}"#, 8.0),
        (r#"job_duration_seconds_count{blueprint="one"}"#, 4.0),
        (r#"task_dispatch_latency_seconds_sum{skill="work"}"#, 5.0),
        (r#"task_dispatch_latency_seconds_count{skill="work"}"#, 3.0),
        (r#"task_deliveries_total{skill="work"}"#, 3.0),
        (r#"task_duration_seconds_sum{skill="work"}"#, 3.0),
        (r#"tasks_ended_total{skill="work",status="success"}"#, 2.0),
        (r#"tasks_ended_total{skill="work",status="failure"}"#, 1.0),
        (r#"store_commits_total{outcome="conflict"}"#, 0.0),
        ("leases", 0.0),
    ]);
    assert!(figures.get(r#"store_commits_total{outcome="stored"}"#) >= Some(8.0));
    // What is stored of workers is measured as what is stored of jobs.
    for operation in ["worker_put", "worker_list", "reputation"] {
        let name = format!(r#"store_operation_duration_seconds_count{{operation="{operation}"}}"#);
        assert!(figures.get(&name) >= Some(1.0), "{operation}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn queues_and_workers_are_looked_at_when_somebody_asks() {
    let world = Fixture::start().await;
    for _ in 0..3 {
        world.submit("one", json!({})).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    Figures::of(&world).await.are(&[
        (r#"task_queue_length{skill="work"}"#, 3.0),
        (r#"task_queue_oldest_seconds{skill="work"}"#, 30.0),
        (r#"skill_workers{skill="work"}"#, 0.0),
        (r#"active_workers{status="idle"}"#, 0.0),
        ("open_polls", 0.0),
    ]);
    let worker = world.worker("w1", &["work", "rest"]).await;
    world.take(&worker).await;
    let figures = Figures::of(&world).await;
    figures.are(&[
        (r#"task_queue_length{skill="work"}"#, 2.0),
        (r#"task_queue_oldest_seconds{skill="work"}"#, 20.0),
        (r#"skill_workers{skill="work"}"#, 1.0),
        (r#"skill_workers{skill="rest"}"#, 1.0),
        (r#"task_queue_length{skill="rest"}"#, 0.0),
        (r#"active_workers{status="idle"}"#, 1.0),
        (r#"worker_reputation_ratio{statistic="min"}"#, 1.0),
        ("workers_excluded", 0.0),
        ("leases", 1.0),
    ]);
    for _ in 0..2 {
        world.take(&worker).await;
    }
    Figures::of(&world).await.are(&[
        (r#"task_queue_length{skill="work"}"#, 0.0),
        (r#"task_queue_oldest_seconds{skill="work"}"#, 0.0),
        ("leases", 3.0),
    ]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retries_losses_and_late_results_are_counted() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    let job = world.submit("one", json!({})).await;
    let first = world.take(&worker).await;
    let passing = TaskReport::failure("TRANSIENT_ERROR", "later");
    world.report(&worker, &first, passing).await;
    Figures::of(&world).await.are(&[
        ("tasks_delayed", 1.0),
        (
            r#"task_retries_total{blueprint="one",reason="failure"}"#,
            1.0,
        ),
    ]);
    let second = world.take(&worker).await;
    // Not heard of any more: its lease ends, and the task goes to the queue.
    let lost = r#"task_retries_total{blueprint="one",reason="worker_lost"}"#;
    world
        .until(async || Figures::of(&world).await.get(lost) == Some(1.0))
        .await;
    let late = TaskReport::success(data(json!({})));
    let runtime = &world.runtime;
    runtime
        .report(&worker, job, &second.id, late)
        .await
        .unwrap();
    let figures = Figures::of(&world).await;
    let ignored: f64 = figures
        .0
        .iter()
        .filter(|(name, _)| name.starts_with("orchestrator_tasks_ignored_total{"))
        .map(|(_, count)| count)
        .sum();
    assert!((ignored - 1.0).abs() < f64::EPSILON, "{:?}", figures.0);
    // It is written into the history, which is measured, too.
    let written = r#"store_operation_duration_seconds_count{operation="history"}"#;
    assert!(figures.get(written) >= Some(1.0), "{:?}", figures.0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lapses_are_counted_by_their_type() {
    let world = Fixture::start().await;
    let mut new = fixture::new_job(json!({}));
    new.dispatch_timeout_ms = Some(1_000);
    let job = world.runtime.submit("one", new).await.unwrap().job_id;
    world.ended(job).await;
    Figures::of(&world).await.are(&[
        (
            r#"jobs_timeouts_total{blueprint="one",type="dispatch"}"#,
            1.0,
        ),
        (
            r#"jobs_timeouts_total{blueprint="one",type="execution"}"#,
            0.0,
        ),
        (
            r#"jobs_failed_total{blueprint="one",reason="dispatch_timeout"}"#,
            1.0,
        ),
    ]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn webhooks_are_counted_by_what_each_try_came_to() {
    let world = Fixture::start().await;
    world.webhooks.refuse_next(2);
    let worker = world.worker("w1", &["work"]).await;
    let mut new = fixture::new_job(json!({}));
    new.webhook_url = Some("https://example.org/hook".to_owned());
    world.runtime.submit("one", new).await.unwrap();
    let task = world.take(&worker).await;
    let done = TaskReport::success(data(json!({})));
    world.report(&worker, &task, done).await;
    world.webhooks.wait_for(1).await;
    Figures::of(&world).await.are(&[("outbox_messages", 1.0)]);
    world.webhooks.wait_for(3).await;
    // The scrape asks the store at most once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Figures::of(&world).await.are(&[
        (r#"webhooks_total{outcome="retried"}"#, 2.0),
        (r#"webhooks_total{outcome="delivered"}"#, 1.0),
        (r#"webhooks_total{outcome="dead"}"#, 0.0),
        ("outbox_messages", 0.0),
    ]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_seen() {
    let store = Arc::new(MemoryStore::new());
    let world = Fixture::start_over(store.clone(), None, Settings::default()).await;
    Figures::of(&world).await.are(&[
        (r#"part_up{part="store"}"#, 1.0),
        (r#"part_outages_total{part="store"}"#, 0.0),
    ]);
    // Not by way of the shell, which would know that it is meant.
    avtomatika::store::JobStore::close(store.as_ref()).await;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let figures = Figures::of(&world).await;
    figures.are(&[
        (r#"part_up{part="store"}"#, 0.0),
        (r#"part_outages_total{part="store"}"#, 1.0),
    ]);
    assert!(figures.get(r#"store_errors_total{operation="health"}"#) >= Some(1.0));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "nobody waits for it"
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_scrape_shows_what_the_catalog_says() {
    let world = Fixture::start().await;
    let worker = world.worker("w1", &["work"]).await;
    run(
        &world,
        &worker,
        TaskReport::failure("PERMANENT_ERROR", "no"),
    )
    .await;
    let text = world.runtime.scrape().await;
    let (seen, known) = (comments(&text), described(ORCHESTRATOR));
    for (name, said) in &seen {
        let own = described(PROCESS);
        let known = known.get(name).or_else(|| own.get(name));
        assert_eq!(Some(said), known, "{name}");
    }
    let missing: Vec<_> = known
        .keys()
        .filter(|name| !seen.contains_key(*name))
        .collect();
    // What has no series before it happens, or needs a server that is not here.
    let unheard_of = [
        "orchestrator_history_rows_behind",
        "orchestrator_http_errors_total",
        "orchestrator_s3_operation_duration_seconds",
        "orchestrator_s3_operations_total",
        "orchestrator_scheduler_jobs_triggered_total",
        "orchestrator_security_auth_failures_total",
        "orchestrator_tasks_ignored_total",
    ];
    assert_eq!(missing, unheard_of);
    if cfg!(target_os = "linux") {
        let missing = described(PROCESS);
        let missing: Vec<_> = missing
            .keys()
            .filter(|name| !seen.contains_key(*name))
            .collect();
        assert_eq!(missing, Vec::<&String>::new());
    }
    world.stop().await;
}

#[test]
fn figures_of_many_skills_stay_few() {
    let mut snapshot = Snapshot::default();
    for number in 0..2_000_u64 {
        let queue = snapshot.skills.entry(format!("skill{number}")).or_default();
        queue.length = 1 + number % 2;
        queue.oldest = Duration::from_secs(number);
    }
    let text = Metrics::new().text(&snapshot);
    let figures = Figures::read(&text);
    let of_queue = |name: &&String| name.starts_with("orchestrator_task_queue_length");
    assert_eq!(figures.0.keys().filter(of_queue).count(), 501);
    let other = figures.get(r#"task_queue_length{skill="other"}"#);
    assert_eq!(other, Some(500.0 * 2.0 + 1000.0));
    let oldest = figures.get(r#"task_queue_oldest_seconds{skill="other"}"#);
    assert_eq!(oldest, Some(1999.0));
}
