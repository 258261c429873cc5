//! `workers.toml`: the workers' own tokens, by id or by pattern of ids. A worker's token is also
//! the key that its messages are signed with, so it is kept as it is, not hashed.

use std::collections::BTreeMap;
use std::path::Path;

use super::Problems;
use super::clients::token;
use super::document::parse_tables;
use super::glob::Glob;
use crate::base::ids::is_identifier;
use crate::base::{Secret, WorkerId};

const KNOWN: &[&str] = &["token", "description"];
const PATTERN_PREFIX: &str = "pattern:";

/// The workers' own tokens.
#[derive(Debug, Clone, Default)]
pub struct WorkerTokens {
    /// By id.
    pub exact: BTreeMap<WorkerId, Secret>,
    /// By pattern: the longest first, then in text order, so that the first that fits is the most
    /// specific and always the same one.
    pub patterns: Vec<(Glob, Secret)>,
}

impl WorkerTokens {
    /// Returns the worker's own token: by its id, else by the first pattern that fits.
    #[must_use]
    pub fn lookup(&self, worker: &str) -> Option<&Secret> {
        self.exact.get(worker).or_else(|| {
            self.patterns
                .iter()
                .find(|(glob, _)| glob.matches(worker))
                .map(|(_, token)| token)
        })
    }

    /// Tells whether there is no entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }
}

/// Reads the file's text.
pub fn parse(file: &Path, text: &str, production: bool, problems: &mut Problems) -> WorkerTokens {
    let mut tokens = WorkerTokens::default();
    for table in parse_tables(file, text, problems) {
        table.check_names(KNOWN, true, problems);
        let token = token(&table, production, problems);
        let name = table.name.as_str();
        if let Some(pattern) = name.strip_prefix(PATTERN_PREFIX) {
            match Glob::parse(pattern) {
                Ok(glob) => tokens.patterns.extend(token.map(|token| (glob, token))),
                Err(message) => table.complain("", &message, problems),
            }
        } else if is_identifier(name) {
            tokens
                .exact
                .extend(token.map(|token| (WorkerId::new(name), token)));
        } else {
            let message = "not a worker id: 1 to 128 of A-Z a-z 0-9 _ -; a pattern is written \"pattern:gpu-*\"";
            table.complain("", message, problems);
        }
    }
    tokens.patterns.sort_by(|(a, _), (b, _)| {
        let longest_first = b.as_str().chars().count().cmp(&a.as_str().chars().count());
        longest_first.then_with(|| a.as_str().cmp(b.as_str()))
    });
    tokens
}
