//! Our own orchestrator, as it is and with one thing wrong.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use avtomatika::config::{self, Flag, Sources};
use avtomatika::protocol::verify;
use avtomatika::roles::conformance::orchestrator::{BLUEPRINT, probe, rules};
use avtomatika::roles::conformance::{Report, Verb};
use avtomatika::roles::orchestrator::{BlueprintFiles, Orchestrator};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::proxy::{Asked, Proxy, Told, Twist};
use crate::{compare, context, expect, verb};

const WORKER_TOKEN: &str = "worker-token";
const CLIENT_TOKEN: &str = "client-token";
const SECRET: &str = "task-secret";
/// What needs half a minute, and what needs tokens that soon expire.
const NOT_SEEN: [&str; 2] = ["O-28", "O-41"];
const REGISTER: &str = "/_worker/workers/register";
const RESULT: &str = "/_worker/tasks/result";

/// Starts an orchestrator with rates that can be met.
async fn started(folder: &Path) -> Orchestrator {
    let flags = [
        ("API_HOST", "127.0.0.1"),
        ("API_PORT", "0"),
        ("DATA_DIR", folder.to_str().expect("a path")),
        ("SQLITE_SYNCHRONOUS", "off"),
        ("CLIENT_TOKEN", CLIENT_TOKEN),
        ("GLOBAL_WORKER_TOKEN", WORKER_TOKEN),
        ("ORCHESTRATOR_SECRET_KEY", SECRET),
    ];
    let flags = flags.map(|(key, text)| Flag {
        key,
        flag: "test",
        text: text.to_owned(),
    });
    let sources = Sources {
        flags: flags.to_vec(),
        env: &|_| None,
        file: None,
    };
    let configuration = config::load(&sources).expect("good settings");
    let blueprints = vec![("conformance.yaml".to_owned(), BLUEPRINT.to_owned())];
    Orchestrator::start(configuration, BlueprintFiles::Built(blueprints))
        .await
        .expect("it starts")
}

async fn report_on(url: &str) -> Report {
    let words = [
        "orchestrator",
        "--url",
        url,
        "--worker-token",
        WORKER_TOKEN,
        "--client-token",
        CLIENT_TOKEN,
        "--task-secret",
        SECRET,
        "--wait",
        "10",
    ];
    let Verb::Orchestrator(args) = verb(&words) else {
        panic!("another verb")
    };
    probe(&args, &context())
        .await
        .expect("there is something to check")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_keeps_all_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let orchestrator = started(folder.path()).await;
    let report = report_on(&orchestrator.url()).await;
    orchestrator.stop().await;
    expect([compare("ours", &report, &[], &NOT_SEEN)]);
    assert_eq!(report.findings.len(), rules().len());
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    EmptyPollIsAnObject,
    PlainTextAnswer,
    KeysOutOfOrder,
    NoVersion,
    UnknownWorkerIsWelcome,
    FloatDeadline,
    OtherSignature,
    LostParameters,
    UnknownJobIsAConflict,
    ResentBytesAreAReplay,
    AccessTokenDoesNotSign,
    NewMembersAreAnError,
    SameHeartbeatIsAReplay,
    NoCancelByHeartbeat,
    NoCancelBySocket,
    NoRetryAfter,
    GzipAtAnyPrice,
    ExpiredIsForbidden,
    EndOfPollIsLate,
    EndOfPollIsLost,
    Nothing,
}

/// What is wrong, which check finds it, and which checks see nothing.
const CASES: [(Wrong, &[&str], &[&str]); 21] = [
    (Wrong::EmptyPollIsAnObject, &["O-03"], &NOT_SEEN),
    (Wrong::PlainTextAnswer, &["O-04"], &NOT_SEEN),
    (Wrong::KeysOutOfOrder, &["O-05"], &NOT_SEEN),
    (Wrong::NoVersion, &["O-07"], &NOT_SEEN),
    (Wrong::UnknownWorkerIsWelcome, &["O-38"], &NOT_SEEN),
    (Wrong::FloatDeadline, &["O-29"], &NOT_SEEN),
    (Wrong::OtherSignature, &["O-31"], &NOT_SEEN),
    (Wrong::LostParameters, &["O-32"], &NOT_SEEN),
    (Wrong::UnknownJobIsAConflict, &["O-36"], &NOT_SEEN),
    (Wrong::ResentBytesAreAReplay, &["O-33"], &NOT_SEEN),
    (Wrong::AccessTokenDoesNotSign, &["O-25"], &NOT_SEEN),
    (Wrong::NewMembersAreAnError, &["O-39"], &NOT_SEEN),
    (Wrong::SameHeartbeatIsAReplay, &["O-21"], &NOT_SEEN),
    (Wrong::NoCancelByHeartbeat, &["O-45"], &NOT_SEEN),
    (Wrong::NoCancelBySocket, &["O-44"], &NOT_SEEN),
    (Wrong::NoRetryAfter, &["O-49"], &NOT_SEEN),
    (Wrong::GzipAtAnyPrice, &["O-47"], &NOT_SEEN),
    (Wrong::ExpiredIsForbidden, &["O-28"], &["O-41"]),
    (Wrong::EndOfPollIsLate, &[], &NOT_SEEN),
    (Wrong::EndOfPollIsLost, &["O-42"], &NOT_SEEN),
    (Wrong::Nothing, &[], &NOT_SEEN),
];

/// Does one thing wrong.
struct Deviant {
    wrong: Wrong,
    /// Signatures that came before.
    known: Mutex<BTreeSet<String>>,
    expired_from: Mutex<Option<(String, Instant)>>,
}

