//! `conformance worker`: plays an orchestrator at an address, and tells which rules of the wire
//! the worker keeps that is pointed at it.

mod desk;
mod errands;
mod judged;
mod play;
mod reactions;
mod seen;

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::report::{Finding, Outcome, Report, Rule};
use crate::api::{ServerSettings, serve};
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use desk::Desk;
use play::{Errand, Play, Told};
use seen::Kind;

/// How long a worker that was started here may take to end before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What `conformance worker` is told.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  avtomatika conformance worker --skill echo --params '{\"x\": 1}' -- python worker.py
  avtomatika conformance worker --listen 127.0.0.1:9090 --long-skill render
  avtomatika conformance worker --skill echo --long-skill nap -- \\
      avtomatika worker --skill echo=cat --skill nap='sleep 60'

A worker is a client of its orchestrator, so the address is one to listen on, and the worker has to
be pointed at it. A command after -- is started with ORCHESTRATOR_URL, WORKER_TOKEN, WORKER_ID,
ORCHESTRATOR_SECRET_KEY and WORKER_ENABLE_WEBSOCKETS, and stopped at the end; without one, start the
worker yourself and stop it when asked. Exit code 1 when a rule is broken.")]
pub struct Args {
    /// Address to listen on, port 0 for a free one; `http://` may stand before it
    #[arg(
        long,
        visible_alias = "url",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: String,
    /// The static token that the worker is given
    #[arg(long, default_value = "conformance-worker-token")]
    pub token: String,
    /// The key that tasks are signed with; empty for none
    #[arg(long, default_value = "conformance-task-secret")]
    pub secret: String,
    /// A skill of the worker's that soon succeeds [default: the first that it registers]
    #[arg(long, value_name = "NAME")]
    pub skill: Option<String>,
    /// Its parameters, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
    /// A skill of the worker's that runs until it is stopped; without one cancels are not looked at
    #[arg(long, value_name = "NAME")]
    pub long_skill: Option<String>,
    /// Its parameters, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub long_params: String,
    /// Longest wait for what should happen, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub wait: u64,
    /// Longest wait for the worker to come, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub arrival: u64,
    /// Look at what takes half a minute and more, too
    #[arg(long)]
    pub slow: bool,
    /// The worker to start, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// A rule and how it is looked at.
#[derive(Clone, Copy)]
struct Check {
    rule: Rule,
    look: Look,
}

type Look = for<'a> fn(&'a Play) -> BoxFuture<'a, Outcome>;

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
    all.extend(reactions::FIRST);
    all.extend(errands::CHECKS);
    all.extend(reactions::LATER);
    all.extend(errands::HARD);
    all.push(reactions::LAST);
    all.extend(judged::CHECKS);
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
    let address = args.listen.trim_start_matches("http://");
    let address = address.trim_end_matches('/');
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::internal(format!("cannot listen on {address}: {error}"))
            .hint("another --listen; port 0 takes a free one")
    })?;
    let child = Arc::new(Mutex::new(start(args, &listener, context)?));
    let stop_worker = {
        let (child, printer) = (Arc::clone(&child), context.printer.clone());
        Box::new(move || match held(&child).as_ref().and_then(Child::id) {
            Some(id) => terminate(id),
            None => printer.note("stop the worker now, with SIGTERM or Ctrl-C"),
        })
    };
    let report = tokio::select! {
        report = probe(args, listener, stop_worker, context) => report,
        () = context.stop.cancelled() => Ok(None),
    };
    let left = held(&child).take();
    if let Some(mut left) = left {
        if let Some(id) = left.id() {
            terminate(id);
        }
        // Dropping it kills what has not ended by then.
        drop(tokio::time::timeout(LAST_WORDS, left.wait()).await);
    }
    let Some(report) = report? else {
        return Ok(Exit::Interrupted);
    };
    report.print(&context.printer);
    Ok(report.exit())
}

