//! What lies in `docs/` is what the code says.

use std::path::Path;

use super::super::{graph, language_schema, load};
use super::{folder, good};

/// Compares a generated document with the one in `docs/`, or writes it there.
fn check_document(name: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, content).expect("the folder exists");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == content,
        "docs/{name} is out of date: run the tests with UPDATE_DOCS=1"
    );
}

#[test]
fn the_pictures_in_the_docs_are_current() {
    for (_, text) in folder("blueprints") {
        let blueprint = good(&text);
        check_document(&format!("{}.svg", blueprint.name), &graph::svg(&blueprint));
    }
}

#[test]
fn the_schema_in_the_docs_is_current() {
    let schema = serde_json::to_string_pretty(&language_schema()).expect("it is JSON");
    check_document("blueprint.schema.json", &format!("{schema}\n"));
}

#[test]
fn the_examples_in_the_docs_are_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/blueprints.md");
    let text = std::fs::read_to_string(path).expect("the document exists");
    let examples = text.split("```yaml\n").skip(1);
    let mut count = 0;
    for example in examples {
        let example = example.split("```").next().unwrap_or_default();
        let loaded = load("docs/blueprints.md", example);
        assert_eq!(loaded.problems, [], "{example}");
        count += 1;
    }
    assert!(count >= 3, "{count}");
}
