//! Text to blueprint: every error at once, each with its place.

use std::fmt;

use super::Blueprint;
use super::model::ChildUse;
use super::reader::Reader;
use super::tree;
use crate::base::crypto;

/// One thing wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as given.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// `states.start.go_to`.
    pub place: String,
    /// What was seen, what was expected, the nearest known name.
    pub message: String,
    /// Whether the blueprint may be used all the same.
    pub is_warning: bool,
}

impl fmt::Display for Problem {
    /// Writes `file:line:column: error: place: message`, as compilers do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        write!(f, "{}:{}:{}: {kind}: ", self.file, self.line, self.column)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// A file's blueprint and what was found on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The blueprint, unless there are errors.
    pub blueprint: Option<Blueprint>,
    /// Errors and warnings, in the file's order.
    pub problems: Vec<Problem>,
}

/// Reads one file's text, YAML or JSON. Checks everything that the file alone decides.
#[must_use]
pub fn load(file: &str, text: &str) -> Loaded {
    let mut reader = Reader::new(file, text);
    let root = match tree::parse(text) {
        Ok(root) => root,
        Err(error) => {
            reader.error(error.at, "", error.message);
            return Loaded {
                blueprint: None,
                problems: reader.problems,
            };
        }
    };
    let content = reader.file(&root);
    let is_read = reader.problems.iter().all(|problem| problem.is_warning);
    reader.check_targets(&content);
    // The ways are looked up in the compiled conditions, so all of them must be there.
    if is_read && reader.problems.iter().all(|problem| problem.is_warning) {
        reader.check_flow(&content);
        reader.check_history(&content);
    }
    let mut problems = std::mem::take(&mut reader.problems);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.iter().any(|problem| !problem.is_warning) {
        return Loaded {
            blueprint: None,
            problems,
        };
    }
    let mut canonical = String::with_capacity(text.len());
    root.canonical(&mut canonical, false);
    let mut revision = crypto::sha256_hex(canonical.as_bytes());
    revision.truncate(16);
    let mut compiled = reader.compiled;
    compiled.set_name(&content.name);
    let children = content
        .children
        .into_iter()
        .map(|(blueprint, at, place)| ChildUse {
            blueprint,
            line: at.line,
            column: at.column,
            place,
        });
    let blueprint = Blueprint {
        name: content.name,
        version: content.version,
        endpoint: content.endpoint,
        description: content.description,
        revision,
        input: content.input,
        output: content.output,
        events: content.events,
        data_stores: content.data_stores,
        max_transitions: content.max_transitions,
        retention: content.retention,
        start: content.start,
        states: content.states,
        children: children.collect(),
        file: file.to_owned(),
        source: text.to_owned(),
        compiled,
    };
    Loaded {
        blueprint: Some(blueprint),
        problems,
    }
}
