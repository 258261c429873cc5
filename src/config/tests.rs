//! Configuration as data: layers and texts in, settings or problems out.

mod files;
mod misspelt;
mod original;
mod redis;
mod s3;
mod secrets;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::domain::schedule::Timetable;
use crate::store::archive::uri::Target;

fn env_of(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let map: BTreeMap<String, String> = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    move |name| map.get(name).cloned()
}

fn load_with(
    flags: Vec<Flag>,
    env: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Configuration, ConfigError> {
    let env = env_of(env);
    let file = file.map(|text| (PathBuf::from("etc/avtomatika.toml"), text.to_owned()));
    load(&Sources {
        flags,
        env: &env,
        file,
    })
}

fn problems_of(result: Result<Configuration, ConfigError>) -> Vec<String> {
    match result {
        Ok(configuration) => configuration
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn layers_win_in_order() {
    let file = "api_port = 1\nclient_api_prefix = \"/v/\"\nwebhook_allowed_nets = [\"127.0.0.0/8\", \"::1\"]\n";
    let flag = Flag {
        key: "API_PORT",
        flag: "--port",
        text: "3".to_owned(),
    };
    let origin = |configuration: &Configuration| {
        let entry = configuration
            .entries
            .iter()
            .find(|entry| entry.key == "API_PORT");
        entry.expect("known").origin.to_string()
    };
    let default = load_with(vec![], &[], None).expect("defaults are good");
    assert_eq!(
        (default.settings.http.port, origin(&default).as_str()),
        (8080, "default")
    );
    let from_file = load_with(vec![], &[], Some(file)).expect("good");
    assert_eq!(
        (from_file.settings.http.port, origin(&from_file).as_str()),
        (1, "etc/avtomatika.toml:1")
    );
    assert_eq!(from_file.settings.http.client_prefix, "v");
    assert_eq!(from_file.settings.webhooks.allowed_nets.len(), 2);
    let env = load_with(vec![], &[("API_PORT", "2")], Some(file)).expect("good");
    assert_eq!(
        (env.settings.http.port, origin(&env).as_str()),
        (2, "environment API_PORT")
    );
    let flag = load_with(vec![flag], &[("API_PORT", "2")], Some(file)).expect("good");
    assert_eq!(
        (flag.settings.http.port, origin(&flag).as_str()),
        (3, "flag --port")
    );
}

#[test]
fn every_default_is_good_and_is_the_engines() {
    for key in keys::KEYS {
        assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
    }
    let settings = load_with(vec![], &[], None)
        .expect("defaults are good")
        .settings;
    assert_eq!(settings.limits, crate::engine::Limits::default());
    assert!(settings.is_loopback());
    assert_eq!(settings.paths.task_files, Path::new("data/files"));
}

#[test]
fn all_problems_are_told_together() {
    let file = "api_prot = 1\nclient_api_prefix = { a = 1 }\nshoe_size = 45\nmax_deliveries = 0\n";
    let env = [
        ("API_PORT", "eighty"),
        ("TLS_ENABLED", "true"),
        ("CLIENTS_CONFIG_PATH", "/nowhere/c.toml"),
    ];
    let seen = problems_of(load_with(vec![], &env, Some(file)));
    insta::assert_snapshot!(seen.join("\n"), @r#"
    etc/avtomatika.toml:1: error: api_prot: unknown key, did you mean `api_port`?
    etc/avtomatika.toml:3: error: shoe_size: unknown key, it has no effect
    etc/avtomatika.toml:2: error: client_api_prefix: expected one value, seen a table
    environment API_PORT: error: API_PORT: `eighty` is not a whole number, expected 0 to 65535
    etc/avtomatika.toml:4: error: MAX_DELIVERIES: 0 is out of range, expected 1 to 100
    default: error: TLS_CERT_PATH: missing: TLS_ENABLED needs TLS_CERT_PATH and TLS_KEY_PATH
    default: error: TLS_KEY_PATH: missing: TLS_ENABLED needs TLS_CERT_PATH and TLS_KEY_PATH
    /nowhere/c.toml: error: CLIENTS_CONFIG_PATH: cannot be read: No such file or directory (os error 2)
"#);
}

#[test]
fn empty_variables_are_unset_but_where_empty_says_something() {
    let env = [
        ("API_PORT", ""),
        ("CLIENT_API_PREFIX", ""),
        ("GLOBAL_WORKER_TOKEN", ""),
    ];
    let settings = load_with(vec![], &env, None).expect("good").settings;
    assert_eq!(settings.http.port, 8080);
    assert_eq!(settings.http.client_prefix, "");
    assert_eq!(settings.secrets.global_worker_token, None);
    assert!(settings.secrets.client_token.is_some());
}

#[test]
fn well_known_secrets_hold_only_on_loopback() {
    let outside = ("API_HOST", "0.0.0.0");
    let key = ("ORCHESTRATOR_SECRET_KEY", "k");
    let well_known = ("CLIENT_TOKEN", "secure-orchestrator-token");
    let production = ("ENV", "production");
    let own = [("CLIENT_TOKEN", "mine"), ("GLOBAL_WORKER_TOKEN", "ours")];
    let cases = [
        ("development on loopback", vec![], 0),
        ("localhost by name", vec![("API_HOST", "localhost")], 0),
        ("open to the network", vec![outside], 2),
        (
            "open, but set on purpose",
            vec![outside, well_known, ("GLOBAL_WORKER_TOKEN", "")],
            0,
        ),
        ("open with own tokens", vec![outside, own[0], own[1]], 0),
        ("production without anything", vec![production], 2),
        (
            "production with the well-known token",
            vec![production, key, well_known],
            1,
        ),
        (
            "production with own tokens",
            vec![production, outside, key, own[0], own[1]],
            0,
        ),
        (
            "production without a key",
            vec![production, own[0], own[1]],
            1,
        ),
    ];
    for (name, env, expected) in cases {
        let errors = match load_with(vec![], &env, None) {
            Ok(_) => 0,
            Err(error) => error
                .problems
                .iter()
                .filter(|problem| !problem.is_warning)
                .count(),
        };
        assert_eq!(errors, expected, "{name}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let env = [
        ("CLIENT_TOKEN", "hunter2"),
        ("ORCHESTRATOR_SECRET_KEY", "hunter2"),
        ("GLOBAL_WORKER_TOKEN", "hunter2"),
    ];
    let configuration = load_with(vec![], &env, None).expect("good");
    assert!(!format!("{configuration:?}").contains("hunter2"));
    assert!(
        configuration
            .entries
            .iter()
            .any(|entry| entry.value == "***")
    );
}

#[test]
fn the_example_files_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(DEFAULT_FILE);
    let text = std::fs::read_to_string(&path).expect("config/avtomatika.toml is there");
    let env = env_of(&[]);
    let configuration = load(&Sources {
        flags: vec![],
        env: &env,
        file: Some((path, text)),
    })
    .expect("good");
    assert_eq!(configuration.warnings, []);
    let names: Vec<&str> = configuration
        .clients
        .iter()
        .map(|client| client.id.as_str())
        .collect();
    assert_eq!(names, ["default", "vip", "limited"]);
    for worker in ["gpu-worker-01", "cpu-worker-01", "cpu-worker-02"] {
        assert!(
            configuration.worker_tokens.lookup(worker).is_some(),
            "{worker}"
        );
    }
    let schedule = &configuration.schedules[0];
    assert_eq!(
        (schedule.name.as_str(), schedule.blueprint.as_str()),
        ("maintenance_task", "periodic_maintenance")
    );
    assert_eq!(schedule.timetable, Timetable::Interval { seconds: 60 });
}

/// The example file shows every setting with its default, as a comment or as a value.
#[test]
fn the_example_file_shows_every_setting() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DEFAULT_FILE))
        .expect("config/avtomatika.toml is there");
    for key in keys::KEYS {
        let name = format!("{} = ", key.file_name());
        let shown = text
            .lines()
            .find_map(|line| line.trim_start_matches("# ").strip_prefix(&name));
        let shown = shown.unwrap_or_else(|| panic!("{name}is missing in {DEFAULT_FILE}"));
        if matches!(
            key.kind,
            value::Kind::Integer { .. } | value::Kind::Duration { .. }
        ) {
            assert_eq!(shown.trim_matches('"'), key.default, "{name}");
        }
    }
}

/// So that the same file means the same wherever a program is started.
#[test]
fn a_history_in_a_file_lies_beside_the_settings_that_name_it() {
    let lies_in = |env: &[(&str, &str)], file: Option<&str>| {
        let configuration = load_with(vec![], env, file).expect("good");
        configuration.settings.history.target
    };
    let sqlite = |path: &str| Some(Target::Sqlite(path.into()));
    for (text, path) in [
        ("sqlite:history.db", "etc/history.db"),
        ("sqlite:../data/history.db", "data/history.db"),
        ("sqlite:///var/lib/history.db", "/var/lib/history.db"),
    ] {
        let file = format!("history_database_uri = \"{text}\"\n");
        assert_eq!(lies_in(&[], Some(&file)), sqlite(path));
    }
    let env = [("HISTORY_DATABASE_URI", "sqlite:history.db")];
    assert_eq!(lies_in(&env, None), sqlite("history.db"));
}
