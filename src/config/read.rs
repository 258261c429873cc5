//! The layers that a setting may come from, and which of them wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::{self, kind, place};
use super::foreign::{self, ALIASES, UNSUPPORTED};
use super::keys::{KEYS, Key};
use super::value::{Kind, shown};
use super::{Entry, Origin, Problem, Problems, secret_file};

/// A setting given on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The setting.
    pub key: &'static str,
    /// How it was given: `--port`.
    pub flag: &'static str,
    /// Its text.
    pub text: String,
}

/// Where settings are looked for.
pub struct Sources<'a> {
    /// The command line.
    pub flags: Vec<Flag>,
    /// The environment; a map in tests.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The file and its text.
    pub file: Option<(PathBuf, String)>,
}

/// Every setting's text and origin, each text checked by its kind.
#[derive(Debug, Default)]
pub struct Resolved {
    values: BTreeMap<&'static str, (String, Origin)>,
}

/// Looks up every setting: flags, then environment, then file, then default.
pub fn resolve(sources: &Sources<'_>, problems: &mut Problems) -> Resolved {
    let file = file_values(sources.file.as_ref(), problems);
    let mut values = BTreeMap::new();
    for key in KEYS {
        let (mut text, origin) = layered(key, sources, &file, problems);
        if let Err(message) = key.kind.check(&text) {
            problems.push(Problem::error(&origin.to_string(), key.name, &message));
            key.default.clone_into(&mut text);
        }
        values.insert(key.name, (text, origin));
    }
    check_others(sources.env, problems);
    Resolved { values }
}

fn layered(
    key: &Key,
    sources: &Sources<'_>,
    file: &BTreeMap<&'static str, (String, Origin)>,
    problems: &mut Problems,
) -> (String, Origin) {
    if let Some(flag) = sources.flags.iter().rev().find(|flag| flag.key == key.name) {
        return (flag.text.clone(), Origin::Flag(flag.flag));
    }
    if let Some(found) = secret_file::from_environment(key, sources.env, problems) {
        return found;
    }
    let aliases = ALIASES
        .iter()
        .filter(|(name, _)| *name == key.name)
        .map(|(_, alias)| *alias);
    for name in std::iter::once(key.name).chain(aliases) {
        match (sources.env)(name) {
            Some(text) if !text.is_empty() || key.kind.empty_is_a_value() => {
                return (text, Origin::Environment(name));
            }
            _ => {}
        }
    }
    if let Some(found) = file.get(key.name) {
        return found.clone();
    }
    (key.default.to_owned(), Origin::Default)
}

fn file_values(
    file: Option<&(PathBuf, String)>,
    problems: &mut Problems,
) -> BTreeMap<&'static str, (String, Origin)> {
    let mut values = BTreeMap::new();
    let Some((path, text)) = file else {
        return values;
    };
    let Some(table) = document::parse(path, text, problems) else {
        return values;
    };
    let names: Vec<String> = KEYS.iter().map(Key::file_name).collect();
    let secrets = KEYS.iter().filter_map(|key| {
        let name = secret_file::name_of(key)?.to_ascii_lowercase();
        Some((key, name))
    });
    let secrets: Vec<(&Key, String)> = secrets.collect();
    let of_secrets = secrets.iter().map(|(_, name)| name);
    let known: Vec<&str> = names.iter().chain(of_secrets).map(String::as_str).collect();
    table.check_names(&known, false, problems);
    for (key, name) in KEYS.iter().zip(&names) {
        let Some(node) = table.get(name) else {
            continue;
        };
        let origin = Origin::File(place(path, node.line));
        match as_text(&node.value) {
            Some(text) => {
                let text = match key.kind {
                    Kind::Path => beside(path, &text),
                    Kind::History => match text.trim().strip_prefix("sqlite:") {
                        Some(rest) => format!(
                            "sqlite:{}",
                            beside(path, rest.strip_prefix("//").unwrap_or(rest))
                        ),
                        None => text,
                    },
                    _ => text,
                };
                values.insert(key.name, (text, origin));
            }
            None => table.complain(
                name,
                &format!("expected one value, seen {}", kind(&node.value)),
                problems,
            ),
        }
    }
    for (key, name) in secrets {
        let (Some(node), Some(secret)) = (table.get(&name), table.text(&name, problems)) else {
            continue;
        };
        let place = place(path, node.line);
        if values.contains_key(key.name) {
            let message = format!("{name} is there too: expected one of them");
            problems.push(Problem::error(&place, &key.file_name(), &message));
            continue;
        }
        let secret = beside(path, &secret);
        let found = secret_file::from_file(key, Path::new(&secret), &place, problems);
        values.extend(found.map(|found| (key.name, found)));
    }
    values
}

/// Paths in a file are relative to the file, so that it means the same from everywhere.
fn beside(file: &Path, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let base = file.parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in base.join(text).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir
                if path.file_name().is_some_and(|name| name != "..") =>
            {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path.display().to_string()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(as_text).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// Tells of settings of the original that this program does not have.
fn check_others(env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
    for (names, message) in foreign::told(UNSUPPORTED, env) {
        problems.push(Problem::warning("environment", &names, &message));
    }
}

impl Resolved {
    /// Returns a setting's text.
    ///
    /// The name is one of [`KEYS`]: a test reads every one.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(text, _)| text.as_str())
    }

    /// Returns where a setting comes from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.values
            .get(name)
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Returns a checked number.
    #[must_use]
    pub fn integer(&self, name: &str) -> u64 {
        self.text(name).trim().parse().unwrap_or_default()
    }

    /// Returns a checked port, when one is given.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.text(name).trim().parse().ok()
    }

    /// Returns a checked number from 0 to 1.
    #[must_use]
    pub fn share(&self, name: &str) -> f64 {
        self.text(name).trim().parse().unwrap_or_default()
    }

    /// Returns a checked flag.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        super::value::parse_bool(self.text(name)).unwrap_or_default()
    }

    /// Returns a checked duration.
    #[must_use]
    pub fn duration(&self, name: &str) -> std::time::Duration {
        super::value::parse_duration(self.text(name)).unwrap_or_default()
    }

    /// Returns a path, when one is given.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name);
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// Returns all settings as `config show` prints them, in the order of [`KEYS`].
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        KEYS.iter()
            .map(|key| Entry {
                key: key.name,
                value: shown(key, self.text(key.name)),
                origin: self.origin(key.name),
            })
            .collect()
    }
}
