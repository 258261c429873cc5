//! How large a value is, without writing it anywhere.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// The deepest that a value of a job may be nested. Whoever reads JSON stops at 128 levels, and a
/// record wraps a value in a few more: what is stored must be readable again.
pub(super) const NESTING_MAX: usize = 80;

/// Counts what is written and keeps none of it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the size of the value as JSON, in bytes.
pub(super) fn json_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        // JSON values always serialise; anything else must not pass for small.
        Err(_) => usize::MAX,
    }
}

/// Tells whether lists and objects lie in each other more than so many levels deep.
pub(super) fn nests_deeper(value: &Value, levels: usize) -> bool {
    let mut parts: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => return false,
    };
    levels == 0 || parts.any(|part| nests_deeper(part, levels - 1))
}

/// Returns the text's longest beginning of at most `bytes_max` bytes, at a character's border.
pub(super) fn shortened(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_json() {
        let value = serde_json::json!({"a": [1, "é"], "b": null});
        assert_eq!(json_bytes(&value), value.to_string().len());
    }

    #[test]
    fn levels_are_counted() {
        let value = serde_json::json!([1, {"a": [[]]}]);
        assert!(nests_deeper(&value, 3));
        assert!(!nests_deeper(&value, 4));
        assert!(!nests_deeper(&Value::Null, 0));
    }

    #[test]
    fn shortens_between_characters() {
        assert_eq!(shortened("aé", 2), "a");
        assert_eq!(shortened("aé", 3), "aé");
        assert_eq!(shortened("aé", 0), "");
    }
}
