//! Tells when the server is lost, and when it is found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fred::clients::Pool;
use fred::interfaces::EventInterface as _;
use tokio::task::JoinSet;

/// Tells when the server is lost and found again: one line each, however many connections there are.
pub(super) fn watch(pool: &Pool) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    let is_lost = Arc::new(AtomicBool::new(false));
    for client in pool.clients() {
        let (mut errors, mut found) = (client.error_rx(), client.reconnect_rx());
        let is_lost = Arc::clone(&is_lost);
        watchers.spawn(async move {
            loop {
                let goes_on = tokio::select! {
                    error = errors.recv() => match error {
                        Ok((error, server)) => {
                            if !is_lost.swap(true, Ordering::AcqRel) {
                                let server = server.map(|server| server.to_string());
                                tracing::debug!(%error, server, "Redis is lost");
                            }
                            true
                        }
                        Err(error) => !is_over(&error),
                    },
                    server = found.recv() => match server {
                        Ok(server) => {
                            if is_lost.swap(false, Ordering::AcqRel) {
                                tracing::debug!(%server, "Redis is found again");
                            }
                            true
                        }
                        Err(error) => !is_over(&error),
                    },
                };
                if !goes_on {
                    return;
                }
            }
        });
    }
    watchers
}

fn is_over(error: &tokio::sync::broadcast::error::RecvError) -> bool {
    matches!(error, tokio::sync::broadcast::error::RecvError::Closed)
}
