//! From the tree to the model: the file, its states and their bodies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys;
use super::model::{Action, Body, Emit, Put, State, Template};
use super::reader::{Members, Reader, join};
use super::tree::{At, Kind, Node};
use crate::domain::Object;

/// A file's content, before the checks that look at all of it.
pub(super) struct File {
    pub name: String,
    pub version: Option<String>,
    pub endpoint: Option<String>,
    pub description: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub events: BTreeMap<String, Value>,
    pub data_stores: BTreeMap<String, Object>,
    pub max_transitions: Option<u32>,
    pub retention: Option<std::time::Duration>,
    pub start: String,
    pub start_at: At,
    pub states: Vec<(String, State)>,
    /// Where each state's name stands.
    pub states_at: Vec<At>,
    /// The child blueprints that are run, with the place of each name.
    pub children: Vec<(String, At, String)>,
}

impl Reader<'_> {
    /// Takes a whole file.
    pub(super) fn file(&mut self, root: &Node) -> File {
        let members = self.map(root, "", keys::FILE);
        let mut file = File {
            name: String::new(),
            version: None,
            endpoint: None,
            description: self.description(&members, ""),
            input: members.get("input").map(|node| self.schema(node, "input")),
            output: members
                .get("output")
                .map(|node| self.schema(node, "output")),
            events: BTreeMap::new(),
            data_stores: BTreeMap::new(),
            max_transitions: None,
            retention: None,
            start: String::new(),
            start_at: root.at,
            states: Vec::new(),
            states_at: Vec::new(),
            children: Vec::new(),
        };
        match members.get("blueprint") {
            Some(node) => file.name = self.name(node, "blueprint").unwrap_or_default(),
            None => self.missing(
                &members,
                root.at,
                "",
                "`blueprint`, the blueprint's name, is missing",
            ),
        }
        self.address(&members, &mut file);
        if let Some(node) = members.get("events") {
            for entry in self.free_map(node, "events").iter() {
                let schema = self.schema(&entry.value, &join("events", &entry.key));
                file.events.insert(entry.key.clone(), schema);
            }
        }
        if let Some(node) = members.get("data_stores") {
            for entry in self.free_map(node, "data_stores").iter() {
                let content = self.object(&entry.value, &join("data_stores", &entry.key));
                file.data_stores.insert(entry.key.clone(), content);
            }
        }
        self.compiled.stores = Some(file.data_stores.keys().cloned().collect());
        if let Some(node) = members.get("limits") {
            let limits = self.map(node, "limits", keys::LIMITS);
            file.max_transitions = limits
                .get("max_transitions")
                .and_then(|node| self.integer(node, "limits.max_transitions", 1..=1_000_000));
            file.retention = limits
                .get("retention")
                .and_then(|node| self.duration(node, "limits.retention"));
        }
        match members.get("start") {
            Some(node) => {
                file.start = self.name(node, "start").unwrap_or_default();
                file.start_at = node.at;
            }
            None => self.missing(
                &members,
                root.at,
                "",
                "`start`, the name of the first state, is missing",
            ),
        }
        match members.get("states") {
            Some(node) => self.states(node, &mut file),
            None => self.missing(&members, root.at, "", "`states` is missing"),
        }
        file
    }

    /// Takes the version and the endpoint.
    fn address(&mut self, members: &Members<'_>, file: &mut File) {
        let version = members.get("version").and_then(|node| {
            let text = self.text(node, "version", "a text like `v1`")?;
            let good = !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            if !good {
                self.expected(
                    node,
                    "version",
                    "letters, digits, `.`, `_` and `-`, like `v1`",
                );
            }
            Some(text.to_owned())
        });
        let endpoint = members.get("endpoint").and_then(|node| {
            let text = self.text(node, "endpoint", "a path like `/jobs/name`")?;
            let good = text.len() > 1
                && text.starts_with('/')
                && !text.ends_with('/')
                && !text.contains("//")
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if !good {
                let what = "a path of letters, digits, `.`, `_` and `-` that starts with `/`, \
                            like `/jobs/name`";
                self.expected(node, "endpoint", what);
            }
            Some(text.to_owned())
        });
        file.version = version;
        file.endpoint = endpoint;
    }

    /// Takes the states.
    fn states(&mut self, node: &Node, file: &mut File) {
        let members = self.free_map(node, "states");
        if members.iter().next().is_none() && matches!(node.kind, Kind::Map(_)) {
            self.error(node.at, "states", "there is no state");
        }
        for entry in members.iter() {
            let place = format!("states.{}", entry.key);
            if !crate::base::ids::is_identifier(&entry.key) {
                let message = format!(
                    "expected a state's name of 1 to 128 letters, digits, `_` and `-`, got `{}`",
                    entry.key
                );
                self.error(entry.key_at, &place, message);
            }
            let members = self.body_members(&entry.value, &place, false);
            let description = self.description(&members, &place);
            let body = self.body(&members, entry.key_at, &place, file);
            file.states
                .push((entry.key.clone(), State { description, body }));
            file.states_at.push(entry.key_at);
        }
    }

    /// Takes a description.
    pub(super) fn description(&mut self, members: &Members<'_>, place: &str) -> Option<String> {
        let node = members.get("description")?;
        self.text(node, &join(place, "description"), "a text")
            .map(str::to_owned)
    }

    /// Takes the map of a body.
    pub(super) fn body_members<'n>(
        &mut self,
        node: &'n Node,
        place: &str,
        is_branch: bool,
    ) -> Members<'n> {
        let mut known: Vec<&str> = if is_branch { vec!["when"] } else { Vec::new() };
        known.extend(
            keys::SIDE
                .iter()
                .chain(keys::ACTIONS)
                .chain(keys::COMPANIONS),
        );
        self.map(node, place, &known)
    }

    /// Takes a body: its side lines and its one action.
    pub(super) fn body(
        &mut self,
        members: &Members<'_>,
        at: At,
        place: &str,
        file: &mut File,
    ) -> Body {
        Body {
            set: self.set(members, place),
            put: self.put(members, place, file),
            log: members
                .get("log")
                .map(|node| self.line(node, &join(place, "log"))),
            emit: self.emit(members, place),
            action: self.action(members, at, place, file),
        }
    }

    /// Takes `set`.
    fn set(&mut self, members: &Members<'_>, place: &str) -> Vec<(String, Template)> {
        let Some(node) = members.get("set") else {
            return Vec::new();
        };
        let place = join(place, "set");
        self.free_map(node, &place)
            .iter()
            .map(|entry| {
                (
                    entry.key.clone(),
                    self.template(&entry.value, &join(&place, &entry.key)),
                )
            })
            .collect()
    }

    /// Takes `put`.
    fn put(&mut self, members: &Members<'_>, place: &str, file: &File) -> Vec<Put> {
        let Some(node) = members.get("put") else {
            return Vec::new();
        };
        let place = join(place, "put");
        let mut puts = Vec::new();
        for store in self.free_map(node, &place).iter() {
            let place = join(&place, &store.key);
            if !file.data_stores.contains_key(&store.key) {
                let names = file.data_stores.keys().map(String::as_str);
                let hint = super::suggest::did_you_mean(&store.key, names);
                let message = format!("no store `{}` in `data_stores`{hint}", store.key);
                self.error(store.key_at, &place, message);
            }
            for entry in self.free_map(&store.value, &place).iter() {
                let place = join(&place, &entry.key);
                puts.push(Put {
                    store: store.key.clone(),
                    key: self.text_template(entry.key_at, &place, &entry.key),
                    value: self.template(&entry.value, &place),
                });
            }
        }
        puts
    }

    /// Takes `emit`.
    fn emit(&mut self, members: &Members<'_>, place: &str) -> Vec<Emit> {
        let Some(node) = members.get("emit") else {
            return Vec::new();
        };
        let place = join(place, "emit");
        let mut emits = Vec::new();
        for (index, item) in self.list(node, &place).iter().enumerate() {
            let place = format!("{place}[{index}]");
            let event = self.map(item, &place, keys::EMIT);
            let Some(kind) = event.get("type") else {
                self.missing(
                    &event,
                    item.at,
                    &place,
                    "`type`, the event's type, is missing",
                );
                continue;
            };
            let event_type = self.name(kind, &join(&place, "type")).unwrap_or_default();
            let payload = match event.get("payload") {
                Some(node) => self.template(node, &join(&place, "payload")),
                None => Template::Constant(Value::Object(Object::new())),
            };
            emits.push(Emit {
                event_type,
                payload,
            });
        }
        emits
    }

    /// Takes the one action.
    fn action(&mut self, members: &Members<'_>, at: At, place: &str, file: &mut File) -> Action {
        let present: Vec<&str> = keys::ACTIONS
            .iter()
            .copied()
            .filter(|key| members.get(key).is_some())
            .collect();
        let actions: Vec<&str> = match present.as_slice() {
            ["go_to", "wait"] => vec!["wait"],
            _ => present,
        };
        let [action] = actions.as_slice() else {
            let message = if actions.is_empty() {
                format!(
                    "no action, expected exactly one of: {}",
                    keys::ACTIONS.join(", ")
                )
            } else {
                format!(
                    "{} actions ({}), expected exactly one",
                    actions.len(),
                    actions.join(", ")
                )
            };
            self.missing(members, at, place, &message);
            return Action::GoTo(String::new());
        };
        for entry in members.iter() {
            let key = entry.key.as_str();
            if keys::COMPANIONS.contains(&key) && !keys::companions(action).contains(&key) {
                let message = format!("`{key}` does not go with `{action}`");
                self.error(entry.key_at, &join(place, key), message);
            }
        }
        let node = members.get(action).expect("it was found above");
        let here = join(place, action);
        match *action {
            "go_to" => Action::GoTo(self.target(node, &here)),
            "choose" => self.choose(node, members, place, file),
            "dispatch" => self.dispatch(node, members, place),
            "parallel" => self.parallel(node, members, place),
            "run" => self.run(node, members, place, file),
            "approve" => self.approve(node, members, place),
            "wait" => self.wait(node, members, place),
            _ => self.end(node, members, place),
        }
    }
}
