//! Reading flags and environment into a configuration, with all problems at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::WorkerArgs;
use super::skills::skills;
use super::{Endpoint, PollMode, Timing, WorkerConfig};
use crate::base::{Secret, WorkerId, ids};
use crate::config::s3_addressing;
use crate::domain::worker::Device;
use crate::protocol::sign::s3_config_hash;
use crate::roles::probes::METRICS_ADDR;
use crate::store::S3Settings;

/// The original's stand-in for "no token".
const TOKEN_PLACEHOLDER: &str = "your-secret-worker-token";
const URL_DEFAULT: &str = "http://localhost:8080";

/// Environment variables, and what was wrong with them.
pub(super) struct Vars<'a> {
    vars: &'a BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Vars<'_> {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Returns a secret: the variable's, else the text of the file that `NAME_FILE` names.
    fn secret(&mut self, name: &str) -> Option<String> {
        let in_file = format!("{name}_FILE");
        match (self.text(name), self.text(&in_file)) {
            (Some(_), Some(_)) => {
                self.problem(format!(
                    "{name}, {in_file}: expected one of them, seen both"
                ));
                None
            }
            (Some(text), None) => Some(text.to_owned()),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
                Err(error) => {
                    let problem = format!("{in_file}: {path} cannot be read: {error}");
                    self.problem(problem);
                    None
                }
            },
            (None, None) => None,
        }
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn number<T: FromStr>(&mut self, name: &str, default: T) -> T {
        match self.text(name).map(|text| text.trim().parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.problem(format!("{name}: expected a number"));
                default
            }
        }
    }

    fn seconds(&mut self, name: &str, default: Duration) -> Duration {
        let seconds = self.number(name, default.as_secs_f64());
        Duration::try_from_secs_f64(seconds).unwrap_or_else(|_| {
            self.problem(format!("{name}: expected seconds, not less than 0"));
            default
        })
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.text(name)
            .map_or(default, |text| text.eq_ignore_ascii_case("true"))
    }

    fn json<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> Option<T> {
        match serde_json::from_str(self.text(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(format!("{name}: {error}"));
                None
            }
        }
    }
}

/// Builds the configuration.
pub(super) fn read(
    args: &WorkerArgs,
    vars: &BTreeMap<String, String>,
) -> anyhow::Result<WorkerConfig> {
    let mut vars = Vars {
        vars,
        problems: Vec::new(),
    };
    let mut config = WorkerConfig::new("", "", URL_DEFAULT);
    if let Some(folder) = vars.text("TASK_FILES_DIR") {
        config.task_files_dir = PathBuf::from(folder);
    }
    skills(args, &mut vars, &mut config);
    identity(args, &mut vars, &mut config);
    config.endpoints = endpoints(args, &mut vars);
    behaviour(args, &mut vars, &mut config);
    config.timing = timing(&mut vars);
    resources(&mut vars, &mut config);
    files(&mut vars, &mut config);
    if vars.problems.is_empty() {
        Ok(config)
    } else {
        bail!("the worker cannot start:\n  {}", vars.problems.join("\n  "));
    }
}

fn identity(args: &WorkerArgs, vars: &mut Vars<'_>, config: &mut WorkerConfig) {
    let id = args
        .id
        .clone()
        .or_else(|| vars.text("WORKER_ID").map(str::to_owned));
    let id = id.unwrap_or_else(|| format!("worker-{}", config.entropy.uuid()));
    if !ids::is_identifier(&id) {
        vars.problem(format!(
            "worker id `{id}`: expected 1 to 128 of A-Z a-z 0-9 _ -"
        ));
    }
    config.id = WorkerId::from(id);
    let from_file = args.token_file.as_ref().and_then(|path| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|error| vars.problem(format!("--token-file {}: {error}", path.display())))
            .ok()
    });
    let token = from_file
        .or_else(|| args.token.clone())
        .or_else(|| vars.secret("WORKER_INDIVIDUAL_TOKEN"))
        .or_else(|| vars.secret("WORKER_TOKEN"))
        .filter(|token| token != TOKEN_PLACEHOLDER);
    config.token = Secret::new(token.unwrap_or_default());
    let secret = vars
        .secret("ORCHESTRATOR_SECRET_KEY")
        .or_else(|| vars.secret("SECRET_KEY"));
    config.task_secret = secret.map(Secret::new);
    config.require_task_signature = vars.flag("REQUIRE_TASK_SIGNATURE", true);
    let path = |name: &str| vars.text(name).map(PathBuf::from);
    config.tls.ca = path("TLS_CA_PATH");
    let (certificate, key) = (path("TLS_CERT_PATH"), path("TLS_KEY_PATH"));
    if certificate.is_some() != key.is_some() {
        vars.problem("TLS_CERT_PATH, TLS_KEY_PATH: expected both or neither, seen one");
    }
    config.tls.identity = certificate.zip(key);
}

