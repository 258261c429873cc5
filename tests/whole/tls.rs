//! An operator who serves HTTPS and lets workers in by certificate.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

use crate::authority::Authority;
use crate::process::{Ended, Process, command, run};
use crate::site::{CLIENT, Site};

/// A job of one task.
const FLOW: &str = "blueprint: flow
endpoint: /jobs/flow
start: work
states:
  work:
    dispatch: { skill: greet, params: { name: \"you\" } }
    on: { success: done, failure: broken }
  done: { end: finished, result: \"{{ state_history.greeting }}\" }
  broken: { end: failed, error: \"the skill failed\" }
";

/// An orchestrator that takes workers by certificate alone, on a port of their own.
struct Fortress {
    site: Site,
    orchestrator: Process,
    clients: String,
    workers: String,
}

impl Fortress {
    async fn start(authority: &Authority) -> Self {
        let site = Site::new(&[("flow.yaml", FLOW)]);
        site.write(
            "greet.sh",
            "cat > /dev/null; printf '{\"greeting\": \"hello\"}'",
        );
        let ca = authority.write(site.folder(), "ca.pem");
        let (certificate, key) = authority.server(site.folder(), "server");
        authority.client(site.folder(), "gpu-01");
        let mut command = site.orchestrator(0);
        command
            .env_remove("WORKERS_CONFIG_PATH")
            .env("TLS_ENABLED", "true")
            .env("TLS_CERT_PATH", certificate)
            .env("TLS_KEY_PATH", key)
            .env("TLS_CA_PATH", ca)
            .env("TLS_REQUIRE_CLIENT_CERT", "true")
            .env("WORKER_AUTH_MODE", "mtls-only")
            .env("WORKER_API_PORT", "0");
        let orchestrator = Process::start(command);
        let ready = orchestrator.says("orchestrator ready").await;
        let ready: Value = serde_json::from_str(&ready).expect("a JSON log line");
        let url = |name: &str| format!("https://{}", ready[name].as_str().expect("an address"));
        Self {
            clients: url("address"),
            workers: url("workers_address"),
            site,
            orchestrator,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Makes a client's command.
    fn client(&self, ca: &str, arguments: &[&str]) -> Command {
        let mut command = command(self.site.folder(), arguments);
        command
            .env("AVTOMATIKA_URL", &self.clients)
            .env("CLIENT_TOKEN", CLIENT)
            .env("AVTOMATIKA_CA_FILE", self.path(ca));
        command
    }

    async fn health(&self, ca: &str) -> Ended {
        run(self.client(ca, &["health"])).await
    }

    /// Starts a worker that has no token.
    fn worker(&self, id: &str, files: &[(&str, &str)]) -> Process {
        let skill = "greet=/bin/sh greet.sh";
        let mut command = command(
            self.site.folder(),
            &["worker", "--id", id, "--skill", skill],
        );
        command
            .env("PATH", "/usr/bin:/bin")
            .env("ORCHESTRATOR_URL", &self.workers)
            .env("LOG_LEVEL", "info,avtomatika=debug")
            .env("LOG_FORMAT", "json");
        for (name, file) in files {
            command.env(name, self.path(file));
        }
        Process::start(command)
    }
}

const CA: (&str, &str) = ("TLS_CA_PATH", "ca.pem");
const CERTIFICATE: (&str, &str) = ("TLS_CERT_PATH", "gpu-01.pem");
const KEY: (&str, &str) = ("TLS_KEY_PATH", "gpu-01.key");

#[tokio::test]
async fn a_worker_comes_in_with_nothing_but_a_certificate() {
    let authority = Authority::new("the authority");
    let fortress = Fortress::start(&authority).await;
    authority.expired(fortress.site.folder(), "gpu-03");
    let worker = fortress.worker("gpu-01", &[CA, CERTIFICATE, KEY]);
    // Its registration is signed with the token that the certificate brought.
    worker.says("new access token").await;
    worker.says("registered").await;
    worker.says("command channel open").await;
    let submit = fortress.client("ca.pem", &["submit", "flow", "-o", "json"]);
    let job = run(submit).await.with(0).json();
    assert_eq!(job["result"], "hello", "{job}");
    worker.stop().await.with(0);

    for (id, files, complaint) in [
        (
            "gpu-02",
            &[CA, CERTIFICATE, KEY][..],
            "the certificate is another worker's",
        ),
        (
            "gpu-01",
            &[CA],
            "the server wants a certificate, and none was shown",
        ),
        (
            "gpu-01",
            &[CERTIFICATE, KEY],
            "an authority that is not trusted here",
        ),
        (
            "gpu-03",
            &[
                CA,
                ("TLS_CERT_PATH", "gpu-03.pem"),
                ("TLS_KEY_PATH", "gpu-03.key"),
            ],
            "does not take the certificate that was shown: CertificateExpired",
        ),
    ] {
        let worker = fortress.worker(id, files);
        let told = worker.says("registration failed").await;
        assert!(told.contains(complaint), "{told}");
        worker.stop().await.with(0);
    }
    fortress.orchestrator.stop().await.with(0);
}

#[tokio::test]
async fn clients_and_workers_have_their_own_ports() {
    let fortress = Fortress::start(&Authority::new("the authority")).await;
    fortress.health("ca.pem").await.with(0);
    let certificate = fortress.path("gpu-01.pem").display().to_string();
    let key = fortress.path("gpu-01.key").display().to_string();
    let there = ["health", "--url", &fortress.workers];
    let shown = ["--cert-file", &certificate, "--key-file", &key];
    let without = run(fortress.client("ca.pem", &there)).await.with(6);
    let complaint = "the server wants a certificate, and none was shown";
    assert!(without.stderr.contains(complaint), "{without:?}");
    assert!(without.stderr.contains("--cert-file"), "{without:?}");
    let with = [&there[..], &shown[..]].concat();
    run(fortress.client("ca.pem", &with)).await.with(0);
    // Jobs are not there, whoever asks.
    let list = ["jobs", "list", "--url", &fortress.workers];
    let list = [&list[..], &shown[..]].concat();
    let list = run(fortress.client("ca.pem", &list)).await.with(7);
    assert!(list.stderr.contains("404"), "{list:?}");
    fortress.orchestrator.stop().await.with(0);
}

#[tokio::test]
async fn certificates_are_read_again_at_sighup() {
    let fortress = Fortress::start(&Authority::new("the authority")).await;
    fortress.health("ca.pem").await.with(0);
    let next = Authority::new("the next authority");
    next.write(fortress.site.folder(), "next.pem");
    next.server(fortress.site.folder(), "server");
    fortress.orchestrator.signal("HUP").await;
    fortress.orchestrator.says("certificates read again").await;
    fortress.health("next.pem").await.with(0);
    let old = fortress.health("ca.pem").await.with(6);
    let complaint = "an authority that is not trusted here";
    assert!(old.stderr.contains(complaint), "{old:?}");
    assert!(old.stderr.contains("--ca-file"), "{old:?}");

    fs::write(fortress.path("server.key"), "no key").expect("written");
    fortress.orchestrator.signal("HUP").await;
    let told = fortress
        .orchestrator
        .says("certificates stay as they were")
        .await;
    assert!(told.contains("server.key: holds no private key"), "{told}");
    fortress.health("next.pem").await.with(0);
    fortress.orchestrator.stop().await.with(0);
}
