//! How spans come to the collector, and what comes with them.

use avtomatika::base::crypto;
use avtomatika::net::{Call, ClientOptions, HttpClient, ListenerFiles, Method};
use serde_json::{Value, json};

use super::collector::{Collector, Seen, Spoken, tree};
use super::{QUICK, traced};
use crate::authority::Authority;
use crate::balancer::Balancer;
use crate::process::{PATIENCE, Process, command};
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::site::{CLIENT, Server, Site, WORKER};

/// Returns how many spans of an orchestrator have ended so.
async fn spans(server: &Server, outcome: &str) -> u64 {
    let url = format!("{}/_public/metrics", server.url);
    let scraped = server.follow(Method::Get, &url, "").await.body;
    let text = String::from_utf8(scraped.to_vec()).expect("text");
    let name = format!("orchestrator_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.expect("is counted").parse().expect("a number")
}

/// A collector whose certificate somebody else has signed is told nothing, over either protocol.
#[tokio::test]
async fn spans_go_to_a_collector_that_is_trusted_and_to_no_other() {
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    for spoken in [Spoken::Http, Spoken::Grpc] {
        let site = Site::new(&[("quick.yaml", QUICK)]);
        let trusted = ours.write(site.folder(), "ours.pem");
        let other = theirs.write(site.folder(), "theirs.pem");
        let (certificate, key) = ours.server(site.folder(), "collector");
        let files = ListenerFiles {
            certificate,
            key,
            client_ca: None,
            requires_client: false,
        };
        let collector = Collector::start_behind(spoken, Some(files)).await;
        for (authority, is_trusted) in [(other, false), (trusted, true)] {
            let mut orchestrator = site.orchestrator(0);
            traced(&mut orchestrator, &collector, spoken);
            orchestrator.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority);
            let server = Server::start(orchestrator).await;
            let job = server.submit("quick").await;
            assert_eq!(server.outcome(&job).await["status"], "finished");
            if is_trusted {
                let named = |seen: &Seen| seen.span.name == "job quick";
                collector.until(|all| all.iter().any(named)).await;
            } else {
                let failed = async {
                    while spans(&server, "failed").await == 0 {
                        tokio::task::yield_now().await;
                    }
                };
                let failed = tokio::time::timeout(PATIENCE, failed).await;
                failed.unwrap_or_else(|_| panic!("{spoken:?}: nothing has failed"));
                assert_eq!(tree(&collector.so_far()), "", "{spoken:?}");
            }
            server.process.stop().await.with(0);
        }
    }
}

