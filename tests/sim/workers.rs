//! Workers: they register, beat, poll, work and report; and, in troubled times, they die half-way,
//! fall silent, report late, twice, for each other, or for tasks that are long over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avtomatika::base::{JobId, TaskId, Timestamp, WorkerId};
use avtomatika::domain::worker::{Capabilities, Resources, SkillInfo, WorkerStatus};
use avtomatika::domain::{Task, TaskReport, Worker};
use avtomatika::runtime::{Beat, Handout, PollRequest, Reported};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::blueprints::SKILLS;
use crate::cluster::{Cluster, Line};
use crate::planted::THIEF;
use crate::rng::Rng;
use crate::seen::{Seen, short};
use crate::skills;
use crate::world::World;

/// Polls that a worker has open at once.
const PLACES: u64 = 2;
/// Times that a worker sends a result before it gives up.
const TRIES: u32 = 8;
/// Tasks of the past that a worker remembers.
const MEMORY: usize = 8;

/// One worker. Every clone is the same one.
#[derive(Clone)]
pub struct SimWorker {
    /// Where it lives.
    pub world: Arc<World>,
    cluster: Arc<Cluster>,
    /// Its id.
    pub id: WorkerId,
    body: Arc<Mutex<Body>>,
}

/// What a worker has in mind.
#[derive(Default)]
struct Body {
    held: BTreeMap<TaskId, CancellationToken>,
    past: Vec<(JobId, TaskId)>,
    /// Polls that brought no answer, as the next one names them.
    lost: Vec<Uuid>,
}

/// How a life goes on.
enum Life {
    /// To the next poll.
    On,
    /// It is over.
    Died,
}

impl SimWorker {
    /// Makes a worker.
    pub fn new(world: &Arc<World>, cluster: &Arc<Cluster>, name: &str) -> Self {
        Self {
            world: Arc::clone(world),
            cluster: Arc::clone(cluster),
            id: WorkerId::new(name),
            body: Arc::default(),
        }
    }

