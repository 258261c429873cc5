//! The API's description, read by a validator, and the API asked for all that it promises.

use std::path::PathBuf;
use std::time::Duration;

use avtomatika::net::Method;
use serde_json::{Value, json};

use crate::process::{Process, run};
use crate::python::{Environment, script_path};
use crate::site::{CLIENT, Server, Site, WORKER};

/// Blueprints of every kind of wait, and one with a rich input.
const BLUEPRINTS: [&str; 5] = ["broken", "person", "rich", "signal", "work"];

/// Longest time of all questions.
const PATIENCE: Duration = Duration::from_mins(2);

fn folder() -> PathBuf {
    script_path("schemathesis")
}

/// Starts an orchestrator with the blueprints, a history and an operator as the client.
async fn orchestrator() -> (Site, Server) {
    let text = |name: &str| {
        let path = folder().join(format!("blueprints/{name}.yaml"));
        std::fs::read_to_string(path).expect("a blueprint")
    };
    let files = BLUEPRINTS.map(|name| (format!("{name}.yaml"), text(name)));
    let files = files
        .each_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let site = Site::new(&files);
    let client = format!("[someone]\ntoken = \"{CLIENT}\"\nadmin = true\n");
    site.write("clients.toml", &client);
    let mut command = site.orchestrator(0);
    command.env("HISTORY_DATABASE_URI", "sqlite:history.db");
    let server = Server::start(command).await;
    (site, server)
}

fn id_of(answer: &Value) -> &str {
    answer["job_id"].as_str().expect("a job's id")
}

#[tokio::test]
async fn python_validator_accepts_the_description() {
    let (site, server) = orchestrator().await;
    let place = site.path("openapi.json");
    let address = format!("{}/_public/openapi.json", server.url);
    let answer = server.follow(Method::Get, &address, "").await;
    let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
    for name in BLUEPRINTS {
        assert!(document["paths"][format!("/api/v1/jobs/{name}")].is_object());
    }
    for (text, code) in [(document, 0), (json!({"openapi": "3.1.0", "paths": 5}), 1)] {
        std::fs::write(&place, text.to_string()).expect("written");
        let mut command = Environment::Schemathesis.command(site.folder());
        command.args(["-m", "openapi_spec_validator"]).arg(&place);
        run(command).await.with(code);
    }
    server.process.stop().await.with(0);
}

/// Every check, thousands of requests, good ones and bad ones, by client and by worker.
#[tokio::test]
async fn python_schemathesis_finds_nothing() {
    let (site, server) = orchestrator().await;
    let mut own = Vec::new();
    for name in ["person", "signal", "broken", "work"] {
        let job = server.post(&format!("/jobs/{name}"), &json!({})).await;
        own.push(id_of(&job).to_owned());
    }
    let ended = &own[2];
    assert_eq!(server.outcome(ended).await["status"], "failed");
    let jobs = json!({"own": own, "ended": ended, "blueprints": BLUEPRINTS});
    let mut command = Environment::Schemathesis.command(site.folder());
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(folder().join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/_public/openapi.json", server.url))
        .env("PYTHONPATH", folder())
        .env("HOME", site.folder())
        .env("JOBS", jobs.to_string())
        .env("CLIENT_TOKEN", CLIENT)
        .env("WORKER_TOKEN", WORKER);
    let asking = Process::start(command);
    let ended = tokio::time::timeout(PATIENCE, asking.ended()).await;
    let ended = ended.expect("two minutes are enough");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let tested = ended.stdout.contains("Test cases:") && ended.stdout.contains("Stateful");
    assert!(tested, "it has asked: {}", ended.stdout);
    // Nothing that was asked has put it in a state that it does not come out of.
    let after = server.post("/jobs/rich", &rich()).await;
    assert_eq!(
        server.outcome(id_of(&after)).await["result"],
        json!({"size": 7})
    );
    server.process.stop().await.with(0);
}

fn rich() -> Value {
    json!({"initial_data": {"title": "t", "size": 7, "parts": [{"kind": "a"}]}})
}
