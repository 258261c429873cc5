//! What the checks of a worker play with: the desk, the tasks that were handed out, the keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::desk::{Desk, written};
use super::seen::{Kind, Reply, Seen};
use crate::base::{Clock, Entropy, crypto};
use crate::protocol::sign;
use crate::protocol::sign::TASK_IGNORED;
use crate::roles::conformance::report::{Miss, broken, unseen};

/// How many requests are named where the right one did not come.
const LAST_SHOWN: usize = 5;

/// A skill and what it is run with.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The skill's name.
    pub skill: String,
    /// Its parameters.
    pub params: Value,
}

/// Everything that the checks of a worker play with.
pub struct Play {
    pub desk: Arc<Desk>,
    /// The worker's static token.
    pub token: String,
    /// What tasks are signed with; nothing when they are not.
    pub secret: Option<String>,
    /// A short task; without one, the worker's first skill without parameters.
    pub short: Option<Errand>,
    /// A task that runs for a while.
    pub long: Option<Errand>,
    /// Longest wait for what should happen.
    pub wait: Duration,
    pub slow: bool,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Asks for the worker's end.
    pub stop_worker: Box<dyn Fn() + Send + Sync>,
    /// Tasks by what they are for.
    given: Mutex<BTreeMap<&'static str, String>>,
    /// Tasks that should not run, and what is wrong with them.
    forged: Mutex<Vec<(String, &'static str)>>,
    access_tokens: Mutex<Vec<String>>,
}

/// The parts of a play that a run is told.
pub struct Told {
    pub token: String,
    pub secret: Option<String>,
    pub short: Option<Errand>,
    pub long: Option<Errand>,
    pub wait: Duration,
    pub slow: bool,
}

impl Play {
    /// Sets the play up.
    pub fn new(
        told: Told,
        desk: Arc<Desk>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stop_worker: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            desk,
            token: told.token,
            secret: told.secret,
            short: told.short,
            long: told.long,
            wait: told.wait,
            slow: told.slow,
            clock,
            entropy,
            stop_worker,
            given: Mutex::default(),
            forged: Mutex::default(),
            access_tokens: Mutex::default(),
        }
    }

    /// Returns the worker's id, as its first registration has it.
    pub fn worker(&self) -> String {
        let log = self.desk.log();
        let first = log.iter().find(|seen| seen.kind == Kind::Register);
        let id = first.and_then(|seen| seen.body["worker_id"].as_str());
        id.unwrap_or_default().to_owned()
    }

    /// Returns the short task: as told, else the worker's first skill.
    pub fn errand(&self) -> Result<Errand, Miss> {
        if let Some(errand) = &self.short {
            return Ok(errand.clone());
        }
        let log = self.desk.log();
        let first = log.iter().find(|seen| seen.kind == Kind::Register);
        let name = first.and_then(|seen| seen.body["supported_skills"][0]["name"].as_str());
        name.map(|name| Errand {
            skill: name.to_owned(),
            params: json!({}),
        })
        .ok_or_else(|| unseen("the worker registered no skill: give --skill"))
    }

    /// Hands out pairs of tokens and knows them again.
    pub fn new_tokens(&self) -> Value {
        let token = || self.entropy.uuid().simple().to_string();
        let access = token();
        let mut known = self
            .access_tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.push(access.clone());
        json!({
            "access_token": access,
            "expires_in": 3600,
            "refresh_token": token(),
            "worker_id": self.worker(),
        })
    }

