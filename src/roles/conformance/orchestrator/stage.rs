//! The worker and the client that a run plays: they say what unchanged ones say, and every answer
//! is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::report::{Miss, broken, unseen};
use super::expect::{expect_status, json_of};
use crate::base::{Clock, Entropy, Secret, WorkerId};
use crate::domain::Object;
use crate::net::{Call, HttpAnswer, HttpClient, Method};
use crate::protocol::headers::{self, heartbeat_path, next_task_path};
use crate::protocol::{seal, to_wire_bytes};
use crate::roles::remote::{Remote, encoded};

/// How much longer than the poll's window an SDK waits for the answer.
pub const POLL_MARGIN: Duration = Duration::from_secs(5);
/// The longest window that any orchestrator should have.
const WINDOW_MAX: Duration = Duration::from_secs(30);
/// Longest wait for any other answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at a job.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An answer of the worker's API and what it was an answer to.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Method and path.
    pub to: String,
    /// As it came, but decoded.
    pub answer: HttpAnswer,
}

/// A call of the worker's API.
pub struct Ask<'a> {
    /// The method.
    pub method: Method,
    /// Below the orchestrator's address.
    pub path: &'a str,
    /// What stands in `X-Worker-Token`.
    pub token: &'a str,
    /// Whether and which id stands in `X-Worker-ID`.
    pub id: Option<&'a str>,
    /// What is sent.
    pub body: Option<Vec<u8>>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Longest wait.
    pub timeout: Duration,
}

/// Everything that the checks play with.
pub struct Stage {
    /// Decodes answers.
    pub http: HttpClient,
    /// Leaves answers as they are.
    pub plain: HttpClient,
    /// The client's side.
    pub remote: Remote,
    /// The whole path at which jobs are created.
    pub create_path: String,
    /// The played worker.
    pub worker: WorkerId,
    /// Its static token.
    pub token: Secret,
    /// The skill that the blueprint's task asks for.
    pub skill: String,
    /// What tasks are signed with, when it is known.
    pub task_secret: Option<Secret>,
    /// Longest wait for what should happen.
    pub wait: Duration,
    /// Whether checks may take half a minute each.
    pub slow: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and nonces.
    pub entropy: Arc<dyn Entropy>,
    /// What came so far.
    pub log: Mutex<Vec<Answered>>,
}

/// A task in hand.
pub struct Handed {
    /// Its job.
    pub job: String,
    /// Its id.
    pub id: String,
    /// As it came.
    pub message: Value,
}

impl Stage {
    /// Makes a call as the played worker.
    pub async fn call(&self, ask: Ask<'_>) -> Result<HttpAnswer, Miss> {
        let (to, call) = self.prepared(ask);
        let sent = self.http.send(call).await;
        let answer = sent.map_err(|error| broken(format!("{to}: {error}"), "an answer"))?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(Answered {
            to,
            answer: answer.clone(),
        });
        Ok(answer)
    }

    /// Returns the call with the headers of a worker, and its name.
    pub fn prepared(&self, ask: Ask<'_>) -> (String, Call) {
        let to = format!("{} {}", name(ask.method), ask.path);
        let mut call = Call::new(ask.method, format!("{}{}", self.remote.origin(), ask.path))
            .timeout(ask.timeout);
        if !ask.token.is_empty() {
            call = call.header(headers::WORKER_TOKEN, ask.token);
        }
        if let Some(id) = ask.id {
            call = call.header(headers::WORKER_ID, id);
        }
        let names_version = ask
            .headers
            .iter()
            .any(|(name, _)| *name == headers::RXON_VERSION);
        if !names_version {
            call = call.header(headers::RXON_VERSION, headers::PROTOCOL_VERSION);
        }
        for (name, value) in ask.headers {
            call = call.header(name, *value);
        }
        if let Some(body) = ask.body {
            call = call.json(body);
        }
        (to, call)
    }

    /// Returns a call with the worker's id and static token.
    pub fn ask<'a>(&'a self, method: Method, path: &'a str, body: Option<Vec<u8>>) -> Ask<'a> {
        Ask {
            method,
            path,
            token: self.token.expose(),
            id: Some(self.worker.as_str()),
            body,
            headers: &[],
            timeout: CALL_TIMEOUT,
        }
    }

