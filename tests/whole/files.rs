//! Somebody whose files are on an S3 server.

use avtomatika::base::crypto;
use avtomatika::net::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::process::{Process, command, run};
use crate::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::site::{Server, Site, WORKER};

/// A job that waits for somebody until it is told to go on.
const WAITING: &str = "blueprint: waiting
endpoint: /jobs/waiting
start: wait
states:
  wait:
    wait: { event: go }
    on: { event: done }
  done: { end: finished }
";

/// What the file is made of: far more than may be in memory at once.
const LARGE: usize = (1 << 30) + 1;
/// What it may cost. An upload holds 25 MiB, the rest is what the process has not given back.
const MEMORY_MAX: u64 = 64 << 20;
/// What a worker may have in all that moves it, its program included.
const WORKER_MAX: u64 = 100 << 20;

async fn start(site: &Site, s3: &S3Server, links: &str) -> Server {
    let mut command = site.orchestrator(0);
    command
        .env("S3_ENDPOINT_URL", s3.endpoint())
        .env("S3_ACCESS_KEY", ACCESS_KEY)
        .env("S3_SECRET_KEY", SECRET_KEY)
        .env("S3_DEFAULT_BUCKET", BUCKET)
        .env("S3_LINKS", links);
    Server::start(command).await
}

/// Starts a worker that moves files.
fn mover(site: &Site, s3: &S3Server, server: &Server) -> Process {
    let arguments = ["worker", "--profile", "gpu", "--id", "mover"];
    let mut worker = command(site.folder(), &arguments);
    worker
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER)
        .env("TASK_FILES_DIR", site.path("tasks"))
        .env("S3_ENDPOINT_URL", s3.endpoint())
        .env("S3_ACCESS_KEY", ACCESS_KEY)
        .env("S3_SECRET_KEY", SECRET_KEY)
        .env("S3_DEFAULT_BUCKET", BUCKET);
    Process::start(worker)
}

/// Has it move a job's `in.bin` to a job of its own; returns what is said of that one.
async fn moved(site: &Site, server: &Server, job: &str) -> Value {
    let from = format!("from=s3://{BUCKET}/jobs/{job}/");
    let arguments = ["submit", "moved", "--set", &from, "-o", "json"];
    site.ask(server, &arguments).await.with(0).json()
}

/// Returns the most memory that a process has had so far, in bytes.
fn memory_peak(process: &Process) -> u64 {
    let id = process.child.id().expect("it runs");
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes
        .and_then(|text| text.parse().ok())
        .expect("a size");
    kilobytes * 1024
}

#[tokio::test]
async fn a_large_file_passes_through_little_memory() {
    let blueprints = [("waiting.yaml", WAITING), ("moved.yaml", MOVED)];
    let (site, s3) = (Site::new(&blueprints), S3Server::start());
    let server = start(&site, &s3, "orchestrator").await;
    let job = server.submit("waiting").await;
    let before = memory_peak(&server.process);
    let content = Bytes::from(vec![7; LARGE]);
    let digest = crypto::sha256_hex(&content);
    let path = format!("/jobs/{job}/files/content/in.bin");
    let stored = server.send(Method::Put, &path, Some(content)).await;
    let stored = stored.success().expect("is stored").json().expect("JSON");
    assert_eq!(stored["sha256"], digest.as_str());
    assert_eq!(stored["uri"], format!("s3://{BUCKET}/jobs/{job}/in.bin"));
    let listed = server
        .send(Method::Get, &format!("/jobs/{job}/files"), None)
        .await;
    let listed = listed.json().expect("JSON");
    assert_eq!(
        (&listed[0]["size"], &listed[0]["sha256"]),
        (&LARGE.into(), &stored["sha256"])
    );
    let path = format!("/jobs/{job}/files/download/in.bin");
    let found = server.send(Method::Get, &path, None).await;
    let link = found.header("location").expect("a link").to_owned();
    assert!(link.starts_with(&server.url), "{link}");
    assert_eq!(server.digest_of(&link).await, digest);
    let cost = memory_peak(&server.process) - before;
    assert!(cost < MEMORY_MAX, "{cost} bytes");

    let worker = mover(&site, &s3, &server);
    let moved = moved(&site, &server, &job).await;
    let blob = &moved["result"]["blobs"][0];
    assert_eq!(
        (&blob["size"], &blob["sha256"]),
        (&LARGE.into(), &stored["sha256"]),
        "{moved}"
    );
    let peak = memory_peak(&worker);
    assert!(peak < WORKER_MAX, "{peak} bytes of the worker");
    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}

