//! The orchestrators with their jobs in a cluster of three Redis servers.

use std::path::Path;

use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::process::{Process, command};
use crate::redis::{site, worker_at};
use crate::servers::redis::RedisCluster;
use crate::several::{MANY, check_history};
use crate::site::{Server, Site, WORKER};

/// Jobs with a fan-out and a child, before and after the death of an orchestrator.
const PORTION: usize = 4;

async fn start(site: &Site, cluster: &RedisCluster) -> Server {
    let mut command = site.orchestrator(0);
    command.env("STORE", cluster.url());
    Server::start(command).await
}

#[tokio::test]
async fn server_redis_cluster_keeps_jobs_over_the_death_of_an_orchestrator() {
    let (site, cluster) = (site(), RedisCluster::start());
    site.write("blueprints/many.yaml", MANY);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("blueprints");
    for name in ["full_showcase.yaml", "metadata_enrichment.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("is there");
        site.write(&format!("blueprints/{name}"), &text);
    }
    let (doomed, server) = (start(&site, &cluster).await, start(&site, &cluster).await);
    let balancer = Balancer::start(vec![doomed.port(), server.port()]).await;
    let echo = worker_at(&site, &balancer.url, "sh-1");
    let mut gpu = command(
        site.folder(),
        &["worker", "--profile", "gpu", "--id", "gpu"],
    );
    gpu.env("ORCHESTRATOR_URL", &balancer.url)
        .env("WORKER_TOKEN", WORKER);
    let gpu = Process::start(gpu);

    let full = json!({"initial_data": {"needs_approval": true, "deterministic": true}});
    let created = doomed.post("/jobs/full_showcase", &full).await;
    let full = created["job_id"].as_str().expect("an id").to_owned();
    let mut events = doomed.events(&full).await;
    while let Some(event) = events.next().await {
        if event.expect("goes on").data.contains("approval_required") {
            break;
        }
    }
    drop(events);
    let mut jobs = Vec::new();
    for _ in 0..PORTION {
        jobs.push(doomed.submit("many").await);
    }
    doomed.process.signal("KILL").await;
    doomed.process.ended().await;

    for _ in 0..PORTION {
        jobs.push(server.submit("many").await);
    }
    site.ask(&server, &["jobs", "approve", &full]).await.with(0);
    let end = server.outcome(&full).await;
    assert_eq!(end["status"], json!("finished"), "{end:#}");
    for job in &jobs {
        let end = server.outcome(job).await;
        assert_eq!(end["status"], json!("finished"), "{end:#}");
        let history = ["jobs", "history", job, "-o", "json"];
        check_history(&site.ask(&server, &history).await.with(0).json());
    }
    let list = ["jobs", "list", "--all", "-o", "json"];
    let list: Value = site.ask(&server, &list).await.with(0).json();
    let list = list.as_array().expect("a list");
    let many = list.iter().filter(|job| job["blueprint_name"] == "many");
    assert_eq!(many.count(), jobs.len(), "{list:#?}");
    for worker in [echo, gpu] {
        worker.stop().await.with(0);
    }
    server.process.stop().await.with(0);
}
