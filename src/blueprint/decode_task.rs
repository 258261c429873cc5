//! From the tree to the model: tasks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys;
use super::model::{Action, Dispatch, Template};
use super::reader::{Members, Reader, join};
use super::tree::Node;
use crate::domain::Object;
use crate::domain::task::{Backoff, RetryPolicy};
use crate::domain::worker::{Artifact, Device, Requirements, Resources};

impl Reader<'_> {
    /// Takes `dispatch`, `on` and `on_event`.
    pub(super) fn dispatch(&mut self, node: &Node, members: &Members<'_>, place: &str) -> Action {
        let here = join(place, "dispatch");
        let mut dispatch = self.task(node, &here, keys::DISPATCH);
        dispatch.on = self.on(members, place, "on", None);
        dispatch.on_event = self.on(members, place, "on_event", None);
        let has_ways = members.get("on").is_some() || members.get("on_event").is_some();
        if !has_ways {
            self.error(node.at, place, "`dispatch` needs `on: { success: … }`");
        } else if !dispatch.on.is_empty() && !dispatch.on.contains_key("success") {
            let message = "no `on.success`: a task that succeeds would fail the job";
            self.warn(node.at, place, message);
        }
        Action::Dispatch(Box::new(dispatch))
    }

    /// Takes what a task is made of.
    pub(super) fn task(&mut self, node: &Node, here: &str, known: &[&str]) -> Dispatch {
        let task = self.map(node, here, known);
        let skill = if let Some(node) = task.get("skill") {
            self.line(node, &join(here, "skill"))
        } else {
            self.missing(
                &task,
                node.at,
                here,
                "`skill`, the skill's name, is missing",
            );
            Template::Constant(Value::Null)
        };
        let timeouts = task
            .get("timeouts")
            .map(|node| self.map(node, &join(here, "timeouts"), keys::TIMEOUTS));
        let timeout = |reader: &mut Self, key: &str| {
            let node = timeouts.as_ref()?.get(key)?;
            reader.duration(node, &format!("{here}.timeouts.{key}"))
        };
        let dispatch_timeout = timeout(self, "dispatch");
        let execution_timeout = timeout(self, "execution");
        let result_timeout = timeout(self, "result");
        Dispatch {
            skill,
            params: self.params(&task, here),
            strategy: self.strategy(&task, here),
            priority: self.amount(&task, here, "priority", Value::from(0)),
            max_cost: self.amount(&task, here, "max_cost", Value::Null),
            requires: self.requires(&task, here),
            dispatch_timeout,
            execution_timeout,
            result_timeout,
            retry: task
                .get("retry")
                .map(|node| self.retry(node, &join(here, "retry"))),
            max_deliveries: task
                .get("max_deliveries")
                .and_then(|node| self.integer(node, &join(here, "max_deliveries"), 1..=1000)),
            into: task
                .get("into")
                .and_then(|node| self.name(node, &join(here, "into"))),
            output: task
                .get("output")
                .map(|node| self.schema(node, &join(here, "output"))),
            on: BTreeMap::new(),
            on_event: BTreeMap::new(),
        }
    }

    /// Takes `params`: an object, or a template that yields one.
    fn params(&mut self, task: &Members<'_>, here: &str) -> Template {
        let Some(node) = task.get("params") else {
            return Template::Constant(Value::Object(Object::new()));
        };
        let place = join(here, "params");
        let params = self.template(node, &place);
        let may_be_object = match &params {
            Template::Constant(value) => value.is_object(),
            Template::Object(_) | Template::Expression(_) => true,
            Template::List(_) => false,
        };
        if !may_be_object {
            self.expected(node, &place, "a map");
        }
        params
    }

    /// Takes `strategy`: one of the known ones, or a template.
    fn strategy(&mut self, task: &Members<'_>, here: &str) -> Template {
        let Some(node) = task.get("strategy") else {
            return Template::Constant(Value::from("default"));
        };
        let place = join(here, "strategy");
        let strategy = self.line(node, &place);
        if let Template::Constant(Value::String(_)) = &strategy {
            self.word(node, &place, keys::STRATEGIES);
        }
        strategy
    }

    /// Takes a number, or a template that yields one.
    fn amount(&mut self, task: &Members<'_>, here: &str, key: &str, default: Value) -> Template {
        let Some(node) = task.get(key) else {
            return Template::Constant(default);
        };
        let place = join(here, key);
        let amount = self.template(node, &place);
        if let Template::Constant(value) = &amount {
            let smallest = if key == "max_cost" { 0.0 } else { f64::MIN };
            let good = value.as_f64().is_some_and(|number| number >= smallest)
                || (value.is_null() && default.is_null());
            if !good {
                let what = if key == "max_cost" {
                    "a number, at least 0"
                } else {
                    "a number"
                };
                self.expected(node, &place, what);
            }
        }
        amount
    }

    /// Takes `requires`, with the exact version and type of the skill.
    fn requires(&mut self, task: &Members<'_>, here: &str) -> Requirements {
        let mut requires = Requirements {
            skill_version: self.optional_text(task, here, "skill_version"),
            skill_type: self.optional_text(task, here, "skill_type"),
            ..Requirements::default()
        };
        let Some(node) = task.get("requires") else {
            return requires;
        };
        let here = join(here, "requires");
        let members = self.map(node, &here, keys::REQUIRES);
        requires.resources = members
            .get("resources")
            .map(|node| self.resources(node, &join(&here, "resources")));
        if let Some(node) = members.get("artifacts") {
            let place = join(&here, "artifacts");
            for (index, item) in self.list(node, &place).iter().enumerate() {
                requires
                    .artifacts
                    .push(self.artifact(item, &format!("{place}[{index}]")));
            }
        }
        if let Some(node) = members.get("software") {
            let place = join(&here, "software");
            for entry in self.free_map(node, &place).iter() {
                let place = join(&place, &entry.key);
                if let Some(version) = self.text(&entry.value, &place, "a version, or `any`") {
                    requires
                        .software
                        .insert(entry.key.clone(), version.to_owned());
                }
            }
        }
        if let Some(node) = members.get("skill") {
            requires.skill = self.object(node, &join(&here, "skill"));
        }
        if let Some(node) = members.get("extra") {
            requires.extra = self.object(node, &join(&here, "extra"));
        }
        requires
    }

    /// Takes a text that may be absent.
    fn optional_text(&mut self, members: &Members<'_>, here: &str, key: &str) -> Option<String> {
        let node = members.get(key)?;
        self.text(node, &join(here, key), "a text")
            .map(str::to_owned)
    }

    /// Takes an object that may be absent.
    fn optional_object(&mut self, members: &Members<'_>, here: &str, key: &str) -> Option<Object> {
        let node = members.get(key)?;
        Some(self.object(node, &join(here, key)))
    }

    /// Takes `resources`.
    fn resources(&mut self, node: &Node, here: &str) -> Resources {
        let members = self.map(node, here, keys::RESOURCES);
        let devices = members.get("devices").map(|node| {
            let place = join(here, "devices");
            let mut devices = Vec::new();
            for (index, item) in self.list(node, &place).iter().enumerate() {
                let place = format!("{place}[{index}]");
                let device = self.map(item, &place, keys::DEVICE);
                if device.get("type").is_none() {
                    self.missing(&device, item.at, &place, "`type`, like `gpu`, is missing");
                }
                devices.push(Device {
                    kind: self
                        .optional_text(&device, &place, "type")
                        .unwrap_or_default(),
                    model: self.optional_text(&device, &place, "model"),
                    id: self.optional_text(&device, &place, "id"),
                    properties: self.optional_object(&device, &place, "properties"),
                    metrics: None,
                });
            }
            devices
        });
        Resources {
            devices,
            properties: self.optional_object(&members, here, "properties"),
        }
    }

    /// Takes one of `artifacts`.
    fn artifact(&mut self, node: &Node, here: &str) -> Artifact {
        let members = self.map(node, here, keys::ARTIFACT);
        if members.get("name").is_none() {
            self.missing(
                &members,
                node.at,
                here,
                "`name`, the artifact's name, is missing",
            );
        }
        Artifact {
            name: self
                .optional_text(&members, here, "name")
                .unwrap_or_default(),
            version: self.optional_text(&members, here, "version"),
            kind: self.optional_text(&members, here, "type"),
            properties: self.optional_object(&members, here, "properties"),
        }
    }

    /// Takes `retry`. What it does not name is as in the default policy.
    fn retry(&mut self, node: &Node, here: &str) -> RetryPolicy {
        let members = self.map(node, here, keys::RETRY);
        let mut policy = RetryPolicy::default();
        if let Some(node) = members.get("max_attempts")
            && let Some(count) = self.integer(node, &join(here, "max_attempts"), 1..=1000)
        {
            policy.max_attempts = count;
        }
        if let Some(node) = members.get("backoff") {
            policy.backoff = self.backoff(node, &join(here, "backoff"));
        }
        policy
    }

    /// Takes `backoff`.
    fn backoff(&mut self, node: &Node, here: &str) -> Backoff {
        let members = self.map(node, here, keys::BACKOFF);
        let mut backoff = Backoff::default();
        let ms =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Some(node) = members.get("initial")
            && let Some(initial) = self.duration(node, &join(here, "initial"))
        {
            backoff.initial_ms = ms(initial);
        }
        if let Some(node) = members.get("factor")
            && let Some(factor) = self.number(node, &join(here, "factor"), 1.0..=100.0)
        {
            backoff.factor = factor;
        }
        if let Some(node) = members.get("max")
            && let Some(max) = self.duration(node, &join(here, "max"))
        {
            backoff.max_ms = ms(max);
        }
        if let Some(node) = members.get("jitter")
            && let Some(jitter) = self.number(node, &join(here, "jitter"), 0.0..=1.0)
        {
            backoff.jitter = jitter;
        }
        if members.get("max").is_none() {
            backoff.max_ms = backoff.max_ms.max(backoff.initial_ms);
        } else if backoff.max_ms < backoff.initial_ms {
            self.error(node.at, here, "`max` is shorter than `initial`");
        }
        backoff
    }
}
