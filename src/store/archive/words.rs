//! What jobs are found by beside their columns: the words of an error, and labels. Both adapters
//! cut texts here, so that they find the same.

use std::collections::BTreeSet;

use super::JobSummary;
use crate::base::crypto;

/// Words of the beginning of one error that are found.
const FIRST_WORDS_MAX: usize = 64;
/// Words of its end that are found besides: the last line of a traceback is the one that says what it was.
/// What lies between is not found. There were none of the end once; that the words of the beginning have
/// stayed lets all that was stored then be found by its terms when it goes.
const LAST_WORDS_MAX: usize = 32;
/// Characters of a word that count.
const WORD_CHARS_MAX: usize = 48;
/// Longest term that is kept as it is, in bytes; a longer one is kept as its hash.
const TERM_BYTES_MAX: usize = 200;

/// Cuts a text into its words: runs of letters and digits, in lower case, each once; of a long text the
/// first 64 different ones and the last 32. Letters are taken as they are written: one in decomposed
/// form, as names of files from a Mac have them, ends where its mark stands, so what is written in the other form
/// does not find it.
#[must_use]
pub fn of(text: &str) -> Vec<String> {
    let is_between = |c: char| !c.is_alphanumeric();
    let mut seen = BTreeSet::new();
    let mut is_new = |word: &String| seen.insert(word.clone());
    let first = text.split(is_between).filter_map(word);
    let mut words: Vec<String> = first.filter(&mut is_new).take(FIRST_WORDS_MAX).collect();
    if words.len() == FIRST_WORDS_MAX {
        let last = text.rsplit(is_between).filter_map(word);
        let mut last: Vec<String> = last.filter(is_new).take(LAST_WORDS_MAX).collect();
        last.reverse();
        words.append(&mut last);
    }
    words
}

fn word(text: &str) -> Option<String> {
    let lower = text.chars().flat_map(char::to_lowercase);
    let word: String = lower.take(WORD_CHARS_MAX).collect();
    Some(word).filter(|word| !word.is_empty())
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
    }

    #[test]
    fn of_a_long_text_beginning_and_end_are_found() {
        let numbers = |from: usize, to: usize| (from..to).map(|n| format!("w{n}"));
        let text = |all: usize| numbers(0, all).collect::<Vec<_>>().join(" ");
        for all in [63, 64, 65, 95, 96] {
            assert!(of(&text(all)).into_iter().eq(numbers(0, all)), "{all}");
        }
        let ends = numbers(0, 64).chain(numbers(968, 1000));
        assert!(of(&text(1000)).into_iter().eq(ends));
        // What was in the beginning does not count again.
        let trace = format!("{} w1 w2 DISK full: w3 disk", text(500));
        let words = of(&trace);
        assert_eq!(words.len(), FIRST_WORDS_MAX + LAST_WORDS_MAX);
        assert_eq!(words[94..], ["full", "disk"]);
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
