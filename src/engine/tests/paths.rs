//! The shipped blueprints: inputs, the states that they visit, and how they end.

use super::harness::Bench;
use crate::domain::JobStatus;

const SHOWCASE: &str = include_str!("../../../blueprints/full_showcase.yaml");
const ENRICHMENT: &str = include_str!("../../../blueprints/metadata_enrichment.yaml");
const MAINTENANCE: &str = include_str!("../../../blueprints/periodic_maintenance.yaml");

/// Checks runs of a blueprint: a name, a script, the states that it visits after those in `way`, and
/// the status in the end.
fn check(text: &str, way: &str, runs: &[(&str, String, &str, JobStatus)]) {
    for (name, script, visits, ends) in runs {
        let mut bench = Bench::new(text);
        let out = bench.run(script);
        let expected: Vec<&str> = way.split(' ').chain(visits.split(' ')).collect();
        assert_eq!(bench.visited, expected, "{name}: {out}");
        assert_eq!(bench.job().status, *ends, "{name}: {out}");
    }
}

/// The states that every run of the showcase visits first.
const FIRST: &str = "start check_user_preferences pre_processing_decision";
/// A task that goes well.
const WELL: &str = "take w\nreport w success {\"analysis\": {\"size\": 1}}\n";
/// Transcoding, the child and the three analyses, all well.
const REST: &str = "take w
    report w success {\"output\": \"o.mp4\"}
    child finished {\"title\": \"t\"}
    take w 0
    report w success {\"analysis\": 1}
    take w 1
    report w failure PERMANENT_ERROR
    take w 2
    report w success {\"analysis\": 3}";

#[test]
fn full_showcase_finishes() {
    let well = "dispatch_transcoding run_sub_blueprint fan_out_analysis \
                aggregate_analysis_results finished";
    let approved = format!("awaiting_approval {well}");
    let run = |input: &str, first: &str| format!("create {input}\n{first}{REST}");
    let asked = r#"{"needs_approval": true}"#;
    let stumbles = "take w\nreport w failure TRANSIENT_ERROR\nlater 2\n";
    let low = r#"{"quality": "low", "needs_approval": true}"#;
    check(
        SHOWCASE,
        FIRST,
        &[
            ("default", run("{}", ""), well, JobStatus::Finished),
            ("low", run(low, ""), well, JobStatus::Finished),
            (
                "in turn",
                run(r#"{"use_round_robin": true}"#, WELL),
                well,
                JobStatus::Finished,
            ),
            (
                "value",
                run(r#"{"use_reputation": true}"#, WELL),
                well,
                JobStatus::Finished,
            ),
            (
                "cheap",
                run(r#"{"use_advanced_dispatch": true}"#, WELL),
                well,
                JobStatus::Finished,
            ),
            (
                "approved",
                run(asked, "decide approved\n"),
                &approved,
                JobStatus::Finished,
            ),
            (
                "transient, then well",
                run("{}", stumbles),
                well,
                JobStatus::Finished,
            ),
        ],
    );
}

#[test]
fn full_showcase_fails_before_transcoding() {
    let asked = |then: &str| format!("create {{\"needs_approval\": true}}\n{then}");
    let analysed = |input: &str| {
        format!("create {{\"{input}\": true}}\ntake w\nreport w failure PERMANENT_ERROR")
    };
    let refused = "awaiting_approval human_rejected";
    check(
        SHOWCASE,
        FIRST,
        &[
            (
                "rejected",
                asked("decide rejected"),
                refused,
                JobStatus::Failed,
            ),
            (
                "nobody decides",
                asked("later 86400\nwake"),
                refused,
                JobStatus::Failed,
            ),
            (
                "value",
                analysed("use_reputation"),
                "transcoding_failed",
                JobStatus::Failed,
            ),
            (
                "in turn",
                analysed("use_round_robin"),
                "transcoding_failed",
                JobStatus::Failed,
            ),
            (
                "cheap",
                analysed("use_advanced_dispatch"),
                "transcoding_failed",
                JobStatus::Failed,
            ),
        ],
    );
}

#[test]
fn full_showcase_fails_after_that() {
    let run = |then: &str| format!("create {{}}\ntake w\n{then}");
    let transient = "report w failure TRANSIENT_ERROR\nlater 60\ntake w\n".repeat(4);
    let failed = "dispatch_transcoding transcoding_failed";
    let child = "dispatch_transcoding run_sub_blueprint enrichment_failed";
    let review = "dispatch_transcoding manual_review";
    check(
        SHOWCASE,
        FIRST,
        &[
            (
                "permanent",
                run("report w failure PERMANENT_ERROR"),
                failed,
                JobStatus::Failed,
            ),
            (
                "security",
                run("report w failure SECURITY_ERROR"),
                failed,
                JobStatus::Failed,
            ),
            (
                "transient for ever",
                run(&transient),
                failed,
                JobStatus::Failed,
            ),
            (
                "review",
                run("report w needs_review"),
                review,
                JobStatus::Failed,
            ),
            (
                "child",
                run("report w success {}\nchild failed rain"),
                child,
                JobStatus::Failed,
            ),
            (
                "cancelled",
                run("cancel enough"),
                "dispatch_transcoding",
                JobStatus::Cancelled,
            ),
        ],
    );
}

#[test]
fn full_showcase_keeps_what_it_gathers() {
    let mut bench = Bench::new(SHOWCASE);
    bench.run(&format!("create {{\"user_id\": \"user-123\"}}\n{REST}"));
    let job = bench.job();
    assert_eq!(job.state_history["user_preference"], "dark_mode");
    let video = job.state_history["video_id"].as_str().unwrap_or_default();
    assert_eq!(video, format!("vid_{}", &job.id.to_string()[..8]));
    let analyses: Vec<_> = job
        .result
        .iter()
        .filter_map(|all| all.as_object())
        .flat_map(|all| all.values())
        .collect();
    assert_eq!(
        analyses,
        [
            &serde_json::json!(1),
            &serde_json::json!(null),
            &serde_json::json!(3)
        ]
    );
}

#[test]
fn metadata_enrichment() {
    let run = |more: &str| format!("create {{\"video_id\": \"v\", {more}}}\nlater 0.2\nwake");
    let until = r#""deterministic": true, "wait_until": "2026-11-23T08:00:00.1Z""#;
    let early = "create {\"video_id\": \"v\"}\nwake".to_owned();
    let (well, badly) = (
        "call_service check_answer finished",
        "call_service check_answer failed",
    );
    check(
        ENRICHMENT,
        "start",
        &[
            (
                "deterministic",
                run(r#""deterministic": true"#),
                well,
                JobStatus::Finished,
            ),
            (
                "forced",
                run(r#""force_failure": true"#),
                badly,
                JobStatus::Failed,
            ),
            ("until a time", run(until), well, JobStatus::Finished),
            (
                "too early",
                early,
                "call_service",
                JobStatus::WaitingForTimer,
            ),
        ],
    );
}

/// Chance is a hash of the job's id: about 30 % of many jobs fail, and each always the same way.
#[test]
fn metadata_enrichment_fails_by_chance() {
    let failed = |seed: u8| {
        let mut bench = Bench::new(ENRICHMENT).with(|submission, _| {
            submission.id = crate::base::JobId::from_parts(super::harness::START, [seed; 10]);
        });
        bench.run("create {\"video_id\": \"v\"}\nlater 0.2\nwake");
        bench.job().status == JobStatus::Failed
    };
    let count = (0..200).filter(|seed| failed(*seed)).count();
    assert!((40..=80).contains(&count), "{count} of 200");
    assert_eq!(
        (0..20).map(failed).collect::<Vec<_>>(),
        (0..20).map(failed).collect::<Vec<_>>()
    );
}

#[test]
fn periodic_maintenance() {
    let script = "create {}\nlater 0.1\nwake";
    let visits = "clean_up remember finished";
    check(
        MAINTENANCE,
        "start",
        &[("once", script.to_owned(), visits, JobStatus::Finished)],
    );
    let mut bench = Bench::new(MAINTENANCE);
    bench.run(script);
    assert_eq!(bench.data["maintenance"]["runs"], 1);
    assert_eq!(
        bench
            .job()
            .result
            .as_ref()
            .map(|result| &result["previous_run"]),
        Some(&"never".into())
    );
}
