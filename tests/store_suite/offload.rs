//! The store that keeps heavy values as blobs: whoever reads through it sees no difference, and
//! whoever reads past it sees references.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::crypto;
use avtomatika::domain::Job;
use avtomatika::domain::task::TaskReport;
use avtomatika::engine::{Answer, Effect};
use avtomatika::store::{
    BlobBody, BlobError, BlobInfo, BlobStore, CommitError, Hint, JobQuery, JobStore, MemoryStore,
    Offloading, RedisSettings, RedisStore, StoreError,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::fixtures::{at, commit, job, lease, next, put, task};
use crate::servers::redis::Redis;
use crate::{Place, Store};

/// What others on the same server do is told through here too.
#[tokio::test]
async fn server_redis_hints_come_through() {
    let redis = Redis::start();
    let settings = RedisSettings::new(redis.url().as_str().into());
    let open = async || Arc::new(RedisStore::open(&settings).await.expect("opens"));
    let (here, elsewhere) = (open().await, open().await);
    let here = Offloading::new(here, Arc::new(Blobs::default()), BYTES_MAX);
    let mut hints = here.hints().expect("it hears others");
    let job = job(1);
    let queued = put(&task(&job, None, 1));
    let committed = elsewhere.commit(commit(job, vec![queued], vec![])).await;
    committed.expect("commits");
    let told = async { while !matches!(hints.recv().await.expect("goes on"), Hint::Queued(_)) {} };
    let told = tokio::time::timeout(Duration::from_mins(1), told).await;
    told.expect("the other's task is told of");
    here.close().await;
    elsewhere.close().await;
}

/// Everything longer than a few letters is heavy.
const BYTES_MAX: usize = 6;

/// Blobs in memory, which may be gone for a while.
#[derive(Default)]
struct Blobs(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    blobs: BTreeMap<String, Bytes>,
    puts: usize,
    gets: usize,
    is_gone: bool,
}

#[async_trait]
impl BlobStore for Blobs {
    async fn put(&self, key: &str, body: BlobBody, _: u64) -> Result<BlobInfo, BlobError> {
        let content = body.try_collect::<Vec<Bytes>>().await?.concat();
        let mut kept = self.0.lock().expect("nobody panics");
        if kept.is_gone {
            return Err(BlobError::Unavailable("gone".to_owned()));
        }
        kept.puts += 1;
        let bytes = content.len() as u64;
        kept.blobs.insert(key.to_owned(), content.into());
        Ok(BlobInfo {
            key: key.to_owned(),
            bytes,
            sha256: None,
        })
    }

    async fn get(&self, key: &str) -> Result<Option<(BlobInfo, BlobBody)>, BlobError> {
        let mut kept = self.0.lock().expect("nobody panics");
        kept.gets += 1;
        if kept.is_gone {
            return Err(BlobError::Unavailable("gone".to_owned()));
        }
        let found = kept.blobs.get(key).cloned();
        Ok(found.map(|content| {
            let info = BlobInfo {
                key: key.to_owned(),
                bytes: content.len() as u64,
                sha256: None,
            };
            (info, stream::iter([Ok(content)]).boxed())
        }))
    }

    async fn list(&self, _: &str) -> Result<Vec<BlobInfo>, BlobError> {
        unreachable!("values are read by their references")
    }

    async fn folders(&self, _: &str) -> Result<Vec<String>, BlobError> {
        unreachable!("values are read by their references")
    }

    async fn delete_prefix(&self, _: &str) -> Result<(), BlobError> {
        unreachable!("values go with their jobs, which is the shell's work")
    }

    fn uri(&self, key: &str) -> String {
        key.to_owned()
    }
}

/// Jobs are kept by way of the blobs, everything else beside them.
pub struct Heavy {
    pub jobs: Offloading,
    pub rest: Arc<MemoryStore>,
}

/// Opens a store that passes the whole suite like any other.
pub fn open() -> Ready<(Store, Place)> {
    let world = World::default();
    let jobs = world.heavy();
    let rest = world.light;
    ready((Arc::new(Heavy { jobs, rest }), Box::new(())))
}

#[derive(Default)]
struct World {
    light: Arc<MemoryStore>,
    blobs: Arc<Blobs>,
}

impl World {
    /// Returns a store on both that knows nothing yet of what is in them.
    fn heavy(&self) -> Offloading {
        self.heavy_from(BYTES_MAX)
    }

    fn heavy_from(&self, bytes_max: usize) -> Offloading {
        let (jobs, blobs): (Arc<dyn JobStore>, Arc<dyn BlobStore>) =
            (self.light.clone(), self.blobs.clone());
        Offloading::new(jobs, blobs, bytes_max)
    }

    fn puts(&self) -> usize {
        self.blobs.0.lock().expect("nobody panics").puts
    }

    fn gets(&self) -> usize {
        self.blobs.0.lock().expect("nobody panics").gets
    }

    fn go(&self, is_gone: bool) {
        self.blobs.0.lock().expect("nobody panics").is_gone = is_gone;
    }
}

/// Returns what stands in the record for a value of the job's.
fn reference(job: &Job, value: &Value) -> Value {
    let text = value.to_string();
    let sha256 = crypto::sha256_hex(text.as_bytes());
    let key = format!("jobs/{}/payloads/{sha256}", job.id);
    json!({"$offloaded": {"key": key, "size": text.len(), "sha256": sha256}})
}

fn large() -> Value {
    json!({"text": "large", "list": [1, 2, 3]})
}

fn heavy_job() -> Job {
    let mut job = job(1);
    job.initial_data = Arc::new(json!({"a": large(), "b": 1}));
    job.state_history.insert("c".to_owned(), large());
    job.result = Some(json!("a long text"));
    job
}

#[tokio::test]
async fn a_record_has_references_and_a_reader_the_values() {
    let (world, job) = (World::default(), heavy_job());
    let mut task = task(&job, None, 1);
    Arc::make_mut(&mut task.spec)
        .params
        .insert("p".to_owned(), large());
    let store = world.heavy();
    let new = commit(job.clone(), vec![put(&task)], vec![]);
    store.commit(new).await.expect("commits");
    let record = world
        .light
        .load(job.id)
        .await
        .expect("reads")
        .expect("is there");
    let at = reference(&job, &large());
    assert_eq!(*record.initial_data, json!({"a": at, "b": 1}));
    assert_eq!(record.state_history["c"], at);
    assert_eq!(record.result, Some(reference(&job, &json!("a long text"))));
    let record = world.light.load_task(&task.id).await.expect("reads");
    assert_eq!(record.expect("is there").spec.params["p"], at);
    // Three times the same value, two others: the result, and the task's own `file`.
    assert_eq!(world.puts(), 3);
    store
        .commit(commit(next(&job), vec![], vec![]))
        .await
        .expect("commits");
    assert_eq!(world.puts(), 3, "what has not changed is not stored again");

    for store in [store, world.heavy()] {
        assert_eq!(store.load(job.id).await.expect("reads"), Some(next(&job)));
        let read = store.load_task(&task.id).await.expect("reads");
        assert_eq!(read.as_ref(), Some(&task));
    }
}

#[tokio::test]
async fn a_branchs_report_is_read_whole() {
    let (world, job) = (World::default(), job(1));
    let branch = task(&job, Some(0), 1);
    let store = world.heavy();
    let new = commit(job.clone(), vec![put(&branch)], vec![]);
    store.commit(new).await.expect("commits");
    let data = json!({"d": large(), "e": 1});
    let report = TaskReport::success(data.as_object().expect("is one").clone());
    let end = Effect::EndTask {
        id: branch.id.clone(),
        answer: Answer::ParallelBranchAccepted,
        report: Some(report.clone()),
    };
    let step = commit(next(&job), vec![end], vec![]);
    store.commit(step).await.expect("commits");
    let light = world.light.branches(job.id, 1).await.expect("reads");
    let kept = light[0]
        .report
        .as_ref()
        .and_then(|report| report.data.as_ref());
    assert_eq!(kept.expect("is kept")["d"], reference(&job, &large()));
    let read = world.heavy().branches(job.id, 1).await.expect("reads");
    assert_eq!(read[0].report, Some(report));
}

/// What a client or a worker says is a value, whatever it looks like.
#[tokio::test]
async fn nobody_can_forge_a_reference() {
    let (world, mut job) = (World::default(), heavy_job());
    // Nothing is heavy by its size.
    let store = world.heavy_from(10_000);
    let own = reference(&job, &large());
    let mut other = job.clone();
    other.id = crate::fixtures::job_id(2);
    let foreign = reference(&other, &large());
    for forged in [own, foreign, json!({"$offloaded": 1})] {
        job.initial_data = Arc::new(forged.clone());
        job.state_history.insert("f".to_owned(), forged.clone());
        job.result = Some(json!({"only": forged}));
        job.aggregation_results = Some(json!([forged]));
        let stored = commit(job.clone(), vec![], vec![]);
        store.commit(stored).await.expect("commits");
        let read = world.heavy().load(job.id).await.expect("reads");
        assert_eq!(read.as_ref(), Some(&job));
        job = next(&job);
    }
}

#[tokio::test]
async fn a_server_that_is_gone_stops_heavy_jobs_only() {
    let (world, heavy) = (World::default(), heavy_job());
    let store = world.heavy();
    let mut light = job(2);
    light.initial_data = Arc::new(json!({"b": 1}));
    let waiting = task(&heavy, None, 1);
    let new = commit(heavy.clone(), vec![put(&waiting)], vec![]);
    store.commit(new).await.expect("commits");
    world.go(true);
    let store = world.heavy();
    store
        .commit(commit(light.clone(), vec![], vec![]))
        .await
        .expect("commits what is light");
    assert_eq!(
        store.load(light.id).await.expect("reads").as_ref(),
        Some(&light)
    );
    let refused = store.load(heavy.id).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let mut changed = next(&heavy);
    changed.result = Some(json!("another long text"));
    let refused = store.commit(commit(changed, vec![], vec![])).await;
    let is_unavailable = matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_))));
    assert!(is_unavailable, "{refused:?}");
    // The job is seen in a list beside the others.
    let query = JobQuery {
        limit: 9,
        ..JobQuery::default()
    };
    let listed = store.list(query).await.expect("reads");
    let ids: Vec<_> = listed.iter().map(|job| job.id).collect();
    assert_eq!(ids, [light.id, heavy.id]);
    // The task is seen in the queue, and whoever wants it has to come again.
    assert_eq!(store.queued_tasks(None, 9).await.expect("reads").len(), 1);
    let refused = store.lease_task(&waiting.id, lease("w", 1_000)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    world.go(false);
    let leased = store.lease_task(&waiting.id, lease("w", 1_000)).await;
    let leased = leased.expect("leases").expect("is still there");
    assert_eq!((leased.losses, &leased.spec), (0, &waiting.spec));
}

