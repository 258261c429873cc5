//! The nearest known name to one that is not known.

/// Returns the known name that the seen one was most likely meant to be; nothing when none is near.
///
/// Near is: at most a third of its length in edits (a swap of neighbours is one; none for words of
/// one or two letters), or the same letters in another case, or the start of the known name.
#[must_use]
pub fn nearest<'a>(seen: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let seen_lower = seen.to_lowercase();
    let limit = match seen.chars().count() {
        0..3 => 0,
        length => (length / 3).max(1),
    };
    known
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = match () {
                () if lower == seen_lower => 0,
                () if seen_lower.len() >= 3 && lower.starts_with(&seen_lower) => 1,
                () => edits(&seen_lower, &lower, limit)?,
            };
            Some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns ` (did you mean `x`?)`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(seen: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(seen, known).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Returns the edits between two words, if there are no more than the limit; a swap of neighbours is one.
#[must_use]
pub fn edits(a: &str, b: &str, limit: usize) -> Option<usize> {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    (last[b.len()] <= limit).then_some(last[b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let known = ["dispatch", "parallel", "go_to", "description", "set"];
        for (seen, expected) in [
            ("dispath", Some("dispatch")),
            ("goto", Some("go_to")),
            ("Go_To", Some("go_to")),
            ("paralell", Some("parallel")),
            ("desc", Some("description")),
            ("ste", Some("set")),
            ("zebra", None),
            ("", None),
            ("se", None),
            ("SET", Some("set")),
        ] {
            assert_eq!(nearest(seen, known), expected, "{seen}");
        }
    }
}
