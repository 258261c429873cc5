//! `conformance orchestrator`: plays an unchanged worker and its client, and tells which rules of
//! the wire an orchestrator keeps.

mod answers;
mod expect;
mod limits;
mod results;
mod signatures;
mod stage;
mod tasks;
mod tokens;
mod workers;

use std::time::Duration;

use futures::future::BoxFuture;

use super::report::{Finding, Outcome, Report, Rule};
use crate::base::{Secret, WorkerId};
use crate::net::{ClientOptions, HttpClient};
use crate::protocol::headers::REGISTER_PATH;
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::remote::{Remote, RemoteArgs, TrustArgs, encoded};
use crate::roles::submit;
use stage::Stage;

/// The blueprint that the checks need, in this program's language.
pub const BLUEPRINT: &str = include_str!("conformance.yaml");

/// What `conformance orchestrator` is told.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  avtomatika conformance orchestrator --print-blueprint > blueprints/conformance.yaml
  avtomatika conformance orchestrator --url http://127.0.0.1:8080 \\
      --client-token user_token_vip --worker-token secret --worker-id worker-01
  avtomatika conformance orchestrator … -o json > report.json

The orchestrator needs a blueprint of one task that hands the job's `probe` on as a parameter of the
same name; --print-blueprint prints it. Exit code 1 when a rule is broken.")]
pub struct Args {
    /// The orchestrator's address
    #[arg(long, env = "AVTOMATIKA_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A worker's static token
    #[arg(long, env = "WORKER_TOKEN", hide_env_values = true)]
    pub worker_token: Option<String>,
    /// The id that goes with the token; a new one where the token is good for any
    #[arg(long, value_name = "ID")]
    pub worker_id: Option<String>,
    /// A client's token, to create jobs
    #[arg(long, env = "CLIENT_TOKEN", hide_env_values = true)]
    pub client_token: Option<String>,
    /// The key that tasks are signed with; without it signatures are not looked at
    #[arg(long, env = "ORCHESTRATOR_SECRET_KEY", hide_env_values = true)]
    pub task_secret: Option<String>,
    /// The blueprint of one task
    #[arg(long, default_value = "conformance")]
    pub blueprint: String,
    /// The skill that its task asks for
    #[arg(long, default_value = "conformance_probe")]
    pub skill: String,
    /// Path of the blueprint's endpoint below the client routes [default: /jobs/BLUEPRINT]
    #[arg(long)]
    pub path: Option<String>,
    /// Longest wait for what should happen, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub wait: u64,
    /// Look at what takes half a minute and more, too
    #[arg(long)]
    pub slow: bool,
    /// Print the blueprint that the checks need, and do nothing else
    #[arg(long)]
    pub print_blueprint: bool,
}

/// A rule and how it is looked at.
#[derive(Clone, Copy)]
struct Check {
    rule: Rule,
    look: Look,
}

type Look = for<'a> fn(&'a Stage) -> BoxFuture<'a, Outcome>;