    /// Tells whether the token is one of those handed out.
    pub fn is_access_token(&self, token: &str) -> bool {
        let known = self
            .access_tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|access| access == token)
    }

    /// Remembers a task by what it is for.
    pub fn remember(&self, what: &'static str, task: &str) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.insert(what, task.to_owned());
    }

    /// Returns the task that was given for a purpose.
    pub fn given(&self, what: &str) -> Option<String> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(what).cloned()
    }

    /// Remembers a task that should not run.
    pub fn remember_forged(&self, task: &str, what: &'static str) {
        let mut forged = self.forged.lock().unwrap_or_else(PoisonError::into_inner);
        forged.push((task.to_owned(), what));
    }

    /// Returns the tasks that should not run.
    pub fn forged(&self) -> Vec<(String, &'static str)> {
        let forged = self.forged.lock().unwrap_or_else(PoisonError::into_inner);
        forged.clone()
    }

    /// Returns a new task's members, unsigned.
    pub fn task(&self, errand: &Errand) -> Value {
        json!({
            "job_id": self.entropy.uuid().to_string(),
            "task_id": format!("task-{}", self.entropy.uuid()),
            "type": errand.skill,
            "params": errand.params,
            "priority": 0,
            "timestamp": self.clock.now().as_secs(),
            "tracing_context": {},
        })
    }

    /// Signs a task, adds members that the signature does not cover, hands it out; returns its id.
    pub fn give(&self, mut task: Value, unsigned: Value) -> String {
        if let Some(secret) = &self.secret {
            let sig = sign(&task, secret, &TASK_IGNORED)
                .expect("tasks of this program have a canonical form");
            task["sig"] = json!(sig);
        }
        if let (Some(members), Value::Object(more)) = (task.as_object_mut(), unsigned) {
            members.extend(more);
        }
        self.desk.give(written(&task));
        task["task_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the signature of canonical bytes that a check writes itself.
    pub fn hmac(&self, canonical: &str) -> Option<String> {
        let key = self.secret.as_ref()?.as_bytes();
        Some(crypto::hex(&crypto::hmac_sha256(key, canonical.as_bytes())))
    }

    /// Waits for a result of the task.
    pub async fn result_of(&self, task: &str, mark: usize) -> Result<Seen, Miss> {
        let fits = |seen: &Seen| seen.kind == Kind::Result && seen.body["task_id"] == task;
        self.desk.until(mark, self.wait, fits).await.ok_or_else(|| {
            let polls = self
                .desk
                .log()
                .iter()
                .filter(|seen| seen.kind == Kind::Poll)
                .count();
            broken(
                format!(
                    "no result of task {task} within {} s ({polls} polls so far)",
                    self.wait.as_secs()
                ),
                "one; has the worker the skill, and the key as ORCHESTRATOR_SECRET_KEY?",
            )
        })
    }

    /// Hands out a short task and waits for its result.
    pub async fn run_short(&self) -> Result<Seen, Miss> {
        let mark = self.desk.mark();
        let task = self.give(self.task(&self.errand()?), json!({}));
        self.result_of(&task, mark).await
    }

    /// Answers the next request of the kind so; returns when that was done. The request may have
    /// come before.
    pub async fn answered(&self, kind: Kind, reply: Reply) -> Result<Instant, Miss> {
        let (before, status) = (Instant::now(), reply.status);
        self.desk.reply(kind, [reply]);
        let is_told = |seen: &Seen| {
            let told = seen
                .told
                .filter(|(told, at)| *told == status && *at >= before);
            seen.kind == kind && told.is_some()
        };
        let found = self.desk.until(0, self.wait, is_told).await;
        let told = found.and_then(|seen| seen.told).map(|(_, at)| at);
        told.ok_or_else(|| {
            let seconds = self.wait.as_secs();
            broken(
                format!("none within {seconds} s"),
                &format!("a request {kind:?}"),
            )
        })
    }

    /// Waits for a request of the kind that came after a moment.
    pub async fn after(&self, at: Instant, kinds: &[Kind], what: &str) -> Result<Seen, Miss> {
        let fits = |seen: &Seen| kinds.contains(&seen.kind) && seen.at > at;
        self.until(0, what, fits).await
    }

    /// Waits for a request from `mark` on.
    pub async fn until(
        &self,
        mark: usize,
        what: &str,
        fits: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, Miss> {
        let found = self.desk.until(mark, self.wait, fits).await;
        found.ok_or_else(|| {
            let log = self.desk.log();
            let since = log.get(mark..).unwrap_or_default();
            let last = since.iter().rev().take(LAST_SHOWN).rev();
            let last: Vec<String> = last.map(Seen::brief).collect();
            broken(
                format!(
                    "{} other requests within {} s, the last: {}",
                    since.len(),
                    self.wait.as_secs(),
                    last.join(", ")
                ),
                what,
            )
        })
    }
}
