//! `completions` and `man`: what the shell and the manual know of the command line.

use clap::CommandFactory as _;

use crate::roles::cli::Cli;
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};

/// For which shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  avtomatika completions bash > /etc/bash_completion.d/avtomatika"
)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Nothing to choose.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  avtomatika man | man -l -")]
pub struct ManArgs {}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs, context: &Context) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "avtomatika", &mut script);
    context.printer.text(&String::from_utf8_lossy(&script));
    Exit::Ok
}

/// Prints the manual page: the program, then each of its commands.
pub fn man(context: &Context) -> RoleResult {
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Failure::internal(format!("no manual page: {error}"));
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(failed)?;
    for inner in command.get_subcommands() {
        let man = clap_mangen::Man::new(inner.clone());
        man.render_name_section(&mut page).map_err(failed)?;
        man.render_synopsis_section(&mut page).map_err(failed)?;
        man.render_options_section(&mut page).map_err(failed)?;
    }
    context.printer.text(&String::from_utf8_lossy(&page));
    Ok(Exit::Ok)
}
