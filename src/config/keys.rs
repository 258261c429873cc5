//! Every setting of the orchestrator's side: name, kind, bounds, default, meaning.
//!
//! A setting has one name: the environment's. In a file it is the same in lower case. Names and
//! defaults are the original's where it has the setting (source: configuration §1); where a default
//! differs, its text says so.

mod files;
mod redis;
mod server;
mod traces;
mod work;

use super::value::Kind;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in the environment; in a file the same in lower case.
    pub name: &'static str,
    /// What its text must look like.
    pub kind: Kind,
    /// The text that holds when nobody says otherwise.
    pub default: &'static str,
    /// One line for people, with the unit.
    pub about: &'static str,
}

impl Key {
    /// Returns the key's name in a file.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        about,
    }
}

const fn seconds(max: u64) -> Kind {
    Kind::Integer { min: 1, max }
}

const fn count(max: u64) -> Kind {
    Kind::Integer { min: 1, max }
}

const DAY: u64 = 86_400;

/// All settings, grouped as `config/avtomatika.toml` shows them.
pub const KEYS: &[Key] = &joined::<{ WORK.len() + traces::KEYS.len() }>(&WORK, traces::KEYS);

const WORK: [Key; PLACES.len() + work::KEYS.len()] = joined(&PLACES, work::KEYS);

const PLACES: [Key; STORES.len() + files::KEYS.len()] = joined(&STORES, files::KEYS);

const STORES: [Key; server::KEYS.len() + redis::KEYS.len()] = joined(server::KEYS, redis::KEYS);

const fn joined<const COUNT: usize>(first: &[Key], second: &[Key]) -> [Key; COUNT] {
    let mut all = [first[0]; COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = if at < first.len() {
            first[at]
        } else {
            second[at - first.len()]
        };
        at += 1;
    }
    all
}

/// Finds a setting by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
