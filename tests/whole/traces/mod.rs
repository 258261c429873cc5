//! Somebody who wants to see where a job's time went, and whose doing it was.

mod collector;
mod roads;

use std::path::Path;

use avtomatika::base::crypto;
use avtomatika::net::{Call, ClientOptions, HttpClient, Method};
use serde_json::Value;

use crate::process::{Process, command, run};
use crate::site::{CLIENT, SECRET, Server, Site, WORKER};
use collector::{Collector, KEY, Seen, Spoken, tree};

const QUICK: &str = "blueprint: quick
endpoint: /jobs/quick
start: done
states:
  done: { end: finished }
";

fn blueprint(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("blueprints");
    std::fs::read_to_string(folder.join(name)).expect("a blueprint of the demonstration")
}

/// Returns a site with what the largest demonstration needs.
fn demonstration() -> Site {
    let (full, metadata) = (
        blueprint("full_showcase.yaml"),
        blueprint("metadata_enrichment.yaml"),
    );
    Site::new(&[
        ("full_showcase.yaml", &full),
        ("metadata_enrichment.yaml", &metadata),
    ])
}

/// Tells a process where the collector is.
fn traced(command: &mut tokio::process::Command, collector: &Collector, spoken: Spoken) {
    let (protocol, compression) = match spoken {
        Spoken::Http => ("http/protobuf", "none"),
        Spoken::Grpc => ("grpc", "gzip"),
    };
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={KEY}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
}

/// Starts a worker and who takes webhooks, both traced, and returns the latter's address, too.
async fn others(
    site: &Site,
    server: &Server,
    collector: &Collector,
    spoken: Spoken,
) -> (Process, Process, String) {
    let mut worker = command(
        site.folder(),
        &["worker", "--profile", "gpu", "--id", "gpu"],
    );
    worker
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER);
    traced(&mut worker, collector, spoken);
    let worker = Process::start(worker);
    let mut sink = command(
        site.folder(),
        &["webhook-sink", "--port", "0", "-o", "jsonl"],
    );
    traced(&mut sink, collector, spoken);
    let sink = Process::start(sink);
    let said = sink.says("webhook sink at ").await;
    let (_, url) = said.split_once("webhook sink at ").expect("the address");
    (worker, sink, url.to_owned())
}

/// Runs one job of the demonstration with everything in it and returns the spans of its trace.
async fn showcase(spoken: Spoken) -> Vec<Seen> {
    let collector = Collector::start(spoken).await;
    let site = demonstration();
    let mut orchestrator = site.orchestrator(0);
    traced(&mut orchestrator, &collector, spoken);
    let server = Server::start(orchestrator).await;
    let (worker, sink, url) = others(&site, &server, &collector, spoken).await;
    let submit = [
        "submit",
        "full_showcase",
        "--set",
        "needs_approval=true",
        "--set",
        "deterministic=true",
        "--webhook-url",
        &url,
        "-o",
        "json",
    ];
    let mut submit = site.client(&server, &submit);
    traced(&mut submit, &collector, spoken);
    let submit = Process::start(submit);
    let asked: Value = serde_json::from_str(&sink.prints("approval_required").await).expect("JSON");
    let job = asked["body"]["job_id"].as_str().expect("an id").to_owned();
    let approval = ["jobs", "approve", &job];
    site.ask(&server, &approval).await.with(0);
    sink.prints("job_finished").await;
    let ended = submit.ended().await.with(0).json();
    assert_eq!(ended["status"], "finished", "{ended}");
    // The last spans go out at the end of their processes.
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
    sink.stop().await.with(0);
    let is_root = |seen: &Seen| seen.span.name == "submit full_showcase";
    let all = collector.until(|all| all.iter().any(is_root)).await;
    let spans = trace_of(&job, all);
    let token = asked["body"]["approval"].to_string();
    keeps_quiet(&spans, &token);
    without(spans, |name| {
        name.contains("worker_event") || name.contains("/_worker/events")
    })
}

/// Returns the spans of the job's trace.
fn trace_of(job: &str, mut all: Vec<Seen>) -> Vec<Seen> {
    let found = all.iter().find(|seen| {
        seen.span.name == "job full_showcase"
            && seen.attribute("avtomatika.job.id").as_deref() == Some(job)
    });
    let found = found.unwrap_or_else(|| panic!("no span of the job:\n{}", tree(&all)));
    let trace = found.span.trace_id.clone();
    all.retain(|seen| seen.span.trace_id == trace);
    all
}

