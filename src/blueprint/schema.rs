//! JSON Schemas, compiled once and kept.

use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

/// The most violations that a message names.
const VIOLATIONS_MAX: usize = 5;

/// The longest text of one violation, in bytes: it quotes the value, which may be large.
const VIOLATION_BYTES_MAX: usize = 200;

/// The deepest nesting of a schema.
const DEPTH_MAX: u32 = 64;

/// A compiled JSON Schema (draft 2020-12 unless `$schema` says otherwise). References lead only
/// within the document: nothing is ever fetched.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
}

impl Schema {
    /// Compiles a schema; refuses one that is not valid or that refers outside itself.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        check_references(schema, "", DEPTH_MAX)?;
        let declared = schema.get("$schema").is_some();
        let mut options = jsonschema::options();
        if !declared {
            options = options.with_draft(Draft::Draft202012);
        }
        // A pattern that needs backtracking is cut off instead of eating the processor.
        options = options.with_pattern_options(
            jsonschema::PatternOptions::fancy_regex()
                .backtrack_limit(100_000)
                .size_limit(1 << 20),
        );
        match options.build(schema) {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => Err(describe(&error)),
        }
    }

    /// Checks a value; the text names the first violations with their places.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut errors = self.validator.iter_errors(value);
        let named: Vec<String> = errors
            .by_ref()
            .take(VIOLATIONS_MAX)
            .map(|error| describe(&error))
            .collect();
        let more = if errors.next().is_some() {
            "; and more"
        } else {
            ""
        };
        Err(format!("{}{more}", named.join("; ")))
    }
}

/// Returns a violation with its place, cut to a bearable length.
fn describe(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let mut text = error.to_string();
    if text.len() > VIOLATION_BYTES_MAX {
        let end = (0..=VIOLATION_BYTES_MAX)
            .rev()
            .find(|index| text.is_char_boundary(*index));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    if place.is_empty() {
        text
    } else {
        format!("{place}: {text}")
    }
}

/// Refuses references that leave the document, and schemas too deep to compile.
fn check_references(schema: &Value, place: &str, depth: u32) -> Result<(), String> {
    let Some(below) = depth.checked_sub(1) else {
        return Err(format!("{place}: nested deeper than {DEPTH_MAX} levels"));
    };
    match schema {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_references(item, &format!("{place}/{index}"), below)?;
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let here = format!("{place}/{key}");
                let is_reference = matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef");
                match value.as_str() {
                    Some(target) if is_reference && !target.starts_with('#') => {
                        return Err(format!(
                            "{here}: `{target}` leads out of the schema; only references that start with `#` are followed"
                        ));
                    }
                    _ => check_references(value, &here, below)?,
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// The compiled schemas of one blueprint.
#[derive(Debug, Default)]
pub struct Schemas {
    /// Each schema as it is written, and compiled. Few, so looking through them is quick.
    known: Vec<(Value, Schema)>,
}

impl Schemas {
    /// Compiles a schema and keeps it.
    pub(super) fn add(&mut self, schema: &Value) -> Result<(), String> {
        if self.get(schema).is_none() {
            self.known.push((schema.clone(), Schema::compile(schema)?));
        }
        Ok(())
    }

    /// Finds a schema that was kept.
    fn get(&self, schema: &Value) -> Option<&Schema> {
        self.known
            .iter()
            .find(|(known, _)| known == schema)
            .map(|(_, compiled)| compiled)
    }

    /// Checks a value by a schema that was kept.
    fn check(&self, schema: Option<&Value>, value: &Value) -> Result<(), String> {
        let Some(schema) = schema else { return Ok(()) };
        match self.get(schema) {
            Some(compiled) => compiled.check(value),
            None => Schema::compile(schema)?.check(value),
        }
    }
}

impl super::Blueprint {
    /// Checks a submission's `initial_data`.
    pub fn check_input(&self, value: &Value) -> Result<(), String> {
        self.compiled.schemas.check(self.input.as_ref(), value)
    }

    /// Checks a job's result.
    pub fn check_output(&self, value: &Value) -> Result<(), String> {
        self.compiled.schemas.check(self.output.as_ref(), value)
    }

    /// Checks an event's payload; a type without a schema passes.
    pub fn check_event(&self, event_type: &str, payload: &Value) -> Result<(), String> {
        self.compiled
            .schemas
            .check(self.events.get(event_type), payload)
    }

    /// Checks the data of a task's success; `schema` is a `Dispatch::output` of this blueprint.
    pub fn check_task_output(&self, schema: &Value, data: &Value) -> Result<(), String> {
        self.compiled.schemas.check(Some(schema), data)
    }

    /// Checks the answer to an approval; `schema` is an `Approve::form` of this blueprint.
    pub fn check_form(&self, schema: &Value, answer: &Value) -> Result<(), String> {
        self.compiled.schemas.check(Some(schema), answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_checked_and_check() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/n"}, "t": {"type": "string", "pattern": "^x"}},
            "required": ["a"],
            "$defs": {"n": {"type": "integer"}}
        }))
        .expect("a valid schema");
        for (value, expected) in [
            (json!({"a": 1}), Ok(())),
            (
                json!({"a": "1"}),
                Err("/a: \"1\" is not of type \"integer\""),
            ),
            (json!({}), Err("\"a\" is a required property")),
            (
                json!({"a": 1.5, "t": "y"}),
                Err("/a: 1.5 is not of type \"integer\"; /t: \"y\" does not match \"^x\""),
            ),
        ] {
            assert_eq!(
                schema.check(&value),
                expected.map_err(str::to_owned),
                "{value}"
            );
        }
        let long = schema
            .check(&json!({"a": "ä".repeat(5_000)}))
            .expect_err("a text");
        assert!(long.len() < 300, "{}", long.len());
    }

    #[test]
    fn bad_schemas_are_refused() {
        for (schema, part) in [
            (json!({"type": "strin"}), "strin"),
            (
                json!({"$ref": "https://example.org/s.json"}),
                "leads out of the schema",
            ),
            (
                json!({"properties": {"a": {"$ref": "other.json#/x"}}}),
                "/properties/a/$ref",
            ),
            (json!({"$ref": "#/$defs/absent"}), "absent"),
            (json!({"pattern": "("}), "("),
            (json!(7), "7"),
        ] {
            let error = Schema::compile(&schema).expect_err("a bad schema");
            assert!(error.contains(part), "{schema}: {error}");
        }
    }
}
