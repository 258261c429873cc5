//! README tells the truth: its tables are those of the code, its blueprint loads, and the files that
//! it names are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use avtomatika::api::CODES;
use avtomatika::blueprint::load;
use avtomatika::engine::codes;
use avtomatika::roles::exit::Exit;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("the document is there")
}

fn readme() -> String {
    read("README.md")
}

/// Returns the text from a heading to the next one of its kind.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = format!("\n## {heading}\n");
    let rest = text
        .split_once(&start)
        .unwrap_or_else(|| panic!("README has no section `{heading}`"))
        .1;
    rest.split("\n## ").next().unwrap_or(rest)
}

/// Returns the rows of a section's table, without its head, as cells.
fn rows(section: &str) -> Vec<Vec<&str>> {
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn exit_codes() {
    let text = readme();
    let expected: Vec<(String, &str)> = Exit::ALL
        .into_iter()
        .map(|exit| (exit.code().to_string(), exit.meaning()))
        .collect();
    let seen: Vec<(String, &str)> = rows(section(&text, "Exit codes"))
        .into_iter()
        .map(|row| (row[0].to_owned(), row[1]))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn error_codes_of_the_api() {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (code, status, _) in CODES {
        expected
            .entry(status.to_string())
            .or_default()
            .push(format!("`{code}`"));
    }
    let text = readme();
    let seen: BTreeMap<String, Vec<String>> = rows(section(&text, "Error codes of the API"))
        .into_iter()
        .map(|row| {
            let codes = row[1].split(", ").map(str::to_owned).collect();
            (row[0].to_owned(), codes)
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn error_codes_of_jobs() {
    let text = readme();
    let seen: Vec<&str> = rows(section(&text, "Error codes of jobs"))
        .into_iter()
        .map(|row| {
            assert!(!row[1].is_empty(), "{} has no meaning", row[0]);
            row[0].trim_matches('`')
        })
        .collect();
    assert_eq!(seen, codes::ALL);
}

#[test]
fn the_blueprint_loads() {
    let text = readme();
    let example = section(&text, "A blueprint")
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("the section has an example")
        .0;
    let loaded = load("README.md", example);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.blueprint.expect("it is good").name, "greet");
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    for file in ["README.md", "CHANGELOG.md", "docs/operations.md"] {
        let path = root().join(file);
        let folder = path.parent().expect("a file is in a folder");
        let text = read(file);
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            assert!(folder.join(target).exists(), "{file} links to {target}");
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
}

/// Names in code of a section, without those that are more than a name.
fn names_in(section: &str) -> Vec<&str> {
    let spans = section.split('`').skip(1).step_by(2);
    spans.filter(|name| !name.contains(' ')).collect()
}

/// The folders of the map and the files of the path are there; what moves has to move there too.
#[test]
fn the_files_of_the_walk_are_there() {
    let (text, guide) = (readme(), read("docs/architecture.md"));
    let (map, path) = (
        section(&text, "Code map"),
        section(&guide, "The path of one job"),
    );
    let mut files = 0;
    for name in names_in(map).into_iter().chain(names_in(path)) {
        let is_there = [root().join("src").join(name), root().join(name)]
            .iter()
            .any(|path| path.exists());
        let is_example = name == "mod.rs" || name == "src";
        let is_module = root().join(format!("src/{name}.rs")).is_file();
        assert!(is_there || is_example || is_module, "`{name}` is not there");
        files += usize::from(Path::new(name).extension().is_some());
    }
    assert!(files >= 15, "{files}");
}
