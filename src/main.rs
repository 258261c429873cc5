//! The binary: reads the command line, runs the role, exits by its outcome.

use std::process::ExitCode;

use avtomatika::roles::{self, cli::Cli};
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    roles::run(Cli::parse()).into()
}
