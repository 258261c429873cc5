//! The worker against an orchestrator of a hundred lines in the same process.

mod channel;
mod figures;
mod flow;
mod order;
mod several;
mod stub;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::skill::describe;
use super::*;
use crate::domain::Object;
use crate::domain::worker::SkillInfo;

const KEY: &str = "worker-key";

/// Says what it was given, or does what `do` says.
struct Echo;

#[async_trait]
impl Skill for Echo {
    fn info(&self) -> SkillInfo {
        describe(
            "echo",
            "Returns its parameters.",
            &json!({"type": "object"}),
        )
    }

    async fn run(&self, task: &TaskContext, params: &Object) -> Outcome {
        match params.get("do").and_then(Value::as_str) {
            Some("panic") => panic!("as it was told"),
            Some("wait") => std::future::pending().await,
            Some("review") => Outcome::status("needs_review", Object::new()),
            Some("huge number") => {
                let data = json!({"n": 1e300});
                Outcome::success(data.as_object().cloned().unwrap_or_default())
            }
            _ => {
                task.progress(0.5, "half").await;
                Outcome::success(params.clone())
            }
        }
    }
}

/// Returns a worker that waits for nothing longer than it must.
fn config(urls: &[&str]) -> WorkerConfig {
    let ms = Duration::from_millis;
    let mut config = WorkerConfig::new("w-1", KEY, urls[0]);
    config.endpoints = urls
        .iter()
        .map(|url| Endpoint {
            url: (*url).to_owned(),
            priority: 10,
            weight: 1,
            token: None,
        })
        .collect();
    config.skills.add(Arc::new(Echo));
    config.websockets = false;
    config.shutdown_timeout = Duration::from_secs(10);
    let timing = &mut config.timing;
    timing.heartbeat = ms(40);
    timing.heartbeat_cooldown = ms(2);
    timing.poll = ms(400);
    timing.idle = ms(2);
    timing.poll_backoff = ms(5);
    timing.poll_backoff_max = ms(20);
    timing.rate_limit_floor = ms(20);
    timing.registration = ms(5);
    timing.result = ms(5);
    config
}

/// A running worker; ended when dropped.
struct Running {
    shutdown: CancellationToken,
    handle: JoinHandle<anyhow::Result<()>>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the task is owned and ended by the guard"
)]
fn start(config: WorkerConfig) -> Running {
    let shutdown = CancellationToken::new();
    let handle = tokio::spawn(run(config, shutdown.clone()));
    Running { shutdown, handle }
}

impl Running {
    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), &mut self.handle).await;
        ended
            .expect("the worker stops")
            .expect("without a panic")
            .expect("without an error");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.abort();
    }
}
