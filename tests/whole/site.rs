//! A folder with everything that an orchestrator needs, and the orchestrator's API as its users
//! see it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avtomatika::base::crypto;
use avtomatika::net::{Call, ClientOptions, EventStream, HttpAnswer, HttpClient, Method};
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Ended, PATIENCE, Process, command, run};

/// The client's token.
pub(crate) const CLIENT: &str = "token-of-the-client";
/// Every worker's token.
pub(crate) const WORKER: &str = "token-of-the-workers";
/// The orchestrator's secret, kept over restarts.
pub(crate) const SECRET: &str = "a-secret-of-more-than-32-characters";

/// A folder that goes with the test.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Makes the files; each blueprint is a name and a text.
    pub(crate) fn new(blueprints: &[(&str, &str)]) -> Self {
        let site = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(site.path("blueprints")).expect("a folder");
        for (name, text) in blueprints {
            site.write(&format!("blueprints/{name}"), text);
        }
        let client = format!("[someone]\ntoken = \"{CLIENT}\"\n");
        site.write("clients.toml", &client);
        site.write_workers(WORKER);
        site
    }

    /// Returns a place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Gives all workers this token.
    pub(crate) fn write_workers(&self, token: &str) {
        self.write(
            "workers.toml",
            &format!("[\"pattern:*\"]\ntoken = \"{token}\"\n"),
        );
    }

    /// Makes the orchestrator's command.
    pub(crate) fn orchestrator(&self, port: u16) -> Command {
        let mut command = command(
            self.folder(),
            &["orchestrator", "--port", &port.to_string()],
        );
        command
            .env("CLIENTS_CONFIG_PATH", self.path("clients.toml"))
            .env("WORKERS_CONFIG_PATH", self.path("workers.toml"))
            .env("BLUEPRINTS_DIR", self.path("blueprints"))
            .env("DATA_DIR", self.path("data"))
            .env("ORCHESTRATOR_SECRET_KEY", SECRET)
            .env("WEBHOOK_ALLOWED_NETS", "127.0.0.0/8")
            .env("RATE_LIMITING_ENABLED", "false")
            .env("LOG_FORMAT", "json");
        command
    }

    /// Starts an orchestrator on a free port.
    pub(crate) async fn start(&self) -> Server {
        Server::start(self.orchestrator(0)).await
    }

    /// Makes a command that talks to a server as the client.
    pub(crate) fn client(&self, server: &Server, arguments: &[&str]) -> Command {
        let mut command = command(self.folder(), arguments);
        command
            .env("AVTOMATIKA_URL", &server.url)
            .env("CLIENT_TOKEN", CLIENT);
        command
    }

    /// Runs a command that talks to a server as the client.
    pub(crate) async fn ask(&self, server: &Server, arguments: &[&str]) -> Ended {
        run(self.client(server, arguments)).await
    }
}

/// A running orchestrator.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) url: String,
    http: HttpClient,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(command: Command) -> Self {
        let process = Process::start(command);
        let ready: Value = serde_json::from_str(&process.says("orchestrator ready").await)
            .expect("a JSON log line");
        let address = ready["address"].as_str().expect("the address").to_owned();
        Self {
            process,
            url: format!("http://{address}"),
            http: HttpClient::new(ClientOptions::default()).expect("a client"),
        }
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.url.rsplit_once(':').expect("a port");
        port.parse().expect("a number")
    }

    fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, format!("{}/api/v1{path}", self.url)).header("X-Client-Token", CLIENT)
    }

    /// Posts as the client.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let call = self.call(Method::Post, path).json(body.to_string());
        self.http.json(call).await.expect("an answer")
    }

    /// Creates a job of a blueprint without a version and returns its id.
    pub(crate) async fn submit(&self, blueprint: &str) -> String {
        self.submit_with(blueprint, &json!({})).await
    }

    /// Creates a job with data and returns its id.
    pub(crate) async fn submit_with(&self, blueprint: &str, initial_data: &Value) -> String {
        let call = Call::new(Method::Post, format!("{}/api/jobs/{blueprint}", self.url))
            .header("X-Client-Token", CLIENT)
            .json(json!({"initial_data": initial_data}).to_string());
        let created = self.http.json(call).await.expect("an answer");
        created["job_id"].as_str().expect("an id").to_owned()
    }

    /// Asks for the list of jobs with a token and returns the answer's status.
    pub(crate) async fn jobs_status(&self, token: &str) -> u16 {
        let call = Call::new(Method::Get, format!("{}/api/v1/jobs", self.url))
            .header("X-Client-Token", token);
        self.http.send(call).await.expect("an answer").status
    }

    /// Opens a job's events.
    pub(crate) async fn events(&self, job: &str) -> EventStream {
        let call = self.call(Method::Get, &format!("/jobs/{job}/events"));
        self.http.events(call, PATIENCE).await.expect("a stream")
    }

    /// Waits for a job's end and returns what its last event says.
    pub(crate) async fn outcome(&self, job: &str) -> Value {
        let mut events = self.events(job).await;
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.expect("the stream goes on");
            if event.event == "end" {
                return serde_json::from_str(&event.data).expect("JSON");
            }
            seen.push(event.data);
        }
        panic!("the stream ended: {seen:#?}");
    }

    /// Makes any call as the client.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> HttpAnswer {
        let mut call = self.call(method, path).timeout(PATIENCE);
        if let Some(body) = body {
            call = call.body(body, "application/octet-stream");
        }
        self.http.send(call).await.expect("an answer")
    }

    /// Makes a call to wherever a link leads, as a stranger.
    pub(crate) async fn follow(&self, method: Method, url: &str, body: &'static str) -> HttpAnswer {
        let call = Call::new(method, url);
        let call = match body {
            "" => call,
            body => call.body(body, "text/plain"),
        };
        self.http.send(call).await.expect("an answer")
    }

    /// Reads what a link leads to, however large, and returns its SHA-256.
    pub(crate) async fn digest_of(&self, url: &str) -> String {
        let options = ClientOptions {
            answer_bytes_max: usize::MAX,
            timeout: PATIENCE,
            ..ClientOptions::default()
        };
        let http = HttpClient::new(options).expect("a client");
        let got = http.send(Call::new(Method::Get, url)).await;
        crypto::sha256_hex(&got.expect("an answer").success().expect("is there").body)
    }

    /// Polls for a task as a worker; returns at once when there is none.
    pub(crate) async fn poll(&self, worker: &str, token: &str) -> HttpAnswer {
        let url = format!(
            "{}/_worker/workers/{worker}/tasks/next?timeout=0.01",
            self.url
        );
        let call = Call::new(Method::Get, url)
            .header("X-Worker-Token", token)
            .timeout(Duration::from_secs(20));
        self.http.send(call).await.expect("an answer")
    }
}
