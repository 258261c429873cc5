//! A TOML file whose values remember their lines, so that every complaint names file, line and key.

use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{Problem, Problems};
use crate::blueprint::suggest::nearest;

/// A TOML value with its line.
#[derive(Debug, Clone)]
pub struct Node {
    /// From 1.
    pub line: usize,
    /// The value as JSON; times become text.
    pub value: Value,
}

/// A table with its name and line; members in the file's order.
#[derive(Debug, Clone)]
pub struct Table {
    /// The file, for messages.
    pub file: PathBuf,
    /// Where it stands: `acme`, or empty for the file itself.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// Its members.
    pub members: Vec<(String, Node)>,
}

/// Reads a file's text as one table.
pub fn parse(file: &Path, text: &str, problems: &mut Problems) -> Option<Table> {
    match DeTable::parse(text) {
        Ok(document) => Some(Table {
            file: file.to_owned(),
            name: String::new(),
            line: 1,
            members: members(text, document.get_ref()),
        }),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            problems.push(Problem::error(
                &place(file, line),
                "",
                error.message().trim(),
            ));
            None
        }
    }
}

/// Reads a file's text as a list of named tables; what is no table is a problem.
pub fn parse_tables(file: &Path, text: &str, problems: &mut Problems) -> Vec<Table> {
    let mut tables = Vec::new();
    let Some(root) = parse(file, text, problems) else {
        return tables;
    };
    let Ok(document) = DeTable::parse(text) else {
        return tables;
    };
    for (name, node) in &root.members {
        let inner = document
            .get_ref()
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .and_then(|(_, value)| value.get_ref().as_table());
        match inner {
            Some(table) => tables.push(Table {
                file: file.to_owned(),
                name: name.clone(),
                line: node.line,
                members: members(text, table),
            }),
            None => problems.push(Problem::error(
                &place(file, node.line),
                name,
                &format!("expected a table `[{name}]`, seen {}", kind(&node.value)),
            )),
        }
    }
    tables
}

fn members(text: &str, table: &DeTable<'_>) -> Vec<(String, Node)> {
    let mut members: Vec<(usize, String, Node)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let node = Node {
                line: line_of(text, start),
                value: to_json(value.get_ref()),
            };
            (start, key.get_ref().to_string(), node)
        })
        .collect();
    members.sort_by_key(|(start, _, _)| *start);
    members
        .into_iter()
        .map(|(_, key, node)| (key, node))
        .collect()
}

fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(list) => list.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())))
                .collect(),
        ),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    // Spans begin at characters, so the slice cannot cut one.
    let end = offset.min(text.len());
    text[..end].matches('\n').count() + 1
}

/// Returns `file:line`.
#[must_use]
pub fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

/// Names a value's kind in the words of TOML.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

impl Table {
    /// Returns a member.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// Adds a problem with a member, or with the table when it lacks the member.
    pub fn complain(&self, key: &str, message: &str, problems: &mut Problems) {
        let line = self.get(key).map_or(self.line, |node| node.line);
        problems.push(Problem::error(
            &place(&self.file, line),
            &self.path(key),
            message,
        ));
    }

    /// Returns the dotted name of a member; of the table itself when `key` is empty.
    fn path(&self, key: &str) -> String {
        match (self.name.as_str(), key) {
            ("", key) => key.to_owned(),
            (name, "") => name.to_owned(),
            (name, key) => format!("{name}.{key}"),
        }
    }

    /// Complains of members that are not known. The original passes over unknown members of its
    /// own files, so there only a name that looks like a typing error is one; elsewhere all are.
    pub fn check_names(&self, known: &[&str], others_are_fine: bool, problems: &mut Problems) {
        for (name, node) in &self.members {
            if known.contains(&name.as_str()) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            let message = match near {
                Some(near) => format!("unknown key, did you mean `{near}`?"),
                None => "unknown key, it has no effect".to_owned(),
            };
            let place = place(&self.file, node.line);
            let mut problem = Problem::error(&place, &self.path(name), &message);
            problem.is_warning = others_are_fine && near.is_none();
            problems.push(problem);
        }
    }

    /// Reads a text.
    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        let node = self.get(key)?;
        match &node.value {
            Value::String(text) => Some(text.clone()),
            other => {
                self.complain(
                    key,
                    &format!("expected a string, seen {}", kind(other)),
                    problems,
                );
                None
            }
        }
    }

    /// Reads a whole number within bounds.
    pub fn integer(&self, key: &str, min: u64, max: u64, problems: &mut Problems) -> Option<u64> {
        let node = self.get(key)?;
        match node.value.as_u64() {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                let seen = match &node.value {
                    Value::Number(number) => number.to_string(),
                    other => kind(other).to_owned(),
                };
                let message = format!("expected a whole number from {min} to {max}, seen {seen}");
                self.complain(key, &message, problems);
                None
            }
        }
    }

    /// Reads `true` or `false`.
    pub fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(key)?;
        if let Value::Bool(flag) = node.value {
            return Some(flag);
        }
        let message = format!("expected true or false, seen {}", kind(&node.value));
        self.complain(key, &message, problems);
        None
    }

    /// Reads a table.
    pub fn object(&self, key: &str, problems: &mut Problems) -> Option<crate::domain::Object> {
        let node = self.get(key)?;
        match &node.value {
            Value::Object(members) => Some(members.clone()),
            other => {
                self.complain(
                    key,
                    &format!("expected a table, seen {}", kind(other)),
                    problems,
                );
                None
            }
        }
    }
}