/// No span tells a secret or a payload, and none ends before it begins.
fn keeps_quiet(spans: &[Seen], approval: &str) {
    let token = approval.split('"').find(|part| part.len() == 43);
    let token = token.unwrap_or_else(|| panic!("no token: {approval}"));
    for seen in spans {
        let told = format!("{:?}", seen.span);
        for secret in [
            CLIENT,
            WORKER,
            SECRET,
            KEY,
            token,
            "/s3/bucket",
            "deterministic",
        ] {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
        let span = &seen.span;
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{told}"
        );
        assert!(span.start_time_unix_nano > 0, "{told}");
    }
}

/// Leaves out spans and everything below them: how often a skill says how far it is, and how its
/// words travel, depends on the time that it takes.
fn without(mut spans: Vec<Seen>, is_left_out: impl Fn(&str) -> bool) -> Vec<Seen> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    loop {
        let before = spans.len();
        spans.retain(|seen| {
            let goes = is_left_out(&seen.span.name) || out.contains(&seen.span.parent_span_id);
            if goes {
                out.push(seen.span.span_id.clone());
            }
            !goes
        });
        if spans.len() == before {
            return spans;
        }
    }
}

/// A trace that its caller does not record is recorded by nobody, and carried on as it is; a stranger's
/// neither.
#[tokio::test]
async fn only_the_traces_of_those_who_are_let_in_and_want_it_are_recorded() {
    let collector = Collector::start(Spoken::Http).await;
    let site = Site::new(&[("quick.yaml", QUICK)]);
    let mut orchestrator = site.orchestrator(0);
    orchestrator.env("DETAILED_API_RESPONSES", "true");
    traced(&mut orchestrator, &collector, Spoken::Http);
    let server = Server::start(orchestrator).await;
    let [dark, light, strange] = ["4", "5", "6"].map(|digit| digit.repeat(32));
    for (trace, flags) in [(&dark, "00"), (&light, "01")] {
        let mut submit = site.client(&server, &["submit", "quick", "-o", "json"]);
        submit.env(
            "TRACEPARENT",
            format!("00-{trace}-00f067aa0ba902b7-{flags}"),
        );
        let done = run(submit).await.with(0).json();
        let job = done["job_id"].as_str().expect("an id");
        let show = ["jobs", "show", job, "-o", "json"];
        let shown = site.ask(&server, &show).await.with(0).stdout;
        assert!(shown.contains(trace), "{shown}");
    }
    let http = HttpClient::new(ClientOptions::default()).expect("a client");
    for path in ["/api/jobs/quick", "/_public/approvals/x", "/made/up"] {
        let call = Call::new(Method::Post, format!("{}{path}", server.url))
            .header("traceparent", format!("00-{strange}-00f067aa0ba902b7-01"))
            .json("{}");
        let answer = http.send(call).await.expect("an answer");
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }
    server.process.stop().await.with(0);
    let named = |seen: &Seen| seen.span.name == "job quick";
    let all = collector.until(|all| all.iter().any(named)).await;
    for seen in &all {
        assert_eq!(crypto::hex(&seen.span.trace_id), light, "{}", tree(&all));
    }
}

/// What a trace that begins here and is not recorded leads to is told so: nobody else records a part of
/// it, though they record whatever begins with them.
#[tokio::test]
async fn nobody_records_a_part_of_a_trace_that_begins_here_and_is_not_recorded() {
    let collector = Collector::start(Spoken::Http).await;
    let site = demonstration();
    let mut orchestrator = site.orchestrator(0);
    orchestrator
        .env("DETAILED_API_RESPONSES", "true")
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    traced(&mut orchestrator, &collector, Spoken::Http);
    let server = Server::start(orchestrator).await;
    let (worker, sink, url) = others(&site, &server, &collector, Spoken::Http).await;
    let asked = [
        "submit",
        "full_showcase",
        "--set",
        "deterministic=true",
        "--webhook-url",
        &url,
        "-o",
        "json",
    ];
    let ended = site.ask(&server, &asked).await.with(0).json();
    assert_eq!(ended["status"], "finished", "{ended}");
    let job = ended["job_id"].as_str().expect("an id");
    let show = ["jobs", "show", job, "-o", "json"];
    let shown = site.ask(&server, &show).await.with(0).json();
    assert!(!shown.to_string().contains("traceparent"), "{shown}");
    sink.prints("job_finished").await;
    for process in [worker, server.process, sink] {
        process.stop().await.with(0);
    }
    assert_eq!(tree(&collector.so_far()), "");
}

/// One job is one trace, from the request that made it to the last word of it.
#[tokio::test]
async fn one_job_is_one_trace_over_http() {
    let spans = showcase(Spoken::Http).await;
    insta::assert_snapshot!("showcase", tree(&spans));
}

/// The same over gRPC.
#[tokio::test]
async fn one_job_is_one_trace_over_grpc() {
    let spans = showcase(Spoken::Grpc).await;
    insta::assert_snapshot!("showcase", tree(&spans));
}
