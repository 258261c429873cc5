//! What every role is handed: output, time, entropy, the environment, and the wish to stop.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::printer::Printer;
use crate::base::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::config::{self, Configuration, Flag, Sources};
use crate::observe::{self, LogFormat, LogSettings};

/// What a role needs of the process around it.
#[derive(Clone)]
pub struct Context {
    /// The one way to write.
    pub printer: Printer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// Cancelled at the first SIGINT or SIGTERM; the second ends the process.
    pub stop: CancellationToken,
    /// Log settings of the command line.
    pub log: LogArgs,
}

impl Context {
    /// Makes the context of this process.
    #[must_use]
    pub fn new(printer: Printer, log: LogArgs) -> Self {
        Self {
            printer,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            stop: CancellationToken::new(),
            log,
        }
    }

    /// Sets up logging from the command line and the environment, for roles without settings.
    pub fn init_logging(&self, default_level: &str) -> Result<(), Failure> {
        let level = self.log.log_level.clone().or_else(|| env("LOG_LEVEL"));
        let format = self.log.log_format.clone().or_else(|| env("LOG_FORMAT"));
        let settings = LogSettings {
            level: level.unwrap_or_else(|| default_level.to_owned()),
            format: match format.unwrap_or_default().to_ascii_lowercase().as_str() {
                "json" => LogFormat::Json,
                "text" => LogFormat::Text,
                _ => LogFormat::Auto,
            },
            time_zone: env("TZ").unwrap_or_else(|| "UTC".to_owned()),
        };
        self.init_logging_with(&settings)
    }

    /// Sets up logging from checked settings.
    pub fn init_logging_with(&self, settings: &LogSettings) -> Result<(), Failure> {
        let no_color = env("NO_COLOR").is_some();
        observe::init(settings, no_color).map_err(|message| Failure::new(Exit::Invalid, message))
    }
}

/// Reads a variable of the process's environment; one that is not Unicode counts as not set.
#[must_use]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What is logged, for every command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// DEBUG, INFO, WARNING, ERROR, or directives such as info,avtomatika::runtime=debug [env: LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL", display_order = 900)]
    pub log_level: Option<String>,
    /// auto, json or text [env: LOG_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT", display_order = 901)]
    pub log_format: Option<String>,
}

/// Where the orchestrator's settings come from; the flags win over environment and file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Settings file [env: AVTOMATIKA_CONFIG] [default: config/avtomatika.toml when it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [env: API_HOST]
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on, 0 for a free one [env: API_PORT]
    #[arg(long)]
    pub port: Option<u16>,
    /// Directory of the embedded store [env: DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Redis server that keeps the jobs instead: redis://HOST:PORT [env: STORE]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Directory of blueprint files [env: BLUEPRINTS_DIR]
    #[arg(long, value_name = "DIR")]
    pub blueprints: Option<String>,
    /// Where history is kept besides: sqlite:PATH or postgresql://… [env: HISTORY_DATABASE_URI]
    #[arg(long, value_name = "URI")]
    pub history: Option<String>,
    /// Clients' file [env: CLIENTS_CONFIG_PATH]
    #[arg(long, value_name = "FILE")]
    pub clients: Option<String>,
    /// Workers' file [env: WORKERS_CONFIG_PATH]
    #[arg(long, value_name = "FILE")]
    pub workers: Option<String>,
    /// Schedules' file [env: SCHEDULES_CONFIG_PATH]
    #[arg(long, value_name = "FILE")]
    pub schedules: Option<String>,
}

impl SettingsArgs {
    /// Reads and checks all settings and files; tells warnings on stderr.
    pub fn load(&self, context: &Context) -> Result<Configuration, Failure> {
        let mut flags = Vec::new();
        let mut flag = |key: &'static str, name: &'static str, text: Option<String>| {
            flags.extend(text.map(|text| Flag {
                key,
                flag: name,
                text,
            }));
        };
        flag("API_HOST", "--host", self.host.clone());
        flag("API_PORT", "--port", self.port.map(|port| port.to_string()));
        flag("DATA_DIR", "--data-dir", self.data_dir.clone());
        flag("STORE", "--store", self.store.clone());
        flag("BLUEPRINTS_DIR", "--blueprints", self.blueprints.clone());
        flag("HISTORY_DATABASE_URI", "--history", self.history.clone());
        flag("CLIENTS_CONFIG_PATH", "--clients", self.clients.clone());
        flag("WORKERS_CONFIG_PATH", "--workers", self.workers.clone());
        flag(
            "SCHEDULES_CONFIG_PATH",
            "--schedules",
            self.schedules.clone(),
        );
        flag("LOG_LEVEL", "--log-level", context.log.log_level.clone());
        flag("LOG_FORMAT", "--log-format", context.log.log_format.clone());
        // Here an empty variable may say something, so it is not passed over.
        let env = |name: &str| std::env::var(name).ok();
        let file = config::settings_file(self.config.as_deref(), &env)?;
        let sources = Sources {
            flags,
            env: &env,
            file,
        };
        let misspelt = super::environment::misspelt();
        let mut configuration = match config::load(&sources) {
            Ok(configuration) => configuration,
            Err(mut error) => {
                // What is missing may be there under a wrong name.
                error.problems.extend(misspelt);
                return Err(error.into());
            }
        };
        configuration.warnings.extend(misspelt);
        for warning in &configuration.warnings {
            context.printer.warn(&warning.to_string());
        }
        Ok(configuration)
    }
}
