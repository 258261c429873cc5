//! `conformance`: the rules of the wire between orchestrator and worker as numbered checks, for
//! anyone who writes either side.
//!
//! Each verb plays the other side. Nothing here knows how this program's own orchestrator and
//! worker are made: what is sent and what is judged are bytes.

pub mod orchestrator;
mod report;
mod vectors;
pub mod worker;

pub use report::{Finding, Miss, Outcome, Report, Rule, Verdict};

use super::context::Context;
use super::exit::RoleResult;

/// Whose rules are looked at.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Play a worker and a client against an orchestrator
    Orchestrator(Box<orchestrator::Args>),
    /// Play an orchestrator that a worker is pointed at
    Worker(Box<worker::Args>),
}

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> RoleResult {
    match verb {
        Verb::Orchestrator(args) => orchestrator::run(&args, context).await,
        Verb::Worker(args) => worker::run(&args, context).await,
    }
}
