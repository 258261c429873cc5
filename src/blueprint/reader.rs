//! The decoder's tools: takes values out of the tree and collects what is wrong with them.
//!
//! Every method answers with something usable, so that reading goes on and all problems come out
//! together.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;

use super::expr::CompileError;
use super::load::Problem;
use super::suggest::did_you_mean;
use super::tree::{At, Entry, Kind, Node};
use super::{Compiled, Template, TemplateId};
use crate::domain::Object;

/// A way from one state to another, as written.
#[derive(Debug)]
pub(super) struct Target {
    pub state: String,
    pub at: At,
    pub place: String,
}

/// Collects problems while a file is read.
pub(super) struct Reader<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub problems: Vec<Problem>,
    /// Gets every expression and schema of the file.
    pub compiled: Compiled,
    /// Every state named as a target.
    pub targets: Vec<Target>,
    /// Where each compiled expression stands.
    pub places: BTreeMap<String, At>,
    /// The names that the expressions at hand see besides the common ones.
    pub locals: Vec<String>,
}

/// The members of a map.
pub(super) struct Members<'n> {
    entries: &'n [Entry],
    /// Whether there is a map at all; when not, nothing more needs to be said of its members.
    pub is_map: bool,
}

impl<'n> Members<'n> {
    /// Returns a member's value.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns a member.
    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Returns all members in the file's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'n Entry> + use<'n> {
        self.entries.iter()
    }
}