/// An entry of `ORCHESTRATORS_CONFIG`; unknown members are ignored, as the original does.
#[derive(Deserialize)]
struct RawEndpoint {
    url: String,
    priority: Option<i64>,
    weight: Option<i64>,
    token: Option<String>,
}

fn endpoints(args: &WorkerArgs, vars: &mut Vars<'_>) -> Vec<Endpoint> {
    let plain = |url: &str, priority: i64| RawEndpoint {
        url: url.to_owned(),
        priority: Some(priority),
        weight: None,
        token: None,
    };
    let raw: Vec<RawEndpoint> = if !args.orchestrators.is_empty() {
        (0..)
            .zip(&args.orchestrators)
            .map(|(place, url)| plain(url, place))
            .collect()
    } else if vars.text("ORCHESTRATORS_CONFIG").is_some() {
        vars.json("ORCHESTRATORS_CONFIG").unwrap_or_default()
    } else {
        vec![plain(
            vars.text("ORCHESTRATOR_URL").unwrap_or(URL_DEFAULT),
            10,
        )]
    };
    let mut endpoints = Vec::with_capacity(raw.len());
    for entry in raw {
        let url = entry.url.trim_end_matches('/');
        let url = match url.split_once("://") {
            Some(("http" | "https", _)) => url.to_owned(),
            Some(("ws", rest)) => format!("http://{rest}"),
            Some(("wss", rest)) => format!("https://{rest}"),
            _ => {
                vars.problem(format!(
                    "orchestrator `{url}`: expected http:// or https://"
                ));
                continue;
            }
        };
        let weight = entry.weight.unwrap_or(1);
        if weight < 1 {
            vars.problem(format!(
                "orchestrator `{url}`: the weight must be at least 1"
            ));
        }
        let token = entry.token.map(Secret::new);
        endpoints.push(Endpoint {
            url,
            priority: entry.priority.unwrap_or(10),
            weight,
            token,
        });
    }
    if endpoints.is_empty() && vars.problems.is_empty() {
        vars.problem("ORCHESTRATORS_CONFIG: names no orchestrator");
    }
    endpoints.sort_by(|a, b| (a.priority, &a.url).cmp(&(b.priority, &b.url)));
    endpoints
}

fn behaviour(args: &WorkerArgs, vars: &mut Vars<'_>, config: &mut WorkerConfig) {
    config.poll_mode = match vars.text("MULTI_ORCHESTRATOR_MODE") {
        None | Some("WATERFALL") => PollMode::Waterfall,
        Some("ROUND_ROBIN") => PollMode::RoundRobin,
        Some(other) => {
            let problem =
                format!("MULTI_ORCHESTRATOR_MODE: `{other}` is not one of WATERFALL, ROUND_ROBIN");
            vars.problem(problem);
            PollMode::Waterfall
        }
    };
    let tasks = vars.number("MAX_CONCURRENT_TASKS", 10);
    config.max_concurrent_tasks = args.max_tasks.unwrap_or(tasks);
    if config.max_concurrent_tasks == 0 {
        vars.problem("MAX_CONCURRENT_TASKS: expected at least 1");
    }
    let speed = vars.number("WORKER_SPEED", 1.0);
    config.speed = args.speed.unwrap_or(speed);
    if !(config.speed.is_finite() && config.speed > 0.0) {
        vars.problem("--speed: expected a number above 0");
    }
    config.deterministic = args.deterministic;
    config.websockets = vars.flag("WORKER_ENABLE_WEBSOCKETS", true);
    let port = vars.number("WORKER_PORT", 0);
    let port = args.port.or(Some(port).filter(|port| *port != 0));
    let metrics = args.probes.metrics_addr.clone();
    let metrics = metrics.filter(|address| !address.is_empty());
    let metrics = metrics.map(|address| (METRICS_ADDR, address));
    let plain = port.map(|port| ("--port", format!(":{port}")));
    config.addresses = metrics.into_iter().chain(plain).collect();
    let timeout = config.shutdown_timeout;
    config.shutdown_timeout = vars.seconds("WORKER_SHUTDOWN_TIMEOUT", timeout);
}

