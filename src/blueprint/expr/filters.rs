//! The evaluator's environment: the standard filters and tests, our own, and the way back to JSON.

use std::cmp::Ordering;
use std::sync::LazyLock;

use minijinja::value::{Rest, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::domain::Object;

/// What one evaluation may cost: an instruction is one, 64 bytes produced are one. Some ten
/// milliseconds at the worst.
const FUEL: u64 = 500_000;

/// The most that one evaluation may yield, in bytes of JSON. The engine's payload limit is lower;
/// this bound keeps a value that names one large part many times from being written out.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// The deepest nesting of a result.
const DEPTH_MAX: u32 = 120;

/// The standard filters that blueprints may use, and our own.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "chance",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "map_values",
    "max",
    "merge",
    "min",
    "pick",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

/// The tests that blueprints may use after `is`.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];

/// The functions that blueprints may call.
pub(super) const FUNCTIONS: &[&str] = &["chance", "dict", "range"];

/// One environment for all blueprints: it holds functions only, never a blueprint's content.
pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_debug(false);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // What is missing is dealt with by the filter `_need`, which the rewriting puts in.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_filter("_need", need);
    environment.add_filter("_text", text_of);
    environment.add_filter("_chance", |p: f64, share: f64| share < p);
    environment.add_filter("map_values", map_values);
    environment.add_filter("pick", pick);
    environment.add_filter("merge", merge);
    for (names, holds) in orderings() {
        for name in names {
            environment.add_filter(*name, move |a: &Value, b: &Value| ordered(a, b, holds));
            environment.add_test(*name, move |a: &Value, b: &Value| ordered(a, b, holds));
        }
    }
    environment
});

/// The names of an ordering comparison, and when it holds.
type OrderingTest = (&'static [&'static str], fn(Ordering) -> bool);

/// The ordering comparisons.
fn orderings() -> [OrderingTest; 4] {
    [
        (&["_lt", "lt", "lessthan", "<"], Ordering::is_lt),
        (&["_le", "le", "<="], Ordering::is_le),
        (&["_gt", "gt", "greaterthan", ">"], Ordering::is_gt),
        (&["_ge", "ge", ">="], Ordering::is_ge),
    ]
}

/// Compares two values of one kind; those of different kinds are in no order, so nothing holds.
fn ordered(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> bool {
    let comparable = a.kind() == b.kind()
        && matches!(
            a.kind(),
            ValueKind::Number | ValueKind::String | ValueKind::Seq
        );
    comparable && holds(a.cmp(b))
}

/// Passes a value on, or says what is missing.
fn need(value: &Value, what: &str) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            format!("`{what}` has no value (give it a `default`)"),
        ));
    }
    Ok(value.clone())
}

/// Returns a value as it stands in a text: text as it is, anything else as JSON.
fn text_of(value: &Value) -> Result<Value, Error> {
    if value.as_str().is_some() {
        return Ok(value.clone());
    }
    let json = to_json(value).map_err(|cause| Error::new(ErrorKind::InvalidOperation, cause))?;
    Ok(Value::from(json.to_string()))
}

/// Takes the value at a dotted path out of each item of a list or each value of a map.
fn map_values(value: &Value, path: &str) -> Result<Value, Error> {
    let pluck = |item: Value| -> Result<Value, Error> {
        let mut found = item;
        for name in path.split('.') {
            found = match found.kind() {
                ValueKind::Map => found.get_attr(name)?,
                _ => Value::UNDEFINED,
            };
        }
        Ok(if found.is_undefined() {
            Value::from(())
        } else {
            found
        })
    };
    match value.kind() {
        ValueKind::Map => {
            let mut pairs = Vec::with_capacity(value.len().unwrap_or(0));
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                pairs.push((key, pluck(item)?));
            }
            Ok(Value::from_pairs(pairs))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Result<Vec<Value>, Error> = value.try_iter()?.map(pluck).collect();
            Ok(Value::from(items?))
        }
        kind => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`map_values` wants a list or a map, got {kind}"),
        )),
    }
}

/// Returns a map with only these of its keys; those that it lacks are left out.
fn pick(value: &Value, keys: Rest<Value>) -> Result<Value, Error> {
    want_map(value, "pick")?;
    let mut names = Vec::new();
    for key in keys.0 {
        match key.kind() {
            ValueKind::Seq | ValueKind::Iterable => names.extend(key.try_iter()?),
            _ => names.push(key),
        }
    }
    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        let item = value.get_item(&name)?;
        if !item.is_undefined() {
            pairs.push((name, item));
        }
    }
    Ok(Value::from_pairs(pairs))
}

/// Returns a map with another's members added; the other's win.
fn merge(value: &Value, other: &Value) -> Result<Value, Error> {
    want_map(value, "merge")?;
    want_map(other, "merge")?;
    let mut pairs = Vec::new();
    for map in [value, other] {
        for key in map.try_iter()? {
            let item = map.get_item(&key)?;
            pairs.push((key, item));
        }
    }
    Ok(Value::from_pairs(pairs))
}

/// Refuses what is not a map.
fn want_map(value: &Value, filter: &str) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Map => Ok(()),
        kind => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{filter}` wants a map, got {kind}"),
        )),
    }
}

/// Returns a result as JSON.
pub(super) fn to_json(value: &Value) -> Result<Json, String> {
    let mut budget = OUTPUT_BYTES_MAX;
    convert(value, DEPTH_MAX, &mut budget)
}

/// Takes bytes from the budget.
fn spend(budget: &mut usize, bytes: usize) -> Result<(), String> {
    *budget = budget
        .checked_sub(bytes)
        .ok_or_else(|| format!("the result is larger than {OUTPUT_BYTES_MAX} bytes"))?;
    Ok(())
}

/// Converts one value and what is in it.
fn convert(value: &Value, depth: u32, budget: &mut usize) -> Result<Json, String> {
    let Some(below) = depth.checked_sub(1) else {
        return Err(format!(
            "the result is nested deeper than {DEPTH_MAX} levels"
        ));
    };
    spend(budget, 4)?;
    match value.kind() {
        ValueKind::Undefined => Err("a value in the result is missing".to_owned()),
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => number(value),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            spend(budget, text.len())?;
            Ok(Json::String(text.to_owned()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| describe(&error))?;
            items
                .map(|item| convert(&item, below, budget))
                .collect::<Result<_, _>>()
                .map(Json::Array)
        }
        ValueKind::Map => {
            let mut map = Object::new();
            for key in value.try_iter().map_err(|error| describe(&error))? {
                let item = value.get_item(&key).map_err(|error| describe(&error))?;
                let name = key.to_string();
                spend(budget, name.len())?;
                map.insert(name, convert(&item, below, budget)?);
            }
            Ok(Json::Object(map))
        }
        kind => Err(format!("a value of the kind {kind} cannot be a result")),
    }
}

/// Converts a number; JSON has neither infinities nor anything wider than 64 bits.
fn number(value: &Value) -> Result<Json, String> {
    if value.is_integer() {
        if let Ok(number) = i64::try_from(value.clone()) {
            return Ok(number.into());
        }
        return u64::try_from(value.clone())
            .map(Json::from)
            .map_err(|_| format!("the number {value} does not fit into 64 bits"));
    }
    f64::try_from(value.clone())
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map(Json::Number)
        .ok_or_else(|| format!("the number {value} is not finite"))
}

/// Returns an evaluation's error in a line.
pub(super) fn describe(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("it costs more than the {FUEL} steps allowed"),
        (ErrorKind::UndefinedError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}
