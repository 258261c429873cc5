//! What the guides have from the code: `docs/cli.md`, and the tables of `docs/configuration.md`.
//! `UPDATE_DOCS=1 cargo test --test guides generated` writes them anew.

use std::fmt::Write as _;

use avtomatika::config::foreign::{UNSUPPORTED, UNSUPPORTED_BY_WORKERS, Unsupported};
use avtomatika::config::keys::KEYS;
use avtomatika::config::value::Kind;
use avtomatika::roles::cli::Cli;
use clap::{Arg, Command, CommandFactory as _};

use crate::markdown::{read, root};

/// Groups of options that many commands share; each has one table.
const SHARED: [&str; 3] = ["Connection", "Settings", "Logging"];

/// Compares a file with what the code says, or writes it.
pub(crate) fn check(name: &str, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(name), expected).expect("the documentation can be written");
    }
    assert!(
        read(name) == expected,
        "write {name} anew: UPDATE_DOCS=1 cargo test --test guides generated"
    );
}

/// Returns a text with other lines between two comments.
pub(crate) fn with_part(text: &str, name: &str, part: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (head, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no {begin}"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{head}{begin}\n{part}\n{end}{tail}")
}

#[test]
fn the_reference_of_settings_is_the_codes() {
    let mut settings = String::from("| Setting | Default | Takes | Meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = code(key.default);
        let (name, takes, about) = (key.name, takes(key.kind), key.about);
        writeln!(settings, "| `{name}` | {default} | {takes} | {about} |").expect("a string");
    }
    let name = "docs/configuration.md";
    let text = with_part(&read(name), "settings", &settings);
    let text = with_part(
        &text,
        "without effect",
        &foreign("Of the orchestrator", UNSUPPORTED),
    );
    let workers = foreign("Of the worker", UNSUPPORTED_BY_WORKERS);
    check(
        name,
        &with_part(&text, "without effect on workers", &workers),
    );
}

fn foreign(title: &str, list: &[Unsupported]) -> String {
    let mut table = format!("| {title} | What happens instead |\n|---|---|\n");
    for one in list {
        let names: Vec<String> = one.names.iter().map(|(name, _)| code(name)).collect();
        writeln!(table, "| {} | {} |", names.join(", "), one.instead).expect("a string");
    }
    table
}

fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("`{text}`")
}

/// Puts a setting's kind into words.
fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Optional => "text".to_owned(),
        Kind::Secret => "a secret".to_owned(),
        Kind::History => "an address of a history".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Integer { min, max: u64::MAX } => format!("a whole number from {min}"),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Port => "a port".to_owned(),
        Kind::Share => "0 to 1".to_owned(),
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Duration { max } => match (max / 86_400, max % 86_400) {
            (days @ 1.., 0) => format!("a duration up to {days}d"),
            _ => format!("a duration up to {max}s"),
        },
        Kind::OneOf(words) => words
            .iter()
            .map(|word| code(word))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::TimeZone => "a time zone".to_owned(),
        Kind::Networks => "networks".to_owned(),
        Kind::Url => "an address".to_owned(),
        Kind::LogLevel => "a level".to_owned(),
    }
}

#[test]
fn the_reference_of_commands_is_the_codes() {
    let mut tree = Cli::command();
    tree.build();
    let mut text = String::from(
        "# Commands\n\nWritten by `UPDATE_DOCS=1 cargo test --test guides generated`; the same test compares it \
         with the code. `--help` of each command shows the same.\n\nData goes to stdout, everything else to \
         stderr. [codes.md](codes.md) has the exit codes.\n\n",
    );
    text.push_str(&index(&tree));
    text.push_str("\n## Options of every command\n\n");
    let everywhere = tree.get_arguments().filter(|one| one.is_global_set());
    text.push_str(&table(everywhere.filter(|one| group(one).is_none())));
    for name in SHARED {
        write!(text, "\n### {name}\n\n").expect("a string");
        let commands = all(&tree);
        let holder = commands.iter().find(|(_, command)| shares(command, name));
        let (_, holder) = holder.expect("a command with these options");
        text.push_str(&table(
            holder
                .get_arguments()
                .filter(|one| group(one) == Some(name)),
        ));
    }
    for (path, command) in all(&tree) {
        text.push_str(&section(&path, command));
    }
    check("docs/cli.md", &text);
}