/// A job whose task is given a file and makes another.
const COPIED: &str = "blueprint: copied
endpoint: /jobs/copied
input: { type: object, properties: { file: { type: string } } }
start: work
states:
  work:
    dispatch:
      skill: process_blobs
      params: { inputs: { file: \"{{ initial_data.file }}\" } }
    on: { success: done, failure: broken }
  done: { end: finished }
  broken: { end: failed, error: \"{{ event.error }}\" }
";

/// A job that waits until it is told to go on.
const WAITING: &str = "blueprint: waiting
endpoint: /jobs/waiting
start: wait
states:
  wait:
    wait: { event: go }
    on: { event: done }
  done: { end: finished }
";

/// Runs a job whose files are on an S3 server in a trace, and puts a file into another in the same trace;
/// checks the line of the log about its webhook and the baggage of its result, and returns the spans.
async fn move_files(trace: &str) -> Vec<Seen> {
    let blueprints = [("copied.yaml", COPIED), ("waiting.yaml", WAITING)];
    let (site, s3) = (Site::new(&blueprints), S3Server::start());
    let collector = Collector::start(Spoken::Http).await;
    let with_files = |command: &mut tokio::process::Command| {
        command
            .env("TASK_FILES_DIR", site.path("tasks"))
            .env("S3_ENDPOINT_URL", s3.endpoint())
            .env("S3_ACCESS_KEY", ACCESS_KEY)
            .env("S3_SECRET_KEY", SECRET_KEY)
            .env("S3_DEFAULT_BUCKET", BUCKET);
        traced(command, &collector, Spoken::Http);
    };
    let mut orchestrator = site.orchestrator(0);
    with_files(&mut orchestrator);
    let server = Server::start(orchestrator).await;
    let balancer = Balancer::start(vec![server.port()]).await;
    let arguments = ["worker", "--profile", "gpu", "--id", "gpu"];
    let mut worker = command(site.folder(), &arguments);
    worker
        .env("ORCHESTRATOR_URL", &balancer.url)
        .env("WORKER_TOKEN", WORKER);
    with_files(&mut worker);
    let worker = Process::start(worker);
    std::fs::write(s3.folder.path().join(BUCKET).join("in.bin"), "content").expect("written");

    let http = HttpClient::new(ClientOptions::default()).expect("a client");
    let body = json!({
        "initial_data": {"file": format!("s3://{BUCKET}/in.bin")},
        // Not among WEBHOOK_ALLOWED_NETS: given up at once.
        "webhook_url": "http://10.1.2.3/hook",
    });
    let call = Call::new(Method::Post, format!("{}/api/jobs/copied", server.url))
        .header("X-Client-Token", CLIENT)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("tracestate", "vendor=word,other=1")
        .header("baggage", "tenant=blue")
        .json(body.to_string());
    let created = http.json(call).await.expect("an answer");
    let job = created["job_id"].as_str().expect("an id");
    assert_eq!(server.outcome(job).await["status"], "finished", "{created}");
    let line = server.process.says("webhook given up").await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["span"]["trace.id"], trace, "{line}");
    assert_eq!(line["job.id"], job, "{line}");
    // The orchestrator moves files, too: for a request.
    let open = server.submit("waiting").await;
    let path = format!("{}/api/v1/jobs/{open}/files/content/note", server.url);
    let call = Call::new(Method::Put, path)
        .header("X-Client-Token", CLIENT)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("tracestate", "vendor=word,other=1")
        .body("a note", "text/plain");
    let stored = http.send(call).await.expect("an answer");
    assert_eq!(stored.status, 200);
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
    let carriers = balancer.carriers();
    let is_result = |head: &&String| head.starts_with("POST ") && head.contains("/result");
    let result = carriers.iter().find(is_result);
    let result = result.unwrap_or_else(|| panic!("no result hands it on: {carriers:?}"));
    assert!(result.contains("baggage: tenant=blue"), "{result}");

    let named = |seen: &Seen| seen.span.name == "job copied";
    let mut all = collector.until(|all| all.iter().any(named)).await;
    all.retain(|seen| crypto::hex(&seen.span.trace_id) == trace);
    all
}

/// What files a run has moved is seen below it, what vendors have added goes with every span, and log
/// lines that no request has caused name the trace.
#[tokio::test]
async fn files_vendors_words_and_log_lines_are_part_of_the_trace() {
    let all = move_files(&"7".repeat(32)).await;
    let find = |name: &str| {
        let found = all.iter().find(|seen| seen.span.name == name);
        found.unwrap_or_else(|| panic!("no {name} among\n{}", tree(&all)))
    };
    let run = find("task.process_blobs");
    for (name, operation) in [("s3.download", "download"), ("s3.upload", "upload")] {
        let below =
            |seen: &&Seen| seen.span.name == name && seen.span.parent_span_id == run.span.span_id;
        let moved = all.iter().find(below).expect("is below the run");
        assert_eq!(moved.service, "avtomatika-worker");
        assert_eq!(moved.attribute("s3.operation").as_deref(), Some(operation));
        let uri = moved.attribute("s3.uri").expect("an address");
        assert!(uri.starts_with(&format!("s3://{BUCKET}/")), "{uri}");
    }
    assert_eq!(
        find("s3.download").attribute("s3.uri").as_deref(),
        Some(format!("s3://{BUCKET}/in.bin").as_str())
    );
    let put = find("PUT /api/v1/jobs/{id}/files/content/note");
    let below = |seen: &&Seen| seen.span.parent_span_id == put.span.span_id;
    let moved = all.iter().find(below).expect("is below the request");
    assert_eq!(
        (moved.span.name.as_str(), moved.service.as_str()),
        ("s3.upload", "avtomatika")
    );
    for seen in &all {
        let state = seen.span.trace_state.as_str();
        assert_eq!(state, "vendor=word,other=1", "{}", seen.span.name);
    }
}
