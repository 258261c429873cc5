//! The command line as a tree. Holds no behaviour: each role has its own file.

use clap::{Parser, Subcommand};

use super::context::LogArgs;
use super::printer::Output;
use super::{
    bench, conformance, dev, operator, orchestrator, scheduler, showcase, submit, webhook_sink,
    worker,
};

/// A durable workflow orchestrator: blueprints say what happens, workers do it, one binary runs all
#[derive(Debug, Parser)]
#[command(
    name = "avtomatika",
    version,
    arg_required_else_help = true,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Examples:
  avtomatika dev                                   everything in one process
  avtomatika submit full_showcase --set quality=high
  avtomatika jobs explain JOB                      why does it wait?

Exit codes: 0 done, 1 job failed, 2 usage, 3 quarantined, 4 cancelled, 5 still running,
6 unreachable, 7 refused, 8 invalid file, 70 internal, 130 interrupted."
)]
pub struct Cli {
    /// Form of the data on stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        display_order = 800
    )]
    pub output: Output,
    /// Tell nothing on stderr but warnings and errors
    #[arg(short, long, global = true, display_order = 801)]
    pub quiet: bool,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// One role or operator verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API, keep the jobs, hand out the tasks
    Orchestrator(orchestrator::Args),
    /// Run everything in one process on an embedded store
    Dev(dev::Args),
    /// Play every demonstration scenario and compare expected with actual
    Showcase(showcase::Args),
    /// Pull tasks and run them: a demonstration profile's skills, or any executable
    Worker(worker::WorkerArgs),
    /// Create a job, show its progress, print its result
    Submit(submit::Args),
    /// Fire schedules through the HTTP API, exactly once per slot
    Scheduler(scheduler::Args),
    /// Receive webhooks: verify, drop repeats, print, keep the last ones
    WebhookSink(webhook_sink::Args),
    /// Measure an orchestrator: play its clients and workers, report speed, losses and cost
    Bench(bench::Args),
    /// Tell which rules of the wire another orchestrator or worker keeps
    #[command(subcommand)]
    Conformance(conformance::Verb),
    /// See jobs and act on them
    #[command(subcommand)]
    Jobs(operator::jobs::Verb),
    /// Check the history's audit trail
    #[command(subcommand)]
    Audit(operator::audit::Verb),
    /// See workers
    #[command(subcommand)]
    Workers(operator::workers::Verb),
    /// Check, list and draw blueprint files
    #[command(subcommand)]
    Blueprints(operator::blueprints::Verb),
    /// See schedules
    #[command(subcommand)]
    Schedules(operator::schedules::Verb),
    /// Check and show settings
    #[command(subcommand)]
    Config(operator::config::Verb),
    /// Ask an orchestrator, or another role, whether it is alive and ready
    Health(operator::health::Args),
    /// Print a completion script for a shell
    Completions(operator::shell::CompletionsArgs),
    /// Print the manual page
    Man(operator::shell::ManArgs),
}

impl Command {
    /// Returns the log level that holds when nobody says otherwise: servers tell their life, other
    /// commands only what went wrong.
    #[must_use]
    pub const fn default_log_level(&self) -> &'static str {
        match self {
            Self::Scheduler(_) | Self::Worker(_) => "INFO",
            _ => "WARNING",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_valid() {
        Cli::command().debug_assert();
    }

    /// Every command that does something shows how.
    #[test]
    fn every_command_has_an_example() {
        fn visit(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            let is_group = command.has_subcommands();
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            if !is_group && !help.contains("Example") {
                missing.push(path.to_owned());
            }
            for inner in command.get_subcommands() {
                visit(inner, &format!("{path} {}", inner.get_name()), missing);
            }
        }
        let mut missing = Vec::new();
        visit(&Cli::command(), "avtomatika", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    /// The codes that the help tells are the codes that there are.
    #[test]
    fn the_help_tells_every_exit_code() {
        let help = Cli::command()
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for exit in crate::roles::exit::Exit::ALL {
            assert!(help.contains(&format!("{} ", exit.code())), "{exit:?}");
        }
    }
}
