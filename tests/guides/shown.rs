//! What a guide shows of a command's output, and whether the output is like it.

/// Returns a pattern of the shell that holds for what the guide shows.
pub(crate) fn pattern(text: &str) -> String {
    let parts = text.trim().split('…');
    let quoted = parts.map(|part| format!("'{}'", part.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join("*")
}

/// Tells whether a text is what a guide shows: `…` stands for anything within a line, and alone in a line
/// for any lines.
pub(crate) fn is_like(expected: &str, seen: &str) -> bool {
    fn lines_match(expected: &[&str], seen: &[&str]) -> bool {
        match (expected.split_first(), seen.split_first()) {
            (None, None) => true,
            (Some((&"…", rest)), _) => (0..=seen.len()).any(|at| lines_match(rest, &seen[at..])),
            (Some((line, rest)), Some((other, others))) => {
                line_matches(line, other) && lines_match(rest, others)
            }
            _ => false,
        }
    }
    let (expected, seen) = (expected.trim(), seen.trim());
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let seen: Vec<&str> = seen.lines().map(str::trim_end).collect();
    lines_match(&expected, &seen)
}

fn line_matches(expected: &str, seen: &str) -> bool {
    let Some((head, rest)) = expected.split_once('…') else {
        return expected == seen;
    };
    let Some(left) = seen.strip_prefix(head) else {
        return false;
    };
    let mut ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    ends.any(|at| line_matches(rest, &left[at..]))
}

#[test]
fn what_is_shown_is_compared_line_by_line() {
    let cases = [
        ("job … accepted\n", "job 1 accepted\n", true),
        ("job … accepted\n", "job 1 refused\n", false),
        ("a\n…\nd\n", "a\nb\nc\nd\n", true),
        ("a\n…\nd\n", "a\nd\n", true),
        ("a\n", "a\nb\n", false),
        ("… of … done", "3 of 4 done", true),
    ];
    for (expected, seen, is_so) in cases {
        assert_eq!(is_like(expected, seen), is_so, "{expected} {seen}");
    }
}