const fn check(rule: (&'static str, &'static str, &'static str), look: Look) -> Check {
    let (id, section, text) = rule;
    Check {
        rule: Rule { id, section, text },
        look,
    }
}

/// Returns all checks in the order in which they are made.
fn checks() -> Vec<Check> {
    let mut all = Vec::new();
    all.extend(answers::FIRST);
    all.extend(signatures::CHECKS);
    all.extend(tokens::CHECKS);
    all.extend(tasks::CHECKS);
    all.extend(results::CHECKS);
    all.extend(workers::CHECKS);
    all.extend(limits::ENCODINGS);
    all.push(workers::ABANDONED);
    all.push(limits::RATE);
    all.extend(answers::LAST);
    all
}

/// Returns all rules, in the order of their ids.
#[must_use]
pub fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = checks().iter().map(|check| check.rule).collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

/// Runs the role.
pub async fn run(args: &Args, context: &Context) -> RoleResult {
    if args.print_blueprint {
        context.printer.text(BLUEPRINT);
        return Ok(Exit::Ok);
    }
    let report = tokio::select! {
        report = probe(args, context) => report?,
        () = context.stop.cancelled() => return Ok(Exit::Interrupted),
    };
    report.print(&context.printer);
    Ok(report.exit())
}

/// Makes all checks.
///
/// Errors when there is nothing to check: no orchestrator, no access, no blueprint.
pub async fn probe(args: &Args, context: &Context) -> Result<Report, Failure> {
    let stage = stage(args, context).await?;
    admitted(&stage).await?;
    let secrets = [
        args.worker_token.as_deref().unwrap_or_default(),
        args.client_token.as_deref().unwrap_or_default(),
        args.task_secret.as_deref().unwrap_or_default(),
    ];
    let checks = checks();
    let mut findings = Vec::with_capacity(checks.len());
    for (done, check) in checks.iter().enumerate() {
        let rule = check.rule;
        let note = format!("{}/{} {} {}", done + 1, checks.len(), rule.id, rule.text);
        context.printer.note(&note);
        let outcome = (check.look)(&stage).await;
        findings.push(Finding::new(rule, outcome, &secrets));
    }
    Ok(Report::new("orchestrator", findings))
}

async fn stage(args: &Args, context: &Context) -> Result<Stage, Failure> {
    let Some(token) = args.worker_token.clone().filter(|token| !token.is_empty()) else {
        return Err(Failure::usage("no worker token")
            .hint("give --worker-token, or set WORKER_TOKEN to a token of workers.toml"));
    };
    let remote = Remote::new(&RemoteArgs {
        url: args.url.clone(),
        token: args.client_token.clone(),
        prefix: "api".to_owned(),
        api_version: "v1".to_owned(),
        trust: TrustArgs::default(),
    })?;
    let client = |decodes| {
        let options = ClientOptions {
            decodes,
            ..ClientOptions::default()
        };
        HttpClient::new(options).map_err(|error| Failure::internal(error.to_string()))
    };
    let create_path = match &args.path {
        Some(path) => remote.below(path),
        None => match submit::endpoint(&remote, &args.blueprint).await {
            Ok(path) => path,
            // The original has no list of blueprints.
            Err(failure) if failure.status == Some(404) || failure.status == Some(405) => {
                remote.below(&format!("/jobs/{}", encoded(&args.blueprint)))
            }
            Err(failure) => return Err(wanting(failure)),
        },
    };
    let id = args.worker_id.clone().unwrap_or_else(|| {
        let unique = context.entropy.uuid().simple().to_string();
        format!("conformance-{}", &unique[..12])
    });
    Ok(Stage {
        http: client(true)?,
        plain: client(false)?,
        remote,
        create_path,
        worker: WorkerId::new(&id),
        token: Secret::new(token),
        skill: args.skill.clone(),
        task_secret: args
            .task_secret
            .as_deref()
            .filter(|secret| !secret.is_empty())
            .map(Secret::from),
        wait: Duration::from_secs(args.wait),
        slow: args.slow,
        clock: std::sync::Arc::clone(&context.clock),
        entropy: std::sync::Arc::clone(&context.entropy),
        log: std::sync::Mutex::default(),
    })
}

/// Adds how to come by the blueprint.
fn wanting(failure: Failure) -> Failure {
    if failure.exit != Exit::Refused || failure.status.is_some() {
        return failure;
    }
    failure.hint(
        "`avtomatika conformance orchestrator --print-blueprint` prints the one that is needed; \
         --blueprint names another",
    )
}

/// Sees whether the worker is let in at all; otherwise every check would tell the same.
async fn admitted(stage: &Stage) -> Result<(), Failure> {
    let body = stage.sealed(serde_json::json!({}));
    let ask = stage.ask(crate::net::Method::Post, REGISTER_PATH, Some(body));
    let (_, call) = stage.prepared(ask);
    let origin = stage.remote.origin();
    let answer = stage.http.send(call).await.map_err(|error| {
        Failure::new(Exit::Unreachable, format!("cannot reach {origin}: {error}"))
            .hint("is the orchestrator running there? --url names another")
    })?;
    if matches!(answer.status, 401 | 403) {
        let message = format!(
            "{origin} does not let worker `{}` in: {}",
            stage.worker,
            expect::told(&answer)
        );
        return Err(Failure::new(Exit::Refused, message)
            .hint("give --worker-id with the id that --worker-token is for"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_numbered_without_gaps() {
        for (index, rule) in rules().iter().enumerate() {
            assert_eq!(rule.id, format!("O-{:02}", index + 1));
        }
    }

    #[test]
    fn the_blueprint_is_one() {
        let loaded = crate::blueprint::load("conformance.yaml", BLUEPRINT);
        assert!(loaded.blueprint.is_some(), "{loaded:?}");
    }
}
