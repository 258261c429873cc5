//! The nearest known name to one that is not known, for messages.

/// Returns the known name that is nearest to the given one, when it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    if wanted.len() >= 4
        && let Some(longer) = known
            .iter()
            .find(|candidate| candidate.starts_with(&wanted))
    {
        return Some(longer);
    }
    known
        .into_iter()
        .map(|candidate| {
            (
                distance(&wanted, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() * 2 / 5).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the number of single-character edits (Levenshtein) between two texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["token", "plan", "monthly_attempts"];
        for (name, expected) in [
            ("tokne", Some("token")),
            ("Token", Some("token")),
            ("montly_attempts", Some("monthly_attempts")),
            ("description", None),
            ("pla", Some("plan")),
            ("monthly", Some("monthly_attempts")),
            ("region", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
