//! What the guides name is there: places that links lead to, files, environment variables, tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use avtomatika::config::{foreign, keys};
use avtomatika::roles::cli::Cli;
use clap::CommandFactory as _;

use crate::markdown::{anchor, blocks, folder, guides, headings, links, read, root, spans};
use crate::shell::lines;

/// Variables of other programs, and those that this one gives to the commands that it starts.
const OTHERS: [&str; 8] = [
    "AVTOMATIKA_JOB_ID",
    "AVTOMATIKA_TASK_DIR",
    "AVTOMATIKA_TASK_ID",
    "CARGO_TARGET_DIR",
    "ORIGINAL_VENV",
    "TOKIO_WORKER_THREADS",
    "TRACEPARENT",
    "UPDATE_DOCS",
];

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for guide in guides() {
        for (line, target) in links(&guide) {
            if target.starts_with("http://") || target.starts_with("https://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() {
                root().join(&guide)
            } else {
                folder(&guide).join(file)
            };
            assert!(path.exists(), "{guide}:{line} links to {target}");
            if !place.is_empty() {
                let path = path.canonicalize().expect("it is there");
                let name = path.strip_prefix(root()).expect("of the package");
                let known = headings(name.to_str().expect("UTF-8"));
                let is_there = known.iter().any(|(_, heading)| anchor(heading) == place);
                assert!(is_there, "{guide}:{line} links to {target}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

/// README's table of guides has all of them.
#[test]
fn every_guide_is_in_the_table() {
    for readme in ["README.md", "README_RU.md"] {
        let linked: BTreeSet<String> = links(readme)
            .into_iter()
            .map(|(_, target)| target)
            .collect();
        for guide in guides().iter().filter(|guide| guide.starts_with("docs/")) {
            assert!(
                linked.contains(guide.as_str()),
                "{readme} does not link {guide}"
            );
        }
    }
}

/// Files of the package, and of `src` where that is left out; what a guide has its reader write counts.
#[test]
fn every_file_that_is_named_is_there() {
    let mut count = 0;
    for guide in guides() {
        let written: Vec<String> = blocks(&guide)
            .iter()
            .filter_map(|block| block.said("file:").map(str::to_owned))
            .collect();
        for (line, span) in spans(&guide) {
            if !is_file_of_ours(&span) || written.contains(&span) {
                continue;
            }
            let is_there = ["", "src", "docs"]
                .iter()
                .any(|at| root().join(at).join(&span).exists());
            assert!(is_there, "{guide}:{line}: `{span}` is not there");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

fn is_file_of_ours(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let below = [
        "src/",
        "docs/",
        "config/",
        "tests/",
        "blueprints/",
        "benches/",
        "fuzz/",
        ".ci/",
    ];
    let is_rust = Path::new(span).extension().is_some_and(|end| end == "rs") && span != "mod.rs";
    span.chars().all(plain) && (is_rust || below.iter().any(|start| span.starts_with(start)))
}

/// Returns all sources below a folder.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the texts in quotes of a source that look like names of variables.
fn quoted(source: &str) -> impl Iterator<Item = String> + '_ {
    source
        .split('"')
        .filter(|text| is_name(text))
        .map(str::to_owned)
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn of_commands(command: &clap::Command, known: &mut BTreeSet<String>) {
    let arguments = command.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(arguments.map(|name| name.to_string_lossy().into_owned()));
    for inner in command.get_subcommands() {
        of_commands(inner, known);
    }
}

/// Returns the variables that the program reads, and those of its tests and benches.
pub(crate) fn variables() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    for key in keys::KEYS {
        known.insert(key.name.to_owned());
        known.insert(format!("{}_FILE", key.name));
    }
    known.extend(foreign::ALIASES.iter().map(|(_, name)| (*name).to_owned()));
    for one in foreign::UNSUPPORTED
        .iter()
        .chain(foreign::UNSUPPORTED_BY_WORKERS)
    {
        known.extend(one.names.iter().map(|(name, _)| (*name).to_owned()));
    }
    of_commands(&Cli::command(), &mut known);
    for name in of_workers() {
        known.insert(format!("{name}_FILE"));
        known.insert(name);
    }
    for folder in ["tests", "benches"] {
        for path in sources(&root().join(folder)) {
            known.extend(quoted(&fs::read_to_string(path).expect("UTF-8")));
        }
    }
    known
}

/// Returns the variables that a worker reads, as its sources name them.
pub(crate) fn of_workers() -> BTreeSet<String> {
    let files = ["read.rs", "skills.rs"].map(|file| format!("src/roles/worker/config/{file}"));
    let mut known: BTreeSet<String> = files
        .iter()
        .flat_map(|file| quoted(&read(file)).collect::<Vec<_>>())
        .collect();
    // Values, not names.
    for value in ["WATERFALL", "ROUND_ROBIN"] {
        known.remove(value);
    }
    // What the command line reads itself.
    let worker = Cli::command().find_subcommand("worker").cloned();
    let worker = worker.expect("the worker's command");
    let read = worker.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(read.filter_map(|name| name.to_str().map(str::to_owned)));
    known
}

/// Returns the variables that the recipes take.
fn of_make() -> BTreeSet<String> {
    let makefile = read("Makefile");
    let names = makefile
        .lines()
        .filter_map(|line| line.split_once(" ?=").or(line.split_once(" :=")));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn every_variable_that_is_set_is_known() {
    let (known, made) = (variables(), of_make());
    let mut count = 0;
    for block in guides().iter().flat_map(|guide| blocks(guide)) {
        let shell = lines(&block.text);
        for command in shell.iter().flat_map(|line| &line.commands) {
            let is_make = command.words.first().is_some_and(|word| word == "make");
            let in_words = command
                .words
                .iter()
                .skip(1)
                .filter_map(|word| word.split_once('='));
            let in_words = in_words
                .map(|(name, _)| name)
                .filter(|name| is_make && is_name(name));
            let before = command.assignments.iter().map(|(name, _)| name.as_str());
            for name in before.chain(in_words).filter(|_| block.is_shell()) {
                let is_shells = !is_name(name) || ["PATH", "PGPASSWORD"].contains(&name);
                let is_extra = name.starts_with("WORKER_EXTRA_");
                let is_known = is_shells || is_extra || known.contains(name) || made.contains(name);
                assert!(is_known, "{}: {name} has no effect", block.place());
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// Words in capitals with a `_` are variables or codes; all of them stand in the sources.
#[test]
fn every_name_in_capitals_is_known() {
    let mut known = variables();
    known.extend(of_make());
    for path in sources(&root().join("src")) {
        known.extend(quoted(&fs::read_to_string(path).expect("UTF-8")));
    }
    let mut count = 0;
    for guide in guides() {
        for (line, span) in spans(&guide) {
            let name = span.split('=').next().unwrap_or_default();
            if is_name(name) && name.contains('_') {
                let is_known = known.contains(name) || name.starts_with("WORKER_EXTRA_");
                assert!(is_known, "{guide}:{line}: `{span}` is not known");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count}");
}

/// Returns the tests of each test program; those of the library are below `lib`.
pub(crate) fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let tests = root().join("tests");
    for (folder, name) in [(root().join("src"), Some("lib")), (tests.clone(), None)] {
        for path in sources(&folder) {
            let below = path.strip_prefix(&tests).ok();
            let first = below
                .and_then(|path| path.iter().next())
                .and_then(|one| one.to_str());
            let program = name.or(first.map(|one| one.trim_end_matches(".rs")));
            let names = found
                .entry(program.expect("a name").to_owned())
                .or_default();
            names.extend(tests_of(&fs::read_to_string(&path).expect("UTF-8")));
        }
    }
    found
}

/// The guide to workers has a row for each variable that a worker reads.
#[test]
fn the_variables_of_workers_are_told() {
    let text = read("docs/workers.md");
    let (_, rest) = text.split_once("<!-- variables -->").expect("a table");
    let (table, _) = rest
        .split_once("<!-- end of variables -->")
        .expect("its end");
    let names = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<String> = names.map(str::to_owned).collect();
    assert_eq!(told, of_workers());
}

/// Returns the functions of a source that are marked as tests.
fn tests_of(source: &str) -> Vec<String> {
    let (mut found, mut is_marked) = (Vec::new(), false);
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_marked |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_marked) {
            let end = rest.find(['(', '<']).unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            is_marked = false;
        }
    }
    found
}

/// A test is named as `PROGRAM::TEST`, so that `cargo nextest run TEST` runs it.
#[test]
fn every_test_that_is_named_is_there() {
    let tests = tests();
    let mut count = 0;
    for guide in guides() {
        for (line, span) in spans(&guide) {
            let Some((program, name)) = span.split_once("::") else {
                continue;
            };
            if let Some(known) = tests.get(program) {
                assert!(
                    known.contains(name),
                    "{guide}:{line}: there is no test `{span}`"
                );
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}
