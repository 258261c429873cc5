//! The tables of exit codes and error codes in `docs/codes.md` are those of the code.
//! `UPDATE_DOCS=1 cargo test --test codes` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;

use avtomatika::api::CODES;
use avtomatika::roles::exit::Exit;

fn expected() -> String {
    let mut text = String::from(
        "# Codes\n\nWritten by `UPDATE_DOCS=1 cargo test --test codes`; the same test compares it with the code.\n\n\
         ## Exit codes\n\n| Code | Meaning |\n|--:|---|\n",
    );
    for exit in Exit::ALL {
        writeln!(text, "| {} | {} |", exit.code(), exit.meaning()).expect("writes to a string");
    }
    text.push_str(
        "\n## Error codes of the API\n\nEvery error answer is `{\"error\": TEXT, \"code\": CODE, \"request_id\": ID}`; \
         the text may change, the code does not.\n\n| Code | Status | Meaning |\n|---|--:|---|\n",
    );
    for (code, status, meaning) in CODES {
        writeln!(text, "| `{code}` | {status} | {meaning} |").expect("writes to a string");
    }
    text
}

#[test]
fn the_tables_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/codes.md");
    let expected = expected();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("docs/codes.md can be written");
    }
    let seen = std::fs::read_to_string(&path).expect("docs/codes.md is there");
    assert_eq!(
        seen, expected,
        "write it anew: UPDATE_DOCS=1 cargo test --test codes"
    );
}

#[test]
fn no_code_stands_for_two_things() {
    let mut codes: Vec<&str> = CODES.iter().map(|(code, _, _)| *code).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count);
}