#[tokio::test]
async fn an_outage_of_the_files_is_told_once_and_stops_nothing_else() {
    let (site, mut s3) = (Site::new(&[("waiting.yaml", WAITING)]), S3Server::start());
    let server = start(&site, &s3, "s3").await;
    let job = server.submit("waiting").await;
    let path = format!("/jobs/{job}/files/upload?filename=a.txt");
    let link = server
        .send(Method::Get, &path, None)
        .await
        .json()
        .expect("JSON");
    let link = link["url"].as_str().expect("a link");
    assert!(link.starts_with(&s3.endpoint()), "{link}");
    assert_eq!(
        server.follow(Method::Put, link, "by a link").await.status,
        200
    );
    let path = format!("/jobs/{job}/files/download/a.txt");
    let found = server.send(Method::Get, &path, None).await;
    assert_eq!(found.status, 302);
    let link = found.header("location").expect("a link").to_owned();
    assert!(link.starts_with(&s3.endpoint()), "{link}");
    let got = server.follow(Method::Get, &link, "").await;
    assert_eq!(&got.body[..], b"by a link");

    s3.pause();
    let put = format!("/jobs/{job}/files/content/b.txt");
    for _ in 0..2 {
        let refused = server.send(Method::Put, &put, Some("b".into())).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.json().expect("JSON")["code"], "store_unavailable");
    }
    server.process.says("S3 is unavailable").await;
    let ready = format!("{}/_public/ready", server.url);
    let ready = server.follow(Method::Get, &ready, "").await;
    assert_eq!(ready.status, 200);
    let check = ready.json().expect("JSON")["checks"]["files"].clone();
    assert!(
        check
            .as_str()
            .is_some_and(|text| text.starts_with("degraded")),
        "{check}"
    );
    server.shows(r#"part_up{part="files"}"#, 0.0).await;
    server
        .shows(r#"part_outages_total{part="files"}"#, 1.0)
        .await;
    server.submit("waiting").await;

    s3.resume();
    // Whoever asks for figures has the server asked; until it has answered, uploads are refused at once.
    server.shows(r#"part_up{part="files"}"#, 1.0).await;
    server.process.says("S3 is back").await;
    let stored = server.send(Method::Put, &put, Some("b".into())).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    let failed = r#"s3_operations_total{operation="upload",status="error"}"#;
    server.shows(failed, 2.0).await;
    let ended = server.process.stop().await.with(0);
    for line in ["S3 is unavailable", "S3 is back"] {
        assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains(SECRET_KEY));
}

/// Before anything runs, the operator asks whether the server would be there.
#[tokio::test]
async fn the_check_asks_the_server() {
    let (site, mut s3) = (Site::new(&[]), S3Server::start());
    let check = async |s3: &S3Server, bucket: &str| {
        let mut check = command(
            site.folder(),
            &["config", "check", "--connect", "-o", "json"],
        );
        check
            .env("S3_ENDPOINT_URL", s3.endpoint())
            .env("S3_ACCESS_KEY", ACCESS_KEY)
            .env("S3_SECRET_KEY", SECRET_KEY)
            .env("S3_DEFAULT_BUCKET", bucket);
        run(check).await
    };
    let good = check(&s3, BUCKET).await.with(0).json();
    assert_eq!(good["servers"]["s3"], "ok");
    let wrong = check(&s3, "absent").await.with(1).json();
    assert_eq!(
        wrong["servers"]["s3"],
        "the blob store is unavailable: S3 answered 404 NoSuchBucket"
    );
    s3.pause();
    let gone = check(&s3, BUCKET).await.with(1).json();
    assert!(
        gone["servers"]["s3"]
            .as_str()
            .is_some_and(|text| text != "ok")
    );
}

/// A job whose one task is given a file and a text.
const MOVED: &str = "blueprint: moved
endpoint: /jobs/moved
input: { type: object, properties: { from: { type: string } } }
start: work
states:
  work:
    dispatch:
      skill: process_blobs
      params:
        inputs: { file: \"{{ initial_data.from }}in.bin\", text: hello }
    on: { success: done, failure: broken }
  done: { end: finished, result: \"{{ state_history }}\" }
  broken: { end: failed, error: \"{{ event.error }}\" }
";

/// A worker fetches what a task's parameters name, and what it makes of it is the job's.
#[tokio::test]
async fn a_worker_moves_files_from_job_to_job() {
    let blueprints = [("waiting.yaml", WAITING), ("moved.yaml", MOVED)];
    let (site, s3) = (Site::new(&blueprints), S3Server::start());
    let server = start(&site, &s3, "orchestrator").await;
    let first = server.submit("waiting").await;
    // In parts, and not a whole number of them.
    let content = Bytes::from(vec![5; (11 << 20) + 3]);
    let digest = crypto::sha256_hex(&content);
    let path = format!("/jobs/{first}/files/content/in.bin");
    let stored = server.send(Method::Put, &path, Some(content)).await;
    assert_eq!(stored.status, 200);

    let worker = mover(&site, &s3, &server);
    let summary = moved(&site, &server, &first).await;
    let second = summary["job_id"].as_str().expect("an id");
    let blobs = &summary["result"]["blobs"];
    assert_eq!(blobs[0]["sha256"], digest.as_str(), "{summary}");
    let uri = blobs[0]["file"].as_str().expect("an address");
    let prefix = format!("s3://{BUCKET}/jobs/{second}/");
    let name = uri.strip_prefix(&prefix).expect("is below the job's own");

    let path = format!("/jobs/{second}/files");
    let listed = server.send(Method::Get, &path, None).await;
    let listed = listed.json().expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let path = format!("/jobs/{second}/files/download/{name}");
    let found = server.send(Method::Get, &path, None).await;
    let link = found.header("location").expect("a link").to_owned();
    assert_eq!(server.digest_of(&link).await, digest);
    let left = std::fs::read_dir(site.path("tasks")).expect("is there");
    assert_eq!(left.count(), 0, "tasks take their files with them");

    worker.stop().await.with(0);
    server.process.stop().await.with(0);
}

/// A job whose one task is given a long text.
const HEAVY: &str = "blueprint: heavy
endpoint: /jobs/heavy
input: { type: object, properties: { text: { type: string } } }
start: work
states:
  work:
    dispatch:
      skill: echo
      params: { text: \"{{ initial_data.text }}\", length: \"{{ initial_data.text | length }}\" }
    on: { success: done, failure: broken }
  done: { end: finished, result: \"{{ state_history }}\" }
  broken: { end: failed, error: \"no echo\" }
";

/// Worker and client see the text, the store does not have it.
#[tokio::test]
async fn heavy_values_lie_on_the_server() {
    let (site, s3) = (Site::new(&[("heavy.yaml", HEAVY)]), S3Server::start());
    let server = start(&site, &s3, "s3").await;
    let arguments = ["worker", "--id", "echo", "--skill", "echo=cat"];
    let mut worker = command(site.folder(), &arguments);
    worker
        .env("PATH", "/usr/bin:/bin")
        .env("ORCHESTRATOR_URL", &server.url)
        .env("WORKER_TOKEN", WORKER);
    let worker = Process::start(worker);
    let text = "a needle in a haystack ".repeat(20_000);
    let job = server.submit_with("heavy", &json!({"text": text})).await;
    assert_eq!(server.outcome(&job).await["status"], "finished");
    let shown = server
        .send(Method::Get, &format!("/jobs/{job}"), None)
        .await;
    let shown = shown.json().expect("JSON");
    assert_eq!(shown["result"]["text"], text.as_str());
    assert_eq!(shown["result"]["length"], json!(text.len()));
    let listed = server
        .send(Method::Get, &format!("/jobs/{job}/files"), None)
        .await;
    assert_eq!(listed.json().expect("JSON"), json!([]), "they are no files");

    worker.stop().await.with(0);
    server.process.stop().await.with(0);
    let folder = s3
        .folder
        .path()
        .join(format!("{BUCKET}/jobs/{job}/payloads"));
    let blobs = std::fs::read_dir(folder).expect("is there");
    assert_eq!(blobs.count(), 1, "one text, however often it is named");
    for file in std::fs::read_dir(site.path("data")).expect("is there") {
        let path = file.expect("reads").path();
        let content = std::fs::read(&path).unwrap_or_default();
        let needle = b"needle in a haystack a needle";
        let is_there = content.windows(needle.len()).any(|part| part == needle);
        assert!(!is_there, "{}", path.display());
    }
}
