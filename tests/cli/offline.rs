//! Commands that need no orchestrator.

use std::fs;

use clap::CommandFactory as _;

use crate::{binary, run};

/// Every command's help, as a user sees it.
#[tokio::test]
async fn help_texts() {
    let mut paths = Vec::new();
    collect(
        &avtomatika::roles::cli::Cli::command(),
        &mut Vec::new(),
        &mut paths,
    );
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let ended = run(&arguments).await;
        ended.check(0, "Usage:", "");
        let name = format!(
            "help_{}",
            if path.is_empty() {
                "top".to_owned()
            } else {
                path.join("_")
            }
        );
        insta::assert_snapshot!(name, ended.stdout);
    }
}

fn collect(command: &clap::Command, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    paths.push(path.clone());
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        path.push(inner.get_name().to_owned());
        collect(inner, path, paths);
        path.pop();
    }
}

#[tokio::test]
async fn command_lines_that_cannot_be_read_end_with_2() {
    for (arguments, word) in [
        (&[][..], "Usage:"),
        (&["sumbit"], "'submit'"),
        (&["submit"], "<BLUEPRINT>"),
        (&["submit", "b"], "no client token"),
        (
            &["submit", "b", "--token", "t", "--url", "nowhere"],
            "is not an address",
        ),
        (
            &["submit", "b", "--token", "t", "--data", "{"],
            "--data is not JSON",
        ),
        (
            &["submit", "b", "--token", "t", "--timeout", "soon"],
            "45s, 10m or 2h",
        ),
        (&["jobs", "list", "--status", "done"], "known are pending"),
        (
            &["worker", "--profile", "cpu", "--metrics-addr", "localhost"],
            "`localhost` is not HOST:PORT",
        ),
        (
            &["webhook-sink", "--secret", "short"],
            "--secret: the secret has 5 bytes",
        ),
    ] {
        let ended = run(arguments).await;
        ended.check(2, "", word);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn nobody_there_ends_with_6() {
    let ended = run(&[
        "jobs",
        "list",
        "--token",
        "t",
        "--url",
        "http://127.0.0.1:1",
    ])
    .await;
    ended.check(6, "", "error: cannot reach http://127.0.0.1:1");
    ended.check(6, "", "hint: is the orchestrator running there?");
}

/// A port that another program has is no fault of a file's.
#[tokio::test]
async fn a_port_in_use_ends_with_6_and_what_to_do() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("an address").port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().display().to_string();
    let taken = format!("127.0.0.1:{port}");
    let place = format!("cannot listen on {taken}");
    for role in [
        vec!["dev", "--port", &port, "--data-dir", &folder],
        vec!["orchestrator", "--port", &port, "--data-dir", &folder],
        vec!["webhook-sink", "--port", &port],
        vec!["webhook-sink", "--port", "0", "--metrics-addr", &taken],
        vec!["worker", "--profile", "cpu", "--metrics-addr", &taken],
        vec![
            "scheduler",
            "--schedules",
            "config/schedules.toml",
            "--token",
            "t",
            "--metrics-addr",
            &taken,
        ],
    ] {
        let ended = run(&role).await;
        ended.check(6, "", &place);
        ended.check(6, "", "hint: another program has this port");
    }
}

#[tokio::test]
async fn the_example_settings_are_good() {
    run(&["config", "check"])
        .await
        .check(0, "good: 3 clients, 3 worker tokens, 1 schedules", "");
}

#[tokio::test]
async fn a_schedule_without_its_blueprint_is_told_before_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schedules.toml");
    fs::write(
        &file,
        "[nightly]\nblueprint = \"reprot\"\ndaily_at = \"02:00\"\n",
    )
    .expect("written");
    let file = file.display().to_string();
    let told = format!(
        "warning: {file}: warning: nightly.blueprint `reprot`: no good blueprint in blueprints"
    );
    let checked = run(&["config", "check", "--schedules", &file]).await;
    checked.check(0, "1 schedules", &told);
}

#[tokio::test]
async fn bad_settings_end_with_8_and_every_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("avtomatika.toml");
    fs::write(
        &file,
        "api_prot = 1\nclients_config_path = \"clients.toml\"\n",
    )
    .expect("written");
    fs::write(folder.path().join("clients.toml"), "[a]\ntoken = 5\n").expect("written");
    let file = file.display().to_string();
    let ended = run(&["config", "check", "--config", &file]).await;
    ended.check(
        8,
        "",
        "avtomatika.toml:1: error: api_prot: unknown key, did you mean `api_port`?",
    );
    ended.check(
        8,
        "",
        "clients.toml:2: error: a.token: expected a string, seen an integer",
    );
    let missing = run(&["config", "show", "--config", "/no/such/file.toml"]).await;
    missing.check(
        8,
        "",
        "/no/such/file.toml: error: AVTOMATIKA_CONFIG: cannot be read",
    );
}

