//! A file as a tree in which everything knows its line and column.
//!
//! YAML and JSON come out alike. Nothing is judged here but the syntax, and keys that come twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::domain::Object;

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The deepest nesting of a file.
pub const DEPTH_MAX: usize = 64;

/// The reader's own stack: twice what the deepest file needs in a build without optimisation.
const STACK_BYTES: usize = 8 << 20;

/// A place in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct At {
    pub line: u32,
    pub column: u32,
}

impl From<Location> for At {
    fn from(location: Location) -> Self {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
        Self {
            line: small(location.line()),
            column: small(location.column()),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: At,
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A member of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: At,
    pub value: Node,
}

impl Node {
    /// Returns the value in words, for messages.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Number(value) => format!("the number {value}"),
            Kind::Text(text) if text.len() <= 60 => format!("`{text}`"),
            Kind::Text(_) => "a text".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }

    /// Returns the value as JSON. Of a key that comes twice the last one counts.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect::<Object>(),
            ),
        }
    }

    /// Writes the content in one form for all spellings of it: members of maps by name, but for
    /// those of `set`, whose order matters.
    pub(super) fn canonical(&self, out: &mut String, ordered: bool) {
        match &self.kind {
            Kind::List(items) => {
                out.push('[');
                for item in items {
                    item.canonical(out, false);
                    out.push(',');
                }
                out.push(']');
            }
            Kind::Map(entries) => {
                let mut sorted: Vec<&Entry> = entries.iter().collect();
                if !ordered {
                    sorted.sort_by(|a, b| a.key.cmp(&b.key));
                }
                out.push('{');
                for entry in sorted {
                    out.push_str(&Value::String(entry.key.clone()).to_string());
                    out.push(':');
                    entry.value.canonical(out, entry.key == "set");
                    out.push(',');
                }
                out.push('}');
            }
            _ => out.push_str(&self.to_json().to_string()),
        }
    }
}

/// Why a text is no tree.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub at: At,
    pub message: String,
}

/// Reads a file's text.
///
/// The reading goes down with the file's nesting, and each level takes some 30 KiB of stack in a
/// build without optimisation: more than a server's threads have to spare. So it gets a stack of
/// its own, for as long as it takes.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let read = || parse_here(text);
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, read);
        let outcome = reader.ok().and_then(|reader| reader.join().ok());
        outcome.unwrap_or_else(|| {
            let message = "the reader gave up on the file: no memory for it, or a fault of its own"
                .to_owned();
            Err(SyntaxError {
                at: At { line: 1, column: 1 },
                message,
            })
        })
    })
}

/// Reads a file's text on the stack at hand.
fn parse_here(text: &str) -> Result<Node, SyntaxError> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file is {} bytes, the limit is {FILE_BYTES_MAX}",
            text.len()
        );
        return Err(SyntaxError {
            at: At { line: 1, column: 1 },
            message,
        });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: 100_000,
            max_events: 400_000,
            max_documents: 1,
            max_aliases: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        // Found by the reader, which tells where the first one was.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let read: Result<Node, _> = serde_saphyr::from_str_with_options(text, options);
    read.map_err(|error| {
        let at = error.location().map_or(At { line: 1, column: 1 }, At::from);
        SyntaxError {
            at,
            message: one_line(&error.without_snippet().to_string()),
        }
    })
}

/// Returns a message without the line breaks of its origin.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            at: spanned.referenced.into(),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

/// Takes whatever stands there.
struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Key>>()? {
            let value = access.next_value()?;
            entries.push(Entry {
                key: key.value.0,
                key_at: key.referenced.into(),
                value,
            });
        }
        Ok(Kind::Map(entries))
    }
}

/// A member's name: any scalar, by its text.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Kind::deserialize(deserializer)? {
            Kind::Text(text) => Ok(Self(text)),
            Kind::Bool(value) => Ok(Self(value.to_string())),
            Kind::Number(value) => Ok(Self(value.to_string())),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                Err(D::Error::custom("a key must be a text"))
            }
        }
    }
}
