//! The decoder's tools for single values: texts, words, numbers and durations.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Reader;
use super::suggest::did_you_mean;
use super::tree::{Kind, Node};
use crate::base::ids::is_identifier;

/// The longest duration: ten years.
const DURATION_MAX: Duration = Duration::from_hours(3650 * 24);

impl Reader<'_> {
    /// Takes a text.
    pub(super) fn text<'n>(&mut self, node: &'n Node, place: &str, what: &str) -> Option<&'n str> {
        if let Kind::Text(text) = &node.kind {
            return Some(text);
        }
        let quote = matches!(node.kind, Kind::Number(_) | Kind::Bool(_));
        let hint = if quote { " (in quotes)" } else { "" };
        self.expected(node, place, &format!("{what}{hint}"));
        None
    }

    /// Takes an identifier.
    pub(super) fn name(&mut self, node: &Node, place: &str) -> Option<String> {
        let text = self.text(node, place, "a name")?;
        if is_identifier(text) {
            return Some(text.to_owned());
        }
        self.expected(
            node,
            place,
            "a name of 1 to 128 letters, digits, `_` and `-`",
        );
        None
    }

    /// Takes one of a few words.
    pub(super) fn word(&mut self, node: &Node, place: &str, known: &[&str]) -> Option<String> {
        if let Kind::Text(text) = &node.kind
            && known.contains(&text.as_str())
        {
            return Some(text.clone());
        }
        let hint = match &node.kind {
            Kind::Text(text) => did_you_mean(text, known.iter().copied()),
            _ => String::new(),
        };
        let message = format!("expected {}, got {}{hint}", choice(known), node.describe());
        self.error(node.at, place, message);
        None
    }

    /// Takes a whole number within bounds.
    pub(super) fn integer(
        &mut self,
        node: &Node,
        place: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        if let Kind::Number(number) = &node.kind
            && let Some(value) = number.as_u64().and_then(|value| u32::try_from(value).ok())
            && range.contains(&value)
        {
            return Some(value);
        }
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        self.expected(node, place, &what);
        None
    }

    /// Takes a number within bounds.
    pub(super) fn number(
        &mut self,
        node: &Node,
        place: &str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        if let Kind::Number(number) = &node.kind
            && let Some(value) = number.as_f64()
            && range.contains(&value)
        {
            return Some(value);
        }
        let what = format!("a number from {} to {}", range.start(), range.end());
        self.expected(node, place, &what);
        None
    }

    /// Takes a duration above zero.
    pub(super) fn duration(&mut self, node: &Node, place: &str) -> Option<Duration> {
        let parsed = match &node.kind {
            Kind::Text(text) => parse_duration(text),
            Kind::Number(number) => number.as_f64().and_then(seconds),
            _ => None,
        };
        let good = parsed.filter(|value| !value.is_zero() && *value <= DURATION_MAX);
        if good.is_none() {
            let what = "a duration above zero and up to ten years, like `500ms`, `10s`, `5m`, \
                        `24h`, `30d` or a number of seconds";
            self.expected(node, place, what);
        }
        good
    }
}

/// Lists words as alternatives.
fn choice(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(" or ")
}

/// Reads `500ms`, `10s`, `5m`, `24h` or `30d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let amount: f64 = amount.parse().ok()?;
    let scale = match unit.trim() {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    seconds(amount * scale)
}

/// Returns so many seconds, to the millisecond.
fn seconds(value: f64) -> Option<Duration> {
    let exact = Duration::try_from_secs_f64(value).ok()?;
    let ms = (exact + Duration::from_micros(500)).as_millis();
    Some(Duration::from_millis(u64::try_from(ms).ok()?))
}
