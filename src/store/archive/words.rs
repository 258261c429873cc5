//! What jobs are found by beside their columns: the words of an error, and labels. Both adapters
//! cut texts here, so that they find the same.

use std::collections::BTreeSet;

use super::JobSummary;
use crate::base::crypto;

/// Words of one error that are found; what comes behind them is not.
const WORDS_MAX: usize = 64;
/// Characters of a word that count.
const WORD_CHARS_MAX: usize = 48;
/// Longest term that is kept as it is, in bytes; a longer one is kept as its hash.
const TERM_BYTES_MAX: usize = 200;

/// Cuts a text into its words: runs of letters and digits, in lower case, each once.
#[must_use]
pub fn of(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.chars()
                .flat_map(char::to_lowercase)
                .take(WORD_CHARS_MAX)
                .collect::<String>()
        })
        .filter(|word| seen.insert(word.clone()))
        .take(WORDS_MAX)
        .collect()
}

/// Returns the term of a word in an error.
#[must_use]
pub fn word_term(word: &str) -> String {
    format!("w{word}")
}

/// Returns the term of a label. Written as JSON texts, so that no two labels have the same and none
/// has a character that a database refuses.
#[must_use]
pub fn label_term(name: &str, value: &str) -> String {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let term = format!("l{}={}", json(name), json(value));
    if term.len() <= TERM_BYTES_MAX {
        term
    } else {
        format!("h{}", crypto::sha256_hex(term.as_bytes()))
    }
}

/// Returns the terms of a job's labels.
#[must_use]
pub fn of_labels(job: &JobSummary) -> Vec<String> {
    job.labels
        .iter()
        .map(|(name, value)| label_term(name, value))
        .collect()
}

/// Returns the terms by which a job is found.
#[must_use]
pub fn terms(job: &JobSummary) -> Vec<String> {
    let labels = of_labels(job).into_iter();
    let error = job
        .error
        .as_ref()
        .map(|error| of(&format!("{} {}", error.code, error.message)))
        .unwrap_or_default();
    labels
        .chain(error.iter().map(|word| word_term(word)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_into_words() {
        for (text, words) in [
            ("Disk full: /var/lib", "disk full var lib"),
            ("disk DISK Disk", "disk"),
            ("Größe 10GB überschritten", "größe 10gb überschritten"),
            ("EXECUTION_TIMEOUT", "execution timeout"),
            ("", ""),
            (" … ", ""),
            ("nul\0byte", "nul byte"),
        ] {
            assert_eq!(of(text).join(" "), words, "{text:?}");
        }
        let long = "x".repeat(1000);
        assert_eq!(of(&long), ["x".repeat(WORD_CHARS_MAX)]);
        let many: String = (0..1000).map(|n| format!("w{n} ")).collect();
        assert_eq!(of(&many).len(), WORDS_MAX);
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        let terms = [
            label_term("a", "b=c"),
            label_term("a=b", "c"),
            label_term("a\"=\"b", "c"),
            label_term("a", &"b".repeat(1000)),
            label_term("a", &"b".repeat(1001)),
            label_term("a", "b\0"),
        ];
        let distinct: BTreeSet<_> = terms.iter().collect();
        assert_eq!(distinct.len(), terms.len());
        assert!(terms.iter().all(|term| term.len() <= TERM_BYTES_MAX));
        assert!(terms.iter().all(|term| !term.contains('\0')));
    }
}