/// Returns the commands that do something, with their whole names.
fn all(tree: &Command) -> Vec<(String, &Command)> {
    fn visit<'c>(command: &'c Command, path: &str, found: &mut Vec<(String, &'c Command)>) {
        for inner in command
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
        {
            let path = format!("{path} {}", inner.get_name());
            if inner.has_subcommands() {
                visit(inner, &path, found);
            } else {
                found.push((path, inner));
            }
        }
    }
    let mut found = Vec::new();
    visit(tree, "avtomatika", &mut found);
    found
}

fn index(tree: &Command) -> String {
    let mut text = String::from("| Command | Does |\n|---|---|\n");
    for (path, command) in all(tree) {
        let place = path.replace(' ', "-");
        writeln!(text, "| [`{path}`](#{place}) | {} |", about(command)).expect("a string");
    }
    text
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn group(argument: &Arg) -> Option<&str> {
    argument
        .get_help_heading()
        .filter(|name| SHARED.contains(name))
}

fn shares(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|one| group(one) == Some(name))
}

fn section(path: &str, command: &Command) -> String {
    let mut text = format!("\n## {path}\n\n{}.\n", about(command));
    let own = |one: &&Arg| {
        let is_for_help = ["help", "version"].contains(&one.get_id().as_str());
        !one.is_global_set() && group(one).is_none() && !is_for_help && !one.is_hide_set()
    };
    let rows = table(command.get_arguments().filter(own));
    if rows.lines().count() > 2 {
        write!(text, "\n{rows}").expect("a string");
    }
    let shared: Vec<String> = SHARED
        .iter()
        .filter(|name| **name != "Logging" && shares(command, name))
        .map(|name| format!("[{name}](#{})", name.to_lowercase()))
        .collect();
    if !shared.is_empty() {
        write!(
            text,
            "\nTakes also the options of {}.\n",
            shared.join(" and ")
        )
        .expect("a string");
    }
    let after = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let after = after
        .trim_start_matches("Examples:")
        .trim_start_matches("Example:");
    let (examples, notes): (Vec<&str>, Vec<&str>) =
        after.lines().partition(|line| line.starts_with("  "));
    if !examples.is_empty() {
        let lines: Vec<&str> = examples.iter().map(|line| line.trim()).collect();
        write!(text, "\n```text\n{}\n```\n", lines.join("\n")).expect("a string");
    }
    let notes = notes.join("\n");
    if !notes.trim().is_empty() {
        write!(text, "\n{}\n", notes.trim()).expect("a string");
    }
    text
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut text =
        String::from("| Option | Environment | Default | Meaning |\n|---|---|---|---|\n");
    for one in arguments {
        let environment = one
            .get_env()
            .map(|name| code(&name.to_string_lossy()))
            .unwrap_or_default();
        let defaults: Vec<String> = one
            .get_default_values()
            .iter()
            .map(|value| code(&value.to_string_lossy()))
            .filter(|_| !one.is_hide_default_value_set() && one.get_action().takes_values())
            .collect();
        writeln!(
            text,
            "| {} | {environment} | {} | {} |",
            name(one),
            defaults.join(", "),
            meaning(one)
        )
        .expect("a string");
    }
    text
}

fn name(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.join(" "));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let (Some(long), value) = (long, value.unwrap_or_default()) else {
        let value = argument.get_value_names().map(|names| names.join(" "));
        return code(&value.unwrap_or_default());
    };
    let short = argument.get_short().map(|short| format!("`-{short}`, "));
    let long = format!("{long} {value}");
    format!("{}{}", short.unwrap_or_default(), code(long.trim()))
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut text = help
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|");
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| code(value.get_name()))
        .collect();
    if !values.is_empty() {
        write!(text, ": {}", values.join(", ")).expect("a string");
    }
    if argument.is_required_set() {
        text.push_str(" (required)");
    }
    text
}

/// `make docs` writes everything that is generated.
#[test]
fn make_docs_writes_all_of_it() {
    let makefile = read("Makefile");
    let recipe = makefile.split_once("\ndocs:").expect("a recipe").1;
    let recipe = recipe.split("\n\n").next().unwrap_or_default();
    for tests in [
        "--lib blueprint::tests::documents",
        "--test codes",
        "--test guides generated",
    ] {
        assert!(recipe.contains(tests), "{tests}");
    }
}
