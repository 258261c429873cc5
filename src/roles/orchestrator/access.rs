//! Who may come in, read again while the orchestrator runs: clients and workers' tokens. A bad file
//! is told and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::api::{ApiState, ClientBook};
use crate::base::{ClientId, Secret};
use crate::config::clients::derive_webhook_secret;
use crate::config::{self, Settings};
use crate::domain::Client;
use crate::runtime::WebhookSecrets;

/// Each client's webhook secret.
///
/// A client that was taken out of the file keeps the secret that it had: its running jobs go on, and
/// what they tell must still be believed by whoever receives it. After a restart only the secret that
/// derives from the orchestrator's key is known of such a client.
pub(super) struct ClientSecrets {
    /// Of everybody who was ever in the file since the start; none for a client without a secret.
    known: ArcSwap<BTreeMap<ClientId, Option<Secret>>>,
    orchestrator_key: Option<Secret>,
}

impl ClientSecrets {
    pub(super) fn new(clients: &[Client], orchestrator_key: Option<Secret>) -> Self {
        let secrets = Self {
            known: ArcSwap::default(),
            orchestrator_key,
        };
        secrets.renew(clients);
        secrets
    }

    /// Takes over the secrets of the clients that are there; those that have gone keep theirs.
    fn renew(&self, clients: &[Client]) {
        let mut known = BTreeMap::clone(&self.known.load());
        known.extend(
            clients
                .iter()
                .map(|client| (client.id.clone(), client.webhook_secret.clone())),
        );
        self.known.store(Arc::new(known));
    }
}

impl WebhookSecrets for ClientSecrets {
    fn secret(&self, client: &ClientId) -> Option<Secret> {
        if let Some(secret) = self.known.load().get(client) {
            return secret.clone();
        }
        let key = self.orchestrator_key.as_ref()?;
        Some(derive_webhook_secret(key, client.as_str()))
    }
}

/// The files that say who may come in, and those who hold what they say.
pub(super) struct Access {
    settings: Settings,
    state: Arc<ApiState>,
    secrets: Arc<ClientSecrets>,
    clients: Vec<Client>,
    /// What the two files held when they were last read.
    seen: [Option<String>; 2],
}

impl Access {
    pub(super) fn new(
        settings: Settings,
        state: Arc<ApiState>,
        secrets: Arc<ClientSecrets>,
        clients: Vec<Client>,
    ) -> Self {
        Self {
            settings,
            state,
            secrets,
            clients,
            seen: [None, None],
        }
    }

    /// Returns the files, to be watched.
    pub(super) fn files(settings: &Settings) -> Vec<PathBuf> {
        let paths = paths(settings).into_iter().flatten();
        paths.map(Path::to_owned).collect()
    }

    /// Reads both files again, changed or not.
    pub(super) fn reload(&mut self) {
        self.seen = self.texts();
        self.reload_clients();
        self.reload_tokens();
    }

    /// Reads again what has changed. An empty file is one that is being written: only SIGHUP takes
    /// it at its word.
    pub(super) fn reload_changed(&mut self) {
        let texts = self.texts();
        let changed = |index: usize| {
            let is_empty = texts[index]
                .as_deref()
                .is_some_and(|text| text.trim().is_empty());
            texts[index] != self.seen[index] && !is_empty
        };
        let changed = [changed(0), changed(1)];
        self.seen = texts;
        if changed[0] {
            self.reload_clients();
        }
        if changed[1] {
            self.reload_tokens();
        }
    }

    /// Returns what the files hold; nothing for one that cannot be read, which is told when it is.
    fn texts(&self) -> [Option<String>; 2] {
        paths(&self.settings).map(|path| path.and_then(|path| std::fs::read_to_string(path).ok()))
    }

    fn reload_clients(&mut self) {
        if self.settings.paths.clients.is_none() {
            return;
        }
        let read = match config::load_clients(&self.settings) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "clients stay as they were");
                return;
            }
        };
        let (clients, warnings) = read;
        let missing = |from: &[Client], there: &[Client]| -> Vec<String> {
            let is_missing = |client: &&Client| there.iter().all(|other| other.id != client.id);
            let missing = from.iter().filter(is_missing);
            missing.map(|client| client.id.to_string()).collect()
        };
        let added = missing(&clients, &self.clients);
        let removed = missing(&self.clients, &clients);
        // Secrets first: a job that a new client starts at once is told of with its own.
        self.secrets.renew(&clients);
        let book = ClientBook::new(clients.clone());
        self.state.clients.store(Arc::new(book));
        self.clients = clients;
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        tracing::info!(
            count = self.clients.len(),
            ?added,
            ?removed,
            ?warnings,
            "clients read again"
        );
    }

    fn reload_tokens(&self) {
        match self.state.tokens().reload() {
            Ok(true) => tracing::info!("worker tokens read again"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "worker tokens stay as they were"),
        }
    }
}

fn paths(settings: &Settings) -> [Option<&Path>; 2] {
    let paths = &settings.paths;
    [paths.clients.as_deref(), paths.workers.as_deref()]
}
