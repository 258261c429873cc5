//! An upkeep that cannot have its way: history goes on, tries are few, it is told, and ends well.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use avtomatika::base::{Clock, SystemClock, Timestamp};
use avtomatika::domain::JobStatus;
use avtomatika::runtime::Settings;
use avtomatika::store::Archive as _;

use crate::export::{World, in_folder};
use crate::fixtures::*;
use crate::on_server;
use crate::servers::postgres::Postgres;
use crate::unsteady::Unsteady;

/// Goes by hand, from now on.
struct Hand(AtomicI64);

impl Hand {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(SystemClock.now().0)))
    }

    fn passes(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).expect("short");
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A dump has read the tables and goes on for long: what is old stays until it has ended, and nobody else
/// waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_upkeep_that_waits_for_a_dump_holds_up_nothing_and_is_told() {
    let server = Postgres::start();
    let archive = Unsteady::over(on_server(&server));
    let tries = || archive.upkeeps.load(Ordering::SeqCst);
    let old = SystemClock.now().0 - NOW.0 - 400 * DAY;
    let old = ended(&job(1, old), JobStatus::Finished, old);
    bring_one(&on_server(&server), &old).await;
    let is_kept = async || {
        let kept = archive.by_job(old.id, None, 1).await.expect("reads");
        !kept.is_empty()
    };
    let (mut dump, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls)
        .await
        .expect("connects");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let dump = dump.transaction().await.expect("begins");
    let reads = "LOCK TABLE history_events, history_jobs IN ACCESS SHARE MODE";
    dump.batch_execute(reads).await.expect("reads");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Hand::new();
    let settings = Settings {
        look_every_ms: 20,
        ..Settings::default()
    };
    let (store, time) = (in_folder(&folder), Arc::clone(&clock));
    let world = World::with(store, archive.clone(), folder, settings, |ports| {
        ports.clock = time;
        let export = ports.export.as_mut().expect("an archive");
        export.retention = Some(Duration::from_hours(24 * 200));
    });
    let world = world.await;
    world
        .says("degraded: it is written, but its upkeep has failed since")
        .await;
    let scraped = world.runtime.scrape().await;
    let is_down = "orchestrator_part_up{part=\"history\"} 0";
    assert!(scraped.contains(is_down), "{scraped}");
    // Room for what is to come was made all the same, while the dump reads.
    let months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'history_events'::regclass";
    assert_eq!(server.run(months), "4");
    let mut jobs = Vec::new();
    for tried in 1..=3 {
        for _ in 0..5 {
            jobs.extend(world.run(5).await);
            world.is_through().await;
        }
        assert_eq!(tries(), tried, "not with each batch");
        assert!(is_kept().await);
        clock.passes(Duration::from_mins(1 << (tried - 1)));
        let again = async {
            while tries() == tried {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let again = tokio::time::timeout(Duration::from_mins(1), again).await;
        again.expect("it is tried again");
    }
    dump.rollback().await.expect("ends");
    clock.passes(Duration::from_hours(1));
    world.says("ok").await;
    assert!(!is_kept().await);
    world.is_through().await;
    world.has_arrived(&jobs).await;
    world.runtime.shutdown().await;
}
