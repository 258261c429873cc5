//! What only the whole file, or all files together, can tell.

use std::collections::{BTreeMap, BTreeSet};

use super::Blueprint;
use super::decode::File;
use super::load::Problem;
use super::reader::Reader;
use super::suggest::did_you_mean;
use super::tree::At;
use super::ways::Way;

/// The states and the ways between them.
struct Map<'a> {
    names: Vec<&'a str>,
    ways: Vec<Vec<(usize, Way)>>,
    ends: Vec<bool>,
}

impl Reader<'_> {
    /// Checks a file whose parts have been read. Expressions may be missing when there are errors
    /// already, so this comes only after a clean reading.
    pub(super) fn check_targets(&mut self, file: &File) {
        let known = || file.states.iter().map(|(name, _)| name.as_str());
        if !file.start.is_empty() && !known().any(|name| name == file.start) {
            let hint = did_you_mean(&file.start, known());
            self.error(
                file.start_at,
                "start",
                format!("no state `{}`{hint}", file.start),
            );
        }
        for target in std::mem::take(&mut self.targets) {
            if !known().any(|name| name == target.state) {
                let hint = did_you_mean(&target.state, known());
                self.error(
                    target.at,
                    &target.place,
                    format!("no state `{}`{hint}", target.state),
                );
            }
        }
    }

    /// Checks that every state is reached and has a way to an end, and that no circle turns
    /// without waiting. Wants the targets to exist.
    pub(super) fn check_flow(&mut self, file: &File) {
        let map = Map::new(file, self);
        let at = |index: usize| file.states_at.get(index).copied().unwrap_or_default();
        let start = map.names.iter().position(|name| *name == file.start);
        let reached = map.reach(start.into_iter().collect(), |_| true);
        for (index, name) in map.names.iter().enumerate() {
            let place = format!("states.{name}");
            if !reached[index] {
                let message = format!("state `{name}` is never reached from `{}`", file.start);
                self.error(at(index), &place, message);
            } else if !map
                .reach(vec![index], |_| true)
                .iter()
                .zip(&map.ends)
                .any(|(r, e)| *r && *e)
            {
                self.error(
                    at(index),
                    &place,
                    format!("no end can be reached from state `{name}`"),
                );
            }
        }
        self.check_circles(&map, at);
    }

    /// Warns of circles that nothing but `max_transitions` ends.
    fn check_circles(&mut self, map: &Map<'_>, at: impl Fn(usize) -> At) {
        let mut told = BTreeSet::new();
        for index in 0..map.names.len() {
            let Some(circle) = map.instant_circle(index) else {
                continue;
            };
            if circle.iter().any(|state| told.contains(state)) {
                continue;
            }
            let names: Vec<&str> = circle.iter().map(|state| map.names[*state]).collect();
            let message = format!(
                "`{} → {}` can turn without any wait; only `max_transitions` ends it",
                names.join(" → "),
                names[0]
            );
            self.warn(at(index), &format!("states.{}", map.names[index]), message);
            told.extend(circle);
        }
    }
}

impl<'a> Map<'a> {
    /// Draws the map of a file.
    fn new(file: &'a File, reader: &Reader<'_>) -> Self {
        let names: Vec<&str> = file.states.iter().map(|(name, _)| name.as_str()).collect();
        let index: BTreeMap<&str, usize> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (*name, index))
            .collect();
        let ways = file.states.iter().map(|(_, state)| {
            let ways = state.body.ways(&reader.compiled).into_iter();
            ways.filter_map(|way| Some((*index.get(way.to.as_str())?, way)))
                .collect()
        });
        let ends = file
            .states
            .iter()
            .map(|(_, state)| state.body.may_end())
            .collect();
        Self {
            ways: ways.collect(),
            names,
            ends,
        }
    }

    /// Returns which states are reached by the ways that count.
    fn reach(&self, mut open: Vec<usize>, counts: impl Fn(&Way) -> bool) -> Vec<bool> {
        let mut reached = vec![false; self.names.len()];
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut reached[index], true) {
                continue;
            }
            open.extend(
                self.ways[index]
                    .iter()
                    .filter(|(_, way)| counts(way))
                    .map(|(to, _)| *to),
            );
        }
        reached
    }

    /// Returns a circle of instant ways through a state, if there is one: the shortest.
    fn instant_circle(&self, start: usize) -> Option<Vec<usize>> {
        let mut came_from = vec![None; self.names.len()];
        let mut open = std::collections::VecDeque::from([start]);
        while let Some(index) = open.pop_front() {
            for (to, _) in self.ways[index].iter().filter(|(_, way)| way.is_instant) {
                if *to == start {
                    let mut circle = vec![index];
                    while let Some(before) = came_from[circle[circle.len() - 1]] {
                        circle.push(before);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if came_from[*to].is_none() {
                    came_from[*to] = Some(index);
                    open.push_back(*to);
                }
            }
        }
        None
    }
}

/// Checks what several files decide together: that every child exists, and that no blueprint is
/// bound to run itself for ever.
#[must_use]
pub fn check_all(blueprints: &[&Blueprint]) -> Vec<Problem> {
    let by_name: BTreeMap<&str, &Blueprint> = blueprints
        .iter()
        .map(|blueprint| (blueprint.name.as_str(), *blueprint))
        .collect();
    let mut ending: BTreeSet<&str> = BTreeSet::new();
    loop {
        let more: Vec<&str> = blueprints
            .iter()
            .filter(|blueprint| !ending.contains(blueprint.name.as_str()))
            .filter(|blueprint| can_end(blueprint, &by_name, &ending))
            .map(|blueprint| blueprint.name.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        ending.extend(more);
    }
    let mut problems = Vec::new();
    for blueprint in blueprints {
        for child in &blueprint.children {
            let problem = |message: String| Problem {
                file: blueprint.file.clone(),
                line: child.line,
                column: child.column,
                place: child.place.clone(),
                message,
                is_warning: false,
            };
            let name = child.blueprint.as_str();
            if !by_name.contains_key(name) {
                let hint = did_you_mean(name, by_name.keys().copied());
                problems.push(problem(format!("no blueprint `{name}`{hint}")));
            } else if !ending.contains(blueprint.name.as_str()) && !ending.contains(name) {
                problems.push(problem(format!(
                    "`{}` cannot end without `{name}`, which runs it again: a recursion without bound",
                    blueprint.name
                )));
            }
        }
    }
    problems
}

/// Tells whether a blueprint has a way to an end on which every child is known to end.
fn can_end(
    blueprint: &Blueprint,
    by_name: &BTreeMap<&str, &Blueprint>,
    ending: &BTreeSet<&str>,
) -> bool {
    let mut open = vec![blueprint.start.as_str()];
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let Some(state) = blueprint.state(name) else {
            continue;
        };
        if state.body.may_end() {
            return true;
        }
        for way in state.body.ways(&blueprint.compiled) {
            let passes = match way.child.as_deref() {
                // A child that is missing is another problem.
                Some(child) => ending.contains(child) || !by_name.contains_key(child),
                None => true,
            };
            if passes && let Some((to, _)) = blueprint.states.iter().find(|(to, _)| *to == way.to) {
                open.push(to);
            }
        }
    }
    false
}
