//! `compose.yaml` as Compose reads it: its command lines and variables are ones that the program has.

use std::collections::{BTreeMap, BTreeSet};

use avtomatika::roles::cli::{Cli, Command};
use clap::Parser as _;
use serde::Deserialize;

use crate::known::{Variables, read, read_yaml, root};
use crate::{Ended, binary};

/// What Compose makes of the file.
#[derive(Deserialize)]
struct Composed {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    healthcheck: Option<Probe>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Probe {
    test: Vec<String>,
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

#[test]
fn server_compose_sets_variables_that_are_read() {
    let known = Variables::known();
    for (name, role) in roles() {
        for variable in role.environment.keys() {
            let word = role.command.first().map_or("", String::as_str);
            assert!(
                known.is_read(word, variable),
                "{name}: {variable} has no effect"
            );
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

/// Each service asks its own role, at the port where that role answers; what is scraped is there.
#[test]
fn server_compose_probes_and_scrapes_what_listens() {
    let scraped: Scraped = read_yaml("config/prometheus.yml");
    let mut targets: BTreeSet<String> = BTreeSet::new();
    for job in scraped.scrape_configs {
        targets.extend(job.static_configs.into_iter().flat_map(|one| one.targets));
    }
    let mut listening = BTreeSet::new();
    for (name, role) in roles() {
        let probe = role
            .healthcheck
            .expect("a probe, or a word that there is none");
        if name == "submit" {
            assert_eq!(probe.test, ["NONE"], "it ends by itself");
            continue;
        }
        let line = probe.test.iter().skip(1);
        assert_eq!(probe.test[0], "CMD", "{name}: the image has no shell");
        let asked = match Cli::try_parse_from(line) {
            Ok(Cli {
                command: Command::Health(asked),
                ..
            }) => asked.remote.url,
            _ => panic!("{name}: {:?} is not `health`", probe.test),
        };
        // The image's orchestrator listens at the port of the defaults.
        let address = role.environment.get("METRICS_ADDR").map(String::as_str);
        let port = address.unwrap_or(":8080").trim_start_matches(':');
        assert_eq!(asked, format!("http://127.0.0.1:{port}"), "{name}");
        listening.insert(format!("{name}:{port}"));
    }
    assert_eq!(listening, targets);
}

#[derive(Deserialize)]
struct Scraped {
    scrape_configs: Vec<ScrapeJob>,
}

#[derive(Deserialize)]
struct ScrapeJob {
    static_configs: Vec<Targets>,
}

#[derive(Deserialize)]
struct Targets {
    targets: Vec<String>,
}

/// What may be set is shown, and what is shown has an effect; each default is the example's value.
#[test]
fn the_example_environment_is_that_of_compose() {
    let compose = read("compose.yaml");
    let used: BTreeSet<(&str, &str)> = compose
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}')?.0.split_once(":-"))
        .collect();
    let example = read(".env.example");
    let shown: BTreeSet<(&str, &str)> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(used, shown);
    let told = compose.matches("${").count();
    assert_eq!(told, compose.matches(":-").count(), "each has a default");
}

/// An image without a tag, or with `latest`, is another image tomorrow. Other tags may move as well, as
/// those of one major version do: that a tag stays is its maker's to keep.
#[test]
fn images_are_pinned() {
    let (compose, dockerfile) = (read("compose.yaml"), read("Dockerfile"));
    let of_compose = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "));
    let of_dockerfile = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let images: Vec<&str> = of_compose.chain(of_dockerfile).collect();
    assert!(images.len() > 9, "{images:?}");
    for image in images {
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        let is_pinned = tag.is_some_and(|tag| !tag.is_empty() && tag != "latest");
        assert!(is_pinned, "{image}");
    }
}

/// What the binary holds of others wants its licence and notices beside it.
#[test]
fn the_image_has_the_licences_of_what_is_in_it() {
    let (dockerfile, sent) = (read("Dockerfile"), read(".dockerignore"));
    let copies = |line: &str| dockerfile.lines().any(|all| all.contains(line));
    assert!(sent.lines().any(|line| line == "!LICENSE"));
    assert!(copies("COPY LICENSE ./"));
    assert!(copies("cp LICENSE /image/licenses/"));
    assert!(copies("COPY --from=build /image/licenses /licenses"));
    let folder = "src/api/docs/swagger-ui";
    let texts = ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"];
    assert!(copies(&format!("cd {folder} ")));
    let line = format!("cp {} /image/licenses/swagger-ui/", texts.join(" "));
    assert!(copies(&line), "{line}");
    for name in texts {
        assert!(!read(&format!("{folder}/{name}")).is_empty(), "{name}");
    }
}
