//! `clients.toml`: who may submit jobs. Tokens are hashed as soon as they are read.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{Table, parse_tables};
use super::published::is_published;
use super::{Problem, Problems};
use crate::base::{ClientId, Secret, crypto};
use crate::domain::Client;
use crate::domain::client::SYSTEM_CLIENT;
use crate::protocol::webhook;

/// The id of the client that `CLIENT_TOKEN` stands for.
pub const DEFAULT_CLIENT: &str = "default";

const KNOWN: &[&str] = &[
    "token",
    "plan",
    "params",
    "monthly_attempts",
    "webhook_secret",
    "admin",
];

/// What the clients' file is read with.
pub struct ClientContext<'a> {
    /// The token of the client `default`, if there is one.
    pub client_token: Option<&'a Secret>,
    /// Webhook secrets derive from it for clients that name none.
    pub orchestrator_key: Option<&'a Secret>,
    /// Refuses the example files' tokens.
    pub production: bool,
}

/// Derives the secret that signs a client's webhooks: HMAC-SHA256 of the client's id under the
/// orchestrator's key, in the `whsec_` form. `avtomatika config webhook-secret` prints it.
#[must_use]
pub fn derive_webhook_secret(orchestrator_key: &Secret, client: &str) -> Secret {
    let message = format!("avtomatika:webhook:{client}");
    let key = crypto::hmac_sha256(orchestrator_key.expose().as_bytes(), message.as_bytes());
    Secret::new(format!(
        "{}{}",
        webhook::SECRET_PREFIX,
        crypto::base64(&key)
    ))
}

/// Returns the client that the global token stands for.
#[must_use]
pub fn default_client(token: &Secret, orchestrator_key: Option<&Secret>) -> Client {
    let mut params = crate::domain::Object::new();
    // The original gives it this, and blueprints may look at it.
    params.insert("allowed_languages".to_owned(), serde_json::json!(["*"]));
    Client {
        id: ClientId::new(DEFAULT_CLIENT),
        token_hash: token.hash(),
        plan: "default".to_owned(),
        params,
        monthly_attempts: None,
        webhook_secret: orchestrator_key.map(|key| derive_webhook_secret(key, DEFAULT_CLIENT)),
        admin: true,
    }
}

/// Reads the file's text; the client `default` comes first when there is a global token.
pub fn parse(
    file: &Path,
    text: &str,
    context: &ClientContext<'_>,
    problems: &mut Problems,
) -> Vec<Client> {
    let mut clients = Vec::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    if let Some(token) = context.client_token {
        clients.push(default_client(token, context.orchestrator_key));
        owners.insert(token.hash(), "CLIENT_TOKEN".to_owned());
    }
    for table in parse_tables(file, text, problems) {
        table.check_names(KNOWN, true, problems);
        let Some(client) = client(&table, context, problems) else {
            continue;
        };
        match owners.get(&client.token_hash) {
            // The original's files may repeat the global token to give its client a plan.
            Some(owner) if owner == "CLIENT_TOKEN" => {
                clients.retain(|c| c.token_hash != client.token_hash);
            }
            Some(owner) => {
                let message = format!("the same token as `{owner}`: each client needs its own");
                table.complain("token", &message, problems);
                continue;
            }
            None if clients.iter().any(|known| known.id == client.id) => {
                let message = "is the name of CLIENT_TOKEN's client, which would own its jobs: \
                               give this one another, or set CLIENT_TOKEN empty";
                table.complain("", message, problems);
                continue;
            }
            None => {}
        }
        owners.insert(client.token_hash.clone(), table.name.clone());
        clients.push(client);
    }
    clients
}

fn client(table: &Table, context: &ClientContext<'_>, problems: &mut Problems) -> Option<Client> {
    let name = table.name.as_str();
    if name == SYSTEM_CLIENT {
        table.complain(
            "",
            "this name is the program's own, choose another",
            problems,
        );
    }
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        table.complain(
            "",
            "the name must have 1 to 128 printable characters",
            problems,
        );
    }
    let webhook_secret = webhook_secret(table, context, problems);
    let plan = table
        .text("plan", problems)
        .unwrap_or_else(|| "unknown".to_owned());
    let params = table.object("params", problems).unwrap_or_default();
    let monthly_attempts = table.integer("monthly_attempts", 0, i64::MAX.unsigned_abs(), problems);
    let admin = table.flag("admin", problems).unwrap_or(false);
    let token = token(table, context.production, problems)?;
    Some(Client {
        id: ClientId::new(name),
        token_hash: token.hash(),
        plan,
        params,
        monthly_attempts,
        webhook_secret,
        admin,
    })
}

fn webhook_secret(
    table: &Table,
    context: &ClientContext<'_>,
    problems: &mut Problems,
) -> Option<Secret> {
    let derived = || {
        context
            .orchestrator_key
            .map(|key| derive_webhook_secret(key, &table.name))
    };
    let Some(text) = table.text("webhook_secret", problems) else {
        return derived();
    };
    if let Err(message) = webhook::check_secret(&text) {
        table.complain("webhook_secret", &message, problems);
    }
    Some(Secret::new(text))
}

/// Reads a `token`; it must be there, must not be empty, and in production must not be one that
/// stands in this program's example files.
pub fn token(table: &Table, production: bool, problems: &mut Problems) -> Option<Secret> {
    if table.get("token").is_none() {
        table.complain(
            "token",
            "missing: without a token nobody can use this entry",
            problems,
        );
        return None;
    }
    let text = table.text("token", problems)?;
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        table.complain(
            "token",
            "must have at least one character and no spaces",
            problems,
        );
        return None;
    }
    if production && is_published(&text) {
        table.complain(
            "token",
            "this is the example files' token, known to everybody: choose another",
            problems,
        );
    }
    Some(Secret::new(text))
}

/// Adds the problem that no client could ever be let in.
pub fn check_any(clients: &[Client], client_api: bool, problems: &mut Problems) {
    if client_api && clients.is_empty() {
        problems.push(Problem::error(
            "settings",
            "CLIENTS_CONFIG_PATH",
            "no client can ever be let in: name a clients file, set CLIENT_TOKEN, or set ENABLE_CLIENT_API to false",
        ));
    }
}
