//! What expressions read of a job's history, for the check of names that nothing ever sets.

use super::rewrite::Binding;
use super::scope::{Path, Step};
use super::{Code, Compiled, Condition};

impl Compiled {
    /// Returns each member of `state_history` that an expression names, with the expression's
    /// place.
    pub(in crate::blueprint) fn history_reads(&self) -> Vec<(&str, &str)> {
        let mut reads = Vec::new();
        for program in &self.programs {
            let mut paths = Vec::new();
            of_code(&program.code, &mut paths);
            reads.extend(
                paths
                    .into_iter()
                    .filter_map(|path| Some((program.place.as_str(), key(path)?))),
            );
        }
        for guarded in &self.conditions {
            let mut paths = Vec::new();
            of_condition(&guarded.condition, &mut paths);
            reads.extend(
                paths
                    .into_iter()
                    .filter_map(|path| Some((guarded.place.as_str(), key(path)?))),
            );
        }
        reads
    }
}

/// Returns the member of `state_history` that a path leads to.
fn key(path: &Path) -> Option<&str> {
    match (path.root.as_str(), path.steps.first()) {
        ("state_history", Some(Step::Key(key))) => Some(key),
        _ => None,
    }
}

fn of_code<'a>(code: &'a Code, paths: &mut Vec<&'a Path>) {
    match code {
        Code::Path(path) => paths.push(path),
        Code::Expression(_, bindings) => {
            for binding in bindings {
                if let Binding::Path(path) = binding {
                    paths.push(path);
                }
            }
        }
    }
}

fn of_condition<'a>(condition: &'a Condition, paths: &mut Vec<&'a Path>) {
    match condition {
        Condition::And(a, b) | Condition::Or(a, b) => {
            of_condition(a, paths);
            of_condition(b, paths);
        }
        Condition::Not(inner) => of_condition(inner, paths),
        Condition::Holds(path) | Condition::IsText { path, .. } => paths.push(path),
        Condition::Code(code) => of_code(code, paths),
    }
}
