//! Files of jobs that leave Redis early: they stay for the jobs' own time, in which the archive shows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use avtomatika::base::{Clock, JobId, SystemClock, Timestamp};
use avtomatika::domain::{Job, JobStatus};
use avtomatika::runtime::Settings;
use avtomatika::store::archive::kept;
use avtomatika::store::{
    Archive, BlobStore, DirBlobStore, FeedBatch, JobText, Offloading, RedisSettings, RedisStore,
};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::json;
use tempfile::TempDir;

use crate::export::{Feeding, World, in_file, in_folder};
use crate::fixtures::*;
use crate::heavy::{self, answer, api, get, submit};
use crate::servers::redis::Redis;
use crate::unsteady::Unsteady;

const HOUR: i64 = 3_600_000;

/// How long jobs stay in Redis, and one of [`BRIEF`] anywhere.
const EARLY: Duration = Duration::from_hours(1);

const BRIEF: &str = "
blueprint: brief
start: done
limits: { retention: 1h }
states:
  done: { end: finished }
";

/// The system's time, and so many ms later.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Ahead {
    fn moves(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// An orchestrator with two jobs that have ended, which the archive has.
struct Ended {
    world: World,
    clock: Arc<Ahead>,
    archive: Arc<Unsteady>,
    blobs: Arc<dyn BlobStore>,
    /// It leaves Redis long before its time, and has a large result.
    early: JobId,
    /// It leaves at its time, later than the other does.
    brief: JobId,
}

impl Ended {
    /// Starts it on Redis, which has to outlast it.
    async fn start() -> (Self, Redis) {
        let redis = Redis::start();
        let settings = RedisSettings {
            retention: Some(EARLY),
            ..RedisSettings::new(redis.url().as_str().into())
        };
        let store = Arc::new(RedisStore::open(&settings).await.expect("opens"));
        store.switch_feed(true).await.expect("switches it on");
        let folder = tempfile::tempdir().expect("a temporary folder");
        (Self::on(store, folder).await, redis)
    }

    async fn on<S: Feeding>(store: Arc<S>, folder: TempDir) -> Self {
        let archive = Unsteady::over(in_file(&folder));
        let blobs = DirBlobStore::open(&folder.path().join("files"), "jobs").await;
        let blobs: Arc<dyn BlobStore> = Arc::new(blobs.expect("a folder"));
        let jobs = Offloading::new(store.clone(), Arc::clone(&blobs), heavy::BYTES_MAX);
        let clock = Arc::new(Ahead::default());
        let settings = Settings {
            look_every_ms: 500,
            sweep_every_ms: 50,
            ..Settings::default()
        };
        let world = World::with(store, archive.clone(), folder, settings, |ports| {
            ports.jobs = Arc::new(jobs);
            ports.blobs = Arc::clone(&blobs);
            ports.clock = clock.clone();
        });
        let world = world.await;
        let files = [("heavy.yaml", heavy::HEAVY), ("brief.yaml", BRIEF)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let problems = world.runtime.load_blueprints(files.to_vec()).await;
        assert_eq!(problems.expect("a store"), []);
        let early = submit(&world, "heavy", &"x".repeat(300_000)).await;
        let brief = submit(&world, "brief", "").await;
        for job in [early, brief] {
            let key = format!("jobs/{job}/out.txt");
            let put = blobs.put_whole(&key, Bytes::from_static(b"out"));
            put.await.expect("stores");
        }
        world.is_through().await;
        Self {
            world,
            clock,
            archive,
            blobs,
            early,
            brief,
        }
    }

    async fn has_files(&self, job: JobId) -> bool {
        let listed = self.blobs.list(&format!("jobs/{job}/")).await;
        !listed.expect("lists").is_empty()
    }

    async fn has_left(&self, job: JobId) -> bool {
        let job = self.world.store.is_there(job).await;
        !job.expect("answers")
    }

    /// Waits until so many calls have asked the archive whose files may go.
    async fn has_asked(&self, times: u32) {
        until(async || self.archive.asked.load(Ordering::SeqCst) >= times).await;
    }
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let comes = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let comes = tokio::time::timeout(Duration::from_mins(1), comes).await;
    comes.expect("it comes to this");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_redis_files_of_a_job_that_leaves_early_stay_for_its_time() {
    let (all, _redis) = Ended::start().await;
    let api = api(&all.world);
    let path = format!("/api/v1/jobs/{}", all.early);
    let (files, file) = (
        format!("{path}/files"),
        format!("{path}/files/download/out.txt"),
    );
    let (_, live) = get(&api, &path).await;
    let (_, listed) = get(&api, &files).await;
    assert_eq!(listed[0]["filename"], "out.txt");
    all.clock.moves(2 * HOUR);
    until(async || all.has_left(all.early).await && !all.has_files(all.brief).await).await;

    let (status, archived) = get(&api, &path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(archived == live, "with its whole result");
    assert_eq!(get(&api, &files).await, (StatusCode::OK, listed));
    let link = answer(&api, &file).await;
    assert_eq!(link.status(), StatusCode::FOUND);
    let link = link.headers()[header::LOCATION].to_str().expect("a link");
    let content = answer(&api, link).await.into_body().collect().await;
    assert_eq!(content.expect("reads").to_bytes(), "out");

    all.clock.moves(31 * DAY);
    until(async || !all.has_files(all.early).await).await;
    let (status, archived) = get(&api, &path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(archived["result"]["text"]["$offloaded"]["size"], 300_002);
    assert_eq!(get(&api, &files).await, (StatusCode::OK, json!([])));
    let (status, _) = get(&api, &file).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    all.world.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_redis_no_files_go_while_the_archive_does_not_tell_whose() {
    let (all, _redis) = Ended::start().await;
    all.archive.does_not_tell.store(true, Ordering::SeqCst);
    all.clock.moves(2 * HOUR);
    until(async || all.has_left(all.early).await && all.has_left(all.brief).await).await;
    // First by the sweep, then by the search for orphans, which is tried again.
    all.has_asked(1).await;
    all.clock.moves(25 * HOUR);
    all.has_asked(2).await;
    all.clock.moves(HOUR);
    all.has_asked(3).await;
    for job in [all.early, all.brief] {
        assert!(all.has_files(job).await);
    }
    all.archive.does_not_tell.store(false, Ordering::SeqCst);
    all.clock.moves(HOUR);
    until(async || !all.has_files(all.brief).await).await;
    assert!(all.has_files(all.early).await);
    all.clock.moves(31 * DAY);
    until(async || !all.has_files(all.early).await).await;
    all.world.runtime.shutdown().await;
}

/// Its jobs stay for their time, so nobody is asked when they go.
#[tokio::test(flavor = "multi_thread")]
async fn files_go_with_jobs_of_the_embedded_store_whatever_the_archive_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let all = Ended::on(in_folder(&folder), folder).await;
    all.archive.does_not_tell.store(true, Ordering::SeqCst);
    for (ms, job) in [(2 * HOUR, all.brief), (31 * DAY, all.early)] {
        assert!(all.has_files(job).await);
        all.clock.moves(ms);
        until(async || !all.has_files(job).await).await;
        assert!(all.has_left(job).await);
    }
    assert_eq!(all.archive.asked.load(Ordering::SeqCst), 0);
    all.world.runtime.shutdown().await;
}

/// Whatever release has written them, until the archive's own retention is over.
pub async fn tells_until_when_jobs_are_kept(archive: Arc<dyn Archive>) {
    let open = job(1, 0);
    let until = |n: u16, days: i64| Job {
        keep_until: Some(at(days * DAY)),
        ..ended(&job(n, 0), JobStatus::Finished, 9)
    };
    let (long, short) = (until(2, 2), until(3, 1));
    bring(&archive, &[open.clone(), long.clone(), short.clone()]).await;
    let older = [until(4, 2), until(5, 1)];
    let texts = older.iter().map(|job| {
        let mut text = JobText::of(job);
        text.summary.keep_until = None;
        Arc::new(text)
    });
    let written = FeedBatch {
        jobs: texts.collect(),
        ..(*batch(older.iter().map(|job| event(job, 0, 9)), [])).clone()
    };
    archive.append(Arc::new(written)).await.expect("appends");
    let jobs = [&open, &long, &short, &older[0], &older[1], &job(6, 0)].map(|job| job.id);
    let kept = async |ms| kept(archive.as_ref(), &jobs, at(ms)).await.expect("tells");
    assert_eq!(kept(0).await, jobs[1..5].iter().copied().collect());
    assert_eq!(kept(DAY).await, [long.id, older[0].id].into());
    assert_eq!(kept(2 * DAY).await, [].into());

    bring_one(&archive, &ended(&open, JobStatus::Finished, 9)).await;
    let month = Duration::from_hours(24 * 30);
    let kept_up = archive.upkeep(at(400 * DAY), Some(month)).await;
    kept_up.expect("lets go");
    assert_eq!(kept(0).await, [].into(), "they have gone");
}
