//! The Russian README says what the English one says: the same sections, blocks, links and codes.

use crate::markdown::{blocks, headings, links, rows, spans};

const ENGLISH: &str = "README.md";
const RUSSIAN: &str = "README_RU.md";

#[test]
fn sections_are_the_same() {
    let levels = |guide: &str| -> Vec<usize> {
        headings(guide)
            .into_iter()
            .map(|(level, _)| level)
            .collect()
    };
    assert_eq!(levels(RUSSIAN), levels(ENGLISH));
    for (_, heading) in headings(RUSSIAN).iter().skip(1) {
        assert!(!heading.is_ascii(), "`{heading}` is not translated");
    }
}

/// What a reader types is the same to the letter, but for what comments say.
#[test]
fn blocks_are_the_same() {
    let said = |guide: &str| -> Vec<(String, String)> {
        let blocks = blocks(guide).into_iter();
        let code = |line: &str| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        };
        blocks
            .map(|block| {
                let lines: Vec<String> = block.text.lines().map(code).collect();
                (block.language, lines.join("\n"))
            })
            .collect()
    };
    assert_eq!(said(RUSSIAN), said(ENGLISH));
}

#[test]
fn links_are_the_same() {
    let targets = |guide: &str| -> Vec<String> {
        let targets = links(guide).into_iter().map(|(_, target)| target);
        let mut targets: Vec<String> = targets
            .filter(|target| !target.starts_with("README"))
            .collect();
        targets.sort();
        targets
    };
    assert_eq!(targets(RUSSIAN), targets(ENGLISH));
}

#[test]
fn tables_have_the_same_rows() {
    let codes = |guide: &str| -> Vec<(usize, Vec<String>)> {
        let rows = rows(guide).into_iter();
        rows.map(|cells| {
            let first = cells.iter().flat_map(|cell| code_of(cell)).collect();
            (cells.len(), first)
        })
        .collect()
    };
    assert_eq!(codes(RUSSIAN), codes(ENGLISH));
}

fn code_of(cell: &str) -> Vec<String> {
    if cell.parse::<i32>().is_ok() {
        return vec![cell.to_owned()];
    }
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Names in code are no language's own.
#[test]
fn names_are_the_same() {
    let names = |guide: &str| -> Vec<String> {
        let mut names: Vec<String> = spans(guide).into_iter().map(|(_, span)| span).collect();
        names.sort();
        names
    };
    let (russian, english) = (names(RUSSIAN), names(ENGLISH));
    assert_eq!(russian, english);
}

#[test]
fn each_leads_to_the_other() {
    for (guide, other) in [(ENGLISH, RUSSIAN), (RUSSIAN, ENGLISH)] {
        assert!(
            links(guide).iter().any(|(_, target)| target == other),
            "{guide}"
        );
    }
}
