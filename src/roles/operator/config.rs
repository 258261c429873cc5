//! `config`: check, show, webhook-secret. Reads the files; needs no orchestrator.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::servers::{self, Asked};
use crate::base::Secret;
use crate::blueprint::Catalog;
use crate::config::{Configuration, Problem, keys};
use crate::roles::context::{Context, SettingsArgs};
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::orchestrator::read_blueprints;
use crate::roles::printer::{Output, Table};

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check settings, clients, workers and schedules, and tell every problem
    #[command(after_help = "Examples:
  avtomatika config check --config config/avtomatika.toml
  avtomatika config check --connect                also ask the servers; exit code 1 when one is not well")]
    Check(CheckArgs),
    /// Show every setting; secrets as ***
    #[command(after_help = "Examples:
  avtomatika config show --origin
  avtomatika config show --connect                 also what the servers say of themselves")]
    Show(ShowArgs),
    /// Print the secret that signs a client's webhooks, for its receiver
    #[command(
        after_help = "Example:\n  avtomatika webhook-sink --secret \"$(avtomatika config webhook-secret vip)\""
    )]
    WebhookSecret(SecretArgs),
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Also ask the servers that the settings name whether they would do; S3 gets a probe, which is deleted
    #[arg(long)]
    pub connect: bool,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What to show.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Also where each value comes from
    #[arg(long)]
    pub origin: bool,
    /// Also what each setting is for
    #[arg(long)]
    pub about: bool,
    /// Also ask the servers that the settings name which they are and how they keep what they get
    #[arg(long)]
    pub connect: bool,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Whose secret.
#[derive(Debug, clap::Args)]
pub struct SecretArgs {
    /// The client's id, its table name in clients.toml
    pub client: String,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Runs the verb.
pub async fn run(verb: &Verb, context: &Context) -> RoleResult {
    match verb {
        Verb::Check(args) => check(args, context).await,
        Verb::Show(args) => show(args, context).await,
        Verb::WebhookSecret(args) => webhook_secret(args, context),
    }
}

async fn check(args: &CheckArgs, context: &Context) -> RoleResult {
    let mut configuration = args.settings.load(context)?;
    let missing = without_blueprint(&configuration);
    for problem in &missing {
        context.printer.warn(&problem.to_string());
    }
    configuration.warnings.extend(missing);
    let tokens = &configuration.worker_tokens;
    let mut found = json!({
        "clients": configuration.clients.len(),
        "worker_tokens": tokens.exact.len() + tokens.patterns.len(),
        "schedules": configuration.schedules.len(),
        "warnings": configuration.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let mut text = format!(
        "good: {} clients, {} worker tokens, {} schedules",
        found["clients"], found["worker_tokens"], found["schedules"]
    );
    let mut exit = Exit::Ok;
    if args.connect {
        let answers = servers::asked(&configuration.settings, Asked::Work).await;
        for (server, said) in &answers {
            text.push_str(&format!("\n{server}: {}", said.answer));
            if said.answer != "ok" {
                exit = Exit::JobFailed;
            }
        }
        if answers.is_empty() {
            text.push_str("\nno servers: everything is in the data directory");
        }
        let answers = answers.iter().map(|(server, said)| (*server, &said.answer));
        found["servers"] = json!(answers.collect::<BTreeMap<_, _>>());
    }
    context.printer.item(&found, &text);
    Ok(exit)
}

/// Returns a warning for each schedule whose blueprint is in no file: at its time no job would start.
fn without_blueprint(configuration: &Configuration) -> Vec<Problem> {
    let paths = &configuration.settings.paths;
    if configuration.schedules.is_empty() {
        return Vec::new();
    }
    let place = paths
        .schedules
        .as_deref()
        .unwrap_or(Path::new(""))
        .display();
    let place = place.to_string();
    let files = match read_blueprints(&paths.blueprints) {
        Ok(files) => files,
        Err(error) => return vec![Problem::warning(&place, "", &format!("{error:#}"))],
    };
    let (catalog, _) = Catalog::load_files(files, &Catalog::default());
    let schedules = configuration.schedules.iter();
    let missing = schedules.filter(|schedule| catalog.get(&schedule.blueprint).is_none());
    let told = missing.map(|schedule| {
        let message = format!(
            "no good blueprint in {} has this name; `avtomatika blueprints check` tells what is wrong there",
            paths.blueprints.display()
        );
        let key = format!("{}.blueprint `{}`", schedule.name, schedule.blueprint);
        Problem::warning(&place, &key, &message)
    });
    told.collect()
}

async fn show(args: &ShowArgs, context: &Context) -> RoleResult {
    let configuration = args.settings.load(context)?;
    let servers = if args.connect {
        Some(servers::asked(&configuration.settings, Asked::Standing).await)
    } else {
        None
    };
    let entries = configuration.entries;
    if context.printer.output() != Output::Text {
        let mut members: Map<String, Value> = entries
            .iter()
            .map(|entry| {
                let value = if args.origin {
                    json!({"value": entry.value, "origin": entry.origin.to_string()})
                } else {
                    Value::from(entry.value.as_str())
                };
                (entry.key.to_owned(), value)
            })
            .collect();
        members.extend(servers.map(|servers| ("servers".to_owned(), json!(servers))));
        context.printer.value(&Value::Object(members));
        return Ok(Exit::Ok);
    }
    let mut headings = vec!["SETTING", "VALUE"];
    headings.extend(args.origin.then_some("ORIGIN"));
    headings.extend(args.about.then_some("ABOUT"));
    let mut table = Table::new(&headings);
    for entry in &entries {
        let mut row = vec![entry.key.to_owned(), entry.value.clone()];
        row.extend(args.origin.then(|| entry.origin.to_string()));
        row.extend(
            args.about
                .then(|| keys::find(entry.key).map_or("", |key| key.about).to_owned()),
        );
        table.row(&row);
    }
    let mut text = table.render();
    for (name, said) in servers.into_iter().flatten() {
        let durability = said.durability.map(|durability| json!(durability));
        let durability =
            durability.map(|word| format!("durability {}", word.as_str().unwrap_or("-")));
        let told = [Some(said.answer), said.server, durability];
        let told: Vec<String> = told.into_iter().flatten().collect();
        text.push_str(&format!("\n{name}: {}", told.join("; ")));
    }
    context.printer.text(&text);
    Ok(Exit::Ok)
}

fn webhook_secret(args: &SecretArgs, context: &Context) -> RoleResult {
    let configuration = args.settings.load(context)?;
    let known: Vec<&str> = configuration
        .clients
        .iter()
        .map(|client| client.id.as_str())
        .collect();
    let client = configuration
        .clients
        .iter()
        .find(|client| client.id.as_str() == args.client);
    let Some(client) = client else {
        let message = format!("there is no client `{}`", args.client);
        return Err(Failure::usage(message).hint(format!("known are: {}", known.join(", "))));
    };
    let Some(secret) = client.webhook_secret.as_ref().map(Secret::expose) else {
        let message = format!("client `{}` has no webhook secret", args.client);
        return Err(Failure::new(Exit::Invalid, message).hint(
            "set ORCHESTRATOR_SECRET_KEY, from which it derives, or webhook_secret in clients.toml",
        ));
    };
    // The one command whose purpose is to show it, to the operator who holds the key anyway.
    context.printer.item(
        &json!({"client": args.client, "webhook_secret": secret}),
        secret,
    );
    Ok(Exit::Ok)
}