    /// Returns seconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.clock.now().as_secs()
    }

    /// Returns a text that nobody has used before.
    pub fn unique(&self) -> String {
        self.entropy.uuid().to_string()
    }

    /// Completes a message with worker, time and nonce; members that are there stay.
    pub fn stamped(&self, members: Value) -> Object {
        let mut message = Object::new();
        message.insert("worker_id".to_owned(), json!(self.worker.as_str()));
        message.insert("timestamp".to_owned(), json!(self.now()));
        message.insert("nonce".to_owned(), json!(self.unique()));
        if let Value::Object(members) = members {
            message.extend(members);
        }
        message
    }

    /// Signs a message with a key and writes it.
    pub fn signed(&self, mut message: Object, key: &str) -> Vec<u8> {
        seal(&mut message, key, self.worker.as_str(), &["bubbling_chain"])
            .expect("messages of this program have a canonical form");
        to_wire_bytes(&Value::Object(message))
    }

    /// Completes, signs and writes a message as the worker does.
    pub fn sealed(&self, members: Value) -> Vec<u8> {
        self.signed(self.stamped(members), self.token.expose())
    }

    /// E1, with all that the blueprint asks for.
    pub async fn register(&self) -> Result<HttpAnswer, Miss> {
        let body = self.sealed(json!({
            "supported_skills": [{"name": self.skill, "type": self.skill}],
            "available_skills": [self.skill],
            "capabilities": {"extra": {"websockets": true}, "websockets": true},
            "skills_hash": "conformance",
        }));
        let answer = self
            .call(self.ask(Method::Post, headers::REGISTER_PATH, Some(body)))
            .await?;
        expect_status(&answer, 200, "the registration")?;
        Ok(answer)
    }

    /// E2 with these members beside the status.
    pub async fn beat(&self, status: &str, more: Value) -> Result<HttpAnswer, Miss> {
        let mut message = json!({
            "status": status,
            "available_skills": [self.skill],
            "current_tasks": [],
            "skills_hash": "conformance",
        });
        if let (Some(members), Value::Object(more)) = (message.as_object_mut(), more) {
            members.extend(more);
        }
        self.send_beat(self.sealed(message)).await
    }

    /// E2 with a body that is written already.
    pub async fn send_beat(&self, body: Vec<u8>) -> Result<HttpAnswer, Miss> {
        let path = heartbeat_path(self.worker.as_str());
        let body = (!body.is_empty()).then_some(body);
        self.call(self.ask(Method::Patch, &path, body)).await
    }

    /// E3. Waits for as long as any orchestrator may hold the poll, whatever it was asked.
    pub async fn poll(&self, seconds: u32) -> Result<HttpAnswer, Miss> {
        let timeout = WINDOW_MAX.max(Duration::from_secs(seconds.into())) + POLL_MARGIN;
        self.poll_within(seconds, timeout).await
    }

    /// E3 with a limit of its own.
    pub async fn poll_within(&self, seconds: u32, limit: Duration) -> Result<HttpAnswer, Miss> {
        let path = self.poll_path(seconds);
        let mut ask = self.ask(Method::Get, &path, None);
        ask.timeout = limit;
        self.call(ask).await
    }

    /// Returns the path of a poll.
    pub fn poll_path(&self, seconds: u32) -> String {
        format!(
            "{}?timeout={seconds}&available_skills={}&hot_skills=",
            next_task_path(self.worker.as_str()),
            self.skill
        )
    }

    /// E4.
    pub async fn result(&self, body: Vec<u8>) -> Result<HttpAnswer, Miss> {
        self.call(self.ask(Method::Post, headers::RESULT_PATH, Some(body)))
            .await
    }

    /// Returns the result of a task, signed.
    pub fn result_of(&self, task: &Handed, more: Value) -> Vec<u8> {
        let mut message = json!({"job_id": task.job, "task_id": task.id});
        if let (Some(members), Value::Object(more)) = (message.as_object_mut(), more) {
            members.extend(more);
        }
        self.sealed(message)
    }

    /// Creates a job with a probe as its input.
    pub async fn job(&self, probe: &Value) -> Result<String, Miss> {
        let body = json!({"initial_data": {"probe": probe}});
        let key = self.unique();
        let made = self.remote.post_with_key(&self.create_path, &body, &key);
        let made = made
            .await
            .map_err(|failure| unseen(format!("no job: {failure}")))?;
        let id = made.body["job_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| unseen("no job: the answer names none"))
    }

    /// Creates a job and takes its task, as an idle worker.
    pub async fn handed(&self, probe: &Value) -> Result<Handed, Miss> {
        self.register().await?;
        self.beat("idle", Value::Null).await?;
        let job = self.job(probe).await?;
        self.task_of(&job).await
    }

    /// Polls until the job's task comes; tasks of other jobs are given up.
    pub async fn task_of(&self, job: &str) -> Result<Handed, Miss> {
        let found = async {
            loop {
                let answer = self.poll(5).await?;
                let message = json_of(&answer)?;
                let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                let task = Handed {
                    job: text("job_id"),
                    id: text("task_id"),
                    message,
                };
                if task.job == job {
                    return Ok(task);
                }
                if !task.id.is_empty() {
                    let end = json!({"status": "cancelled"});
                    self.result(self.result_of(&task, end)).await?;
                }
            }
        };
        let waited = tokio::time::timeout(self.wait, found).await;
        waited.unwrap_or_else(|_| {
            Err(unseen(format!(
                "no task of job {job} within {} s: has the blueprint one of the skill `{}`, and no \
                 other worker that skill?",
                self.wait.as_secs(),
                self.skill
            )))
        })
    }

    /// Waits until the job has one of the statuses; returns the last one seen.
    pub async fn until_status(&self, job: &str, wanted: &[&str]) -> Result<String, Miss> {
        let path = format!("/jobs/{}", encoded(job));
        let mut last = String::new();
        let looked = async {
            loop {
                let reply = self.remote.get(&path).await;
                let reply = reply.map_err(|failure| unseen(format!("job {job}: {failure}")))?;
                let status = reply.body["status"].as_str().unwrap_or_default();
                status.clone_into(&mut last);
                if wanted.contains(&last.as_str()) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(self.wait, looked).await {
            Ok(Err(miss)) => Err(miss),
            Ok(Ok(())) => Ok(last),
            Err(_) => Err(broken(
                format!("the job's status `{last}` after {} s", self.wait.as_secs()),
                &format!("one of {wanted:?}"),
            )),
        }
    }

    /// Cancels the job.
    pub async fn cancel(&self, job: &str) -> Result<(), Miss> {
        let path = format!("/jobs/{}/cancel", encoded(job));
        let cancelled = self.remote.post(&path, &json!({})).await;
        cancelled
            .map(drop)
            .map_err(|failure| unseen(format!("the job cannot be cancelled: {failure}")))
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    }
}
