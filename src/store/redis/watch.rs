//! Tells when the server is lost and when it is found again, and has connections replaced that are of no
//! use any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fred::error::Error;
use fred::interfaces::EventInterface as _;
use fred::types::config::Server;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::line::{Line, Replaced, Wire};

/// What is told of the server: one line each, however many connections there are.
struct News {
    is_lost: AtomicBool,
    found: watch::Sender<()>,
}

impl News {
    fn lost(&self, error: &Error, server: Option<&Server>) {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            let server = server.map(ToString::to_string);
            tracing::debug!(%error, server, "Redis is lost");
        }
    }

    fn found(&self) {
        if self.is_lost.swap(false, Ordering::AcqRel) {
            tracing::debug!("Redis is found again");
        }
        self.found.send_replace(());
    }
}

/// Watches the lines for as long as what it returns is kept, and tells `found` of each connection that was
/// made again.
pub(super) fn watch(lines: &[Arc<Line>], found: watch::Sender<()>) -> JoinSet<()> {
    let news = Arc::new(News {
        is_lost: AtomicBool::new(false),
        found,
    });
    let mut watchers = JoinSet::new();
    for line in lines {
        watchers.spawn(keep(Arc::clone(line), Arc::clone(&news)));
    }
    watchers
}

async fn keep(line: Arc<Line>, news: Arc<News>) {
    let mut before: Option<Replaced> = None;
    loop {
        let wire = line.wire();
        let end = async {
            if let Some(before) = before.take() {
                before.end().await;
            }
        };
        let (goes_on, ()) = futures::future::join(is_doubted(&wire, &news), end).await;
        if !goes_on {
            return;
        }
        before = line.replace(&wire).await;
        // Whichever it was that came about, nobody has listened meanwhile.
        news.found();
    }
}

/// Passes on what is heard of a client's connections until they are of no use; tells false when they
/// are closed.
async fn is_doubted(wire: &Wire, news: &News) -> bool {
    let (mut errors, mut found) = (wire.client.error_rx(), wire.client.reconnect_rx());
    loop {
        tokio::select! {
            () = wire.doubted() => return true,
            error = errors.recv() => match error {
                Ok((error, server)) => news.lost(&error, server.as_ref()),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return false,
            },
            server = found.recv() => match server {
                Ok(_) => news.found(),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return false,
            },
        }
    }
}
