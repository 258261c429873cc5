//! `config/avtomatika.service` as systemd reads it: its settings hold, its program gets what it asks for.

use std::collections::BTreeMap;

use avtomatika::roles::cli::{Cli, Command};
use clap::Parser as _;

use crate::known::{Variables, read};
use crate::{Ended, binary};

/// Where the unit's comment has the program and the files put.
const PROGRAM: &str = "/usr/local/bin/avtomatika";
const FILES: &str = "/etc/avtomatika/";

/// A unit's settings by name, in order.
struct Unit(Vec<(String, String)>);

impl Unit {
    fn read() -> Self {
        let text = read("config/avtomatika.service");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.filter_map(|line| line.split_once('='));
        let owned = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(owned.collect())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        let own = self.0.iter().filter(|(known, _)| known == name);
        own.map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} is there once: {all:?}");
        all[0]
    }

    fn environment(&self) -> BTreeMap<&str, &str> {
        let all = self.all("Environment").into_iter();
        all.map(|one| one.split_once('=').expect("NAME=VALUE"))
            .collect()
    }
}

#[test]
fn the_service_is_hardened_and_stops_in_time() {
    let unit = Unit::read();
    for (name, value) in [
        ("User", "avtomatika"),
        ("StateDirectory", "avtomatika"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("KillSignal", "SIGTERM"),
        ("Restart", "on-failure"),
        ("CapabilityBoundingSet", ""),
    ] {
        assert_eq!(unit.one(name), value, "{name}");
    }
    let patience = avtomatika::config::keys::find("SHUTDOWN_TIMEOUT_SECONDS").expect("a setting");
    let patience: u64 = patience.default.parse().expect("seconds");
    let limit: u64 = unit.one("TimeoutStopSec").parse().expect("seconds");
    assert!(limit > patience + 10, "{limit}");
}

#[test]
fn the_service_starts_what_is_there() {
    let unit = Unit::read();
    let commands = [unit.one("ExecStart"), unit.one("ExecStartPre")];
    for command in commands {
        assert!(command.starts_with(PROGRAM), "{command}");
        let parsed = Cli::try_parse_from(command.split(' '));
        let parsed = parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(matches!(
            parsed.command,
            Command::Orchestrator(_) | Command::Config(_)
        ));
    }
    let known = Variables::known();
    for variable in unit.environment().keys() {
        let is_read = known.is_read("orchestrator", variable) || *variable == "AVTOMATIKA_CONFIG";
        assert!(is_read, "{variable} has no effect");
    }
    // What it may write is what it writes.
    let state = format!("/var/lib/{}", unit.one("StateDirectory"));
    assert_eq!(unit.environment()["DATA_DIR"], state);
    assert_eq!(unit.one("WorkingDirectory"), state);
}

#[tokio::test]
async fn the_service_has_settings_that_hold() {
    let unit = Unit::read();
    let data = tempfile::tempdir().expect("a folder");
    let installed = unit.environment().into_iter().map(|(name, value)| {
        // The files lie here as they would be copied there.
        (name, value.replace(FILES, ""))
    });
    let check = unit.one("ExecStartPre").split(' ').skip(1);
    let output = binary(&check.collect::<Vec<_>>())
        .envs(installed)
        .env("DATA_DIR", data.path())
        .output()
        .await
        .expect("the binary starts");
    let ended = Ended::from(output);
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// With systemd's own eyes, where its program is at hand.
#[test]
fn systemd_finds_nothing_in_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("avtomatika.service");
    let text = read("config/avtomatika.service").replace(PROGRAM, env!("CARGO_BIN_EXE_avtomatika"));
    std::fs::write(&file, text).expect("written");
    let verified = std::process::Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&file)
        .output();
    let Ok(verified) = verified else {
        return;
    };
    let ended = Ended::from(verified);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
}
