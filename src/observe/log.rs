//! What the program tells of itself: log lines on stderr, as text or JSON, in the operator's time
//! zone. Never sees a payload or a secret: whoever logs passes names, ids and counts.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::base::{Clock, SystemClock};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR`, or directives as in `info,avtomatika::runtime=debug`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
    /// IANA name of the zone in which times are written.
    pub time_zone: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "INFO".to_owned(),
            format: LogFormat::Auto,
            time_zone: "UTC".to_owned(),
        }
    }
}

/// Checks a level's text without keeping it.
pub fn check_level(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

/// Sets up logging for the process. A second call changes nothing: the first one holds.
///
/// Errors: the level or the time zone is not one.
pub fn init(settings: &LogSettings, no_color: bool) -> Result<(), String> {
    let filter = filter(&settings.level)?;
    let zone = jiff::tz::TimeZone::get(&settings.time_zone)
        .map_err(|_| format!("`{}` is not a known time zone", settings.time_zone))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(ZonedTime(zone))
        .with_ansi(terminal && !no_color);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // An error here means that the process logs already: a test, or a role started inside another.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
    Ok(())
}

/// What holds beside a level for all, unless the target is named too. The clients of Redis and PostgreSQL
/// warn once for every connection that ends, and tell of tables that are there already: an outage is told
/// by who meets it, in one line.
const QUIETED: &str = "fred=error,deadpool=error,tokio_postgres=warn";

/// Reads a level. Python's names are taken too, because the original's files have them.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives = match text.trim().to_ascii_uppercase().as_str() {
        "" => "info",
        "WARNING" => "warn",
        "CRITICAL" | "FATAL" => "error",
        "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "OFF" => text.trim(),
        _ if text.contains(['=', ',']) => text.trim(),
        _ => {
            return Err(format!(
                "`{text}` is none of DEBUG, INFO, WARNING, ERROR, OFF"
            ));
        }
    };
    let tells_warnings = |one: &str| {
        let level = one.trim().to_ascii_uppercase();
        matches!(level.as_str(), "TRACE" | "DEBUG" | "INFO" | "WARN")
    };
    let quieted = if directives.split(',').any(tells_warnings) {
        format!("{QUIETED},{directives}")
    } else {
        // Nothing of theirs would be told but errors; then it is not to be more.
        directives.to_owned()
    };
    EnvFilter::try_new(quieted)
        .map_err(|error| format!("`{text}` is not a list of log directives: {error}"))
}

/// Writes the present in a zone as RFC 3339 with milliseconds and offset.
struct ZonedTime(jiff::tz::TimeZone);

impl FormatTime for ZonedTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = SystemClock.now();
        match jiff::Timestamp::from_millisecond(now.0) {
            Ok(timestamp) => {
                let offset = self.0.to_offset(timestamp);
                write!(w, "{:.3}", timestamp.display_with_offset(offset))
            }
            Err(_) => write!(w, "{}", now.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_both_worlds_are_taken() {
        for good in [
            "INFO",
            "debug",
            "WARNING",
            "CRITICAL",
            "info,avtomatika::runtime=debug",
            "",
        ] {
            assert_eq!(check_level(good), Ok(()), "{good}");
        }
        for (text, quieted) in [
            ("", true),
            ("DEBUG", true),
            ("info,avtomatika::runtime=debug", true),
            ("avtomatika=debug, Warn", true),
            ("OFF", false),
            ("ERROR", false),
            ("avtomatika=debug", false),
            ("off,avtomatika=info", false),
        ] {
            let filter = filter(text).expect("is one").to_string();
            assert_eq!(filter.contains("fred=error"), quieted, "{text}: {filter}");
        }
        let own = filter("info,fred=debug").expect("is one").to_string();
        assert!(
            own.contains("fred=debug") && !own.contains("fred=error"),
            "{own}"
        );
        assert_eq!(
            check_level("loud"),
            Err("`loud` is none of DEBUG, INFO, WARNING, ERROR, OFF".to_owned())
        );
    }

    #[test]
    fn times_carry_their_offset() {
        let zone = jiff::tz::TimeZone::get("Asia/Kolkata").expect("a known zone");
        let mut text = String::new();
        ZonedTime(zone)
            .format_time(&mut Writer::new(&mut text))
            .expect("writes to a string");
        assert!(text.ends_with("+05:30"), "{text}");
        assert!(text.parse::<jiff::Timestamp>().is_ok(), "{text}");
    }
}
