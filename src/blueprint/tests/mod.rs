//! The shipped files, the bad files, and whatever else the loader may be handed.

mod documents;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Blueprint, Catalog, Problem, check_all, load};

/// Reads a folder's files in name order.
fn folder(path: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path)
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (
                name,
                std::fs::read_to_string(&path).expect("the file can be read"),
            )
        })
        .collect()
}

/// Loads a text that has to be good.
#[track_caller]
fn good(text: &str) -> Blueprint {
    let loaded = load("test.yaml", text);
    let lines: Vec<String> = loaded.problems.iter().map(Problem::to_string).collect();
    loaded
        .blueprint
        .unwrap_or_else(|| panic!("{}", lines.join("\n")))
}

#[test]
fn the_shipped_files_load_without_warnings() {
    let files = folder("blueprints");
    assert!(files.len() >= 3, "{files:?}");
    let (catalog, problems) = Catalog::load_files(files, &Catalog::default());
    assert_eq!(problems, []);
    let schema = super::Schema::compile(&super::language_schema()).expect("a valid schema");
    for blueprint in catalog.iter() {
        let content = serde_saphyr::from_str(&blueprint.source).expect("it is YAML");
        assert_eq!(schema.check(&content), Ok(()), "{}", blueprint.name);
    }
    let names: Vec<&str> = catalog
        .iter()
        .map(|blueprint| blueprint.name.as_str())
        .collect();
    for name in [
        "full_showcase",
        "metadata_enrichment",
        "periodic_maintenance",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn every_check_names_what_it_found() {
    let mut report = String::new();
    for (name, text) in folder("tests/data/blueprints/bad") {
        let loaded = load(&name, &text);
        assert!(!loaded.problems.is_empty(), "{name} is not bad");
        for problem in &loaded.problems {
            writeln!(report, "{problem}").expect("a string takes everything");
        }
        report.push('\n');
    }
    insta::assert_snapshot!("bad_blueprints", report);
}

#[test]
fn the_revision_is_of_the_content() {
    let base = "blueprint: a\nstart: s\nstates:\n  s: { end: finished, result: { x: 1, y: 2 } }\n";
    let revision = good(base).revision;
    assert_eq!(revision.len(), 16);
    for same in [
        "# a remark\nblueprint:   'a'\nstart: s\nstates: {s: {end: finished, result: {x: 1, y: 2}}}",
        "start: s\nstates:\n  s:\n    result:\n      y: 2\n      x: 1\n    end: finished\nblueprint: a\n",
        r#"{"blueprint":"a","start":"s","states":{"s":{"end":"finished","result":{"x":1,"y":2}}}}"#,
    ] {
        assert_eq!(good(same).revision, revision, "{same}");
    }
    for other in [base.replace("x: 1", "x: 2"), base.replace("y: 2", "y: '2'")] {
        assert_ne!(good(&other).revision, revision, "{other}");
    }
    // Later lines of `set` see earlier ones, so their order is content.
    let set = |lines: &str| {
        good(&format!(
            "blueprint: a\nstart: s\nstates: {{ s: {{ set: {{ {lines} }}, end: finished }} }}"
        ))
        .revision
    };
    assert_ne!(set("x: 1, y: 2"), set("y: 2, x: 1"));
}

#[test]
fn words_of_other_yaml_versions_stay_words() {
    let blueprint = good(
        "blueprint: a\nstart: s\nstates:\n  s:\n    approve: { message: ok? }\n    on: { yes: e, no: e, off: e }\n  e: { end: finished }\n",
    );
    let ways = blueprint
        .ways()
        .map(|(_, way)| way.label)
        .collect::<Vec<_>>();
    assert_eq!(ways, ["no", "off", "yes"]);
}

#[test]
fn durations() {
    use super::scalars::parse_duration;
    use std::time::Duration;
    for (text, ms) in [
        ("500ms", Some(500)),
        ("10s", Some(10_000)),
        ("1.5s", Some(1_500)),
        ("5m", Some(300_000)),
        ("24h", Some(86_400_000)),
        ("30d", Some(2_592_000_000)),
        ("7", Some(7_000)),
        ("10 s", Some(10_000)),
        ("s", None),
        ("-5s", None),
        ("5x", None),
        ("1e400", None),
        ("", None),
    ] {
        assert_eq!(
            parse_duration(text),
            ms.map(Duration::from_millis),
            "{text}"
        );
    }
}

#[test]
fn children_must_exist_and_end() {
    let file = |name: &str, child: &str, way_out: &str| {
        good(&format!(
            "blueprint: {name}\nstart: s\nstates:\n  s:\n    choose:\n      - when: {way_out}\n        \
             go_to: e\n    else: {{ go_to: r }}\n  r: {{ run: {{ blueprint: {child} }}, on: {{ success: e }} }}\n  \
             e: {{ end: finished }}\n"
        ))
    };
    let bound = |name: &str, child: &str| {
        good(&format!(
            "blueprint: {name}\nstart: r\nstates:\n  r: {{ run: {{ blueprint: {child} }}, on: {{ success: e, failure: e }} }}\n  \
             e: {{ end: finished }}\n"
        ))
    };
    let messages = |blueprints: &[&Blueprint]| -> Vec<String> {
        check_all(blueprints)
            .iter()
            .map(Problem::to_string)
            .collect()
    };
    let a = bound("a", "b");
    assert_eq!(
        messages(&[&a]),
        ["test.yaml:4:26: error: states.r.run.blueprint: no blueprint `b`"]
    );
    assert_eq!(
        messages(&[&a, &file("b", "a", "initial_data.stop")]),
        [] as [&str; 0]
    );
    assert_eq!(
        messages(&[&a, &bound("b", "a")]),
        [
            "test.yaml:4:26: error: states.r.run.blueprint: `a` cannot end without `b`, which runs it again: a recursion without bound",
            "test.yaml:4:26: error: states.r.run.blueprint: `b` cannot end without `a`, which runs it again: a recursion without bound",
        ]
    );
    assert_eq!(messages(&[&bound("self", "self")]).len(), 1);
}

#[test]
fn a_bad_file_never_replaces_a_good_revision() {
    let text = "blueprint: a\nstart: s\nstates: { s: { end: finished } }\n".to_owned();
    let files = |text: &str| vec![("a.yaml".to_owned(), text.to_owned())];
    let (first, problems) = Catalog::load_files(files(&text), &Catalog::default());
    assert_eq!(problems, []);
    let revision = first.get("a").expect("it is good").revision.clone();
    for bad in ["blueprint: a\n", ":", &text.replace("finished", "{ }")] {
        let (kept, problems) = Catalog::load_files(files(bad), &first);
        assert!(!problems.is_empty());
        assert_eq!(
            kept.get("a").expect("it is kept").revision,
            revision,
            "{bad}"
        );
    }
    let changed = text.replace("end: finished", "end: failed");
    let (second, _) = Catalog::load_files(files(&changed), &first);
    assert_ne!(second.get("a").expect("it is good").revision, revision);
    let (none, _) = Catalog::load_files(Vec::new(), &second);
    assert!(none.get("a").is_none());
}

#[test]
fn a_child_that_is_gone_takes_new_parents_with_it_only() {
    let parent = |child: &str| {
        let text = format!(
            "blueprint: a\nstart: r\nstates:\n  r: {{ run: {{ blueprint: {child} }}, on: {{ success: e }} }}\n  \
             e: {{ end: finished }}\n"
        );
        ("a.yaml".to_owned(), text)
    };
    let child = (
        "b.yaml".to_owned(),
        "blueprint: b\nstart: e\nstates: { e: { end: finished } }".to_owned(),
    );
    let (first, problems) =
        Catalog::load_files(vec![parent("b"), child.clone()], &Catalog::default());
    assert_eq!(problems, []);
    let good = first.get("a").expect("it is good").revision.clone();
    let (second, problems) = Catalog::load_files(vec![parent("absent"), child], &first);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(second.get("a").expect("it is kept").revision, good);
    let (third, problems) = Catalog::load_files(vec![parent("b")], &second);
    assert_eq!(
        problems,
        [],
        "a revision that was good stays, whatever becomes of its child"
    );
    assert!(third.get("a").is_some() && third.get("b").is_none());
    let (fourth, problems) = Catalog::load_files(vec![parent("b")], &Catalog::default());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(fourth.get("a").is_none());
}

/// Text that looks like a blueprint, with all the ways to get it wrong.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "blueprint",
        "start",
        "states",
        "a",
        "s",
        "go_to",
        "choose",
        "when",
        "else",
        "dispatch",
        "skill",
        "on",
        "success",
        "parallel",
        "for_each",
        "task",
        "as",
        "into",
        "run",
        "wait",
        "for",
        "5m",
        "approve",
        "end",
        "finished",
        "set",
        "\"{{ initial_data.x }}\"",
        "{{ x }}",
        "'{{ 1 + }}'",
        "&a",
        "*a",
        "<<",
        "true",
        "1e999",
        "~",
        "-1",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "|",
        ">",
        "#",
        "!!binary",
        "---",
        "\t",
        "\u{0}",
        "ä",
    ]);
    let joint = prop::sample::select(vec![": ", "\n", "\n  ", "\n    ", "- ", ":\n    ", " "]);
    prop::collection::vec((word, joint), 0..60).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(word, joint)| format!("{word}{joint}"))
            .collect()
    })
}