    fn body(&self) -> std::sync::MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, seen: Seen) {
        self.world.note(self.id.to_string(), seen);
    }

    /// Writes a line for the reader.
    pub fn say(&self, text: String) {
        self.note(Seen::Note { text });
    }

    /// Lives, dies and comes back under the same id, until the world ends.
    pub async fn run(self, mut rng: Rng) {
        for life in 1_u64.. {
            let Some(home) = self.register(&mut rng).await else {
                return;
            };
            let mut limbs = JoinSet::new();
            let beats = self.clone().beat(home.clone(), rng.fork("beat", life));
            limbs.spawn(beats);
            for place in 0..PLACES {
                let rng = rng.fork("place", life * PLACES + place);
                limbs.spawn(self.clone().work(home.clone(), rng));
            }
            tokio::select! {
                biased;
                () = self.world.over.cancelled() => return,
                _ = limbs.join_next() => {}
            }
            drop(limbs);
            self.body().held.clear();
            let pause = if self.world.is_calm() {
                100
            } else {
                rng.within(10..=8_000)
            };
            if !self.world.sleep(pause).await {
                return;
            }
        }
    }

    async fn register(&self, rng: &mut Rng) -> Option<Line> {
        loop {
            if let Some(line) = self.cluster.any(rng) {
                let registration = line.runtime.register(self.registration());
                match line.request(rng, registration).await {
                    Some(Ok(_)) => return Some(line),
                    Some(Err(error)) => self.note(Seen::Said {
                        text: error.to_string(),
                    }),
                    None => {}
                }
            }
            let pause = rng.within(50..=1_000);
            if !self.world.sleep(pause).await {
                return None;
            }
        }
    }

    fn registration(&self) -> Worker {
        let skill = |name: &&str| SkillInfo {
            name: (*name).to_owned(),
            ..SkillInfo::default()
        };
        Worker {
            id: self.id.clone(),
            worker_type: "sim".to_owned(),
            skills: SKILLS.iter().map(skill).collect(),
            available_skills: None,
            hot_skills: Vec::new(),
            skills_hash: None,
            resources: Resources::default(),
            installed_software: BTreeMap::new(),
            installed_artifacts: Vec::new(),
            capabilities: Capabilities::default(),
            metadata: None,
            status: WorkerStatus::Idle,
            usage: None,
            current_tasks: Vec::new(),
            reputation: 1.0,
            registered_at: Timestamp(0),
            last_seen: Timestamp(0),
            expires_at: Timestamp(0),
        }
    }

    /// Beats until the orchestrator no longer knows this worker, or is gone.
    async fn beat(self, home: Line, mut rng: Rng) {
        let every = self.world.plan.lease_ms / 3;
        loop {
            if !self.world.sleep(every).await {
                return;
            }
            let tasks: Vec<TaskId> = self.body().held.keys().cloned().collect();
            let beat = Beat {
                status: Some(WorkerStatus::Active),
                current_tasks: Some(tasks),
                ..Beat::default()
            };
            let answer = home.request(&mut rng, home.runtime.heartbeat(&self.id, beat));
            match answer.await {
                Some(Ok(None)) => return,
                Some(Ok(Some(answer))) => {
                    for task in answer.cancel_task_ids {
                        if let Some(stop) = self.body().held.get(&task) {
                            stop.cancel();
                        }
                    }
                }
                Some(Err(_)) | None if home.is_dead() => return,
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Polls and works in one place.
    async fn work(self, home: Line, mut rng: Rng) {
        loop {
            // As the original's workers do, which cannot say what they did not get, or as ours.
            let lease = rng.chance(500).then(|| rng.uuid());
            let lost = self.body().lost.clone();
            let request = PollRequest {
                wait: Duration::from_millis(rng.within(1_000..=20_000)),
                lease,
                lost: lost.clone(),
            };
            let poll = home.request(&mut rng, home.runtime.poll(&self.id, request));
            let answer = poll.await;
            if let Some(Ok(_)) = answer {
                self.body().lost.retain(|lease| !lost.contains(lease));
            } else {
                self.missed(lease);
            }
            match answer {
                Some(Ok(Some(handout))) => {
                    let Some(task) = self.receive(handout, lease, &mut rng) else {
                        continue;
                    };
                    if let Life::Died = self.perform(&task, &mut rng).await {
                        return;
                    }
                }
                // An orchestrator on its way out answers every poll at once.
                Some(Ok(None)) => {
                    if !self.world.sleep(20).await {
                        return;
                    }
                }
                Some(Err(_)) | None => {
                    if home.is_dead() || !self.world.sleep(200).await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a task in, if it arrives.
    fn receive(&self, handout: Handout, lease: Option<Uuid>, rng: &mut Rng) -> Option<Task> {
        let task = handout.task().clone();
        if !self.world.is_calm() && rng.chance(self.world.plan.broken) {
            self.say(format!("hung up before task {} came", short(&task.id)));
            self.missed(lease);
            return None;
        }
        handout.delivered();
        if !self.world.is_calm() && rng.chance(self.world.plan.unanswered) {
            self.say(format!("task {} got lost on the way", short(&task.id)));
            self.missed(lease);
            return None;
        }
        Some(task)
    }

    /// Remembers a poll that brought no answer.
    fn missed(&self, lease: Option<Uuid>) {
        if let Some(lease) = lease {
            self.body().lost.push(lease);
            let worker = self.id.clone();
            self.note(Seen::Missed { worker, lease });
        }
    }

    async fn perform(&self, task: &Task, rng: &mut Rng) -> Life {
        let (plan, calm) = (&self.world.plan, self.world.is_calm());
        let stop = CancellationToken::new();
        self.body().held.insert(task.id.clone(), stop.clone());
        if !calm && rng.chance(plan.worker_dies) {
            let pause = rng.within(0..=3_000);
            self.world.sleep(pause).await;
            self.say(format!("died in task {}", short(&task.id)));
            return Life::Died;
        }
        let cheats = !calm && rng.chance(plan.worker_cheats);
        if cheats && rng.chance(400) {
            self.body().held.remove(&task.id);
            self.say(format!("silent about task {}", short(&task.id)));
            let pause = plan.lease_ms + rng.within(0..=plan.lease_ms);
            self.world.sleep(pause).await;
        }
        let report = skills::perform(self, &self.cluster, task, &stop, rng).await;
        self.report(task.job_id, &task.id, &report, rng).await;
        self.remember(task);
        if cheats {
            self.cheat(task, &report, rng).await;
        }
        Life::On
    }

    fn remember(&self, task: &Task) {
        let mut body = self.body();
        body.held.remove(&task.id);
        if body.past.len() == MEMORY {
            body.past.remove(0);
        }
        body.past.push((task.job_id, task.id.clone()));
    }

    /// Sends a result until there is an answer.
    async fn report(&self, job: JobId, task: &TaskId, report: &TaskReport, rng: &mut Rng) {
        for _ in 0..TRIES {
            if self.report_once(&self.id, job, (task, report), rng).await {
                return;
            }
            let pause = rng.within(50..=2_000);
            if !self.world.sleep(pause).await {
                return;
            }
        }
        self.say(format!("gave up reporting task {}", short(task)));
    }

    /// Sends a result once; true when there is an answer.
    async fn report_once(
        &self,
        as_whom: &WorkerId,
        job: JobId,
        (task, report): (&TaskId, &TaskReport),
        rng: &mut Rng,
    ) -> bool {
        let Some(line) = self.cluster.any(rng) else {
            return false;
        };
        let send = line.runtime.report(as_whom, job, task, report.clone());
        match line.request(rng, send).await {
            None => false,
            Some(Err(error)) => {
                let text = error.to_string();
                self.note(Seen::Said { text });
                false
            }
            Some(Ok(Reported::Accepted(answer))) => {
                self.note(Seen::ResultAccepted {
                    worker: as_whom.clone(),
                    task: task.clone(),
                    answer,
                });
                true
            }
            Some(Ok(other)) => {
                self.say(format!(
                    "result of task {} as {as_whom}: {other:?}",
                    short(task)
                ));
                true
            }
        }
    }

    /// Does what no worker should.
    async fn cheat(&self, task: &Task, report: &TaskReport, rng: &mut Rng) {
        let other = skills::some_report(rng);
        match rng.within(0..=2) {
            0 => self.report(task.job_id, &task.id, report, rng).await,
            1 => self.report(task.job_id, &task.id, &other, rng).await,
            _ => {
                let past = self.body().past.clone();
                let (job, old) = rng.pick(&past).clone();
                self.report(job, &old, &other, rng).await;
            }
        }
    }
}

/// Reports, now and then, what another worker is at work on.
pub async fn steal(thief: SimWorker, victims: Vec<SimWorker>, mut rng: Rng) {
    let me = WorkerId::new(THIEF);
    loop {
        let pause = rng.within(500..=4_000);
        if !thief.world.sleep(pause).await || thief.world.is_calm() {
            return;
        }
        let prey = rng.pick(&victims).body().held.keys().next().cloned();
        let Some(task) = prey else { continue };
        let Some(job) = thief.job_of(&task).await else {
            continue;
        };
        let report = skills::some_report(&mut rng);
        thief.world.saboteur.thieving(true);
        thief
            .report_once(&me, job, (&task, &report), &mut rng)
            .await;
        thief.world.saboteur.thieving(false);
    }
}

impl SimWorker {
    async fn job_of(&self, task: &TaskId) -> Option<JobId> {
        let task = self.world.store.load_task(task).await.ok()??;
        Some(task.job_id)
    }
}
