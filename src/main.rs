//! The binary: reads the command line, runs the role, exits by its outcome.

use std::process::ExitCode;

use avtomatika::roles::{self, cli::Cli};
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roles::run(Cli::parse()).into()
}
