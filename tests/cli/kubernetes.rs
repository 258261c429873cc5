//! The manifests of `docs/kubernetes.md`: YAML whose probes, ports, variables and arguments are those of
//! the program.

use std::collections::BTreeMap;

use avtomatika::roles::cli::Cli;
use avtomatika::roles::probes::PATHS;
use clap::Parser as _;
use serde_json::Value;

use crate::known::{Variables, read};
use crate::{Ended, binary};

/// The user of the image.
const USER: u64 = 65532;
/// Where the manifests have the Secret's files.
const FILES: &str = "/run/avtomatika/";

/// Returns the manifests, by kind and name.
fn manifests() -> BTreeMap<String, Value> {
    let text = read("docs/kubernetes.md");
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```"));
    let parsed = blocks.map(|(yaml, _)| {
        let value: Value =
            serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"));
        let kind = value["kind"].as_str().expect("a kind");
        let name = value["metadata"]["name"].as_str().expect("a name");
        (format!("{kind} {name}"), value)
    });
    parsed.collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{pointer} is no text in {value:#}"))
}

/// Returns the container's role and its environment; what comes from elsewhere has no value.
fn role(container: &Value) -> (String, BTreeMap<String, Option<String>>) {
    let args = container["args"].as_array().expect("arguments");
    let words = args.iter().map(|one| one.as_str().expect("a word"));
    let line: Vec<&str> = std::iter::once("avtomatika").chain(words).collect();
    if let Err(error) = Cli::try_parse_from(&line) {
        panic!("{line:?}: {error}");
    }
    let variables = container["env"].as_array().expect("variables").iter();
    let variables = variables.map(|one| {
        let value = one["value"].as_str().map(str::to_owned);
        assert!(value.is_some() || one["valueFrom"].is_object(), "{one}");
        (text(one, "/name").to_owned(), value)
    });
    (line[1].to_owned(), variables.collect())
}

fn pods() -> BTreeMap<String, Value> {
    let deployments = manifests()
        .into_iter()
        .filter(|(name, _)| name.starts_with("Deployment "));
    let pods: BTreeMap<String, Value> = deployments
        .map(|(name, mut value)| (name, value["spec"]["template"].take()))
        .collect();
    assert_eq!(pods.len(), 2);
    pods
}

#[test]
fn pods_are_asked_where_their_role_answers() {
    for (name, pod) in pods() {
        let container = &pod["spec"]["containers"][0];
        let (role, variables) = role(container);
        let is_orchestrator = role == "orchestrator";
        let listens = match variables.get("METRICS_ADDR") {
            Some(address) => address.as_deref().expect("an address"),
            None => ":8080",
        };
        let port = container["ports"][0]["containerPort"].as_u64();
        let port = port.expect("a port").to_string();
        assert_eq!(listens, format!(":{port}"), "{name}");
        // The orchestrator knows the second name alone.
        let [live, ready, figures] = PATHS.map(|names| names[usize::from(is_orchestrator)]);
        let own = text(container, "/ports/0/name");
        for (probe, path) in [("livenessProbe", live), ("readinessProbe", ready)] {
            let asked = &container[probe]["httpGet"];
            assert_eq!((text(asked, "/path"), text(asked, "/port")), (path, own));
        }
        let scraped = &pod["metadata"]["annotations"];
        assert_eq!(text(scraped, "/prometheus.io~1path"), figures, "{name}");
        assert_eq!(text(scraped, "/prometheus.io~1port"), port, "{name}");
        let known = Variables::known();
        for variable in variables.keys() {
            assert!(known.is_read(&role, variable), "{name}: {variable}");
        }
    }
    let service = &manifests()["Service avtomatika-orchestrator"];
    assert_eq!(service["spec"]["ports"][0]["port"], 8080);
    let orchestrator = &pods()["Deployment avtomatika-orchestrator"];
    assert_eq!(
        service["spec"]["selector"],
        orchestrator["metadata"]["labels"]
    );
}

#[test]
fn pods_may_do_little_and_stop_in_time() {
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("--chown={USER}:{USER}")));
    for (name, pod) in pods() {
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(spec["securityContext"]["runAsUser"], USER, "{name}");
        let container = &spec["containers"][0];
        let own = &container["securityContext"];
        assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["capabilities"]["drop"][0], "ALL", "{name}");
        let package = format!("avtomatika:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(container, "/image"), package, "{name}");
        // Every mount has its volume.
        let named = |list: &Value| {
            let all = list.as_array().expect("a list").iter();
            let mut names: Vec<String> = all.map(|one| text(one, "/name").to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(named(&container["volumeMounts"]), named(&spec["volumes"]));
        // Of both roles it is thirty seconds for what is under way, and a few for the rest.
        let grace = spec["terminationGracePeriodSeconds"].as_u64();
        assert!(grace.is_some_and(|grace| grace > 40), "{name}: {grace:?}");
    }
    let setting = avtomatika::config::keys::find("SHUTDOWN_TIMEOUT_SECONDS");
    assert_eq!(setting.map(|setting| setting.default), Some("30"));
    let worker = avtomatika::roles::worker::WorkerConfig::new("w", "t", "http://localhost");
    assert_eq!(worker.shutdown_timeout.as_secs(), 30);
}

#[tokio::test]
async fn the_orchestrator_s_pod_has_settings_that_hold() {
    let pods = pods();
    let container = &pods["Deployment avtomatika-orchestrator"]["spec"]["containers"][0];
    let (_, variables) = role(container);
    let data = tempfile::tempdir().expect("a folder");
    let set = variables.into_iter().map(|(name, value)| {
        let value = value.unwrap_or_else(|| "a-secret-of-more-than-32-characters".to_owned());
        (name, value.replace(FILES, "config/"))
    });
    let output = binary(&["config", "check"])
        .envs(set)
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
