//! The check for members of `state_history` that nothing ever sets.

use std::collections::BTreeSet;

use super::decode::File;
use super::model::{Action, Body};
use super::reader::Reader;
use super::suggest::{did_you_mean, nearest};

/// What a blueprint puts into its jobs' history.
#[derive(Default)]
struct Written<'a> {
    keys: BTreeSet<&'a str>,
    /// Whether a worker's data is merged, whose members the file does not tell.
    is_open: bool,
}

impl Reader<'_> {
    /// Checks that what expressions read of the history is set somewhere. Where workers add to the
    /// history, only names that look misspelt are told of.
    pub(super) fn check_history(&mut self, file: &File) {
        let mut written = Written::default();
        for (_, state) in &file.states {
            written.body(&state.body);
        }
        let reads: BTreeSet<(String, String)> = self
            .compiled
            .history_reads()
            .into_iter()
            .filter(|(_, key)| !written.keys.contains(key))
            .map(|(place, key)| (place.to_owned(), key.to_owned()))
            .collect();
        for (place, key) in reads {
            let at = self.places.get(&place).copied().unwrap_or_default();
            let hint = did_you_mean(&key, written.keys.iter().copied());
            if !written.is_open {
                let message = format!("nothing ever sets `state_history.{key}`{hint}");
                self.error(at, &place, message);
            } else if nearest(&key, written.keys.iter().copied()).is_some() {
                let message = format!("no state sets `state_history.{key}`{hint}");
                self.warn(at, &place, message);
            }
        }
    }
}

impl<'a> Written<'a> {
    /// Adds what a body writes.
    fn body(&mut self, body: &'a Body) {
        self.keys
            .extend(body.set.iter().map(|(key, _)| key.as_str()));
        match &body.action {
            Action::Choose {
                branches,
                otherwise,
            } => {
                for branch in branches {
                    self.body(&branch.body);
                }
                if let Some(body) = otherwise {
                    self.body(body);
                }
            }
            Action::Dispatch(dispatch) => {
                self.keys.extend(dispatch.into.as_deref());
                self.is_open |= dispatch.into.is_none() || !dispatch.on_event.is_empty();
            }
            Action::Run(_) => {
                self.keys.insert("children");
            }
            _ => {}
        }
    }
}
