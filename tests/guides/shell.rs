//! Shell as far as the guides use it: lines that go on, words with quotes, assignments, pipes, inner
//! commands. Enough to hand each command's words to the command line's own parser.

/// One command of a block.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// `NAME=VALUE` before the first word.
    pub(crate) assignments: Vec<(String, String)>,
    /// The words, without quotes.
    pub(crate) words: Vec<String>,
}

/// A line with those that go on from it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// As it was written, with line ends.
    pub(crate) raw: String,
    /// Its commands, those within `$(…)` too.
    pub(crate) commands: Vec<Command>,
    /// Whether it ends with `&`.
    pub(crate) is_background: bool,
}

/// Takes a block apart. What a `<<'END'` puts in belongs to its line.
pub(crate) fn lines(block: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut rest = block.lines();
    while let Some(first) = rest.next() {
        let (mut raw, mut logical) = (first.to_owned(), first.to_owned());
        // Quotes may span lines, and a backslash at the end joins two.
        while logical.ends_with('\\') || is_open(&logical) {
            let Some(next) = rest.next() else { break };
            raw.push('\n');
            raw.push_str(next);
            let joined = logical
                .strip_suffix('\\')
                .map(|head| format!("{head} {next}"));
            logical = joined.unwrap_or_else(|| format!("{logical}\n{next}"));
        }
        if let Some((_, word)) = logical.split_once("<<") {
            let word = word.split_whitespace().next().unwrap_or_default();
            let end = word.trim_matches(['\'', '"']).to_owned();
            for next in rest.by_ref() {
                raw.push('\n');
                raw.push_str(next);
                if next == end {
                    break;
                }
            }
        }
        let mut commands = Vec::new();
        let is_background = Reader::new(&logical).read(&mut commands);
        found.push(Line {
            raw,
            commands,
            is_background,
        });
    }
    found
}

/// Tells whether a quote is open at the end.
fn is_open(text: &str) -> bool {
    let (mut quote, mut before) = (None, ' ');
    for c in text.chars() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return false,
            (None, '\'' | '"') if before != '\\' => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    quote.is_some()
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    word: Option<String>,
    command: Command,
    is_target: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars().peekable(),
            word: None,
            command: Command::default(),
            is_target: false,
        }
    }

    /// Reads to the end; tells whether the last command is put into the background.
    fn read(mut self, found: &mut Vec<Command>) -> bool {
        let mut is_background = false;
        while let Some(c) = self.rest.next() {
            match c {
                '#' if self.word.is_none() => break,
                ' ' | '\t' => self.end_word(),
                '\'' => self.quoted('\'', found),
                '"' => self.quoted('"', found),
                '\\' => {
                    let next = self.rest.next();
                    self.push(next.unwrap_or('\\'));
                }
                '$' if self.rest.peek() == Some(&'(') => self.inner(found),
                '>' | '<' => {
                    // A number before it is a stream's.
                    let digits = |word: &String| word.chars().all(|c| c.is_ascii_digit());
                    self.word = self.word.take().filter(|word| !digits(word));
                    self.end_word();
                    while matches!(self.rest.peek(), Some('>' | '<' | '&')) {
                        self.rest.next();
                    }
                    self.is_target = true;
                }
                ';' | '|' | '&' | '\n' | '(' | ')' => {
                    self.end_command(found);
                    let doubled = self.rest.next_if_eq(&c).is_some();
                    is_background = c == '&' && !doubled;
                    continue;
                }
                other => self.push(other),
            }
            is_background &= c.is_whitespace();
        }
        self.end_command(found);
        is_background
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self, quote: char, found: &mut Vec<Command>) {
        self.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                c if c == quote => return,
                '\\' if quote == '"' => {
                    let next = self.rest.next();
                    self.push(next.unwrap_or('\\'));
                }
                '$' if quote == '"' && self.rest.peek() == Some(&'(') => self.inner(found),
                other => self.push(other),
            }
        }
    }

    /// Reads `(…)` behind a `$`; a dot stands for what it will say.
    fn inner(&mut self, found: &mut Vec<Command>) {
        let (mut depth, mut text) = (0, String::new());
        for c in self.rest.by_ref() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                break;
            }
            text.push(c);
        }
        Reader::new(text.get(1..).unwrap_or_default()).read(found);
        self.push('.');
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.is_target) {
            return;
        }
        let is_first = self.command.words.is_empty();
        let named = word.split_once('=').filter(|(name, _)| {
            let mut letters = name.chars();
            letters
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let is_export = self.command.words == ["export"];
        match named {
            Some((name, value)) if is_first || is_export => {
                let pair = (name.to_owned(), value.to_owned());
                self.command.assignments.push(pair);
            }
            _ if is_first
                && ["then", "do", "else", "if", "while", "until"].contains(&word.as_str()) => {}
            _ => self.command.words.push(word),
        }
    }

    fn end_command(&mut self, found: &mut Vec<Command>) {
        self.end_word();
        self.is_target = false;
        let command = std::mem::take(&mut self.command);
        if command != Command::default() {
            found.push(command);
        }
    }
}

#[test]
fn lines_are_taken_apart() {
    let block = "A=1 run --x 'a b' \\\n  \"c $(inner 1)\" # not this\n\
                 first | second > file && third &\ncat <<'END'\nno & command\nEND\n";
    let seen = lines(block);
    let words = |line: usize, command: usize| seen[line].commands[command].words.join("|");
    assert_eq!(seen.len(), 3);
    assert_eq!(words(0, 0), "inner|1");
    assert_eq!(words(0, 1), "run|--x|a b|c .");
    assert_eq!(
        seen[0].commands[1].assignments,
        [("A".to_owned(), "1".to_owned())]
    );
    assert!(!seen[0].is_background && seen[1].is_background);
    assert_eq!(
        (words(1, 0), words(1, 2)),
        ("first".to_owned(), "third".to_owned())
    );
    assert_eq!(words(1, 1), "second");
    assert!(seen[2].raw.ends_with("END") && words(2, 0) == "cat");
}
