//! From the tree to the model: fan-outs.

use super::expr::{ROOTS, is_name};
use super::keys;
use super::model::{Action, Parallel, ParallelTasks, Template, Until};
use super::reader::{Members, Reader, join};
use super::suggest::did_you_mean;
use super::tree::{Kind, Node};

impl Reader<'_> {
    /// Takes `parallel`, `into` and `on`.
    pub(super) fn parallel(&mut self, node: &Node, members: &Members<'_>, place: &str) -> Action {
        let here = join(place, "parallel");
        let parallel = self.map(node, &here, keys::PARALLEL);
        let tasks = self.tasks(&parallel, node, &here);
        let limit = parallel
            .get("limit")
            .and_then(|node| self.integer(node, &join(&here, "limit"), 1..=1_000_000));
        let until = parallel.get("until").map_or_else(Until::default, |node| {
            self.until(node, &join(&here, "until"))
        });
        let into = if let Some(node) = members.get("into") {
            self.target(node, &join(place, "into"))
        } else {
            let message = "`parallel` needs `into: STATE`, the state that sees the results";
            self.error(node.at, place, message);
            String::new()
        };
        let on_failure = self
            .on(members, place, "on", Some(&["failure"]))
            .remove("failure");
        if on_failure.is_some() && until == Until::Settled {
            let message = "`on.failure` is never followed: `until: settled` is always met";
            self.warn(node.at, place, message);
        }
        if let (ParallelTasks::Listed(list), Until::AtLeast(count)) = (&tasks, until)
            && u32::try_from(list.len()).is_ok_and(|length| count > length)
        {
            let message = format!("`at_least` wants {count} of {} tasks", list.len());
            self.error(node.at, &join(&here, "until"), message);
        }
        Action::Parallel(Box::new(Parallel {
            tasks,
            limit,
            until,
            into,
            on_failure,
        }))
    }

    /// Takes the tasks of a fan-out.
    fn tasks(&mut self, parallel: &Members<'_>, node: &Node, here: &str) -> ParallelTasks {
        let nothing = ParallelTasks::Listed(Vec::new());
        match (parallel.get("tasks"), parallel.get("for_each")) {
            (Some(tasks), None) => {
                for key in ["as", "task"] {
                    if let Some(entry) = parallel.entry(key) {
                        let message = format!("`{key}` goes with `for_each`, not with `tasks`");
                        self.error(entry.key_at, &join(here, key), message);
                    }
                }
                let place = join(here, "tasks");
                let items = self.list(tasks, &place).iter().enumerate();
                let items = items.map(|(index, item)| {
                    self.task(item, &format!("{place}[{index}]"), keys::BRANCH)
                });
                ParallelTasks::Listed(items.collect())
            }
            (None, Some(items)) => {
                let place = join(here, "for_each");
                let list = self.template(items, &place);
                let may_be_list = match &list {
                    Template::Constant(value) => value.is_array(),
                    Template::List(_) | Template::Expression(_) => true,
                    Template::Object(_) => false,
                };
                if !may_be_list {
                    self.expected(items, &place, "a list, or an expression that yields one");
                }
                let name = self.item_name(parallel, here);
                let Some(task) = parallel.get("task") else {
                    self.error(node.at, here, "`for_each` needs `task`");
                    return nothing;
                };
                self.locals.push(name.clone());
                let task = self.task(task, &join(here, "task"), keys::BRANCH);
                self.locals.pop();
                ParallelTasks::ForEach {
                    items: list,
                    name,
                    task,
                }
            }
            _ => {
                self.error(
                    node.at,
                    here,
                    "expected either `tasks`, or `for_each` with `task`",
                );
                nothing
            }
        }
    }

    /// Takes `as`: a name that hides none of the common ones; `item` when there is none.
    fn item_name(&mut self, parallel: &Members<'_>, here: &str) -> String {
        let Some(node) = parallel.get("as") else {
            return "item".to_owned();
        };
        let place = join(here, "as");
        let Some(name) = self.text(node, &place, "a name") else {
            return "item".to_owned();
        };
        if !is_name(name) {
            self.expected(node, &place, "a name of letters, digits and `_`");
        } else if ROOTS.contains(&name) {
            self.error(
                node.at,
                &place,
                format!("`{name}` would hide the name that is always there"),
            );
        }
        name.to_owned()
    }

    /// Takes `until`.
    fn until(&mut self, node: &Node, here: &str) -> Until {
        let members = match &node.kind {
            Kind::Map(_) => self.map(node, here, keys::UNTIL_MAP),
            Kind::Text(text) => {
                return match text.as_str() {
                    "settled" => Until::Settled,
                    "all" => Until::All,
                    "any" => Until::Any,
                    other => {
                        let known = keys::UNTIL.iter().chain(keys::UNTIL_MAP).copied();
                        let hint = did_you_mean(other, known);
                        let message = format!(
                            "expected `settled`, `all`, `any`, `{{ at_least: N }}` or \
                             `{{ tolerate: \"5%\" }}`, got `{other}`{hint}"
                        );
                        self.error(node.at, here, message);
                        Until::default()
                    }
                };
            }
            _ => {
                self.expected(node, here, "`settled`, `all`, `any` or a map");
                return Until::default();
            }
        };
        match (members.get("at_least"), members.get("tolerate")) {
            (Some(count), None) => self
                .integer(count, &join(here, "at_least"), 1..=1_000_000)
                .map_or_else(Until::default, Until::AtLeast),
            (None, Some(share)) => self
                .percentage(share, &join(here, "tolerate"))
                .map_or_else(Until::default, Until::Tolerate),
            _ => {
                self.error(node.at, here, "expected either `at_least` or `tolerate`");
                Until::default()
            }
        }
    }

    /// Takes a share in percent: `"5%"` or `5`.
    fn percentage(&mut self, node: &Node, place: &str) -> Option<f64> {
        let value = match &node.kind {
            Kind::Text(text) => text
                .strip_suffix('%')
                .and_then(|text| text.trim().parse().ok()),
            Kind::Number(number) => number.as_f64(),
            _ => None,
        };
        let good = value.filter(|value: &f64| (0.0..=100.0).contains(value));
        if good.is_none() {
            self.expected(node, place, "a share from \"0%\" to \"100%\"");
        }
        good
    }
}
