//! The operator's verbs: see, explain, act. Each file is one noun.

pub mod audit;
mod audit_file;
pub mod blueprints;
pub mod config;
mod explanation;
pub mod health;
pub mod jobs;
mod listing;
pub mod schedules;
mod search;
mod servers;
pub mod shell;
pub mod workers;

use serde_json::Value;

/// Returns a member as a cell of a table; `-` when it is not there.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Shortens a text for a table.
fn short(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_texts() {
        assert_eq!(cell(&Value::Null), "-");
        assert_eq!(cell(&serde_json::json!([1])), "[1]");
        assert_eq!(short("grün und lang", 5), "grün…");
        assert_eq!(short("kurz", 5), "kurz");
    }
}