impl<'a> Reader<'a> {
    /// Starts reading a file.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
            compiled: Compiled::default(),
            targets: Vec::new(),
            places: BTreeMap::new(),
            locals: Vec::new(),
        }
    }

    /// Notes something that makes the blueprint unusable.
    pub(super) fn error(&mut self, at: At, place: &str, message: impl Display) {
        self.problem(at, place, message.to_string(), false);
    }

    /// Notes something that is worth a look.
    pub(super) fn warn(&mut self, at: At, place: &str, message: impl Display) {
        self.problem(at, place, message.to_string(), true);
    }

    fn problem(&mut self, at: At, place: &str, message: String, is_warning: bool) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            place: place.to_owned(),
            message,
            is_warning,
        });
    }

    /// Notes that something is missing from a map, unless there is no map.
    pub(super) fn missing(&mut self, members: &Members<'_>, at: At, place: &str, what: &str) {
        if members.is_map {
            self.error(at, place, what);
        }
    }

    /// Notes that a value is not what it should be.
    pub(super) fn expected(&mut self, node: &Node, place: &str, what: &str) {
        self.error(
            node.at,
            place,
            format!("expected {what}, got {}", node.describe()),
        );
    }

    /// Takes a map whose keys are the author's own.
    pub(super) fn free_map<'n>(&mut self, node: &'n Node, place: &str) -> Members<'n> {
        let Kind::Map(entries) = &node.kind else {
            self.expected(node, place, "a map");
            return Members {
                entries: &[],
                is_map: false,
            };
        };
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|other| other.key == entry.key) {
                let message = format!(
                    "`{}` comes twice, first in line {}",
                    entry.key, first.key_at.line
                );
                self.error(entry.key_at, &join(place, &entry.key), message);
            }
        }
        Members {
            entries,
            is_map: true,
        }
    }

    /// Takes a map of known keys; any other is an error.
    pub(super) fn map<'n>(&mut self, node: &'n Node, place: &str, known: &[&str]) -> Members<'n> {
        let members = self.free_map(node, place);
        for entry in members
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let hint = did_you_mean(&entry.key, known.iter().copied());
            let hint = if hint.is_empty() {
                format!(", expected one of: {}", known.join(", "))
            } else {
                hint
            };
            let message = format!("unknown key `{}`{hint}", entry.key);
            self.error(entry.key_at, &join(place, &entry.key), message);
        }
        members
    }

    /// Takes a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, place: &str) -> &'n [Node] {
        if let Kind::List(items) = &node.kind {
            items
        } else {
            self.expected(node, place, "a list");
            &[]
        }
    }

    /// Takes a JSON Schema and compiles it.
    pub(super) fn schema(&mut self, node: &Node, place: &str) -> Value {
        let schema = node.to_json();
        if !matches!(node.kind, Kind::Map(_) | Kind::Bool(_)) {
            self.expected(node, place, "a JSON Schema");
        } else if let Err(cause) = self.compiled.schemas.add(&schema) {
            self.error(node.at, place, format!("not a valid JSON Schema: {cause}"));
        }
        schema
    }

    /// Takes a JSON object in which nothing is evaluated.
    pub(super) fn object(&mut self, node: &Node, place: &str) -> Object {
        self.free_map(node, place);
        match node.to_json() {
            Value::Object(map) => map,
            _ => Object::new(),
        }
    }

    /// Takes a state's name as the target of a way.
    pub(super) fn target(&mut self, node: &Node, place: &str) -> String {
        let Some(state) = self.name(node, place) else {
            return String::new();
        };
        self.targets.push(Target {
            state: state.clone(),
            at: node.at,
            place: place.to_owned(),
        });
        state
    }

    /// Takes any value in which texts may be templates.
    pub(super) fn template(&mut self, node: &Node, place: &str) -> Template {
        match &node.kind {
            Kind::Text(text) => self.text_template(node.at, place, text),
            Kind::List(items) => {
                let items: Vec<Template> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.template(item, &format!("{place}[{index}]")))
                    .collect();
                constant_list(items)
            }
            Kind::Map(_) => {
                let members = self.free_map(node, place);
                let members: Vec<(String, Template)> = members
                    .iter()
                    .map(|entry| {
                        (
                            entry.key.clone(),
                            self.template(&entry.value, &join(place, &entry.key)),
                        )
                    })
                    .collect();
                constant_object(members)
            }
            _ => Template::Constant(node.to_json()),
        }
    }

    /// Takes a text that may be a template; other scalars count as their text.
    pub(super) fn line(&mut self, node: &Node, place: &str) -> Template {
        if matches!(node.kind, Kind::List(_) | Kind::Map(_) | Kind::Null) {
            self.expected(node, place, "a text");
        }
        self.template(node, place)
    }

    /// Compiles a text that may be a template.
    pub(super) fn text_template(&mut self, at: At, place: &str, text: &str) -> Template {
        let locals: Vec<&str> = self.locals.iter().map(String::as_str).collect();
        self.places.insert(place.to_owned(), at);
        let result = self.compiled.template(place, text, &locals);
        result.unwrap_or_else(|error| {
            self.compile_error(at, place, text, &error);
            // Never run: a blueprint with an error is not handed out.
            Template::Expression(TemplateId(u32::MAX))
        })
    }

    /// Notes that an expression does not compile, where in it as far as the file shows it.
    pub(super) fn compile_error(
        &mut self,
        at: At,
        place: &str,
        source: &str,
        error: &CompileError,
    ) {
        let at = self.locate(at, source, error.offset);
        self.error(at, place, &error.message);
    }

    /// Finds the place of an offset in a scalar. A scalar that the file spells otherwise than it
    /// reads (escapes, folded lines) gives its own beginning.
    fn locate(&self, at: At, source: &str, offset: usize) -> At {
        let found = (|| {
            let line = self.text.lines().nth(at.line.checked_sub(1)? as usize)?;
            let (start, _) = line
                .char_indices()
                .nth(at.column.checked_sub(1)? as usize)?;
            let rest = &line[start..];
            let quote = usize::from(rest.starts_with(['"', '\'']));
            let before = source.get(..offset)?;
            (rest.get(quote..)?.starts_with(before) && !before.contains('\n')).then(|| {
                let shift = u32::try_from(quote + before.chars().count()).unwrap_or(0);
                At {
                    column: at.column + shift,
                    ..at
                }
            })
        })();
        found.unwrap_or(at)
    }
}

/// Joins a place and a member's name.
pub(super) fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

/// Makes a list one constant where nothing in it is evaluated.
fn constant_list(items: Vec<Template>) -> Template {
    if items
        .iter()
        .all(|item| matches!(item, Template::Constant(_)))
    {
        let values = items.into_iter().filter_map(into_constant).collect();
        return Template::Constant(Value::Array(values));
    }
    Template::List(items)
}

/// Makes an object one constant where nothing in it is evaluated.
fn constant_object(members: Vec<(String, Template)>) -> Template {
    if members
        .iter()
        .all(|(_, value)| matches!(value, Template::Constant(_)))
    {
        let map = members
            .into_iter()
            .filter_map(|(key, value)| Some((key, into_constant(value)?)));
        return Template::Constant(Value::Object(map.collect()));
    }
    Template::Object(members)
}

/// Returns a constant's value.
fn into_constant(template: Template) -> Option<Value> {
    match template {
        Template::Constant(value) => Some(value),
        _ => None,
    }
}
