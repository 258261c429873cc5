//! The names of the process's environment.

use crate::config::{Problem, misspelt};

/// What is read besides the orchestrator's settings: by workers, by clients, by what this program stands on.
/// It also sets some for others.
const NAMES: &[&str] = &[
    "AVTOMATIKA_CA_FILE",
    "AVTOMATIKA_CERT_FILE",
    "AVTOMATIKA_CONFIG",
    "AVTOMATIKA_JOB_ID",
    "AVTOMATIKA_KEY_FILE",
    "AVTOMATIKA_TASK_DIR",
    "AVTOMATIKA_TASK_ID",
    "AVTOMATIKA_URL",
    "COST_PER_SKILL",
    "CPU_CORES",
    "GPU_ID",
    "GPU_MODEL",
    "GPU_VRAM_GB",
    "HEARTBEAT_INTERVAL",
    "IDLE_POLL_DELAY",
    "INSTALLED_ARTIFACTS",
    "INSTALLED_SOFTWARE",
    "MAX_CONCURRENT_TASKS",
    "METRICS_ADDR",
    "MULTI_ORCHESTRATOR_MODE",
    "NO_COLOR",
    "ORCHESTRATORS_CONFIG",
    "ORCHESTRATOR_URL",
    "POLL_BACKOFF_INITIAL",
    "POLL_BACKOFF_MAX",
    "RAM_GB",
    "RATE_LIMIT_BACKOFF_FLOOR",
    "REGISTRATION_RETRY_INITIAL_DELAY",
    "REGISTRATION_RETRY_MAX_DELAY",
    "REQUIRE_TASK_SIGNATURE",
    "RESULT_MAX_RETRIES",
    "RESULT_RETRY_INITIAL_DELAY",
    "SECRET_KEY",
    "SECRET_KEY_FILE",
    "TASK_POLL_TIMEOUT",
    "TOKIO_WORKER_THREADS",
    "TRACEPARENT",
    "TRACESTATE",
    "WEBHOOK_SECRET",
    "WORKER_DEVICES",
    "WORKER_ENABLE_WEBSOCKETS",
    "WORKER_EXTRA_*",
    "WORKER_HEARTBEAT_COOLDOWN",
    "WORKER_ID",
    "WORKER_INDIVIDUAL_TOKEN",
    "WORKER_INDIVIDUAL_TOKEN_FILE",
    "WORKER_PORT",
    "WORKER_PROFILE",
    "WORKER_SHUTDOWN_TIMEOUT",
    "WORKER_SKILLS_DIR",
    "WORKER_SPEED",
    "WORKER_TELEMETRY_DEADBAND",
    "WORKER_TELEMETRY_FORCE_INTERVAL",
    "WORKER_TOKEN",
    "WORKER_TOKEN_FILE",
];

/// Tells which variables of this process's environment are misspelt, and what was most likely meant.
#[must_use]
pub fn misspelt() -> Vec<Problem> {
    let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let names: Vec<String> = set
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    misspelt::told(&names, NAMES)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::roles::cli::Cli;

    /// Returns the names that a worker's text asks its variables for.
    fn asked_for(text: &str) -> Vec<String> {
        let calls = text.split("vars").skip(1).filter_map(|rest| {
            let (call, rest) = rest.split_once("(\"")?;
            let is_call = call.starts_with('.') && call.trim().len() < 12;
            let (name, _) = rest.split_once('"')?;
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            (is_call && name.chars().all(is_name)).then(|| name.to_owned())
        });
        calls.collect()
    }

    fn of_flags(command: &clap::Command, found: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let env = argument.get_env().and_then(|name| name.to_str());
            found.extend(env.map(str::to_owned));
            let help = argument.get_help().map(ToString::to_string);
            let listed = help.as_deref().and_then(|text| {
                let (_, rest) = text.split_once("[env: ")?;
                Some(rest.split_once(']')?.0)
            });
            let listed = listed.into_iter().flat_map(|names| names.split(", "));
            found.extend(listed.map(str::to_owned));
        }
        for verb in command.get_subcommands() {
            of_flags(verb, found);
        }
    }

    /// No name that is read anywhere is told to be misspelt, nor left out of what may have been meant.
    #[test]
    fn all_names_that_are_read_are_known() {
        let mut names = asked_for(include_str!("worker/config/read.rs"));
        names.extend(asked_for(include_str!("worker/config/skills.rs")));
        assert!(names.len() > 30, "{names:?}");
        let before = names.len();
        of_flags(&Cli::command(), &mut names);
        assert!(names.len() > before + 20, "{names:?}");
        for name in names {
            assert_eq!(misspelt::told(std::slice::from_ref(&name), NAMES), []);
            let with_slip = format!("{name}S");
            let told = misspelt::told(std::slice::from_ref(&with_slip), NAMES);
            if name.contains('_') && !with_slip.starts_with("WORKER_EXTRA_") {
                assert_eq!(told.len(), 1, "{with_slip}");
                assert!(told[0].message.contains(&name), "{told:?}");
            }
        }
    }
}
