//! Texts that are kept for a while and shared.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

/// A text in UTF-8; a clone is the same one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// Keeps what is written, about so many bytes: JSON, or something else in UTF-8.
    pub(super) fn write(length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = Vec::with_capacity(length);
        write(&mut out);
        out.into()
    }

    /// Returns a part of it; the ends are between characters.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self(self.0.slice(range))
    }

    /// Returns it as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it as text, which costs a look at all of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it was written as UTF-8")
    }
}

impl From<Vec<u8>> for Text {
    /// Takes what was written as UTF-8.
    fn from(mut text: Vec<u8>) -> Self {
        // What is kept of it is counted by its length.
        text.shrink_to_fit();
        Self(text.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
