//! House rules that the compiler does not know: floors, file length, first lines, reasons.
//! A new rule costs minutes here; nothing is checked only elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, its path from the root and its text.
struct Source {
    path: String,
    text: String,
}

/// The floors, lowest first. A module may name modules of its own floor and of those below it.
/// `base` also stands for itself; `main` and `lib` may name everything.
const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("domain", 1),
    ("blueprint", 2),
    ("protocol", 2),
    ("engine", 3),
    ("store", 4),
    ("net", 4),
    ("observe", 4),
    ("runtime", 5),
    ("api", 6),
    ("config", 7),
    ("roles", 7),
];

/// Crates that a floor and everything below it must never name.
const FORBIDDEN: &[(u8, &[&str])] = &[
    (
        3,
        &[
            "tokio",
            "hyper",
            "axum",
            "rusqlite",
            "fred",
            "tracing",
            "clap",
            "indicatif",
        ],
    ),
    (5, &["axum", "rusqlite", "fred", "clap", "indicatif"]),
    (6, &["clap", "indicatif"]),
];

/// What [`FORBIDDEN`] says of a floor does not hold for these modules, whose work it is.
const DRIVERS: &[(&str, &str)] = &[("store", "rusqlite"), ("store", "fred")];

const LINES_MAX: usize = 400;

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        collect(root, &root.join(folder), &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        sources.len() > 20,
        "the sources were not found below {}",
        root.display()
    );
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    for path in paths {
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .expect("below the root")
                .display()
                .to_string();
            sources.push(Source {
                path: name.replace('\\', "/"),
                text: fs::read_to_string(&path).expect("a text file"),
            });
        }
    }
}

/// Fails with every finding at once.
fn check(rule: &str, find: impl Fn(&Source) -> Vec<String>) {
    let findings: Vec<String> = sources().iter().flat_map(find).collect();
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

fn module(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split(['/', '.']).next()
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// Yields each line of code with its number; comments are cut off.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| {
        let end = line
            .find("//")
            .filter(|at| !line[..*at].ends_with(':'))
            .unwrap_or(line.len());
        (number + 1, &line[..end])
    })
}

/// Returns the modules of this crate that a line names by `crate::`.
fn named_modules(line: &str) -> Vec<&str> {
    line.split("crate::")
        .skip(1)
        .map(|rest| {
            let inner = rest.strip_prefix('{').unwrap_or(rest);
            let end = inner
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(inner.len());
            &inner[..end]
        })
        .collect()
}

#[test]
fn imports_go_downwards() {
    check("a floor names one above it", |source| {
        let Some(own) = module(&source.path) else {
            return Vec::new();
        };
        let Some(own_floor) = floor(own) else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        for (number, line) in code(&source.text) {
            for name in named_modules(line) {
                if floor(name).is_some_and(|floor| floor > own_floor) {
                    findings.push(format!("{}:{number}: `{own}` names `{name}`", source.path));
                }
            }
        }
        findings
    });
}

#[test]
fn every_module_has_a_floor() {
    check("a module without a floor", |source| {
        match module(&source.path) {
            None | Some("main" | "lib") => Vec::new(),
            Some(name) if floor(name).is_some() => Vec::new(),
            Some(name) => vec![format!("{}: `{name}` is not in FLOORS", source.path)],
        }
    });
}

#[test]
fn floors_keep_to_their_crates() {
    check("a floor names a crate that it must not know", |source| {
        let Some(own) = module(&source.path) else {
            return Vec::new();
        };
        let Some(own_floor) = floor(own) else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        for (number, line) in code(&source.text) {
            for (up_to, crates) in FORBIDDEN {
                for name in crates.iter().filter(|_| own_floor <= *up_to) {
                    let named = line.contains(&format!("{name}::"))
                        && !line.contains(&format!("::{name}::"));
                    if named && !DRIVERS.contains(&(own, name)) && !preceded_by_letter(line, name) {
                        findings.push(format!("{}:{number}: `{own}` names `{name}`", source.path));
                    }
                }
            }
        }
        findings.dedup();
        findings
    });
}

fn preceded_by_letter(line: &str, name: &str) -> bool {
    line.find(&format!("{name}::")).is_some_and(|at| {
        line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn files_are_short() {
    check("a file is too long: split it by idea", |source| {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            vec![format!(
                "{}: {lines} lines, at most {LINES_MAX}",
                source.path
            )]
        } else {
            Vec::new()
        }
    });
}

#[test]
fn files_say_what_they_are_for() {
    check("a file does not begin with `//!`", |source| {
        if source.text.starts_with("//! ") {
            Vec::new()
        } else {
            vec![source.path.clone()]
        }
    });
}

#[test]
fn open_ends_have_a_reason() {
    // Spelled apart, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
    ];
    check("an open end without a reason in brackets", |source| {
        let mut findings = Vec::new();
        for (number, line) in source.text.lines().enumerate() {
            for word in words {
                let Some(at) = line.find(word) else { continue };
                let reason = line[at + word.len()..]
                    .strip_prefix('(')
                    .and_then(|rest| rest.find(')'));
                if reason.is_none_or(|length| length < 8) {
                    findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
                }
            }
        }
        findings
    });
}

#[test]
fn nothing_is_left_undone() {
    let macros = [concat!("unimplemented", "!("), concat!("todo", "!(")];
    check("a body is missing", |source| {
        code(&source.text)
            .filter(|(_, line)| macros.iter().any(|name| line.contains(name)))
            .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
            .collect()
    });
}

#[test]
fn public_items_are_described() {
    check("a public item without a `///` sentence", |source| {
        if !source.path.starts_with("src/") {
            return Vec::new();
        }
        let lines: Vec<&str> = source.text.lines().collect();
        let mut findings = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            if is_public_item(line.trim_start()) && !is_described(&lines[..number]) {
                findings.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
        findings
    });
}

fn is_public_item(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("pub ") else {
        return false;
    };
    let word = rest.split([' ', '(', '<']).next().unwrap_or_default();
    matches!(
        word,
        "fn" | "async"
            | "const"
            | "static"
            | "struct"
            | "enum"
            | "trait"
            | "type"
            | "union"
            | "unsafe"
    )
}

/// Looks upwards over attributes, which may span lines, for a doc comment.
fn is_described(above: &[&str]) -> bool {
    let mut in_attribute = false;
    for line in above.iter().rev().map(|line| line.trim()) {
        if line.starts_with("///") || line.starts_with("#[doc") || line.starts_with("$(#[") {
            return true;
        }
        let ends_attribute = line.ends_with(")]") || line.ends_with(']');
        let starts_attribute = line.starts_with("#[");
        if starts_attribute {
            in_attribute = false;
        } else if ends_attribute && !in_attribute {
            in_attribute = true;
        } else if !in_attribute {
            return false;
        }
    }
    false
}

#[test]
fn suppressions_have_a_reason() {
    check("use `#[expect(…, reason = \"…\")]`", |source| {
        let text = &source.text;
        let mut findings = Vec::new();
        for (at, _) in text
            .match_indices(concat!("#[ex", "pect("))
            .chain(text.match_indices(concat!("#![ex", "pect(")))
        {
            let end = text[at..]
                .find(")]")
                .map_or(text.len(), |length| at + length);
            if !text[at..end].contains("reason = ") {
                let number = text[..at].lines().count() + 1;
                findings.push(format!("{}:{number}", source.path));
            }
        }
        let allow = concat!("#[al", "low(");
        findings.extend(
            code(text)
                .filter(|(_, line)| line.trim_start().starts_with(allow))
                .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())),
        );
        findings
    });
}
