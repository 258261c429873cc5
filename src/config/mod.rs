//! Floor 7: configuration of the orchestrator's side: flags, environment and files become checked
//! settings, clients, worker tokens and schedules. All problems are found before the first is told.
//! Never reads the process's environment itself: whoever calls hands in a function.

pub mod clients;
mod document;
mod files;
pub mod foreign;
pub mod glob;
pub mod keys;
pub mod misspelt;
mod published;
mod read;
mod redis;
pub mod schedules;
mod secret_file;
pub mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod traces;
pub mod value;
pub mod workers;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::api::WorkerAuthMode;
use crate::domain::Client;
use crate::domain::schedule::Schedule;

pub use files::{Files, addressing as s3_addressing};
pub use read::{Flag, Resolved, Sources, resolve};
pub use settings::Settings;
pub use workers::WorkerTokens;

/// The file that is read when nobody names one and it is there.
pub const DEFAULT_FILE: &str = "config/avtomatika.toml";

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line; the flag.
    Flag(&'static str),
    /// The environment; the variable.
    Environment(&'static str),
    /// A file; `file:line`.
    File(String),
    /// Nowhere: the program's default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(place) => f.write_str(place),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: &'static str,
    /// Its text; `***` for a secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, `environment …`, `flag …`.
    pub place: String,
    /// The key; empty when the whole file is meant.
    pub key: String,
    /// What was seen, what was expected, what to do.
    pub message: String,
    /// Whether the program may run all the same.
    pub is_warning: bool,
}

impl Problem {
    /// Makes a problem that keeps the program from running.
    #[must_use]
    pub fn error(place: &str, key: &str, message: &str) -> Self {
        Self {
            place: place.to_owned(),
            key: key.to_owned(),
            message: message.to_owned(),
            is_warning: false,
        }
    }

    /// Makes a problem that is only told.
    #[must_use]
    pub fn warning(place: &str, key: &str, message: &str) -> Self {
        Self {
            is_warning: true,
            ..Self::error(place, key, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.is_warning { "warning" } else { "error" };
        write!(f, "{}: {label}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Problems as they are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Returns all of them, in the order in which they were found.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// Splits into a failure when there is an error, else the warnings.
    pub fn settle(self) -> Result<Vec<Problem>, ConfigError> {
        if self.0.iter().all(|problem| problem.is_warning) {
            Ok(self.0)
        } else {
            Err(ConfigError { problems: self.0 })
        }
    }
}

/// The configuration cannot be used. Retrying does not help; the operator has to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that is wrong, warnings included.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self
            .problems
            .iter()
            .filter(|problem| !problem.is_warning)
            .count();
        write!(f, "the configuration has {errors} error(s)")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// All that the orchestrator's side is configured with.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// Who may submit jobs.
    pub clients: Vec<Client>,
    /// The workers' own tokens.
    pub worker_tokens: WorkerTokens,
    /// What the clock starts.
    pub schedules: Vec<Schedule>,
    /// All settings with their origins.
    pub entries: Vec<Entry>,
    /// What is odd but usable; to be told at start.
    pub warnings: Vec<Problem>,
}

/// Chooses the settings file: the flag's, else `AVTOMATIKA_CONFIG`'s, else the default one when it
/// is there; and reads it.
pub fn settings_file(
    flag: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let named = flag.map(Path::to_owned).or_else(|| {
        env("AVTOMATIKA_CONFIG")
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    });
    let path = match named {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).is_file() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(None),
    };
    let mut problems = Problems::default();
    let text = read(&path, "AVTOMATIKA_CONFIG", &mut problems);
    problems.settle()?;
    Ok(text.map(|text| (path, text)))
}

/// Reads and checks everything; problems of all files are reported together.
pub fn load(sources: &Sources<'_>) -> Result<Configuration, ConfigError> {
    let mut problems = Problems::default();
    let resolved = resolve(sources, &mut problems);
    let settings = settings::build(&resolved, &mut problems);
    let clients = read_clients(&settings, &mut problems);
    let worker_tokens = read_workers(&settings, &mut problems);
    let schedules = read_schedules(&settings, &mut problems);
    clients::check_any(&clients, settings.http.client_api, &mut problems);
    check_windows(&schedules, &settings, &mut problems);
    let warnings = problems.settle()?;
    let entries = resolved.entries();
    Ok(Configuration {
        settings,
        clients,
        worker_tokens,
        schedules,
        entries,
        warnings,
    })
}

/// Reads the workers' tokens again, for reloading while running.
pub fn load_worker_tokens(settings: &Settings) -> Result<WorkerTokens, ConfigError> {
    let mut problems = Problems::default();
    let tokens = read_workers(settings, &mut problems);
    problems.settle().map(|_| tokens)
}

/// Reads the clients again, for reloading while running; with what is odd but usable.
pub fn load_clients(settings: &Settings) -> Result<(Vec<Client>, Vec<Problem>), ConfigError> {
    let mut problems = Problems::default();
    let clients = read_clients(settings, &mut problems);
    clients::check_any(&clients, settings.http.client_api, &mut problems);
    problems.settle().map(|warnings| (clients, warnings))
}

fn read_clients(settings: &Settings, problems: &mut Problems) -> Vec<Client> {
    let context = clients::ClientContext {
        client_token: settings.secrets.client_token.as_ref(),
        orchestrator_key: settings.secrets.orchestrator_key.as_ref(),
        production: settings.production,
    };
    let (path, text) = match &settings.paths.clients {
        Some(path) => (path.clone(), read(path, "CLIENTS_CONFIG_PATH", problems)),
        None => (PathBuf::new(), None),
    };
    clients::parse(&path, &text.unwrap_or_default(), &context, problems)
}

fn read_workers(settings: &Settings, problems: &mut Problems) -> WorkerTokens {
    let Some(path) = &settings.paths.workers else {
        return WorkerTokens::default();
    };
    if settings.worker_auth == WorkerAuthMode::MtlsOnly {
        let message = "has no effect: WORKER_AUTH_MODE=mtls-only lets workers in by certificate";
        let place = path.display().to_string();
        problems.push(Problem::warning(&place, "WORKERS_CONFIG_PATH", message));
        return WorkerTokens::default();
    }
    match read(path, "WORKERS_CONFIG_PATH", problems) {
        Some(text) => workers::parse(path, &text, settings.production, problems),
        None => WorkerTokens::default(),
    }
}

fn read_schedules(settings: &Settings, problems: &mut Problems) -> Vec<Schedule> {
    let Some(path) = &settings.paths.schedules else {
        return Vec::new();
    };
    match read(path, "SCHEDULES_CONFIG_PATH", problems) {
        Some(text) => schedules::parse(path, &text, &settings.log.time_zone, problems),
        None => Vec::new(),
    }
}

/// A key that is forgotten within the window could not keep a slot from running twice (I8).
fn check_windows(schedules: &[Schedule], settings: &Settings, problems: &mut Problems) {
    let known_for = settings.store.key_retention.as_secs();
    for schedule in schedules {
        if schedule.catch_up_window_seconds > known_for {
            let message = format!(
                "{} s is longer than IDEMPOTENCY_KEY_RETENTION ({known_for} s), so a slot could run twice",
                schedule.catch_up_window_seconds
            );
            let key = format!("{}.catch_up_window_seconds", schedule.name);
            problems.push(Problem::error("schedules", &key, &message));
        }
    }
}

fn read(path: &Path, key: &str, problems: &mut Problems) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            problems.push(Problem::error(&path.display().to_string(), key, &message));
            None
        }
    }
}
