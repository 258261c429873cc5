//! From the tree to the model: the actions, but for those that make tasks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::decode::File;
use super::keys;
use super::model::{
    Action, Approve, Choice, ConditionId, End, Outcome, Run, Template, Wait, WaitFor,
};
use super::reader::{Members, Reader, join};
use super::tree::{Kind, Node};
use crate::domain::Object;

impl Reader<'_> {
    /// Takes `choose` and `else`.
    pub(super) fn choose(
        &mut self,
        node: &Node,
        members: &Members<'_>,
        place: &str,
        file: &mut File,
    ) -> Action {
        let here = join(place, "choose");
        let mut branches = Vec::new();
        let items = self.list(node, &here);
        if items.is_empty() && matches!(node.kind, Kind::List(_)) {
            self.error(node.at, &here, "there is no branch");
        }
        if items.len() >= usize::from(u16::MAX) {
            self.error(node.at, &here, "there are more than 65534 branches");
        }
        for (index, item) in items.iter().enumerate() {
            let place = format!("{here}[{index}]");
            let members = self.body_members(item, &place, true);
            self.description(&members, &place);
            let when = if let Some(node) = members.get("when") {
                self.condition(node, &join(&place, "when"))
            } else {
                let what = "`when`, the branch's condition, is missing";
                self.missing(&members, item.at, &place, what);
                None
            };
            let body = self.body(&members, item.at, &place, file);
            branches.push(Choice {
                when: when.unwrap_or(ConditionId(0)),
                body,
            });
        }
        let otherwise = members.entry("else").map(|entry| {
            let place = join(place, "else");
            let members = self.body_members(&entry.value, &place, false);
            self.description(&members, &place);
            Box::new(self.body(&members, entry.key_at, &place, file))
        });
        Action::Choose {
            branches,
            otherwise,
        }
    }

    /// Takes a condition.
    fn condition(&mut self, node: &Node, place: &str) -> Option<ConditionId> {
        let text = match &node.kind {
            Kind::Text(text) => text.clone(),
            Kind::Bool(value) => value.to_string(),
            _ => {
                self.expected(node, place, "an expression like `initial_data.size > 10`");
                return None;
            }
        };
        if text.trim_start().starts_with("{{") {
            self.error(node.at, place, "a condition is written without `{{ }}`");
            return None;
        }
        let locals: Vec<&str> = self.locals.iter().map(String::as_str).collect();
        self.places.insert(place.to_owned(), node.at);
        match self.compiled.condition(place, &text, &locals) {
            Ok(id) => Some(id),
            Err(error) => {
                self.compile_error(node.at, place, &text, &error);
                None
            }
        }
    }

    /// Takes `on`: any names but those that the action does not know.
    pub(super) fn on(
        &mut self,
        members: &Members<'_>,
        place: &str,
        key: &str,
        known: Option<&[&str]>,
    ) -> BTreeMap<String, String> {
        let Some(node) = members.get(key) else {
            return BTreeMap::new();
        };
        let place = join(place, key);
        let ways = match known {
            Some(known) => self.map(node, &place, known),
            None => self.free_map(node, &place),
        };
        if ways.iter().next().is_none() && matches!(node.kind, Kind::Map(_)) {
            self.error(node.at, &place, "there is no way out");
        }
        ways.iter()
            .map(|entry| {
                (
                    entry.key.clone(),
                    self.target(&entry.value, &join(&place, &entry.key)),
                )
            })
            .collect()
    }

    /// Takes `run`.
    pub(super) fn run(
        &mut self,
        node: &Node,
        members: &Members<'_>,
        place: &str,
        file: &mut File,
    ) -> Action {
        let here = join(place, "run");
        let run = self.map(node, &here, keys::RUN);
        let mut blueprint = String::new();
        match run.get("blueprint") {
            Some(node) => {
                let place = join(&here, "blueprint");
                if let Some(name) = self.name(node, &place) {
                    blueprint.clone_from(&name);
                    file.children.push((name, node.at, place));
                }
            }
            None => self.missing(
                &run,
                node.at,
                &here,
                "`blueprint`, the child's name, is missing",
            ),
        }
        let input = match run.get("input") {
            Some(node) => self.template(node, &join(&here, "input")),
            None => Template::Constant(Value::Object(Object::new())),
        };
        let timeout = run
            .get("timeout")
            .and_then(|node| self.duration(node, &join(&here, "timeout")));
        let on = self.on(members, place, "on", Some(&["success", "failure"]));
        if !on.contains_key("success") {
            self.error(node.at, place, "`run` needs `on: { success: … }`");
        }
        Action::Run(Box::new(Run {
            blueprint,
            input,
            timeout,
            on,
        }))
    }

    /// Takes `approve`.
    pub(super) fn approve(&mut self, node: &Node, members: &Members<'_>, place: &str) -> Action {
        let here = join(place, "approve");
        let approve = self.map(node, &here, keys::APPROVE);
        let integration = match approve.get("integration") {
            Some(node) => self
                .name(node, &join(&here, "integration"))
                .unwrap_or_default(),
            None => "webhook".to_owned(),
        };
        let message = if let Some(node) = approve.get("message") {
            self.line(node, &join(&here, "message"))
        } else {
            let what = "`message`, what the person is asked, is missing";
            self.missing(&approve, node.at, &here, what);
            Template::Constant(Value::Null)
        };
        let timeout = approve
            .get("timeout")
            .and_then(|node| self.duration(node, &join(&here, "timeout")));
        let form = approve
            .get("form")
            .map(|node| self.schema(node, &join(&here, "form")));
        let on = self.on(members, place, "on", None);
        if on.keys().all(|decision| decision == "timeout") {
            self.error(node.at, place, "`approve` needs `on: { DECISION: STATE }`");
        }
        if timeout.is_none() && on.contains_key("timeout") {
            let message = "`on.timeout` is never followed: `approve` has no `timeout`";
            self.warn(node.at, place, message);
        }
        Action::Approve(Box::new(Approve {
            integration,
            message,
            timeout,
            form,
            on,
        }))
    }

    /// Takes `wait`.
    pub(super) fn wait(&mut self, node: &Node, members: &Members<'_>, place: &str) -> Action {
        let here = join(place, "wait");
        let wait = self.map(node, &here, keys::WAIT);
        let kinds: Vec<&str> = ["for", "until", "event"]
            .into_iter()
            .filter(|key| wait.get(key).is_some())
            .collect();
        let [kind] = kinds.as_slice() else {
            self.error(
                node.at,
                &here,
                "expected exactly one of `for`, `until` and `event`",
            );
            return Action::GoTo(String::new());
        };
        let timeout = wait.entry("timeout").and_then(|entry| {
            if *kind != "event" {
                let message = format!("`timeout` goes with `event`, not with `{kind}`");
                self.error(entry.key_at, &join(&here, "timeout"), message);
            }
            self.duration(&entry.value, &join(&here, "timeout"))
        });
        let value = wait.get(kind).expect("it was found above");
        let value_place = join(&here, kind);
        let (wait_for, outcomes): (WaitFor, &[&str]) = match *kind {
            "for" => (
                WaitFor::Duration(self.duration(value, &value_place).unwrap_or_default()),
                &["done"],
            ),
            "until" => (WaitFor::Until(self.line(value, &value_place)), &["done"]),
            _ => {
                let name = self.name(value, &value_place).unwrap_or_default();
                (WaitFor::Event { name, timeout }, &["event", "timeout"])
            }
        };
        let mut on = self.on(members, place, "on", Some(outcomes));
        if let Some(next) = members.get("go_to") {
            let state = self.target(next, &join(place, "go_to"));
            if on.insert(outcomes[0].to_owned(), state).is_some() {
                let message = format!("both `go_to` and `on.{}`", outcomes[0]);
                self.error(next.at, &join(place, "go_to"), message);
            }
        }
        if !on.contains_key(outcomes[0]) {
            let message = format!("`wait` needs `go_to` or `on: {{ {}: … }}`", outcomes[0]);
            self.error(node.at, place, message);
        }
        Action::Wait(Box::new(Wait { wait_for, on }))
    }

    /// Takes `end`.
    pub(super) fn end(&mut self, node: &Node, members: &Members<'_>, place: &str) -> Action {
        let word = self.word(node, &join(place, "end"), keys::END);
        let outcome = if word.as_deref() == Some("failed") {
            Outcome::Failed
        } else {
            Outcome::Finished
        };
        let result = members
            .get("result")
            .map(|node| self.template(node, &join(place, "result")));
        let error = members
            .get("error")
            .map(|node| self.line(node, &join(place, "error")));
        if let Some(entry) = members.entry("error")
            && word.as_deref() == Some("finished")
        {
            self.error(
                entry.key_at,
                &join(place, "error"),
                "`error` goes with `end: failed`",
            );
        }
        Action::End(End {
            outcome,
            result,
            error,
        })
    }
}
