//! Registration and heartbeats with one orchestrator.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::link::{is_unknown_worker, pause_after};
use super::usage::Telemetry;
use super::{Worker, ms};
use crate::domain::worker::{Capabilities, WorkerStatus};
use crate::net::NetError;
use crate::observe::Beaten;
use crate::protocol::sign::skills_hash;
use crate::protocol::wire::{Heartbeat, HeartbeatAnswer, Registration};

/// The original never says that it has forgotten a worker (WQ14), so it is told again this often.
const REGISTER_AGAIN: Duration = Duration::from_mins(10);
/// Longest wait for the farewell to be taken.
const FAREWELL: Duration = Duration::from_secs(3);
/// Longest wait between heartbeats that fail, without tasks. With some the leases depend on it that an
/// orchestrator which is back hears of them soon.
const BEAT_BACKOFF_MAX: Duration = Duration::from_mins(1);

/// What to do when the two sides do not trust each other.
const TRUST_HINT: &str = "TLS_CA_PATH names the authority of the orchestrator's certificate, TLS_CERT_PATH and TLS_KEY_PATH what this worker shows";

/// Keeps the worker registered and alive until `stop`.
pub(super) async fn keep(worker: Arc<Worker>, index: usize, stop: CancellationToken) {
    let lasting = async {
        let mut telemetry = Telemetry::new(&worker.config.timing);
        loop {
            register(&worker, index).await;
            beats(&worker, index, &mut telemetry).await;
            worker.links[index].set_registered(false);
            // Between two registrations there is always a wait, whatever the orchestrator says.
            tokio::time::sleep(worker.config.timing.heartbeat_cooldown).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = lasting => {}
    }
}

/// Registers, however often it takes.
async fn register(worker: &Worker, index: usize) {
    let link = &worker.links[index];
    let timing = &worker.config.timing;
    let mut delay = timing.registration;
    loop {
        match link.register(&registration(worker)).await {
            Ok(answer) => {
                if let Some(warning) = answer.warning {
                    warn!(
                        orchestrator.url = link.url(),
                        warning, "protocol versions differ"
                    );
                }
                info!(worker.id = %worker.config.id, orchestrator.url = link.url(), "registered");
                link.heard(true);
                link.set_registered(true);
                worker.board.poke();
                return;
            }
            Err(error) => {
                let pause = pause_after(&error, delay, timing.rate_limit_floor);
                let hint = matches!(error, NetError::Certificate(_)).then_some(TRUST_HINT);
                warn!(
                    worker.id = %worker.config.id,
                    orchestrator.url = link.url(),
                    %error,
                    hint,
                    pause_ms = ms(pause),
                    "registration failed"
                );
                tokio::time::sleep(pause).await;
                delay = (delay * 2).min(timing.registration_max);
            }
        }
    }
}

/// Sends heartbeats until the worker should register again.
async fn beats(worker: &Worker, index: usize, telemetry: &mut Telemetry) {
    let link = &worker.links[index];
    let timing = &worker.config.timing;
    let mut changes = worker.board.subscribe();
    let mut sends_skills = false;
    let mut delay: Option<Duration> = None;
    let again_at = Instant::now() + REGISTER_AGAIN;
    loop {
        link.rotate().await;
        changes.borrow_and_update();
        let beat = heartbeat(worker, index, sends_skills, telemetry);
        let answered = link.beat(&beat).await;
        link.heard(answered.is_ok());
        worker.config.metrics.beaten(match &answered {
            Ok(_) => Beaten::Answered,
            Err(error) if error.status().is_some() => Beaten::Refused,
            Err(_) => Beaten::Failed,
        });
        match answered {
            Ok(answer) => {
                // After an outage the orchestrator may be another one under the same name.
                if delay.is_some() || Instant::now() >= again_at {
                    return;
                }
                sends_skills = answer.require_full_sync;
                obey(worker, index, &answer);
                let jitter = u64::try_from(answer.next_heartbeat_jitter_ms.unwrap_or(0));
                let pause = timing.heartbeat + Duration::from_millis(jitter.unwrap_or(0));
                wait(&mut changes, timing.heartbeat_cooldown, pause).await;
            }
            Err(error) if is_unknown_worker(&error) => {
                info!(worker.id = %worker.config.id, %error, "registering again");
                return;
            }
            Err(error) => {
                let is_busy = !worker.board.current(&worker.sharing(index)).is_empty();
                let current = delay_after(delay, timing.heartbeat, is_busy);
                let pause = pause_after(&error, current, timing.rate_limit_floor);
                warn!(worker.id = %worker.config.id, %error, pause_ms = ms(pause), "heartbeat failed");
                // A refusal of one message is no outage.
                delay = error.status().is_none().then_some(current);
                if delay.is_some() {
                    // A task may come meanwhile.
                    wait(&mut changes, pause.min(timing.heartbeat), pause).await;
                } else {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Returns how long to wait after a heartbeat that has failed, by how long it was before.
fn delay_after(before: Option<Duration>, heartbeat: Duration, is_busy: bool) -> Duration {
    let most = if is_busy {
        heartbeat
    } else {
        BEAT_BACKOFF_MAX.max(heartbeat)
    };
    before.map_or(heartbeat, |before| before * 2).min(most)
}

/// Waits until the next heartbeat is due: news are collected for the cool-down, then sent at once.
async fn wait(changes: &mut tokio::sync::watch::Receiver<()>, cooldown: Duration, pause: Duration) {
    let due = Instant::now() + pause;
    tokio::time::sleep(cooldown.min(pause)).await;
    tokio::select! {
        // An error would mean that the board is gone, and with it the worker.
        _ = changes.changed() => {}
        () = tokio::time::sleep_until(due) => {}
    }
}

/// Stops the tasks that the orchestrator wants stopped.
fn obey(worker: &Worker, index: usize, answer: &HeartbeatAnswer) {
    // One that has moved to another store, and knows the tasks of the others no more, must not stop them.
    let links = if worker.links[index].is_of(answer.deployment.as_deref()) {
        worker.sharing(index)
    } else {
        vec![index]
    };
    for task in &answer.cancel_task_ids {
        if worker.board.cancel(task, &links) {
            info!(task.id = %task, "task cancelled by heartbeat");
        }
    }
}

/// Says that the worker is gone; without an answer it is taken as said.
pub(super) async fn farewell(worker: &Worker, index: usize) {
    let link = &worker.links[index];
    if !link.is_registered() {
        return;
    }
    let beat = Heartbeat {
        status: WorkerStatus::Offline,
        supported_skills: Some(Vec::new()),
        available_skills: None,
        ..heartbeat(
            worker,
            index,
            false,
            &mut Telemetry::new(&worker.config.timing),
        )
    };
    let said = tokio::time::timeout(FAREWELL, link.beat(&beat)).await;
    let error = match said {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error,
        Err(_) => NetError::Timeout { after: FAREWELL },
    };
    debug!(worker.id = %worker.config.id, %error, "farewell not heard");
}

/// Returns the digest of skills and prices.
fn hash(worker: &Worker) -> Option<String> {
    let config = &worker.config;
    skills_hash(
        &config.skills.infos(),
        &config.cost_per_skill,
        &config.extra,
    )
    .ok()
}

/// Describes the worker.
fn registration(worker: &Worker) -> Registration {
    let config = &worker.config;
    let mut extra = config.extra.clone();
    extra.insert("websockets".to_owned(), json!(config.websockets));
    Registration {
        worker_id: config.id.clone(),
        worker_type: config.worker_type.clone(),
        supported_skills: Some(config.skills.infos()),
        available_skills: Some(config.skills.names().to_vec()),
        hot_skills: None,
        resources: Some(config.resources.clone()),
        installed_software: Some(BTreeMap::clone(&config.software)),
        installed_artifacts: Some(config.artifacts.clone()),
        capabilities: Some(Capabilities {
            hostname: Some(hostname()),
            ip_address: Some(address()),
            cost_per_skill: Some(BTreeMap::clone(&config.cost_per_skill)),
            s3_config_hash: config.s3_config_hash.clone(),
            extra: Some(extra),
        }),
        skills_hash: hash(worker),
        security: None,
        metadata: None,
        timestamp: None,
    }
}

/// Says how the worker stands; the skills only when they are asked for.
fn heartbeat(
    worker: &Worker,
    index: usize,
    with_skills: bool,
    telemetry: &mut Telemetry,
) -> Heartbeat {
    let config = &worker.config;
    let status = worker.board.status();
    let takes_work = status == WorkerStatus::Idle;
    Heartbeat {
        worker_id: config.id.clone(),
        status,
        usage: telemetry.news(),
        current_tasks: Some(worker.board.current(&worker.sharing(index))),
        supported_skills: with_skills.then(|| config.skills.infos()),
        available_skills: takes_work.then(|| config.skills.names().to_vec()),
        hot_skills: None,
        skills_hash: hash(worker),
        security: None,
        metadata: None,
        timestamp: None,
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Returns the address that this machine would use outwards; nothing is sent to find out.
fn address() -> String {
    let chosen = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        // A documentation address: connecting a datagram socket only chooses a route.
        socket.connect(("192.0.2.1", 9))?;
        socket.local_addr()
    };
    chosen().map_or_else(
        |_| "0.0.0.0".to_owned(),
        |address: std::net::SocketAddr| address.ip().to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_that_fail_become_rare_only_without_tasks() {
        let second = Duration::from_secs;
        let course = |is_busy: bool| {
            let next = |before: &Duration| Some(delay_after(Some(*before), second(15), is_busy));
            let first = delay_after(None, second(15), is_busy);
            std::iter::successors(Some(first), next)
                .take(4)
                .collect::<Vec<_>>()
        };
        assert_eq!(course(false), [15, 30, 60, 60].map(second));
        assert_eq!(course(true), [15; 4].map(second));
        assert_eq!(delay_after(Some(second(60)), second(15), true), second(15));
        assert_eq!(delay_after(None, second(90), false), second(90));
    }
}
