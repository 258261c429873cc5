//! Clients and schedulers: they ask for jobs, and ask again until they know.

use std::collections::BTreeMap;
use std::sync::Arc;

use avtomatika::base::ClientId;
use avtomatika::domain::ClientRef;
use avtomatika::domain::client::SYSTEM_CLIENT;
use avtomatika::runtime::{NewJob, RuntimeError};
use serde_json::{Value, json};

use crate::blueprints::SCHEDULED;
use crate::cluster::Cluster;
use crate::rng::Rng;
use crate::seen::{KEY_LABEL, Request, SLOT_LABEL, Seen};
use crate::world::{LIMITED_CLIENT, QUOTA, SECURITY_MARK, World};

/// Times that a client asks before it gives a wish up.
const TRIES: u32 = 12;
/// How often the schedule is due, in ms.
const SLOT_MS: u64 = 15_000;

/// Who asks for jobs.
pub struct Client {
    world: Arc<World>,
    cluster: Arc<Cluster>,
    rng: Rng,
    name: String,
}

/// What a client wants.
#[derive(Clone)]
struct Wish {
    blueprint: &'static str,
    input: Value,
    request: Request,
    fingerprint: String,
}

impl Client {
    /// Makes a client.
    pub fn new(world: &Arc<World>, cluster: &Arc<Cluster>, number: u64) -> Self {
        Self {
            rng: world.rng.fork("client", number),
            name: format!("client-{number}"),
            world: Arc::clone(world),
            cluster: Arc::clone(cluster),
        }
    }

    /// Asks for jobs, one after the other, over the time of trouble.
    pub async fn run(mut self) {
        let jobs = self.world.plan.jobs;
        let pause = self.world.plan.trouble_ms / (jobs + 1);
        for number in 0..jobs {
            let (blueprint, input) = self.world.plan.library.request(&mut self.rng);
            let keyed = self.rng.chance(700);
            let request = if keyed {
                Request::Keyed(format!("k{number}"))
            } else {
                Request::Once
            };
            let wish = Wish {
                blueprint,
                input,
                request,
                fingerprint: format!("f{number}"),
            };
            if keyed && self.rng.chance(250) {
                let mut twin = Self {
                    rng: self.rng.fork("twin", number),
                    name: self.name.clone(),
                    world: Arc::clone(&self.world),
                    cluster: Arc::clone(&self.cluster),
                };
                let same = wish.clone();
                futures::join!(self.wish(&wish), twin.wish(&same));
            } else {
                self.wish(&wish).await;
            }
            if keyed && self.rng.chance(300) {
                self.wish(&wish).await;
            }
            if keyed && self.rng.chance(100) {
                let other = Wish {
                    fingerprint: "another".to_owned(),
                    ..wish
                };
                self.wish(&other).await;
            }
            let pause = self.rng.within(0..=pause);
            if !self.world.sleep(pause).await {
                return;
            }
        }
    }

    /// Asks until there is an answer, if asking twice is safe.
    async fn wish(&mut self, wish: &Wish) {
        for _ in 0..TRIES {
            if self.ask(wish).await || wish.request == Request::Once {
                return;
            }
            let pause = self.rng.within(100..=3_000);
            if !self.world.sleep(pause).await {
                return;
            }
        }
    }

    /// Asks once; true when the answer is final.
    async fn ask(&mut self, wish: &Wish) -> bool {
        let Some(line) = self.cluster.any(&mut self.rng) else {
            return false;
        };
        let new = self.new_job(wish);
        let answer = line
            .request(&mut self.rng, line.runtime.submit(wish.blueprint, new))
            .await;
        let job = match answer {
            None => return false,
            Some(Ok(created)) => created.job_id,
            Some(Err(RuntimeError::QuotaExceeded { .. })) => {
                let client = ClientId::new(&self.name);
                self.world
                    .note(self.name.clone(), Seen::OverQuota { client });
                return true;
            }
            // The key is this wish's or its twin's: the job that it made is named all the same.
            Some(Err(RuntimeError::KeyReused { job_id })) => job_id,
            Some(Err(error)) => {
                let text = format!("{}: {error}", self.name);
                self.world.note(self.name.clone(), Seen::Said { text });
                return false;
            }
        };
        self.world.know(job);
        let request = wish.request.clone();
        self.world
            .note(self.name.clone(), Seen::Accepted { request, job });
        true
    }

    fn new_job(&self, wish: &Wish) -> NewJob {
        let client = ClientRef {
            id: ClientId::new(&self.name),
            plan: "plain".to_owned(),
            params: serde_json::Map::new(),
        };
        let mut new = NewJob::new(client, wish.input.clone());
        new.quota = (self.name == LIMITED_CLIENT).then_some(QUOTA);
        new.webhook_url = Some("https://client.test/hook".to_owned());
        new.security = Some(json!({ "bearer": SECURITY_MARK }));
        let label = match &wish.request {
            Request::Once => return new,
            Request::Keyed(key) => (KEY_LABEL, key),
            Request::Slot(slot) => (SLOT_LABEL, slot),
        };
        new.labels = BTreeMap::from([(label.0.to_owned(), label.1.clone())]);
        new.idempotency = Some((label.1.clone(), wish.fingerprint.clone()));
        new
    }
}

/// One of two schedulers that both believe they are the only one.
pub async fn schedule(world: Arc<World>, cluster: Arc<Cluster>, number: u64) {
    let mut scheduler = Client {
        rng: world.rng.fork("scheduler", number),
        name: SYSTEM_CLIENT.to_owned(),
        world: Arc::clone(&world),
        cluster,
    };
    for slot in 0..world.plan.trouble_ms / SLOT_MS {
        let late = scheduler.rng.within(0..=2_000);
        if !world.sleep(late).await {
            return;
        }
        let name = format!("nightly@{slot}");
        let wish = Wish {
            blueprint: SCHEDULED,
            input: json!({ "n": slot }),
            request: Request::Slot(name.clone()),
            fingerprint: name,
        };
        scheduler.wish(&wish).await;
        if !world.sleep(SLOT_MS - late).await {
            return;
        }
    }
}
