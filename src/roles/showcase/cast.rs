//! The workers on the stage: the program's own inside the process, or the user's as processes.

use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::roles::context::env;
use crate::roles::exit::Failure;
use crate::roles::stack::StackWorker;
use crate::roles::worker::Profile;

/// How long a process that was told to stop may take.
const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// Variables that would lead a worker elsewhere, or give it another key than the stage's.
const MISLEADING: [&str; 4] = [
    "ORCHESTRATORS_CONFIG",
    "WORKER_INDIVIDUAL_TOKEN",
    "ORCHESTRATOR_SECRET_KEY",
    "SECRET_KEY",
];

/// A user's command that plays the workers of a profile.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Whose part it plays.
    pub profile: Profile,
    /// The command line, for the shell.
    pub command: String,
}

/// Reads `PROFILE=COMMAND`.
pub fn parse(text: &str) -> Result<Guest, String> {
    let (profile, command) = text
        .split_once('=')
        .ok_or("expected PROFILE=COMMAND, such as gpu='python3 worker.py'")?;
    if command.trim().is_empty() {
        return Err(format!("there is no command for `{profile}`"));
    }
    Ok(Guest {
        profile: Profile::from_str(profile, true)?,
        command: command.to_owned(),
    })
}

/// Who a worker is and where it goes.
pub struct Role<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its token.
    pub token: &'a str,
    /// The orchestrator.
    pub url: &'a str,
    /// What it can do.
    pub profile: Profile,
    /// Divides the time that simulated work takes.
    pub speed: f64,
}

impl Role<'_> {
    /// Makes the process of a user's command; the variables are those of the original's worker.
    pub fn guest(&self, command: &str) -> Command {
        let mut process = Command::new("sh");
        process.arg("-c").arg(command);
        for name in MISLEADING {
            process.env_remove(name);
        }
        if env("LOG_LEVEL").is_none() {
            process.env("LOG_LEVEL", "ERROR");
        }
        self.introduce(&mut process);
        process
    }

    /// Makes a process of this program with nothing of the environment.
    pub fn own(&self) -> Result<Command, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::internal(format!("this program cannot be found: {error}")))?;
        let mut process = Command::new(program);
        process.arg("worker").env_clear().env("LOG_LEVEL", "ERROR");
        self.introduce(&mut process);
        Ok(process)
    }

    fn introduce(&self, process: &mut Command) {
        let profile = self.profile.to_possible_value();
        let profile = profile.as_ref().map_or("", |value| value.get_name());
        process
            .env("ORCHESTRATOR_URL", self.url)
            .env("WORKER_ID", self.id)
            .env("WORKER_TOKEN", self.token)
            .env("WORKER_PROFILE", profile)
            .env("WORKER_SPEED", self.speed.to_string())
            // Quick to notice work and to be missed.
            .env("HEARTBEAT_INTERVAL", "1")
            .env("WORKER_HEARTBEAT_COOLDOWN", "0.1")
            .env("IDLE_POLL_DELAY", "0.01");
    }
}

/// A worker that plays.
pub enum Actor {
    /// Inside this process.
    Inside(StackWorker),
    /// A process.
    Process(ActorProcess),
}

/// A worker's process, with all that it starts. Dropping it kills them.
pub struct ActorProcess {
    child: Child,
    group: Option<Pid>,
}

impl ActorProcess {
    /// Starts it in a group of its own; what it prints does not mix with the result.
    pub fn start(mut command: Command) -> Result<Self, Failure> {
        let child = command
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::internal(format!("the worker cannot be started: {error}")))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            group: id.and_then(Pid::from_raw),
            child,
        })
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that nobody is left in the group.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Tells it to stop, and kills it when it takes its time.
    async fn stop(mut self) {
        self.signal(Signal::TERM);
        // What is left of it after that goes with the group.
        let _ = tokio::time::timeout(GOODBYE_MAX, self.child.wait()).await;
    }

    /// Kills it without a word.
    pub async fn kill(mut self) {
        self.signal(Signal::KILL);
        // It cannot refuse, and how it ended is known.
        let _ = tokio::time::timeout(GOODBYE_MAX, self.child.wait()).await;
    }
}

impl Drop for ActorProcess {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Actor {
    /// Says how a process ended that has ended already.
    pub fn left(&mut self) -> Option<String> {
        match self {
            Self::Inside(_) => None,
            Self::Process(process) => match process.child.try_wait() {
                Ok(status) => status.map(|status| status.to_string()),
                Err(error) => Some(error.to_string()),
            },
        }
    }

    /// Lets it finish what it has and say goodbye.
    pub async fn stop(self) {
        match self {
            Self::Inside(worker) => worker.stop().await,
            Self::Process(process) => process.stop().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_read() {
        let guest = parse("gpu=python3 worker.py --x=1").expect("good");
        assert_eq!(guest.profile, Profile::Gpu);
        assert_eq!(guest.command, "python3 worker.py --x=1");
        for (text, message) in [
            ("python3 worker.py", "expected PROFILE=COMMAND"),
            ("gpu= ", "there is no command for `gpu`"),
            ("tpu=python3 worker.py", "invalid variant: tpu"),
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(message), "{text}: {problem}");
        }
    }
}