fn held(child: &Mutex<Option<Child>>) -> std::sync::MutexGuard<'_, Option<Child>> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the worker, when there is a command; else says how to.
fn start(args: &Args, listener: &TcpListener, context: &Context) -> Result<Option<Child>, Failure> {
    let local = listener
        .local_addr()
        .map_err(|error| Failure::internal(format!("the listener has no address: {error}")))?;
    let url = format!("http://{local}");
    let Some((program, arguments)) = args.command.split_first() else {
        context.printer.note(&format!(
            "waiting for a worker at {url}; start it with ORCHESTRATOR_URL={url} WORKER_TOKEN={} \
             ORCHESTRATOR_SECRET_KEY={}",
            args.token, args.secret
        ));
        return Ok(None);
    };
    let child = Command::new(program)
        .args(arguments)
        .env("ORCHESTRATOR_URL", &url)
        .env("WORKER_TOKEN", &args.token)
        .env("WORKER_ID", "conformance-worker")
        .env("ORCHESTRATOR_SECRET_KEY", &args.secret)
        .env("WORKER_ENABLE_WEBSOCKETS", "true")
        .stdin(Stdio::null())
        // The report has stdout for itself.
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    child.map(Some).map_err(|error| {
        Failure::usage(format!("`{program}` cannot be started: {error}"))
            .hint("write the worker's command after --")
    })
}

/// Asks a process to end.
fn terminate(id: u32) {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "the worker has gone already");
    }
}

/// Makes all checks with the worker that comes to the listener; nothing when told to stop.
///
/// `stop_worker` is called when the worker should end. Errors when no worker comes.
pub async fn probe(
    args: &Args,
    listener: TcpListener,
    stop_worker: Box<dyn Fn() + Send + Sync>,
    context: &Context,
) -> Result<Option<Report>, Failure> {
    let told = told(args)?;
    let desk = Arc::new(Desk::new(Arc::clone(&context.clock)));
    let stop = CancellationToken::new();
    let settings = ServerSettings {
        drain_timeout: Duration::from_secs(1),
        ..ServerSettings::default()
    };
    let mut server = JoinSet::new();
    server.spawn(serve(listener, desk.router(), settings, stop.clone()));
    let play = Play::new(
        told,
        desk,
        Arc::clone(&context.clock),
        Arc::clone(&context.entropy),
        stop_worker,
    );
    let report = checked(args, &play, context).await;
    stop.cancel();
    while server.join_next().await.is_some() {}
    report.map(Some)
}

async fn checked(args: &Args, play: &Play, context: &Context) -> Result<Report, Failure> {
    let arrival = Duration::from_secs(args.arrival);
    let came = play
        .desk
        .until(0, arrival, |seen| seen.kind == Kind::Register);
    if came.await.is_none() {
        let seconds = args.arrival;
        return Err(Failure::new(
            Exit::Unreachable,
            format!("no worker registered within {seconds} s"),
        )
        .hint("point the worker at the address that is told at the start"));
    }
    let checks = checks();
    let mut findings = Vec::with_capacity(checks.len());
    for (done, check) in checks.iter().enumerate() {
        let rule = check.rule;
        let note = format!("{}/{} {} {}", done + 1, checks.len(), rule.id, rule.text);
        context.printer.note(&note);
        let outcome = (check.look)(play).await;
        // What one check has left over must not be taken for the next one's.
        play.desk.clear();
        findings.push(Finding::new(rule, outcome, &[&args.token, &args.secret]));
    }
    Ok(Report::new("worker", findings))
}

fn told(args: &Args) -> Result<Told, Failure> {
    let errand = |skill: &Option<String>, params: &str, flag: &str| {
        let params: Value = serde_json::from_str(params)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| Failure::usage(format!("{flag} is no JSON object: `{params}`")))?;
        Ok::<_, Failure>(skill.clone().map(|skill| Errand { skill, params }))
    };
    Ok(Told {
        token: args.token.clone(),
        secret: Some(args.secret.clone()).filter(|secret| !secret.is_empty()),
        short: errand(&args.skill, &args.params, "--params")?,
        long: errand(&args.long_skill, &args.long_params, "--long-params")?,
        wait: Duration::from_secs(args.wait),
        slow: args.slow,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_numbered_without_gaps() {
        for (index, rule) in rules().iter().enumerate() {
            assert_eq!(rule.id, format!("W-{:02}", index + 1));
        }
    }
}
