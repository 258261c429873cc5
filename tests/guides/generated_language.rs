//! The reference of the blueprint language in `docs/blueprints.md` is the language's own schema.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use avtomatika::blueprint::language_schema;
use serde_json::Value;

use crate::generated::{check, with_part};
use crate::markdown::read;

/// Definitions with keys, in the order in which a reader meets them, and what has them.
const MAPS: [(&str, &str); 18] = [
    ("", "a file"),
    ("Limits", "`limits`"),
    ("State", "a state"),
    ("Branch", "a branch of `choose`"),
    ("Emit", "one of `emit`"),
    ("Dispatch", "`dispatch`"),
    ("Requires", "`requires`"),
    ("Resources", "`resources`"),
    ("Device", "one of `devices`"),
    ("Artifact", "one of `artifacts`"),
    ("Timeouts", "`timeouts`"),
    ("Retry", "`retry`"),
    ("Backoff", "`backoff`"),
    ("Parallel", "`parallel`"),
    ("UntilMap", "`until` as a map"),
    ("Run", "`run`"),
    ("Approve", "`approve`"),
    ("Wait", "`wait`"),
];

/// Definitions without keys, in words.
const WORDS: [(&str, &str); 8] = [
    ("Name", "a name"),
    ("AnySchema", "a JSON Schema"),
    ("Duration", "a duration"),
    ("Template", "a value"),
    ("Line", "a text"),
    ("Condition", "a condition"),
    ("Amount", "a number or an expression"),
    ("Share", "`\"5%\"`, or a number of percent"),
];

#[test]
fn the_reference_of_the_language_is_its_schema() {
    let schema = language_schema();
    let mut text = String::new();
    for (name, title) in MAPS {
        write!(text, "### Keys of {title}\n\n{}\n", table(&schema, name)).expect("a string");
    }
    let name = "docs/blueprints.md";
    check(
        name,
        &with_part(&read(name), "language", text.trim_end_matches('\n')),
    );
}

/// No definition is left out.
#[test]
fn the_reference_of_the_language_is_whole() {
    let schema = language_schema();
    let shown: BTreeSet<&str> = MAPS.iter().map(|(name, _)| *name).collect();
    let definitions = schema["$defs"].as_object().expect("definitions");
    for (name, definition) in definitions {
        // A task of a fan-out is a task but for `into`.
        let is_shown = shown.contains(name.as_str()) || name == "BranchTask";
        assert_eq!(definition.get("properties").is_some(), is_shown, "{name}");
    }
}

fn definition<'s>(schema: &'s Value, name: &str) -> &'s Value {
    if name.is_empty() {
        schema
    } else {
        &schema["$defs"][name]
    }
}

fn table(schema: &Value, name: &str) -> String {
    let map = definition(schema, name);
    let required: Vec<&str> = map["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut text = String::from("| Key | Takes | Meaning |\n|---|---|---|\n");
    for (key, value) in map["properties"].as_object().expect("keys") {
        let said = value["description"].as_str().unwrap_or_default();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let must = if required.contains(&key.as_str()) {
            " Required."
        } else {
            ""
        };
        let takes = takes(schema, value);
        writeln!(text, "| `{key}` | {takes} | {said}{must} |").expect("a string");
        if (name, key.as_str()) == ("Branch", "when") {
            text.push_str("| and the keys of a state | | |\n");
            break;
        }
    }
    text
}

/// Puts into words what a key takes.
fn takes(schema: &Value, value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str() {
        return named(schema, name.rsplit('/').next().unwrap_or_default());
    }
    if let Some(any) = value["anyOf"].as_array() {
        let one = any.iter().find(|one| one["type"] != "null");
        return takes(schema, one.expect("something besides null"));
    }
    let kind = match &value["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    let bounds = match (&value["minimum"], &value["maximum"]) {
        (Value::Null, _) | (_, Value::Null) => String::new(),
        (least, most) => format!(", {least} to {most}"),
    };
    match kind.unwrap_or_default() {
        "string" => "a text".to_owned(),
        "integer" => format!("a whole number{bounds}"),
        "number" => format!("a number{bounds}"),
        "array" => format!("a list, each {}", takes(schema, &value["items"])),
        "object" if value["additionalProperties"].is_object() => {
            format!(
                "a map, each {}",
                takes(schema, &value["additionalProperties"])
            )
        }
        "object" => "a map".to_owned(),
        other => panic!("{other}: {value}"),
    }
}

fn named(schema: &Value, name: &str) -> String {
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == name) {
        return (*words).to_owned();
    }
    if let Some((_, title)) = MAPS.iter().find(|(known, _)| *known == name) {
        let place = format!("keys-of-{}", title.replace('`', "").replace(' ', "-"));
        return format!("[{}](#{place})", title.trim_start_matches("one of "));
    }
    match name {
        "BranchTask" => "[`dispatch`](#keys-of-dispatch) but `into`".to_owned(),
        "StrategyLine" => format!("{}, or an expression", constants(schema, "Strategy")),
        "Until" => format!(
            "{}, or [a map](#keys-of-until-as-a-map)",
            constants(schema, "UntilWord")
        ),
        other => constants(schema, other),
    }
}

/// Returns the words that a definition allows.
fn constants(schema: &Value, name: &str) -> String {
    let definition = definition(schema, name);
    let of_list = definition["enum"].as_array().into_iter().flatten();
    let of_choice = definition["oneOf"].as_array().into_iter().flatten();
    let words: Vec<String> = of_list
        .chain(of_choice.map(|one| &one["const"]))
        .filter_map(Value::as_str)
        .map(|word| format!("`{word}`"))
        .collect();
    assert!(!words.is_empty(), "{name} has no words");
    words.join(", ")
}
