//! The settings of traces, read by the rules that all roles share.

use super::{Problem, Problems, Resolved, keys};
use crate::observe::trace::TraceSettings;

/// Reads the settings; none when no spans are recorded.
pub(super) fn traces(values: &Resolved, problems: &mut Problems) -> Option<TraceSettings> {
    let get = |name: &str| {
        // Names that only other roles know have no value here.
        let key = keys::find(name)?;
        Some(values.text(key.name).to_owned())
    };
    match TraceSettings::read(&get) {
        Ok(settings) => settings,
        Err(message) => {
            let name = message.split(':').next().unwrap_or_default();
            let key = keys::find(name).map_or("OTEL_EXPORTER_OTLP_ENDPOINT", |key| key.name);
            let place = values.origin(key).to_string();
            let rest = message
                .strip_prefix(&format!("{key}: "))
                .unwrap_or(&message);
            problems.push(Problem::error(&place, key, rest));
            None
        }
    }
}
