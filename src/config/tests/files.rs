//! The three files as data: text in, clients, tokens and schedules or problems out.

use std::path::Path;

use crate::base::Secret;
use crate::config::{Problems, clients, schedules, workers};
use crate::domain::Client;
use crate::domain::schedule::{Schedule, Timetable};

fn clients_of(text: &str, token: Option<&str>, key: Option<&str>) -> (Vec<Client>, Vec<String>) {
    let (token, key) = (token.map(Secret::from), key.map(Secret::from));
    let context = clients::ClientContext {
        client_token: token.as_ref(),
        orchestrator_key: key.as_ref(),
        production: false,
    };
    let mut problems = Problems::default();
    let clients = clients::parse(Path::new("clients.toml"), text, &context, &mut problems);
    (
        clients,
        problems.all().iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn clients_are_read() {
    let text = "[acme]\ntoken = \"s3cr3t\"\nplan = \"premium\"\nmonthly_attempts = 100000\nregion = \"eu\"\n\
                [acme.params]\nlanguages = [\"en\"]\n[other]\ntoken = \"t\"\n";
    let (clients, problems) = clients_of(text, Some("global"), Some("key"));
    let names: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!(names, ["default", "acme", "other"]);
    let acme = &clients[1];
    assert_eq!(acme.token_hash, Secret::from("s3cr3t").hash());
    assert_eq!(
        (acme.plan.as_str(), acme.monthly_attempts),
        ("premium", Some(100_000))
    );
    assert_eq!(acme.params["languages"], serde_json::json!(["en"]));
    assert_eq!(
        (clients[2].plan.as_str(), clients[2].monthly_attempts),
        ("unknown", None)
    );
    let secret = acme.webhook_secret.as_ref().expect("derived");
    assert_eq!(
        crate::protocol::webhook::check_secret(secret.expose()),
        Ok(())
    );
    assert_ne!(Some(secret), clients[2].webhook_secret.as_ref());
    assert_eq!(
        problems,
        ["clients.toml:5: warning: acme.region: unknown key, it has no effect"]
    );
}

#[test]
fn bad_clients_are_told_all_at_once() {
    let text = "loose = 1\n[a]\ntoken = \"x\"\n[b]\ntoken = \"x\"\nmonthly_attempts = \"many\"\n[c]\ntokne = \"y\"\n\
                [d]\ntoken = \"\"\nwebhook_secret = \"short\"\n[system]\ntoken = \"z\"\n";
    let (_, problems) = clients_of(text, None, None);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    clients.toml:1: error: loose: expected a table `[loose]`, seen an integer
    clients.toml:6: error: b.monthly_attempts: expected a whole number from 0 to 9223372036854775807, seen a string
    clients.toml:5: error: b.token: the same token as `a`: each client needs its own
    clients.toml:8: error: c.tokne: unknown key, did you mean `token`?
    clients.toml:7: error: c.token: missing: without a token nobody can use this entry
    clients.toml:11: error: d.webhook_secret: the secret has 5 bytes, expected 16 to 128
    clients.toml:10: error: d.token: must have at least one character and no spaces
    clients.toml:12: error: system: this name is the program's own, choose another
"#);
}

#[test]
fn no_entry_may_share_the_global_clients_name() {
    let text = "[default]\ntoken = \"another\"\n";
    let (clients, problems) = clients_of(text, Some("global"), None);
    assert_eq!(clients.len(), 1);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("clients.toml:1: error: default"),
        "{problems:?}"
    );
    let (clients, problems) = clients_of(text, None, None);
    assert_eq!((clients.len(), problems.len()), (1, 0));
}

#[test]
fn a_clients_entry_may_take_over_the_global_token() {
    let (clients, problems) = clients_of(
        "[vip]\ntoken = \"global\"\nplan = \"vip\"\n",
        Some("global"),
        None,
    );
    let names: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    assert_eq!((names, problems), (vec!["vip"], vec![]));
}

#[test]
fn worker_tokens_are_found_by_id_then_by_the_longest_pattern() {
    let text = "[\"gpu-1\"]\ntoken = \"exact\"\n[\"pattern:*\"]\ntoken = \"any\"\n\
                [\"pattern:gpu-*\"]\ntoken = \"gpu\"\n[\"pattern:gpu-a*\"]\ntoken = \"gpu-a\"\n";
    let mut problems = Problems::default();
    let tokens = workers::parse(Path::new("workers.toml"), text, false, &mut problems);
    assert_eq!(problems.all(), []);
    for (worker, expected) in [
        ("gpu-1", "exact"),
        ("gpu-2", "gpu"),
        ("gpu-abc", "gpu-a"),
        ("cpu", "any"),
    ] {
        assert_eq!(
            tokens.lookup(worker).map(Secret::expose),
            Some(expected),
            "{worker}"
        );
    }
}

#[test]
fn bad_workers_are_told_all_at_once() {
    let text = "[\"a b\"]\ntoken = \"x\"\n[\"pattern:[\"]\ntoken = \"x\"\n[ok]\ndescription = \"no token\"\n\
                [gpu]\ntoken = \"super-secret-gpu-worker-token\"\n";
    let mut problems = Problems::default();
    workers::parse(Path::new("workers.toml"), text, true, &mut problems);
    let seen: Vec<String> = problems.all().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(seen.join("\n"), @r#"
    workers.toml:1: error: a b: not a worker id: 1 to 128 of A-Z a-z 0-9 _ -; a pattern is written "pattern:gpu-*"
    workers.toml:3: error: pattern:[: `[` is not closed in `[`
    workers.toml:5: error: ok.token: missing: without a token nobody can use this entry
    workers.toml:8: error: gpu.token: this is the example files' token, known to everybody: choose another
"#);
}

fn schedules_of(text: &str) -> (Vec<Schedule>, Vec<String>) {
    let mut problems = Problems::default();
    let schedules = schedules::parse(
        Path::new("schedules.toml"),
        text,
        "Europe/Berlin",
        &mut problems,
    );
    (
        schedules,
        problems.all().iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn calendar_fields_become_cron_expressions() {
    let cases = [
        ("interval_seconds = 60", None),
        ("interval_seconds = 60\ndaily_at = \"03:00\"", None),
        (
            "interval_seconds = 0\ndaily_at = \"03:05\"",
            Some("5 3 * * *"),
        ),
        (
            "daily_at = \"23:59\"\ntime = \"01:00\"",
            Some("59 23 * * *"),
        ),
        (
            "time = \"09:30\"\nweekly_days = [\"mon\", \"sun\"]",
            Some("30 9 * * 1,0"),
        ),
        (
            "time = \"9:30\"\nmonthly_dates = [1, 31]",
            Some("30 9 1,31 * *"),
        ),
        (
            "cron = \"*/5 8-18 * * 1-5\"\ntime_zone = \"Asia/Tokyo\"",
            Some("*/5 8-18 * * 1-5"),
        ),
    ];
    for (fields, expected) in cases {
        let (schedules, problems) = schedules_of(&format!("[s]\nblueprint = \"b\"\n{fields}\n"));
        assert_eq!(problems, Vec::<String>::new(), "{fields}");
        match (&schedules[0].timetable, expected) {
            (Timetable::Interval { seconds }, None) => assert_eq!(*seconds, 60),
            (Timetable::Cron { expression, .. }, Some(wanted)) => assert_eq!(expression, wanted),
            (other, wanted) => panic!("{other:?} is not {wanted:?}"),
        }
    }
}

#[test]
fn bad_schedules_are_told_all_at_once() {
    let text = "[a]\ninterval_seconds = 60\n[b]\nblueprint = \"b\"\n[c]\nblueprint = \"b\"\ndaily_at = \"25:00\"\n\
                [d]\nblueprint = \"b\"\ntime = \"10:00\"\n[e]\nblueprint = \"b\"\ncron = \"* * *\"\n\
                [f]\nblueprint = \"b\"\ncron = \"0 0 30 2 *\"\n[g]\nblueprint = \"b\"\ninterval_seconds = -5\n\
                [h]\nblueprint = \"b\"\ntime = \"10:00\"\nweekly_days = [\"mo\"]\nmonthly_dates = [32]\n\
                [i]\nblueprint = \"b\"\ninterval_seconds = 5\ncatch_up = \"some\"\njitter = 3\n\
                [j]\nblueprint = \"b\"\ncron = \"0 0 * * *\"\ntime_zone = \"Mars\"\n";
    let (_, problems) = schedules_of(text);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    schedules.toml:1: error: a.blueprint: missing: which blueprint is to be started?
    schedules.toml:3: error: b: no timetable: give `cron`, `interval_seconds`, `daily_at`, or `time` with `weekly_days` or `monthly_dates`
    schedules.toml:7: error: c.daily_at: `25:00` is not a time of day such as 03:30
    schedules.toml:10: error: d.time: needs `weekly_days` or `monthly_dates` beside it; for every day use `daily_at`
    schedules.toml:13: error: e.cron: `* * *` is not a cron expression: Invalid pattern: Pattern must have 5 or 6 fields when years are disallowed.
    schedules.toml:14: error: f: never comes due: there is no such day or time
    schedules.toml:19: error: g.interval_seconds: expected a whole number from 1 to 31622400, seen -5
    schedules.toml:23: error: h.weekly_days: "mo" is none of mon, tue, wed, thu, fri, sat, sun
    schedules.toml:24: error: h.monthly_dates: 32 is not a day of a month, expected 1 to 31
    schedules.toml:29: error: i.jitter: unknown key, did you mean `jitter_seconds`?
    schedules.toml:28: error: i.catch_up: `some` is none of none, one, all
    schedules.toml:33: error: j.time_zone: `Mars` is not a known time zone such as Europe/Berlin or UTC
"#);
}

#[test]
fn disabled_schedules_are_left_out() {
    let (schedules, problems) = schedules_of(
        "[s]\nblueprint = \"b\"\ninterval_seconds = 60\nenabled = false\n[s.initial_data]\na = 1\n",
    );
    assert_eq!((schedules.len(), problems.len()), (0, 0));
}
