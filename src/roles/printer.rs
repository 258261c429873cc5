//! All that the program writes: data to stdout, everything else to stderr. The only file that
//! prints. Meaning never depends on colour, and progress is drawn on a terminal only.

use std::io::{self, BufRead, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::Value;

use super::exit::Failure;

/// The form of what goes to stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// The program's output. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Printer {
    output: Output,
    color: bool,
    terminal: bool,
    quiet: bool,
}

impl Printer {
    /// Looks at the terminal once. `no_color` is the environment's word.
    #[must_use]
    pub fn new(output: Output, no_color: bool, quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            output,
            color: terminal && !no_color,
            terminal,
            quiet,
        }
    }

    /// Returns a printer without a terminal, for tests and for roles inside other roles.
    #[must_use]
    pub const fn plain(output: Output) -> Self {
        Self {
            output,
            color: false,
            terminal: false,
            quiet: true,
        }
    }

    /// Returns the form of data.
    #[must_use]
    pub const fn output(&self) -> Output {
        self.output
    }

    /// Tells whether a person can be asked something.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.terminal && io::stdin().is_terminal()
    }

    /// Tells whether colours may be used on stderr.
    #[must_use]
    pub const fn has_color(&self) -> bool {
        self.color
    }

    /// Writes text to stdout, with a line end when it has none.
    pub fn text(&self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        write_to(&mut io::stdout().lock(), &format!("{text}{end}"));
    }

    /// Writes a value to stdout: indented, or on one line.
    pub fn value(&self, value: &Value) {
        let text = match self.output {
            Output::Jsonl => value.to_string(),
            Output::Text | Output::Json => {
                serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
            }
        };
        self.text(&text);
    }

    /// Writes a list: a table for people, one JSON array, or one line for each item.
    pub fn list(&self, items: &[Value], table: &Table) {
        match self.output {
            Output::Text => self.text(&table.render()),
            Output::Json => self.value(&Value::Array(items.to_vec())),
            Output::Jsonl => items.iter().for_each(|item| self.value(item)),
        }
    }

    /// Writes a value: the text for people, else the value.
    pub fn item(&self, item: &Value, text: &str) {
        match self.output {
            Output::Text => self.text(text),
            Output::Json | Output::Jsonl => self.value(item),
        }
    }

    /// Tells something on stderr.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            write_to(&mut io::stderr().lock(), &format!("{text}\n"));
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, text: &str) {
        let label = self.painted("warning", "33");
        write_to(&mut io::stderr().lock(), &format!("{label}: {text}\n"));
    }

    /// Tells of a failure on stderr, with what to do next.
    pub fn failure(&self, failure: &Failure) {
        let label = self.painted("error", "31");
        let mut text = format!("{label}: {}\n", failure.message);
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        write_to(&mut io::stderr().lock(), &text);
    }

    /// Asks a question on stderr and reads a line; nothing when nobody can answer.
    /// Blocks: call it where blocking is allowed.
    #[must_use]
    pub fn ask(&self, question: &str) -> Option<String> {
        if !self.is_interactive() {
            return None;
        }
        write_to(&mut io::stderr().lock(), &format!("{question} "));
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim().to_owned())
    }

    /// Returns the place for progress bars: stderr when it is a terminal, else nowhere.
    #[must_use]
    pub fn progress(&self) -> MultiProgress {
        let target = if self.terminal && !self.quiet {
            ProgressDrawTarget::stderr_with_hz(12)
        } else {
            ProgressDrawTarget::hidden()
        };
        MultiProgress::with_draw_target(target)
    }

    fn painted(&self, word: &str, code: &str) -> String {
        if self.color {
            format!("\x1b[1;{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }
}

/// Writes and flushes. A reader that has gone away (`| head`) wants no more: that is no error.
fn write_to(stream: &mut dyn Write, text: &str) {
    let written = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    // Nothing can be told when neither stream takes anything any more.
    drop(written);
}

/// Rows under headings, in columns as wide as their widest cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes an empty table.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self {
            headings: headings
                .iter()
                .map(|heading| (*heading).to_owned())
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; control characters in it are shown, not obeyed.
    pub fn row(&mut self, cells: &[String]) {
        self.rows
            .push(cells.iter().map(|cell| visible(cell)).collect());
    }

    /// Tells whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the table as text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate().take(widths.len()) {
                widths[column] = widths[column].max(width(cell));
            }
        }
        let line = |cells: &[String]| {
            let mut line = String::new();
            for (cell, wide) in cells.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(wide - width(cell) + 2));
            }
            format!("{}\n", line.trim_end())
        };
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rows}", line(&self.headings))
    }
}

/// Counts columns as characters: right for ids, names and numbers.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// Replaces control characters, so that text from elsewhere cannot move the cursor.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["JOB", "STATUS"]);
        table.row(&["a".to_owned(), "finished".to_owned()]);
        table.row(&["long-name".to_owned(), "\x1b[31mred".to_owned()]);
        insta::assert_snapshot!(table.render(), @r"
        JOB        STATUS
        a          finished
        long-name  �[31mred
        ");
    }
}
