//! `compose.yaml` as Compose reads it: its command lines and variables are ones that the program has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use avtomatika::roles::cli::Cli;
use clap::{CommandFactory as _, Parser as _};
use serde::Deserialize;

use crate::{Ended, binary};

/// What Compose makes of the file.
#[derive(Deserialize)]
struct Composed {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the services that run this program.
fn roles() -> BTreeMap<String, Service> {
    let composed = std::process::Command::new("docker-compose")
        .args(["--file", "compose.yaml", "--profile", "submit", "config"])
        .current_dir(root())
        .env_remove("DOCKER_HOST")
        .output()
        .expect("docker-compose starts: make servers installs it");
    let told = String::from_utf8_lossy(&composed.stderr);
    assert!(composed.status.success(), "{told}");
    let text = String::from_utf8(composed.stdout).expect("YAML");
    let composed: Composed = serde_saphyr::from_str(&text).expect("services");
    let mut services = composed.services;
    assert!(services["jaeger"].image.starts_with("jaegertracing/"));
    services.retain(|_, service| service.image.starts_with("avtomatika:"));
    services
}

/// Returns the variables that the command line names, for every role.
fn variables_of(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| {
        let name = argument.get_env()?.to_str()?;
        Some(name.to_owned())
    });
    let below = command.get_subcommands().flat_map(variables_of);
    own.chain(below).collect()
}

#[test]
fn server_compose_starts_roles_that_are_there() {
    let roles = roles();
    let names: Vec<&str> = roles.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "orchestrator",
            "scheduler",
            "submit",
            "webhook-sink",
            "worker-cpu",
            "worker-flaky",
            "worker-gpu"
        ]
    );
    for (name, role) in &roles {
        let line = std::iter::once("avtomatika").chain(role.command.iter().map(String::as_str));
        if let Err(error) = Cli::try_parse_from(line) {
            panic!("{name}: {error}");
        }
        let package = format!("avtomatika:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(role.image, package, "{name}");
        let collector = role.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT");
        assert_eq!(
            collector.map(String::as_str),
            Some("http://jaeger:4318"),
            "{name}"
        );
    }
}

/// The worker reads its environment by name, so its sources are asked.
#[test]
fn server_compose_sets_variables_that_are_read() {
    let named = variables_of(&Cli::command());
    let read = ["read.rs", "skills.rs"].map(|file| {
        let path = root().join("src/roles/worker/config").join(file);
        std::fs::read_to_string(path).expect("the worker's sources")
    });
    for (name, role) in roles() {
        for variable in role.environment.keys() {
            let of_worker = read
                .iter()
                .any(|source| source.contains(&format!("\"{variable}\"")));
            // By one set of rules, for all roles.
            let of_all =
                variable.starts_with("OTEL_") && avtomatika::config::keys::find(variable).is_some();
            let is_read = match role.command.first().map(String::as_str) {
                Some("orchestrator") => avtomatika::config::keys::find(variable).is_some(),
                Some("worker") => of_worker || named.contains(variable),
                _ => named.contains(variable),
            } || of_all;
            assert!(is_read, "{name}: {variable} has no effect");
        }
    }
}

#[tokio::test]
async fn server_compose_gives_the_orchestrator_settings_that_hold() {
    let roles = roles();
    let data = tempfile::tempdir().expect("a folder");
    let output = binary(&["config", "check"])
        .envs(&roles["orchestrator"].environment)
        .env("API_HOST", "0.0.0.0")
        .env("DATA_DIR", data.path())
        .env("AVTOMATIKA_CONFIG", "config/avtomatika.toml")
        .output()
        .await
        .expect("the binary starts");
    let ended = Ended::from(output);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
}