impl Deviant {
    fn is_new(&self, body: &Value) -> bool {
        let signature = body["security"]["signature"].to_string();
        self.known.lock().expect("no panic").insert(signature)
    }
}

impl Twist for Deviant {
    fn request(&self, asked: &mut Asked) -> Option<Told> {
        let body = asked.json();
        let forbidden = Some(Told::new(403, r#"{"error":"Forbidden: duplicate"}"#));
        match self.wrong {
            Wrong::ResentBytesAreAReplay if asked.is("POST", RESULT) && !self.is_new(&body) => {
                forbidden
            }
            // With a nonce of their own they are not the same.
            Wrong::SameHeartbeatIsAReplay
                if asked.is("PATCH", "/") && body.is_object() && !self.is_new(&body) =>
            {
                forbidden
            }
            Wrong::AccessTokenDoesNotSign if asked.is("PATCH", "/") && body.is_object() => {
                let signature = body["security"]["signature"].as_str().unwrap_or_default();
                (!verify(&body, WORKER_TOKEN, &[], signature)).then_some(forbidden)?
            }
            Wrong::NewMembersAreAnError
                if asked.is("POST", REGISTER) && !body["vendor_member"].is_null() =>
            {
                Some(Told::new(400, r#"{"error":"unknown member"}"#))
            }
            Wrong::ExpiredIsForbidden => {
                let expired = self.expired_from.lock().expect("no panic");
                let (token, at) = expired.as_ref()?;
                let is_over = asked.header("x-worker-token") == token && *at <= Instant::now();
                is_over.then_some(forbidden)?
            }
            _ => None,
        }
    }

    fn answer(&self, asked: &Asked, told: &mut Told) {
        let is_poll = asked.path.contains("/tasks/next");
        let is_task = is_poll && told.status == 200;
        let mut body = told.json();
        match self.wrong {
            Wrong::EmptyPollIsAnObject if is_poll && told.status == 204 => {
                *told = Told::new(200, "{}");
            }
            Wrong::PlainTextAnswer if asked.is("POST", "/_worker/events") => {
                let kind = "text/plain".parse().expect("a header's text");
                told.headers.insert("content-type", kind);
            }
            Wrong::KeysOutOfOrder if asked.is("POST", REGISTER) && told.status == 200 => {
                told.body.pop();
                told.body.extend(br#","a":1}"#);
            }
            Wrong::NoVersion if is_poll => {
                told.headers.remove("x-rxon-version");
            }
            Wrong::UnknownWorkerIsWelcome if asked.is("PATCH", "/") && told.status == 404 => {
                *told = Told::new(200, r#"{"status":"ok"}"#);
            }
            Wrong::FloatDeadline if is_task => {
                let text = String::from_utf8(told.body.clone()).expect("text");
                let deadline = body["deadline"].to_string();
                told.body = text.replace(&deadline, &format!("{deadline}.0")).into();
            }
            Wrong::OtherSignature if is_task => {
                body["sig"] = json!("0".repeat(64));
                told.set(&body);
            }
            Wrong::LostParameters if is_task && body["params"]["probe"].is_object() => {
                // Signed again, so that nothing but the parameters is wrong.
                body["params"]["probe"]["deep"] = json!({});
                let members = body.as_object_mut().expect("an object");
                members.remove("sig");
                let sig = avtomatika::protocol::sign(&body, SECRET, &[]).expect("canonical");
                body["sig"] = json!(sig);
                told.set(&body);
            }
            Wrong::UnknownJobIsAConflict if body["reason"] == "job_not_found" => told.status = 409,
            Wrong::NoCancelByHeartbeat if body["cancel_task_ids"].is_array() => {
                *told = Told::new(200, r#"{"status":"ok"}"#);
            }
            Wrong::NoRetryAfter => {
                told.headers.remove("retry-after");
            }
            Wrong::GzipAtAnyPrice if is_task && asked.header("accept-encoding").contains("q=0") => {
                let encoding = "gzip".parse().expect("a header's text");
                told.headers.insert("content-encoding", encoding);
            }
            Wrong::ExpiredIsForbidden
                if asked.path.contains("/auth/token") && told.status == 200 =>
            {
                let token = body["access_token"].as_str().unwrap_or_default().to_owned();
                body["expires_in"] = json!(1);
                told.set(&body);
                let at = Instant::now() + Duration::from_secs(1);
                *self.expired_from.lock().expect("no panic") = Some((token, at));
            }
            _ => {}
        }
    }

    fn ends_late(&self, asked: &Asked) -> Option<Duration> {
        let late = match self.wrong {
            Wrong::EndOfPollIsLate => Duration::from_millis(500),
            Wrong::EndOfPollIsLost => Duration::from_hours(1),
            _ => return None,
        };
        asked.path.contains("/tasks/next").then_some(late)
    }

    fn passes_frames(&self) -> bool {
        !matches!(self.wrong, Wrong::NoCancelBySocket)
    }
}

/// All at once, because most of the time is spent in waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_thing_is_found_by_its_own_check() {
    let runs = CASES.map(|(wrong, failed, not_observed)| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let orchestrator = started(folder.path()).await;
        let deviant = Deviant {
            wrong,
            known: Mutex::default(),
            expired_from: Mutex::default(),
        };
        let proxy = Proxy::start(&orchestrator.url(), Box::new(deviant)).await;
        let report = report_on(&proxy.url).await;
        proxy.stop().await;
        orchestrator.stop().await;
        (wrong, report, failed, not_observed)
    });
    let runs = futures::future::join_all(runs).await;
    expect(runs.iter().map(|(wrong, report, failed, not_observed)| {
        compare(&format!("{wrong:?}"), report, failed, not_observed)
    }));
}
