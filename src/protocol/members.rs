//! Strict reading of one object's members: no coercion, `null` counts as missing, unknown members
//! are left alone, and every refusal names the path. Source: wire-protocol §4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::errors::WireError;
use crate::domain::Object;

/// Where a value lies: a list of steps that lives on the stack of the reader.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Member(parent, name) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Self::Item(parent, index) => {
                parent.write(out);
                // Writing into a String does not fail.
                let _ = write!(out, "[{index}]");
            }
        }
    }
}

/// Names the type of a value, for messages: never its content.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// One object and where it lies.
pub(super) struct Members<'a> {
    members: &'a Object,
    path: Path<'a>,
}

impl<'a> Members<'a> {
    /// Takes the message itself.
    pub(super) fn root(message: &'a Value) -> Result<Self, WireError> {
        Self::at(message, Path::Root)
    }

    fn at(value: &'a Value, path: Path<'a>) -> Result<Self, WireError> {
        match value {
            Value::Object(members) => Ok(Self { members, path }),
            other => Err(refuse(&path, type_of(other), "an object")),
        }
    }

    /// Returns the member unless it is missing or null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Builds the refusal of a member.
    pub(super) fn refuse(&self, name: &str, expected: &'static str) -> WireError {
        let seen = self.get(name).map_or("nothing", type_of);
        refuse(&Path::Member(&self.path, name), seen, expected)
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WireError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.refuse(name, expected)),
        }
    }

    fn required<T>(
        &self,
        name: &str,
        expected: &'static str,
        value: Option<T>,
    ) -> Result<T, WireError> {
        value.ok_or_else(|| self.refuse(name, expected))
    }

    /// Reads an optional text.
    pub(super) fn opt_string(&self, name: &str) -> Result<Option<String>, WireError> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// Reads a text.
    pub(super) fn string(&self, name: &str) -> Result<String, WireError> {
        let value = self.opt_string(name)?;
        self.required(name, "a string", value)
    }

    /// Reads an optional integer; a float is refused even when integral.
    pub(super) fn opt_int(&self, name: &str) -> Result<Option<i64>, WireError> {
        self.read(name, "an integer", Value::as_i64)
    }

    /// Reads an integer.
    pub(super) fn int(&self, name: &str) -> Result<i64, WireError> {
        let value = self.opt_int(name)?;
        self.required(name, "an integer", value)
    }

    /// Reads an optional whole number, also when it is written as a float (as the original
    /// orchestrator sends `deadline`); the fraction is cut off.
    pub(super) fn opt_seconds(&self, name: &str) -> Result<Option<i64>, WireError> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "cutting off is the purpose; `as` saturates"
        )]
        self.read(name, "a number", |value| {
            value.as_i64().or(value.as_f64().map(|s| s as i64))
        })
    }

    /// Reads an optional number.
    pub(super) fn opt_float(&self, name: &str) -> Result<Option<f64>, WireError> {
        self.read(name, "a number", Value::as_f64)
    }

    /// Reads an optional boolean.
    pub(super) fn opt_bool(&self, name: &str) -> Result<Option<bool>, WireError> {
        self.read(name, "a boolean", Value::as_bool)
    }

    /// Reads an optional object as it is.
    pub(super) fn opt_object(&self, name: &str) -> Result<Option<Object>, WireError> {
        self.read(name, "an object", |value| value.as_object().cloned())
    }

    /// Reads an object as it is.
    pub(super) fn object(&self, name: &str) -> Result<Object, WireError> {
        let value = self.opt_object(name)?;
        self.required(name, "an object", value)
    }

    /// Reads an optional list of texts.
    pub(super) fn opt_strings(&self, name: &str) -> Result<Option<Vec<String>>, WireError> {
        self.read(name, "an array of strings", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
    }

    /// Reads an optional map from text to text.
    pub(super) fn opt_string_map(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, WireError> {
        self.read(name, "an object of strings", |value| {
            let pair =
                |(key, text): (&String, &Value)| Some((key.clone(), text.as_str()?.to_owned()));
            value.as_object()?.iter().map(pair).collect()
        })
    }

    /// Reads an optional map from text to number.
    pub(super) fn opt_number_map(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, f64>>, WireError> {
        self.read(name, "an object of numbers", |value| {
            let pair = |(key, number): (&String, &Value)| Some((key.clone(), number.as_f64()?));
            value.as_object()?.iter().map(pair).collect()
        })
    }

    /// Reads an optional object by its own reader.
    pub(super) fn opt_nested<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Members<'_>) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let path = Path::Member(&self.path, name);
        read(&Members::at(value, path)?).map(Some)
    }

    /// Reads an optional list of objects by their own reader.
    pub(super) fn opt_list<T>(
        &self,
        name: &str,
        read: impl Fn(&Members<'_>) -> Result<T, WireError>,
    ) -> Result<Option<Vec<T>>, WireError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let items = value
            .as_array()
            .ok_or_else(|| self.refuse(name, "an array"))?;
        let list = Path::Member(&self.path, name);
        let mut read_items = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            read_items.push(read(&Members::at(item, Path::Item(&list, index))?)?);
        }
        Ok(Some(read_items))
    }

    /// Reads an optional object whose members are all objects, each by the same reader.
    pub(super) fn opt_map<T>(
        &self,
        name: &str,
        read: impl Fn(&Members<'_>) -> Result<T, WireError>,
    ) -> Result<Option<Vec<(String, T)>>, WireError> {
        self.opt_nested(name, |map| {
            let mut entries = Vec::with_capacity(map.members.len());
            for (key, value) in map.members {
                let path = Path::Member(&map.path, key);
                entries.push((key.clone(), read(&Members::at(value, path)?)?));
            }
            Ok(entries)
        })
    }
}

fn refuse(path: &Path<'_>, seen: &'static str, expected: &'static str) -> WireError {
    let mut text = String::new();
    path.write(&mut text);
    if text.is_empty() {
        text.push('.');
    }
    WireError::Member {
        path: text,
        seen,
        expected,
    }
}