/// What is looked at for ids, times and leases costs nothing elsewhere.
#[tokio::test]
async fn nothing_is_read_where_nobody_needs_the_values() {
    let (world, job) = (World::default(), heavy_job());
    let mut waiting = task(&job, None, 1);
    let spec = Arc::make_mut(&mut waiting.spec);
    spec.params.insert("p".to_owned(), large());
    let new = commit(job.clone(), vec![put(&waiting)], vec![]);
    world.heavy().commit(new).await.expect("commits");
    let held = world.light.lease_task(&waiting.id, lease("w", 1_000));
    held.await.expect("leases").expect("is there");
    let store = world.heavy();
    assert!(store.is_there(job.id).await.expect("looks"));
    assert!(
        !store
            .is_there(crate::fixtures::job_id(2))
            .await
            .expect("looks")
    );
    let leased = store.leased_tasks(&"w".into()).await.expect("reads");
    let due = store.due(at(i64::from(u32::MAX)), 9).await.expect("reads");
    let query = JobQuery {
        limit: 9,
        ..JobQuery::default()
    };
    let listed = store.list(query).await.expect("reads");
    assert_eq!(listed.len(), 1);
    let seen = [&listed[0].initial_data["a"], &listed[0].state_history["c"]];
    assert_eq!(seen, [&reference(&job, &large()); 2]);
    for tasks in [&leased, &due.tasks] {
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].spec.params["p"], reference(&job, &large()));
    }
    assert_eq!(world.gets(), 0);
}

#[tokio::test]
async fn a_payload_that_is_lost_or_changed_is_told() {
    let (world, job) = (World::default(), heavy_job());
    let new = commit(job.clone(), vec![], vec![]);
    world.heavy().commit(new).await.expect("commits");
    let damages: [fn(&mut BTreeMap<String, Bytes>); 2] = [
        |blobs| *blobs.values_mut().next().expect("is there") = Bytes::from("\"else\""),
        BTreeMap::clear,
    ];
    for damage in damages {
        damage(&mut world.blobs.0.lock().expect("nobody panics").blobs);
        let store = world.heavy();
        let told = store.load(job.id).await;
        assert!(matches!(told, Err(StoreError::Corrupt(_))), "{told:?}");
        let query = JobQuery {
            limit: 9,
            ..JobQuery::default()
        };
        let listed = store
            .list(query)
            .await
            .expect("lists the rest all the same");
        assert_eq!(listed.len(), 1);
    }
}
