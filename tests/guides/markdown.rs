//! Markdown as far as the guides use it: fenced blocks with what a comment before them says, spans of
//! code, links, headings, tables.

use std::path::{Path, PathBuf};

/// The package's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file of the package.
pub(crate) fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names all guides: what stands beside the sources, and the folder `docs`.
pub(crate) fn guides() -> Vec<String> {
    let mut names: Vec<String> = ["README.md", "README_RU.md", "CONTRIBUTING.md"]
        .map(str::to_owned)
        .to_vec();
    let folder = std::fs::read_dir(root().join("docs")).expect("docs is there");
    let mut documents: Vec<String> = folder
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    documents.sort();
    names.extend(documents);
    names
}

/// A fenced block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The guide's name.
    pub(crate) guide: String,
    /// The line of its first word, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence.
    pub(crate) language: String,
    /// What it holds.
    pub(crate) text: String,
    /// The comment right before it, without its brackets.
    pub(crate) comment: Option<String>,
}

impl Block {
    /// Says where it is.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.guide, self.line)
    }

    /// Tells what follows a word at the beginning of the comment.
    pub(crate) fn said(&self, word: &str) -> Option<&str> {
        let comment = self.comment.as_deref()?;
        comment.strip_prefix(word).map(str::trim)
    }

    /// Tells whether it is for a shell.
    pub(crate) fn is_shell(&self) -> bool {
        self.language == "sh"
    }
}

/// Returns a guide's blocks in their order.
pub(crate) fn blocks(guide: &str) -> Vec<Block> {
    let text = read(guide);
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut comment) = (None::<Block>, None::<String>);
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(block) = &mut open {
            if trimmed == "```" {
                found.extend(open.take());
            } else {
                block.text.push_str(line);
                block.text.push('\n');
            }
        } else if let Some(language) = trimmed.strip_prefix("```") {
            open = Some(Block {
                guide: guide.to_owned(),
                line: index + 2,
                language: language.to_owned(),
                text: String::new(),
                comment: comment.take(),
            });
        } else if let Some(inner) = trimmed.strip_prefix("<!--") {
            comment = inner.strip_suffix("-->").map(|word| word.trim().to_owned());
        } else if !trimmed.is_empty() {
            comment = None;
        }
    }
    assert!(open.is_none(), "{guide}: a block has no end");
    found
}

/// Returns a guide's text without its blocks, line by line with numbers from 1.
pub(crate) fn prose(guide: &str) -> Vec<(usize, String)> {
    let text = read(guide);
    let mut is_block = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            found.push((index + 1, line.to_owned()));
        }
    }
    found
}

/// Returns the spans of code in a guide's prose, with their lines. A span may go on in the next line.
pub(crate) fn spans(guide: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, text) in prose(guide) {
        if text.trim().is_empty() || text.starts_with('|') || text.starts_with('#') {
            open = None;
        }
        for (index, part) in text.split('`').enumerate() {
            if index > 0 {
                match open.take() {
                    Some(span) => found.push(span),
                    None => open = Some((line, String::new())),
                }
            }
            if let Some((_, span)) = &mut open {
                if index == 0 && !span.is_empty() {
                    span.push(' ');
                }
                span.push_str(part);
            }
        }
    }
    found
}

/// Returns a guide's headings, as their level and their text.
pub(crate) fn headings(guide: &str) -> Vec<(usize, String)> {
    let lines = prose(guide).into_iter();
    lines
        .filter_map(|(_, line)| {
            let level = line.chars().take_while(|c| *c == '#').count();
            let text = line.get(level..)?.strip_prefix(' ')?.trim().to_owned();
            (level > 0).then_some((level, text))
        })
        .collect()
}

/// Returns what a link has to say behind `#` to lead to a heading.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// Returns the targets of a guide's links and pictures, with their lines.
pub(crate) fn links(guide: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(guide) {
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            found.push((line, target.to_owned()));
        }
    }
    found
}

/// Returns the cells of all rows of a guide's tables, without heads and rulers.
pub(crate) fn rows(guide: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut in_table = 0;
    for (_, line) in prose(guide) {
        in_table = if line.starts_with('|') {
            in_table + 1
        } else {
            0
        };
        if in_table > 2 {
            let cells = line.trim().trim_matches('|').split('|');
            found.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    found
}

/// Returns the folder that a guide's links start from.
pub(crate) fn folder(guide: &str) -> PathBuf {
    let path = root().join(guide);
    path.parent().expect("a file is in a folder").to_owned()
}
