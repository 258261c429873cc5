//! Floor 7: the roles. Each file is one role: it builds what the role needs and nothing else.

pub mod bench;
pub mod cli;
pub mod conformance;
pub mod context;
pub mod dev;
pub mod environment;
pub mod exit;
pub mod operator;
pub mod orchestrator;
pub mod printer;
pub mod probes;
pub mod remote;
pub mod scheduler;
pub mod showcase;
pub mod stack;
pub mod submit;
mod traces;
pub mod webhook_sink;
pub mod worker;

use tokio::signal::unix::{Signal, SignalKind, signal};

use cli::{Cli, Command};
use context::Context;
use exit::{Exit, RoleResult};
use printer::Printer;

/// Runs the command line to its end and returns how it ended.
///
/// Owns the signals: the first one asks the role to stop, the second one ends the process.
pub fn run(cli: Cli) -> Exit {
    let no_color = context::env("NO_COLOR").is_some();
    let printer = Printer::new(cli.output, no_color, cli.quiet);
    let context = Context::new(printer.clone(), cli.log);
    crate::net::install_crypto();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if context::env("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(runtime_threads());
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.failure(&exit::Failure::internal(format!("no runtime: {error}")));
            return Exit::Internal;
        }
    };
    let ended = runtime.block_on(until_signalled(cli.command, &context));
    // A thread that still waits for a line from the terminal must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            printer.failure(&failure);
            failure.exit
        }
    }
}

/// Returns how many threads handle requests: one less than there are cores, because the store's
/// writer has a thread of its own, as has the export. One more would wake up with every request that
/// comes alone, only to find the first one at it: with thousands of idle workers that doubles the
/// processor's time.
fn runtime_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1).max(1)
}

async fn until_signalled(command: Command, context: &Context) -> RoleResult {
    // Listened for from here to the end, so that no signal falls between two waits.
    let mut interrupt = signal(SignalKind::interrupt());
    let mut terminate = signal(SignalKind::terminate());
    let mut role = std::pin::pin!(dispatch(command, context));
    loop {
        tokio::select! {
            ended = &mut role => return ended,
            () = received(&mut interrupt) => {}
            () = received(&mut terminate) => {}
        }
        if context.stop.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        context.stop.cancel();
    }
}

/// Waits for a signal; for ever where it cannot be listened for.
async fn received(listener: &mut std::io::Result<Signal>) {
    let has_come = match listener {
        Ok(stream) => stream.recv().await.is_some(),
        Err(_) => false,
    };
    if !has_come {
        std::future::pending::<()>().await;
    }
}

async fn dispatch(command: Command, context: &Context) -> RoleResult {
    let level = command.default_log_level();
    match command {
        Command::Orchestrator(args) => Box::pin(orchestrator::run(args, context)).await,
        Command::Worker(args) => {
            context.init_logging(level)?;
            Box::pin(worker::command(&args, context)).await
        }
        Command::Dev(args) => {
            context.init_logging(level)?;
            Box::pin(dev::run(args, context)).await
        }
        Command::Showcase(args) => {
            context.init_logging(level)?;
            Box::pin(showcase::run(args, context)).await
        }
        Command::Submit(args) => {
            context.init_logging(level)?;
            Box::pin(submit::run(args, context)).await
        }
        Command::Scheduler(args) => {
            context.init_logging(level)?;
            Box::pin(scheduler::run(args, context)).await
        }
        Command::WebhookSink(args) => {
            context.init_logging(level)?;
            Box::pin(webhook_sink::run(args, context)).await
        }
        Command::Bench(args) => {
            context.init_logging(level)?;
            Box::pin(bench::run(args, context)).await
        }
        Command::Conformance(verb) => {
            context.init_logging(level)?;
            Box::pin(conformance::run(verb, context)).await
        }
        Command::Audit(verb) => Box::pin(operator::audit::run(verb, context)).await,
        Command::Jobs(verb) => Box::pin(operator::jobs::run(verb, context)).await,
        Command::Workers(verb) => Box::pin(operator::workers::run(verb, context)).await,
        Command::Blueprints(verb) => operator::blueprints::run(verb, context),
        Command::Schedules(verb) => operator::schedules::run(&verb, context),
        Command::Config(verb) => operator::config::run(&verb, context).await,
        Command::Health(args) => Box::pin(operator::health::run(args, context)).await,
        Command::Completions(args) => Ok(operator::shell::completions(&args, context)),
        Command::Man(_) => operator::shell::man(context),
    }
}
