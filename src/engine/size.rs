//! How large a value is, without writing it anywhere.

use std::io;

use serde::Serialize;

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
    fn shortens_between_characters() {
        assert_eq!(shortened("aé", 2), "a");
        assert_eq!(shortened("aé", 3), "aé");
        assert_eq!(shortened("aé", 0), "");
    }
}
