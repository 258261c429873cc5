//! What the program reads, for tests of files that tell it something; and those files.

use std::collections::BTreeSet;
use std::path::Path;

use avtomatika::config::keys;
use avtomatika::roles::cli::Cli;
use clap::CommandFactory as _;
use serde::Deserialize;

/// Returns the package's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file of the package.
pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads a file of the package as YAML.
pub(crate) fn read_yaml<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The environment's variables that have an effect.
pub(crate) struct Variables {
    /// Named by the command line.
    named: BTreeSet<String>,
    /// The worker reads its environment by name, so its sources are asked.
    of_worker: [String; 2],
}

impl Variables {
    /// Looks for them.
    pub(crate) fn known() -> Self {
        let of_worker = ["read.rs", "skills.rs"];
        Self {
            named: named(&Cli::command()),
            of_worker: of_worker.map(|file| read(&format!("src/roles/worker/config/{file}"))),
        }
    }

    /// Tells whether a role reads a variable.
    pub(crate) fn is_read(&self, role: &str, variable: &str) -> bool {
        let quoted = format!("\"{variable}\"");
        let is_setting = keys::find(variable).is_some();
        match role {
            // Traces are told by one set of rules, for all roles.
            _ if variable.starts_with("OTEL_") => is_setting,
            "orchestrator" => is_setting,
            "worker" => {
                self.of_worker.iter().any(|source| source.contains(&quoted))
                    || self.named.contains(variable)
            }
            _ => self.named.contains(variable),
        }
    }
}

/// Returns the variables that the command line names, for every role.
fn named(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| {
        let name = argument.get_env()?.to_str()?;
        Some(name.to_owned())
    });
    let below = command.get_subcommands().flat_map(named);
    own.chain(below).collect()
}
