//! The blueprints in use: the newest good revision of each name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Blueprint, Problem, check_all, load};

/// Immutable; a change makes a new one. A bad file never takes a good revision's place.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    by_name: BTreeMap<String, Entry>,
}

/// A revision and where it came from.
#[derive(Debug, Clone)]
struct Entry {
    file: String,
    blueprint: Arc<Blueprint>,
}

impl Catalog {
    /// Returns the newest good revision of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Blueprint>> {
        self.by_name.get(name).map(|entry| &entry.blueprint)
    }

    /// Returns every blueprint, in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Blueprint>> {
        self.by_name.values().map(|entry| &entry.blueprint)
    }

    /// Reads the files (name and text) as the blueprints from now on.
    ///
    /// A file that has turned bad keeps its good revision from `previous`; a file that is gone takes
    /// its blueprint with it; of two files with one name the first keeps it. Problems come back in
    /// the files' order, with those that concern several files last.
    #[must_use]
    pub fn load_files(files: Vec<(String, String)>, previous: &Self) -> (Self, Vec<Problem>) {
        let mut catalog = Self::default();
        let mut problems = Vec::new();
        let mut bad = BTreeSet::new();
        for (file, text) in files {
            let loaded = load(&file, &text);
            problems.extend(loaded.problems);
            let Some(blueprint) = loaded.blueprint else {
                bad.insert(file);
                continue;
            };
            if let Some(other) = catalog.by_name.get(&blueprint.name) {
                problems.push(taken(&file, &blueprint.name, &other.file));
                continue;
            }
            let name = blueprint.name.clone();
            catalog.by_name.insert(
                name,
                Entry {
                    file,
                    blueprint: Arc::new(blueprint),
                },
            );
        }
        for (name, entry) in &previous.by_name {
            if bad.contains(&entry.file) && !catalog.by_name.contains_key(name) {
                catalog.by_name.insert(name.clone(), entry.clone());
            }
        }
        problems.extend(catalog.settle(previous));
        (catalog, problems)
    }

    /// Takes back what only all files together show to be wrong: a blueprint whose child does not
    /// exist, or that can never end for its children, gives way to its good revision, if it had
    /// one. Taking one back may leave another without its child, hence the repetition.
    fn settle(&mut self, previous: &Self) -> Vec<Problem> {
        let mut problems = Vec::new();
        loop {
            let all: Vec<&Blueprint> = self.iter().map(Arc::as_ref).collect();
            let is_new = |problem: &Problem| {
                self.by_name
                    .values()
                    .any(|entry| entry.file == problem.file && !previous.holds(&entry.blueprint))
            };
            let found: Vec<Problem> = check_all(&all).into_iter().filter(is_new).collect();
            if found.is_empty() {
                return problems;
            }
            let bad: BTreeSet<&str> = found.iter().map(|problem| problem.file.as_str()).collect();
            let names: Vec<String> = self
                .by_name
                .iter()
                .filter(|(_, entry)| bad.contains(entry.file.as_str()))
                .map(|(name, _)| name.clone())
                .collect();
            for name in names {
                match previous.by_name.get(&name) {
                    Some(good) => self.by_name.insert(name, good.clone()),
                    None => self.by_name.remove(&name),
                };
            }
            problems.extend(found);
        }
    }

    /// Tells whether exactly this revision is here.
    fn holds(&self, blueprint: &Blueprint) -> bool {
        self.get(&blueprint.name)
            .is_some_and(|known| known.revision == blueprint.revision)
    }
}

fn taken(file: &str, name: &str, other: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 1,
        column: 1,
        place: "blueprint".to_owned(),
        message: format!("the name `{name}` is taken by {other}; give this one another"),
        is_warning: false,
    }
}