#[test]
fn depth_is_bounded_on_a_small_stack() {
    let run = || {
        for depth in [58, 200, 20_000] {
            for (open, close) in [("[", "]"), ("{a: ", "}")] {
                let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let text = format!(
                    "blueprint: a\nstart: s\nstates: {{ s: {{ end: finished, result: {value} }} }}"
                );
                let loaded = load("deep.yaml", &text);
                assert_eq!(loaded.blueprint.is_some(), depth == 58, "{depth} of {open}");
            }
        }
        let schema = format!("{}{{}}{}", "{properties: {a: ".repeat(28), "}}".repeat(28));
        let text = format!(
            "blueprint: a\nstart: s\ninput: {schema}\nstates: {{ s: {{ end: finished }} }}"
        );
        assert_eq!(load("schema.yaml", &text).problems, []);
        let sources = [
            format!("{}1{}", "(".repeat(1500), ")".repeat(1500)),
            format!("{}1{}", "[".repeat(1500), "]".repeat(1500)),
            format!("{} 1", "not ".repeat(900)),
            format!("{}1", "-".repeat(3000)),
            format!("a{}", ".b".repeat(1900)),
            format!("now{}", "[0]".repeat(1200)),
            format!("now{}", "|upper".repeat(600)),
            format!("now{}", " and now".repeat(500)),
            format!("now{}", " ~ now".repeat(600)),
            format!("now{}", " ** 2".repeat(600)),
            format!("now{}", " < 2".repeat(900)),
            format!("{}1", "1 if now else ".repeat(280)),
            format!("{}1{}", "dict(a=".repeat(500), ")".repeat(500)),
            format!("now{}", " is defined".repeat(350)),
        ];
        for source in sources {
            let mut compiled = super::Compiled::new("a");
            // Whether it compiles does not matter here, only that it comes back.
            let _ = compiled.condition("p", &source, &[]);
            let _ = compiled.template("p", &format!("{{{{ {source} }}}}"), &[]);
            let _ = compiled.template("p", &format!("x{{{{ {source} }}}}"), &[]);
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("it starts");
    thread.join().expect("it does not panic");
}

proptest! {
    #[test]
    fn any_text_loads_or_tells_why(text in ".{0,300}") {
        let loaded = load("any.yaml", &text);
        prop_assert!(loaded.blueprint.is_some() || !loaded.problems.is_empty());
    }

    #[test]
    fn nearly_blueprints_load_or_tell_why(text in nearly()) {
        let prefixed = format!("blueprint: a\nstart: s\nstates:\n  s:\n    {text}");
        for text in [text, prefixed] {
            let loaded = load("nearly.yaml", &text);
            prop_assert!(loaded.blueprint.is_some() || !loaded.problems.is_empty());
            prop_assert!(loaded.problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
        }
    }

    #[test]
    fn any_expression_compiles_or_tells_why(text in "[a-z_. |()\\[\\]{}'\"+*/~<>=!%:,0-9-]{0,80}") {
        let mut compiled = super::Compiled::new("a");
        let _ = compiled.condition("p", &text, &[]);
        let _ = compiled.template("p", &format!("{{{{ {text} }}}}"), &[]);
        let _ = compiled.template("p", &format!("x{{{{ {text}"), &[]);
    }
}
