//! The JSON Schema of the language, for editors: generated from types.
//!
//! The types are never filled: the decoder reads the tree itself, for the sake of its messages. A
//! test holds every list of members here to the decoder's own.

mod file;
mod task;

use serde_json::{Value, json};

use super::keys;

/// Returns the JSON Schema of the language (draft 2020-12).
#[must_use]
pub fn language_schema() -> Value {
    let mut schema = schemars::schema_for!(file::File).to_value();
    let mut actions: Vec<Value> = keys::ACTIONS
        .iter()
        .filter(|action| **action != "go_to")
        .map(|action| json!({ "required": [action] }))
        .collect();
    // `go_to` is an action of its own, but also the way on after `wait`.
    actions.push(json!({ "required": ["go_to"], "not": { "required": ["wait"] } }));
    for name in ["State", "Branch"] {
        if let Some(body) = schema.pointer_mut(&format!("/$defs/{name}")) {
            body["oneOf"] = Value::Array(actions.clone());
        }
    }
    if let Some(branch) = schema.pointer_mut("/$defs/Branch") {
        branch["additionalProperties"] = Value::Bool(false);
        if let Some(members) = branch.as_object_mut() {
            members.remove("unevaluatedProperties");
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::Schema;

    /// Returns the members of a definition, sorted.
    fn members(schema: &Value, name: &str) -> Vec<String> {
        let place = if name.is_empty() {
            String::new()
        } else {
            format!("/$defs/{name}")
        };
        let properties = schema.pointer(&format!("{place}/properties")).expect(name);
        let mut names: Vec<String> = properties
            .as_object()
            .expect(name)
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_schema_has_the_decoders_words() {
        let schema = language_schema();
        let body = [keys::SIDE, keys::ACTIONS, keys::COMPANIONS].concat();
        let branch = [&["when"], body.as_slice()].concat();
        for (name, known) in [
            ("", keys::FILE),
            ("Limits", keys::LIMITS),
            ("State", &body),
            ("Branch", &branch),
            ("Emit", keys::EMIT),
            ("Dispatch", keys::DISPATCH),
            ("BranchTask", keys::BRANCH),
            ("Requires", keys::REQUIRES),
            ("Resources", keys::RESOURCES),
            ("Device", keys::DEVICE),
            ("Artifact", keys::ARTIFACT),
            ("Timeouts", keys::TIMEOUTS),
            ("Retry", keys::RETRY),
            ("Backoff", keys::BACKOFF),
            ("Parallel", keys::PARALLEL),
            ("UntilMap", keys::UNTIL_MAP),
            ("Run", keys::RUN),
            ("Approve", keys::APPROVE),
            ("Wait", keys::WAIT),
        ] {
            let mut known: Vec<&str> = known.to_vec();
            known.sort_unstable();
            assert_eq!(members(&schema, name), known, "{name}");
            let place = if name.is_empty() {
                String::new()
            } else {
                format!("/$defs/{name}")
            };
            let open = schema.pointer(&format!("{place}/additionalProperties"));
            assert_eq!(open, Some(&Value::Bool(false)), "{name}");
        }
        for (name, known) in [
            ("End", keys::END),
            ("UntilWord", keys::UNTIL),
            ("Strategy", keys::STRATEGIES),
        ] {
            let text = schema
                .pointer(&format!("/$defs/{name}"))
                .expect(name)
                .to_string();
            assert!(
                known
                    .iter()
                    .all(|word| text.contains(&format!("\"{word}\""))),
                "{text}"
            );
        }
    }

    #[test]
    fn the_schema_takes_good_files_and_refuses_bad_ones() {
        let schema = Schema::compile(&language_schema()).expect("a valid schema");
        let good = "blueprint: a\nstart: s\nstates:\n  s:\n    choose:\n      - { when: x, go_to: e }\n      - when: y\n        wait: { for: 5m }\n        go_to: e\n    else: { dispatch: { skill: a, strategy: cheapest, max_cost: 0.5 }, on: { success: e } }\n  e: { end: finished }\n";
        let read = |text: &str| serde_saphyr::from_str::<Value>(text).expect("it is YAML");
        assert_eq!(schema.check(&read(good)), Ok(()));
        for (from, to) in [
            ("start: s", ""),
            ("go_to: e }\n", "goto: e }\n"),
            ("when: x, ", ""),
            ("when: x, ", "when: x, zebra: 1, "),
            ("when: x, ", "when: x, end: failed, "),
            ("for: 5m", "for: soon"),
            ("cheapest", "cheepest"),
            ("end: finished", "end: done"),
            ("skill: a, ", ""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(schema.check(&read(&bad)).is_err(), "{bad}");
        }
    }
}
