//! Somebody who wants to be told when a job has ended.

use serde_json::Value;

use crate::process::{Process, command, run};
use crate::site::Site;

const QUICK: &str = "blueprint: quick
endpoint: /jobs/quick
start: done
states:
  done: { end: finished, result: 42 }
";

/// The secret that the program prints is the one that its webhooks are signed with.
#[tokio::test]
async fn the_sink_believes_the_orchestrator_and_nobody_else() {
    let site = Site::new(&[("quick.yaml", QUICK)]);
    let server = site.start().await;
    let mut secret = command(site.folder(), &["config", "webhook-secret", "someone"]);
    secret
        .env("CLIENTS_CONFIG_PATH", site.path("clients.toml"))
        .env("ORCHESTRATOR_SECRET_KEY", crate::site::SECRET);
    let secret = run(secret).await.with(0).stdout;
    let sink = |secret: &str| {
        let mut command = command(
            site.folder(),
            &["webhook-sink", "--port", "0", "-o", "jsonl"],
        );
        command.env("WEBHOOK_SECRET", secret);
        Process::start(command)
    };
    let (friend, stranger) = (
        sink(&secret),
        sink("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    );
    let mut jobs = Vec::new();
    for sink in [&friend, &stranger] {
        let said = sink.says("webhook sink at ").await;
        let (_, url) = said.split_once("webhook sink at ").expect("the address");
        let submit = ["submit", "quick", "--webhook-url", url, "-o", "json"];
        let job = site.ask(&server, &submit).await.with(0).json();
        jobs.push(job["job_id"].as_str().expect("an id").to_owned());
    }
    let told: Value = serde_json::from_str(&friend.prints("job_finished").await).expect("JSON");
    assert_eq!(told["body"]["job_id"], jobs[0], "{told}");
    assert_eq!(told["body"]["result"], 42, "{told}");
    stranger.says("signature").await;
    assert_eq!(stranger.stop().await.with(0).stdout, "");
    assert_eq!(friend.stop().await.with(0).stdout.lines().count(), 1);
    server.process.stop().await.with(0);
}