#[tokio::test]
async fn settings_are_shown_with_their_origin_and_without_secrets() {
    let output = binary(&["config", "show", "--origin", "-o", "json", "--port", "9999"])
        .env("CLIENT_TOKEN", "hunter2")
        .env("LOG_LEVEL", "DEBUG")
        .output()
        .await
        .expect("the binary starts");
    let ended = crate::Ended::from(output);
    ended.check(0, "", "");
    let shown = ended.json();
    assert_eq!(shown["API_PORT"]["origin"], "flag --port");
    assert_eq!(shown["LOG_LEVEL"]["origin"], "environment LOG_LEVEL");
    assert_eq!(shown["CLIENTS_CONFIG_PATH"]["value"], "config/clients.toml");
    assert_eq!(shown["API_HOST"]["origin"], "default");
    assert_eq!(shown["CLIENT_TOKEN"]["value"], "***");
    assert!(!ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"));
}

#[tokio::test]
async fn a_clients_webhook_secret_is_printed_for_its_receiver() {
    let secret = |key: &'static str| async move {
        let output = binary(&["config", "webhook-secret", "vip"])
            .env("ORCHESTRATOR_SECRET_KEY", key)
            .output()
            .await
            .expect("the binary starts");
        crate::Ended::from(output)
    };
    let first = secret("k1").await;
    first.check(0, "whsec_", "");
    assert_eq!(first.stdout, secret("k1").await.stdout);
    assert_ne!(first.stdout, secret("k2").await.stdout);
    secret("").await.check(8, "", "ORCHESTRATOR_SECRET_KEY");
    let unknown = run(&["config", "webhook-secret", "nobody"]).await;
    unknown.check(2, "", "known are: default, vip, limited");
}

#[tokio::test]
async fn the_shipped_blueprints_are_good_and_bad_ones_end_with_8() {
    run(&["blueprints", "check"])
        .await
        .check(0, "", "file(s) are good");
    let list = run(&["blueprints", "list", "-o", "json"]).await;
    let names: Vec<String> = list
        .json()
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(
        names.iter().any(|name| name == "full_showcase"),
        "{names:?}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.yaml");
    fs::write(
        &file,
        "blueprint: bad\nstart: a\nstates:\n  a: { go_to: nowhere }\n",
    )
    .expect("written");
    let file = file.display().to_string();
    let ended = run(&["blueprints", "check", &file, "-o", "json"]).await;
    ended.check(8, "nowhere", "error(s) in 1 file(s)");
    assert_eq!(ended.json()["problems"][0]["line"], 4);
    let folder = run(&["blueprints", "check", "blueprints", "-o", "json"]).await;
    assert_eq!(folder.json()["files"].as_array().map(Vec::len), Some(3));
    run(&["blueprints", "list", "--blueprints", "/no/such"])
        .await
        .check(8, "", "cannot be read");
}

#[tokio::test]
async fn blueprints_are_drawn() {
    for (format, word) in [("dot", "digraph"), ("mermaid", "-->"), ("svg", "<svg")] {
        let ended = run(&["blueprints", "graph", "full_showcase", "--format", format]).await;
        ended.check(0, word, "");
        ended.check(0, "dispatch_transcoding", "");
    }
    run(&["blueprints", "graph", "blueprints/full_showcase.yaml"])
        .await
        .check(0, "digraph", "");
    run(&["blueprints", "graph", "nothing"])
        .await
        .check(8, "", "known are: full_showcase");
    let schema = run(&["blueprints", "schema"]).await.json();
    assert!(schema["$schema"].is_string());
}

#[tokio::test]
async fn schedules_are_listed_with_their_slots() {
    let ended = run(&["schedules", "list", "-n", "3", "-o", "json"]).await;
    let slots = ended.json();
    let slots = slots.as_array().expect("a list");
    assert_eq!(slots.len(), 3);
    let key = slots[0]["idempotency_key"].as_str().expect("a key");
    assert!(key.starts_with("schedule:maintenance_task:"), "{key}");
    let table = run(&["scheduler", "--list", "1"]).await;
    table.check(0, "every 60 s", "");
}

#[tokio::test]
async fn shells_and_manual_are_served() {
    run(&["completions", "bash"])
        .await
        .check(0, "_avtomatika", "");
    run(&["completions", "zsh"])
        .await
        .check(0, "#compdef avtomatika", "");
    run(&["man"]).await.check(0, ".TH avtomatika", "");
    run(&["--version"])
        .await
        .check(0, env!("CARGO_PKG_VERSION"), "");
}

/// The environment is shared with other programs: what is nearly a name of ours is told, and nothing else.
#[tokio::test]
async fn misspelt_variables_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let warning = "environment: warning: REDIS_HOTS: is not known and has no effect (did you mean `REDIS_HOST`?)";
    for (arguments, name, value, code) in [
        (&["config", "check"][..], "REDIS_PREFIX", "ours", 0),
        (&["config", "check"], "API_PORT", "what is wrong besides", 8),
        (&["worker"], "MAX_CONCURRENT_TASKS", "it does not start", 8),
    ] {
        let mut command = binary(arguments);
        command
            .current_dir(folder.path())
            .env("REDIS_HOTS", "redis")
            .env("REDIS_URL", "somebody else's")
            .env(name, value);
        let output = command.output().await.expect("the binary starts");
        let ended = crate::Ended::from(output);
        ended.check(code, "", warning);
        assert_eq!(ended.stderr.matches("did you mean").count(), 1, "{ended:?}");
    }
}
