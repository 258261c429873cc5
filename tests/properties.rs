//! What is promised of any input, tried with many: canonical form, wire, blueprints, expressions. The
//! promises are those of the fuzz targets; the inputs here are drawn so that most of them get past
//! the parser. The corpus that the fuzzer has kept is run as well.

#[path = "../fuzz/src/lib.rs"]
mod promises;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON value, with the members of the wire among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 8.0)),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "w1",
            "idle",
            "success",
            "cancel_task",
            "a\u{7f}\u{2028}\"\\"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned),
            ".{0,6}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 28] = [
    "worker_id",
    "worker_type",
    "supported_skills",
    "name",
    "type",
    "status",
    "timestamp",
    "job_id",
    "task_id",
    "data",
    "error",
    "code",
    "message",
    "security",
    "signature",
    "signer_id",
    "usage",
    "devices",
    "model",
    "resources",
    "capabilities",
    "cost_per_skill",
    "hot_skills",
    "event_type",
    "payload",
    "current_tasks",
    "command",
    "params",
];

/// A good message with a few members more, less or other.
fn changed_message() -> impl Strategy<Value = Value> {
    let read = |text: &String| serde_json::from_str(text).expect("JSON");
    let good: Vec<Value> = sources("fuzz/corpus/wire", "json")
        .iter()
        .map(read)
        .collect();
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (0.0..1e6_f64).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any_json(),
    ];
    let change = (prop::sample::select(KEYS.to_vec()), prop::option::of(leaf));
    let changes = prop::collection::vec(change, 0..3);
    (prop::sample::select(good), changes).prop_map(|(mut message, changes)| {
        for (key, value) in changes {
            let members = message.as_object_mut().expect("an object");
            match value {
                Some(value) => drop(members.insert(key.to_owned(), value)),
                None => drop(members.remove(key)),
            }
        }
        message
    })
}

/// A shipped blueprint with a few lines or words of it taken out, doubled or changed.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<u8>(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
    );
    let texts = sources("blueprints", "yaml");
    let other = "[-a-z{}\\[\\]:|>&*!#\"' 0-9.]{0,6}";
    (
        prop::sample::select(texts),
        prop::collection::vec((edit, other), 1..6),
    )
        .prop_map(|(text, edits)| {
            let mut text = text;
            for ((kind, first, second), other) in edits {
                text = edited(&text, kind, (first, second), &other);
            }
            text
        })
}

type Places = (prop::sample::Index, prop::sample::Index);

fn edited(text: &str, kind: u8, (first, second): Places, other: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return other.to_owned();
    }
    let (a, b) = (first.index(lines.len()), second.index(lines.len()));
    match kind % 5 {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a].clone()),
        2 => lines.swap(a, b),
        3 => {
            // Deeper or shallower.
            let line = lines[a].trim_start().to_owned();
            lines[a] = format!("{}{line}", " ".repeat(b % 12));
        }
        _ => {
            let mut words: Vec<&str> = lines[a].split(' ').collect();
            let at = second.index(words.len());
            words[at] = other;
            lines[a] = words.join(" ");
        }
    }
    lines.join("\n")
}

const LEAVES: [&str; 27] = [
    "initial_data.n",
    "initial_data.list",
    "initial_data.text",
    "initial_data.none",
    "initial_data.deep.a[0]",
    "initial_data.nothing",
    "initial_data",
    "item",
    "item.id",
    "now",
    "event.price",
    "attempt",
    "metadata",
    "data_stores",
    "state_history",
    "1",
    "0",
    "-1",
    "2.5",
    "9223372036854775807",
    "true",
    "none",
    "'x'",
    "''",
    "[]",
    "{}",
    "[1, 'a', none]",
];

const OPERATORS: [&str; 43] = [
    "initial_data.n",
    "initial_data.list",
    "initial_data.text",
    "initial_data.none",
    "initial_data.deep.a[0]",
    "initial_data.nothing",
    "initial_data",
    "item",
    "item.id",
    "now",
    "event.price",
    "attempt",
    "metadata",
    "data_stores",
    "state_history",
    "1",
    "0",
    "-1",
    "2.5",
    "9223372036854775807",
    "true",
    "none",
    "'x'",
    "''",
    "[]",
    "{}",
    "[1, 'a', none]",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "~",
    "==",
    "!=",
    "<",
    ">=",
    "and",
    "or",
    "in",
    "not in",
];

const FILTERS: [&str; 25] = [
    "length",
    "upper",
    "default(1)",
    "first",
    "last",
    "sort",
    "reverse",
    "join(',')",
    "int",
    "float",
    "string",
    "tojson",
    "list",
    "unique",
    "sum",
    "min",
    "max",
    "abs",
    "round",
    "map(attribute='id')",
    "select",
    "replace('a', 'bbbb')",
    "trim",
    "batch(2)",
    "items",
];

/// Expressions by their grammar, so that most compile.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(6, 60, 4, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = prop::sample::select(OPERATORS.to_vec());
        let filter = prop::sample::select(FILTERS.to_vec());
        prop_oneof![
            (two.clone(), operator).prop_map(|((a, b), it)| format!("({a} {it} {b})")),
            (inner.clone(), filter).prop_map(|(a, it)| format!("{a} | {it}")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} if {b} else {c})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.prop_map(|(a, b)| format!("[{a}, {b}] * 3")),
            inner.clone().prop_map(|a| format!("(not {a})")),
            inner.prop_map(|a| format!("range({a})")),
        ]
    })
}

/// Returns the texts of a folder's files in name order.
fn sources(folder: &str, extension: &str) -> Vec<String> {
    files(folder)
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        promises::blueprint(&bytes);
        promises::expression(&bytes);
        promises::wire(&bytes);
        promises::canonical(&bytes);
    }

    #[test]
    fn any_value_has_one_canonical_form(value in any_json()) {
        promises::canonical(value.to_string().as_bytes());
        let spaced = serde_json::to_vec_pretty(&value).expect("JSON");
        promises::canonical(&spaced);
    }

    #[test]
    fn a_changed_message_is_decoded_or_refused(value in changed_message()) {
        promises::wire(value.to_string().as_bytes());
    }

    #[test]
    fn any_message_is_decoded_or_refused(value in any_json(), id in any::<bool>()) {
        let mut value = value;
        if let (true, Some(members)) = (id, value.as_object_mut()) {
            members.insert("worker_id".to_owned(), json!("w1"));
            members.insert("status".to_owned(), json!("idle"));
        }
        promises::wire(value.to_string().as_bytes());
    }

    #[test]
    fn a_changed_blueprint_loads_or_tells_why(text in mutated()) {
        promises::blueprint(text.as_bytes());
    }

    #[test]
    fn an_expression_ends_whatever_it_says(text in expression()) {
        promises::expression(text.as_bytes());
    }
}

/// Every input that the fuzzer has kept, and those that it has found fault with.
#[test]
fn the_corpus_holds() {
    type Promise = fn(&[u8]);
    let targets: [(&str, Promise); 4] = [
        ("blueprint", promises::blueprint),
        ("expression", promises::expression),
        ("wire", promises::wire),
        ("canonical", promises::canonical),
    ];
    for (name, promise) in targets {
        let files = files(&format!("fuzz/corpus/{name}"));
        assert!(files.len() >= 5, "{name}: {files:?}");
        for path in files {
            let bytes = std::fs::read(&path).expect("a file");
            let held = std::panic::catch_unwind(|| promise(&bytes));
            assert!(
                held.is_ok(),
                "{name}: {} breaks the promise",
                path.display()
            );
        }
    }
}
