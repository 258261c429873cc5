//! Schemas of others within the document: references that stay true, and a value that fits.

use serde_json::{Value, json};

/// Members whose values are data, or names, and no schemas.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];

/// How deep a value is made up.
const DEPTH_MAX: u8 = 6;

/// Members whose members are schemas by names of the schema's own.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];

/// Returns a schema whose references within itself lead to where it lies now. Within a part that has
/// an `$id` of its own they lead to that part, and stay.
pub(super) fn local(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(members) if members.get("$id").is_none_or(|id| !id.is_string()) => members
            .iter()
            .map(|(name, value)| (name.clone(), local_member(name, value, place)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| local(item, place)).collect(),
        other => other.clone(),
    }
}

fn local_member(name: &str, value: &Value, place: &str) -> Value {
    match value {
        Value::String(text) if name == "$ref" => match text.strip_prefix('#') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                json!(format!("{place}{rest}"))
            }
            _ => value.clone(),
        },
        Value::Object(members) if NAMED.contains(&name) => members
            .iter()
            .map(|(name, schema)| (name.clone(), local(schema, place)))
            .collect(),
        _ if DATA.contains(&name) => value.clone(),
        other => local(other, place),
    }
}

/// Makes up a value by a schema's examples, defaults and types. It may not fit: whoever shows it
/// checks it.
pub(super) fn sample(schema: &Value) -> Value {
    made(schema, schema, DEPTH_MAX)
}

fn made(schema: &Value, root: &Value, depth: u8) -> Value {
    if let Some(place) = schema["$ref"].as_str().filter(|_| depth > 0) {
        let found = place
            .strip_prefix('#')
            .and_then(|place| root.pointer(place));
        return found.map_or(Value::Null, |found| made(found, root, depth - 1));
    }
    let said = [
        schema["examples"].get(0),
        schema.get("example"),
        schema.get("default"),
        schema.get("const"),
        schema["enum"].get(0),
    ];
    if let Some(said) = said.into_iter().flatten().next() {
        return said.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => object(schema, root, depth),
        None if schema["properties"].is_object() => object(schema, root, depth),
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(0).min(4);
            (0..least.max(1))
                .filter(|_| schema["items"].is_object() && depth > 0)
                .map(|_| made(&schema["items"], root, depth.saturating_sub(1)))
                .collect()
        }
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("string") => json!(text(schema)),
        _ => Value::Null,
    }
}

/// Makes every member that is asked for, and those that say what they are.
fn object(schema: &Value, root: &Value, depth: u8) -> Value {
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
    let members = schema["properties"].as_object().into_iter().flatten();
    let members = members.filter(|(name, member)| {
        is_required(name) || member.get("default").is_some() || member.get("examples").is_some()
    });
    let depth = depth.saturating_sub(1);
    Value::Object(
        members
            .filter(|_| depth > 0)
            .map(|(name, member)| (name.clone(), made(member, root, depth)))
            .collect(),
    )
}

fn text(schema: &Value) -> String {
    let text = match schema["format"].as_str() {
        Some("uri") => "https://example.org/file",
        Some("email") => "someone@example.org",
        Some("date-time") => "2026-11-23T08:22:34Z",
        Some("date") => "2026-11-23",
        Some("uuid") => "01a2077f-ef04-70ed-a54d-b6abff5e0442",
        _ => "text",
    };
    let least = schema["minLength"].as_u64().unwrap_or(0).min(64);
    let missing = usize::try_from(least)
        .unwrap_or(0)
        .saturating_sub(text.len());
    format!("{text}{}", "x".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_where_the_schema_lies_now() {
        let schema = json!({
            "$defs": {"size": {"type": "integer"}, "own": {"$id": "urn:own", "items": {"$ref": "#/a"}}},
            "properties": {
                "width": {"$ref": "#/$defs/size"},
                "self": {"$ref": "#"},
                "named": {"$ref": "#anchor"},
                "data": {"const": {"$ref": "#/x"}},
                "default": {"$ref": "#/$defs/size"},
            },
        });
        let seen = local(&schema, "#/components/schemas/b.input");
        let expected = json!({
            "$defs": {"size": {"type": "integer"}, "own": {"$id": "urn:own", "items": {"$ref": "#/a"}}},
            "properties": {
                "width": {"$ref": "#/components/schemas/b.input/$defs/size"},
                "self": {"$ref": "#/components/schemas/b.input"},
                "named": {"$ref": "#anchor"},
                "data": {"const": {"$ref": "#/x"}},
                "default": {"$ref": "#/components/schemas/b.input/$defs/size"},
            },
        });
        assert_eq!(seen, expected);
    }

    #[test]
    fn samples_say_what_the_schema_says() {
        for (schema, expected) in [
            (json!({"type": "string", "minLength": 6}), json!("textxx")),
            (json!({"type": ["integer", "null"], "minimum": 3}), json!(3)),
            (json!({"enum": ["a", "b"]}), json!("a")),
            (
                json!({"type": "array", "items": {"const": 1}, "minItems": 2}),
                json!([1, 1]),
            ),
            (
                json!({
                    "type": "object", "required": ["url"],
                    "properties": {
                        "url": {"type": "string", "format": "uri"},
                        "quality": {"$ref": "#/$defs/q", "default": "high"},
                        "rest": {"type": "string"},
                    },
                    "$defs": {"q": {"enum": ["low"]}},
                }),
                json!({"url": "https://example.org/file", "quality": "low"}),
            ),
            (json!({"$ref": "#"}), json!(null)),
        ] {
            assert_eq!(sample(&schema), expected, "{schema}");
        }
    }
}
