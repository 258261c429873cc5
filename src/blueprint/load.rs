//! Text to blueprint: every error at once, each with its place.

use super::Blueprint;

/// One thing wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as given.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// `states.start.go_to`.
    pub place: String,
    /// What was seen, what was expected, the nearest known name.
    pub message: String,
    /// Whether the blueprint may be used all the same.
    pub is_warning: bool,
}

/// A file's blueprint and what was found on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The blueprint, unless there are errors.
    pub blueprint: Option<Blueprint>,
    /// Errors and warnings, in the file's order.
    pub problems: Vec<Problem>,
}

/// Reads one file's text. Checks everything that the file alone decides.
#[must_use]
pub fn load(_file: &str, _text: &str) -> Loaded {
    unimplemented!()
}
