//! `docs/conformance.md` lists the rules that there are.

use std::fs;
use std::path::Path;

use avtomatika::roles::conformance::{Rule, orchestrator, worker};

/// Returns a table between its marks.
fn table(name: &str, rules: &[Rule]) -> String {
    let mut text = format!("<!-- {name} -->\n\n| Check | Section | Rule |\n|---|---|---|\n");
    for Rule {
        id,
        section,
        text: rule,
    } in rules
    {
        text.push_str(&format!("| {id} | {section} | {rule} |\n"));
    }
    text + &format!("\n<!-- end of {name} -->")
}

/// Run with `UPDATE_DOCS=1` to write the tables.
#[test]
fn the_rules_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let seen = fs::read_to_string(&path).expect("docs/conformance.md is there");
    let mut expected = seen.clone();
    for (name, rules) in [
        ("orchestrator rules", orchestrator::rules()),
        ("worker rules", worker::rules()),
    ] {
        let (start, end) = (
            format!("<!-- {name} -->"),
            format!("<!-- end of {name} -->"),
        );
        let from = expected.find(&start).expect("the table's first mark");
        let to = expected.find(&end).expect("the table's last mark") + end.len();
        expected.replace_range(from..to, &table(name, &rules));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).expect("written");
    } else {
        assert_eq!(seen, expected, "UPDATE_DOCS=1 writes the tables");
    }
}
