//! What is known of the server, kept true: it may be set anew at any time, and after a failover it is
//! another one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::RedisSettings;
use super::address::Refusal;
use super::clocks::Clocks;
use super::durability::Server;
use super::link::{Link, held};
use crate::store::StoreError;

/// Between two looks while the connection lasts.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What was seen last.
#[derive(Clone)]
struct Known {
    /// Of several the one that keeps least.
    server: Server,
    /// Why jobs must not be given to one of them.
    refusal: Option<String>,
}

/// What is known of the server.
pub(super) struct Facts {
    known: Mutex<Known>,
    clocks: Mutex<Clocks>,
    settings: RedisSettings,
}

impl Facts {
    /// Looks at the server.
    ///
    /// Errors: it does not answer, or must not be given jobs; the latter does not pass.
    pub async fn begin(link: &Arc<Link>, settings: &RedisSettings) -> Result<Arc<Self>, Refusal> {
        let looked = Known::look(link, settings).await;
        let known = looked.map_err(Refusal::passing)?;
        if let Some(refusal) = known.refusal {
            return Err(Refusal::lasting(StoreError::Unavailable(refusal)));
        }
        known.server.tell();
        let facts = Self {
            known: Mutex::new(known),
            clocks: Mutex::default(),
            settings: settings.clone(),
        };
        let compared = facts.compare_clocks(link).await;
        compared.map_err(Refusal::passing)?;
        Ok(Arc::new(facts))
    }

    /// Looks again, for as long as what it returns is kept.
    pub fn look_on(self: &Arc<Self>, link: &Arc<Link>) -> JoinSet<()> {
        let mut looking = JoinSet::new();
        looking.spawn(Arc::clone(self).look_again(Arc::clone(link)));
        looking
    }

    /// Returns the server, as it was seen last.
    pub fn server(&self) -> Server {
        held(&self.known).server.clone()
    }

    /// Returns how far its clock is from ours, as it was seen last.
    pub fn clocks(&self) -> Clocks {
        *held(&self.clocks)
    }

    /// Says why jobs must not be given to it any more.
    pub fn refusal(&self) -> Option<String> {
        held(&self.known).refusal.clone()
    }

    async fn look_again(self: Arc<Self>, link: Arc<Link>) {
        let mut found = link.reconnections();
        let mut pause = LOOK_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = found.changed() => if changed.is_err() {
                    return;
                }
            }
            let looked = async {
                self.learn(Known::look(&link, &self.settings).await?);
                self.compare_clocks(&link).await
            };
            match looked.await {
                Ok(()) => pause = LOOK_EVERY,
                Err(error) => {
                    pause = LOOK_AGAIN;
                    tracing::debug!(%error, "Redis was not looked at");
                }
            }
        }
    }

    async fn compare_clocks(&self, link: &Link) -> Result<(), StoreError> {
        if let Some(ahead_ms) = Clocks::look(link, &self.settings).await? {
            held(&self.clocks).learn(ahead_ms);
        }
        Ok(())
    }

    fn learn(&self, known: Known) {
        let before = std::mem::replace(&mut *held(&self.known), known);
        let Known { server, refusal } = held(&self.known).clone();
        match refusal {
            Some(refusal) if before.refusal.is_none() => {
                tracing::error!(%server, refusal, "Redis is not to be trusted with jobs any more");
            }
            None if before.refusal.is_some() => {
                tracing::info!(%server, "Redis is to be trusted with jobs again");
            }
            _ if !server.keeps_like(&before.server) => server.tell(),
            _ => {}
        }
    }
}

impl Known {
    async fn look(link: &Link, settings: &RedisSettings) -> Result<Self, StoreError> {
        let servers = Server::look(link).await?;
        Ok(Self {
            refusal: servers.iter().find_map(|server| server.refusal(settings)),
            server: Server::weakest(servers),
        })
    }
}
