//! Shell-style patterns over worker ids: `*`, `?`, `[a-f]`, `[!0-9]`.

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Part {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == c,
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern; an open bracket is an error rather than a character, because a typing error
    /// in an access rule should not pass.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '[' => set(&mut chars).ok_or_else(|| format!("`[` is not closed in `{text}`"))?,
                other => Part::Char(other),
            });
        }
        if parts.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Returns the pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the whole of the text matches. Time grows at most with pattern × text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where to go on when what follows the last `*` does not fit: let the `*` take one more.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    star = Some((part + 1, at));
                    part += 1;
                }
                Some(own) if own.accepts(text[at]) => {
                    at += 1;
                    part += 1;
                }
                _ => match star {
                    Some((after, taken)) => {
                        star = Some((after, taken + 1));
                        part = after;
                        at = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|rest| *rest == Part::Any)
    }
}

fn set(chars: &mut std::str::Chars<'_>) -> Option<Part> {
    let mut members: Vec<char> = Vec::new();
    let mut negated = false;
    loop {
        match chars.next()? {
            '!' if members.is_empty() && !negated => negated = true,
            ']' if !members.is_empty() => break,
            c => members.push(c),
        }
    }
    let mut ranges = Vec::new();
    let mut i = 0;
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == '-' {
            ranges.push((members[i], members[i + 2]));
            i += 3;
        } else {
            ranges.push((members[i], members[i]));
            i += 1;
        }
    }
    Some(Part::Set { ranges, negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("gpu-*", "gpu-worker-01", true),
            ("gpu-*", "cpu-worker-01", false),
            ("*", "", true),
            ("*-0?", "cpu-worker-02", true),
            ("*-0?", "cpu-worker-022", false),
            ("worker-[0-9][0-9]", "worker-42", true),
            ("worker-[0-9]", "worker-x", false),
            ("worker-[!0-9]", "worker-x", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("abc", "abcd", false),
        ];
        for (pattern, text, expected) in cases {
            let glob = Glob::parse(pattern).expect("a good pattern");
            assert_eq!(glob.matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert!(Glob::parse("").is_err());
        assert!(Glob::parse("worker-[0-9").is_err());
    }

    #[test]
    fn a_hostile_pattern_is_quick() {
        let glob = Glob::parse(&"*a".repeat(60)).expect("a good pattern");
        assert!(!glob.matches(&"a".repeat(59)));
    }
}