fn timing(vars: &mut Vars<'_>) -> Timing {
    let default = Timing::default();
    Timing {
        heartbeat: vars.seconds("HEARTBEAT_INTERVAL", default.heartbeat),
        heartbeat_cooldown: vars.seconds("WORKER_HEARTBEAT_COOLDOWN", default.heartbeat_cooldown),
        poll: vars.seconds("TASK_POLL_TIMEOUT", default.poll),
        idle: vars.seconds("IDLE_POLL_DELAY", default.idle),
        poll_backoff: vars.seconds("POLL_BACKOFF_INITIAL", default.poll_backoff),
        poll_backoff_max: vars.seconds("POLL_BACKOFF_MAX", default.poll_backoff_max),
        rate_limit_floor: vars.seconds("RATE_LIMIT_BACKOFF_FLOOR", default.rate_limit_floor),
        registration: vars.seconds("REGISTRATION_RETRY_INITIAL_DELAY", default.registration),
        registration_max: vars.seconds("REGISTRATION_RETRY_MAX_DELAY", default.registration_max),
        result_attempts: vars.number("RESULT_MAX_RETRIES", default.result_attempts),
        result: vars.seconds("RESULT_RETRY_INITIAL_DELAY", default.result),
        telemetry_deadband: vars.number("WORKER_TELEMETRY_DEADBAND", default.telemetry_deadband),
        telemetry: vars.seconds("WORKER_TELEMETRY_FORCE_INTERVAL", default.telemetry),
    }
}

fn resources(vars: &mut Vars<'_>, config: &mut WorkerConfig) {
    if let Some(costs) = vars.json("COST_PER_SKILL") {
        config.cost_per_skill = costs;
    }
    if let Some(software) = vars.json("INSTALLED_SOFTWARE") {
        config.software = software;
    }
    if let Some(artifacts) = vars.json("INSTALLED_ARTIFACTS") {
        config.artifacts = artifacts;
    }
    let properties = config.resources.properties.get_or_insert_default();
    let own = |properties: &crate::domain::Object, name: &str, default: f64| {
        properties
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or(default)
    };
    let cores = vars.number("CPU_CORES", own(properties, "cpu_cores", 4.0));
    let ram = vars.number("RAM_GB", own(properties, "ram_gb", 0.0));
    properties.insert("cpu_cores".to_owned(), json!(cores));
    properties.insert("ram_gb".to_owned(), json!(ram));
    if let Some(devices) = vars.json("WORKER_DEVICES") {
        config.resources.devices = Some(devices);
    } else if let Some(model) = vars.text("GPU_MODEL").map(str::to_owned) {
        let memory_gb = vars.number("GPU_VRAM_GB", 0.0);
        config.resources.devices = Some(vec![Device {
            kind: "gpu".to_owned(),
            model: Some(model),
            id: Some(vars.text("GPU_ID").unwrap_or("0").to_owned()),
            properties: json!({"memory_gb": memory_gb}).as_object().cloned(),
            metrics: None,
        }]);
    }
    for (name, value) in vars.vars {
        if let Some(name) = name
            .strip_prefix("WORKER_EXTRA_")
            .filter(|name| !name.is_empty())
        {
            let parsed = if value.starts_with(['{', '[']) {
                serde_json::from_str(value).ok()
            } else {
                None
            };
            config
                .extra
                .insert(name.to_lowercase(), parsed.unwrap_or_else(|| json!(value)));
        }
    }
}

/// Reads where files come from and go to: the server's address says whether they do.
fn files(vars: &mut Vars<'_>, config: &mut WorkerConfig) {
    let text = |vars: &Vars<'_>, name: &str, default: &str| {
        vars.text(name).unwrap_or(default).trim().to_owned()
    };
    let endpoint = text(vars, "S3_ENDPOINT_URL", "");
    let bucket = text(vars, "S3_DEFAULT_BUCKET", "avtomatika-payloads");
    let region = text(vars, "S3_REGION", "us-east-1");
    let addressing = text(vars, "S3_ADDRESSING", "auto");
    let access = vars.secret("S3_ACCESS_KEY").unwrap_or_default();
    let secret = vars.secret("S3_SECRET_KEY").unwrap_or_default();
    config.s3_config_hash = s3_config_hash(&endpoint, &access, &bucket);
    config.file_bytes_max = vars.number("FILE_BYTES_MAX", config.file_bytes_max);
    if endpoint.is_empty() {
        return;
    }
    if access.is_empty() || secret.is_empty() {
        vars.problem("S3_ENDPOINT_URL: expected S3_ACCESS_KEY and S3_SECRET_KEY beside it");
    }
    if !["auto", "path", "virtual"].contains(&addressing.to_ascii_lowercase().as_str()) {
        vars.problem(format!(
            "S3_ADDRESSING: `{addressing}` is none of auto, path, virtual"
        ));
    }
    let mut s3 = S3Settings::new(&endpoint, &bucket, Secret::new(access), Secret::new(secret));
    s3.region = region;
    s3.addressing = s3_addressing(&addressing, &endpoint);
    config.s3 = Some(s3);
}
