//! Our own worker, as it is and with one thing wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use avtomatika::base::Secret;
use avtomatika::domain::Object;
use avtomatika::domain::worker::SkillInfo;
use avtomatika::protocol::{seal, to_wire_bytes};
use avtomatika::roles::conformance::worker::{probe, rules};
use avtomatika::roles::conformance::{Report, Verb};
use avtomatika::roles::worker::{self, Outcome, Skill, TaskContext, WorkerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::proxy::{Asked, Proxy, Told, Twist};
use crate::{compare, context, expect, verb};

const TOKEN: &str = "conformance-worker-token";
const SECRET: &str = "conformance-task-secret";
const ID: &str = "worker-01";
/// What needs half a minute.
const NOT_SEEN: [&str; 1] = ["W-12"];

/// Returns what it is given, or runs until it is stopped.
struct Echo(&'static str);

#[async_trait]
impl Skill for Echo {
    fn info(&self) -> SkillInfo {
        SkillInfo {
            name: self.0.to_owned(),
            ..SkillInfo::default()
        }
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        if self.0 == "nap" {
            return std::future::pending().await;
        }
        task.progress(0.5, "half").await;
        Outcome::success(params.clone())
    }
}

/// Returns a worker that waits for nothing longer than it must.
fn config(url: &str, secret: Option<&str>) -> WorkerConfig {
    let ms = Duration::from_millis;
    let mut config = WorkerConfig::new(ID, TOKEN, url);
    config.skills.add(Arc::new(Echo("echo")));
    config.skills.add(Arc::new(Echo("nap")));
    config.task_secret = secret.map(Secret::from);
    config.shutdown_timeout = ms(500);
    config.timing.heartbeat = ms(100);
    config.timing.heartbeat_cooldown = ms(20);
    config.timing.idle = ms(5);
    config.timing.registration = ms(20);
    config.timing.result = ms(20);
    config
}

/// Checks our worker behind a proxy that does one thing wrong.
async fn report_on(wrong: Wrong) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let deviant = Deviant {
        wrong,
        sent: Mutex::default(),
    };
    let proxy = Proxy::start(&url, Box::new(deviant)).await;
    let words = [
        "worker",
        "--url",
        url.as_str(),
        "--skill",
        "echo",
        "--params",
        r#"{"x": 1.5}"#,
        "--long-skill",
        "nap",
        "--wait",
        "10",
        "--arrival",
        "30",
    ];
    let Verb::Worker(args) = verb(&words) else {
        panic!("another verb")
    };
    let stop = CancellationToken::new();
    let mut workers = JoinSet::new();
    let secret = (!matches!(wrong, Wrong::RunsForgedTasks)).then_some(SECRET);
    workers.spawn(worker::run(config(&proxy.url, secret), stop.clone()));
    let stop_worker = Box::new(move || stop.cancel());
    let report = probe(&args, listener, stop_worker, &context()).await;
    let ended = workers.join_next().await.expect("it was started");
    ended.expect("without a panic").expect("without an error");
    proxy.stop().await;
    report.expect("a worker came").expect("nobody stopped it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_keeps_all_rules() {
    let report = report_on(Wrong::Nothing).await;
    expect([compare("ours", &report, &[], &NOT_SEEN)]);
    assert_eq!(report.findings.len(), rules().len());
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    NoVersion,
    OldTimestamps,
    OtherKey,
    OtherSigner,
    SameBytesAgain,
    FloatInHeartbeat,
    StaysUnknown,
    SignsWithAccessToken,
    IgnoresExpiry,
    IgnoresRateLimit,
    RunsForgedTasks,
    ScalarData,
    PermanentForUnknownSkill,
    OwnErrorCode,
    LosesResults,
    ListsNothing,
    IgnoresCancel,
    IgnoresCancelFrames,
    AlwaysBusy,
    KeepsSkillsBack,
    GoesWithoutWord,
    NamesNoSkills,
    RefusesFloats,
    RefusesUnsignedMembers,
    RunsTwice,
    ResendsIgnored,
}

/// What is wrong, which check finds it, and which checks see nothing because of it.
const CASES: [(Wrong, &[&str], &[&str]); 26] = [
    (Wrong::NoVersion, &["W-02"], &NOT_SEEN),
    (Wrong::OldTimestamps, &["W-03"], &NOT_SEEN),
    (Wrong::OtherKey, &["W-04"], &NOT_SEEN),
    (Wrong::OtherSigner, &["W-05"], &NOT_SEEN),
    (Wrong::SameBytesAgain, &["W-06"], &NOT_SEEN),
    (Wrong::FloatInHeartbeat, &["W-07"], &NOT_SEEN),
    (Wrong::StaysUnknown, &["W-10"], &["W-08", "W-12"]),
    (Wrong::SignsWithAccessToken, &["W-08"], &NOT_SEEN),
    (Wrong::IgnoresExpiry, &["W-09"], &NOT_SEEN),
    (Wrong::IgnoresRateLimit, &["W-11"], &NOT_SEEN),
    (Wrong::RunsForgedTasks, &["W-15"], &NOT_SEEN),
    (Wrong::ScalarData, &["W-18"], &NOT_SEEN),
    (Wrong::PermanentForUnknownSkill, &["W-19"], &NOT_SEEN),
    (Wrong::OwnErrorCode, &["W-20"], &NOT_SEEN),
    (Wrong::LosesResults, &["W-23"], &NOT_SEEN),
    (Wrong::ListsNothing, &["W-26"], &["W-12", "W-27", "W-28"]),
    (Wrong::IgnoresCancel, &["W-27"], &NOT_SEEN),
    (Wrong::IgnoresCancelFrames, &["W-28"], &NOT_SEEN),
    (Wrong::AlwaysBusy, &["W-25"], &NOT_SEEN),
    (Wrong::KeepsSkillsBack, &["W-29"], &NOT_SEEN),
    (Wrong::GoesWithoutWord, &["W-30"], &NOT_SEEN),
    (Wrong::NamesNoSkills, &["W-01"], &NOT_SEEN),
    (Wrong::RefusesFloats, &["W-17"], &NOT_SEEN),
    (Wrong::RefusesUnsignedMembers, &["W-16"], &NOT_SEEN),
    (Wrong::RunsTwice, &["W-22"], &NOT_SEEN),
    (Wrong::ResendsIgnored, &["W-24"], &NOT_SEEN),
];

/// Does one thing wrong.
struct Deviant {
    wrong: Wrong,
    /// What came first of each task.
    sent: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// What is put behind the id of a task that comes for the second time.
const AGAIN: &str = "-again";

impl Deviant {
    /// Remembers the first bytes under a key; returns those that are known already.
    fn first(&self, key: &Value, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut sent = self.sent.lock().expect("no panic");
        let known = sent.get(&key.to_string()).cloned();
        sent.entry(key.to_string())
            .or_insert_with(|| bytes.to_vec());
        known
    }

    /// Changes a result; false when it stays.
    fn twist_result(&self, body: &mut Value) -> bool {
        let is_unknown_skill = body["error"]["code"] == "TRANSIENT_ERROR";
        match self.wrong {
            Wrong::OtherKey => true,
            Wrong::ScalarData if body["data"].is_object() => {
                body["data"] = json!(5);
                true
            }
            Wrong::PermanentForUnknownSkill if is_unknown_skill => {
                body["error"]["code"] = json!("PERMANENT_ERROR");
                true
            }
            // The first failure is looked at for its code alone, the second for its form.
            Wrong::OwnErrorCode if is_unknown_skill => {
                let is_second = self.first(&json!("failure"), b"").is_some();
                if is_second {
                    body["error"]["code"] = json!("OOPS");
                }
                is_second
            }
            Wrong::RunsTwice => {
                let id = body["task_id"].as_str().expect("a text").to_owned();
                let plain = id.strip_suffix(AGAIN);
                if let Some(plain) = plain {
                    body["task_id"] = json!(plain);
                    // As a run of another length, which the second one may happen not to be.
                    body["costs"] = json!({"execution_time_seconds": 9});
                }
                plain.is_some()
            }
            _ => false,
        }
    }

    /// Changes a heartbeat; false when it stays.
    fn twist_beat(&self, body: &mut Value) -> bool {
        let is_last = body["status"] == "offline";
        match self.wrong {
            Wrong::OldTimestamps => {
                body["timestamp"] = json!(body["timestamp"].as_i64().expect("seconds") - 120);
            }
            Wrong::FloatInHeartbeat => body["skills_hash"] = json!(0.5),
            Wrong::ListsNothing => body["current_tasks"] = json!([]),
            Wrong::AlwaysBusy if body["status"] == "idle" => body["status"] = json!("busy"),
            Wrong::KeepsSkillsBack if !is_last => body["supported_skills"] = Value::Null,
            _ => return false,
        }
        true
    }
}

/// Signs a message again.
fn sealed(mut body: Value, key: &str) -> Vec<u8> {
    let members = body.as_object_mut().expect("an object");
    seal(members, key, ID, &["bubbling_chain"]).expect("canonical");
    to_wire_bytes(&body)
}

impl Twist for Deviant {
    fn request(&self, asked: &mut Asked) -> Option<Told> {
        let mut body = asked.json();
        let is_result = asked.is("POST", "/_worker/tasks/result");
        let is_beat = asked.is("PATCH", "/") && body.is_object();
        let token = asked.header("x-worker-token").to_owned();
        match self.wrong {
            Wrong::NoVersion if asked.method == "GET" => {
                asked.headers.remove("x-rxon-version");
            }
            Wrong::OtherSigner if is_result => {
                body["security"]["signer_id"] = json!("somebody-else");
                asked.body = to_wire_bytes(&body);
            }
            Wrong::SameBytesAgain if is_result => {
                if let Some(first) = self.first(&body["task_id"], &asked.body) {
                    asked.body = first;
                }
            }
            Wrong::SignsWithAccessToken if is_beat && token != TOKEN => {
                asked.body = sealed(body, &token);
            }
            Wrong::GoesWithoutWord if is_beat && body["status"] == "offline" => {
                return Some(Told::new(200, r#"{"status":"ok"}"#));
            }
            Wrong::NamesNoSkills if asked.path.ends_with("/register") => {
                body["supported_skills"] = Value::Null;
                asked.body = sealed(body, TOKEN);
            }
            _ if is_result && self.twist_result(&mut body) => {
                let is_strange = matches!(self.wrong, Wrong::OtherKey);
                asked.body = sealed(body, if is_strange { "another key" } else { TOKEN });
            }
            _ if is_beat && self.twist_beat(&mut body) => asked.body = sealed(body, TOKEN),
            _ => {}
        }
        None
    }

    fn answer(&self, asked: &Asked, told: &mut Told) {
        let is_poll = asked.path.contains("/tasks/next");
        let mut body = told.json();
        let good = || Told::new(200, r#"{"status":"ok"}"#);
        let nothing = || Told::new(204, "");
        match self.wrong {
            Wrong::StaysUnknown if told.status == 404 => *told = good(),
            Wrong::IgnoresExpiry if told.status == 401 => *told = good(),
            Wrong::IgnoresRateLimit if told.status == 429 => *told = nothing(),
            Wrong::LosesResults if told.status == 503 => *told = good(),
            Wrong::IgnoresCancel if body["cancel_task_ids"].is_array() => *told = good(),
            Wrong::RefusesFloats if is_poll && body["deadline"].is_f64() => *told = nothing(),
            Wrong::RefusesUnsignedMembers if is_poll && !body["skill_version"].is_null() => {
                *told = nothing();
            }
            Wrong::ResendsIgnored if body["status"] == "ignored" => told.status = 503,
            Wrong::RunsTwice
                if is_poll
                    && body["task_id"].is_string()
                    && self.first(&body["task_id"], b"").is_some() =>
            {
                let id = body["task_id"].as_str().expect("a text").to_owned();
                body["task_id"] = json!(id + AGAIN);
                body.as_object_mut().expect("an object").remove("sig");
                let sig = avtomatika::protocol::sign(&body, SECRET, &[]).expect("canonical");
                body["sig"] = json!(sig);
                told.set(&body);
            }
            _ => {}
        }
    }

    fn passes_frames(&self) -> bool {
        !matches!(self.wrong, Wrong::IgnoresCancelFrames)
    }
}

/// All at once, because most of the time is spent in waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_thing_is_found_by_its_own_check() {
    let runs = CASES.map(|(wrong, failed, not_observed)| async move {
        (wrong, report_on(wrong).await, failed, not_observed)
    });
    let runs = futures::future::join_all(runs).await;
    expect(runs.iter().map(|(wrong, report, failed, not_observed)| {
        compare(&format!("{wrong:?}"), report, failed, not_observed)
    }));
}
