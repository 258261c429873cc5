//! `schedules`: list. Reads the files; needs no orchestrator.

use clap::Subcommand;

use crate::roles::context::{Context, SettingsArgs};
use crate::roles::exit::{Exit, RoleResult};
use crate::roles::scheduler;

/// What to see of schedules.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the schedules of the settings with their next slots
    #[command(after_help = "Examples:
  avtomatika schedules list
  avtomatika schedules list --schedules my-schedules.toml --next 10")]
    List(ListArgs),
}

/// Which slots.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How many slots of each
    #[arg(short = 'n', long = "next", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Runs the verb.
pub fn run(verb: &Verb, context: &Context) -> RoleResult {
    let Verb::List(args) = verb;
    let configuration = args.settings.load(context)?;
    if configuration.schedules.is_empty() {
        context
            .printer
            .note("there is no schedule; SCHEDULES_CONFIG_PATH names their file");
    }
    let now = context.clock.now();
    scheduler::list(&configuration.schedules, now, args.count as usize, context);
    Ok(Exit::Ok)
}
