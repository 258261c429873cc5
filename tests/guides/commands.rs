//! Every command line of this program in any guide is one that the program reads.

use avtomatika::blueprint::load;
use avtomatika::roles::cli::Cli;
use clap::Parser as _;
use clap::error::ErrorKind;

use crate::markdown::{Block, blocks, guides, spans};
use crate::played::PLAYED;
use crate::session::is_run;
use crate::shell::lines;

/// What a block may be written in; `text` is what a command prints, or anything else.
const LANGUAGES: [&str; 9] = [
    "sh", "text", "yaml", "json", "toml", "python", "mermaid", "http", "ini",
];

/// Has the program read a command's words.
fn read(words: &[String], block: &Block) {
    // The reader's own.
    let own = |word: &String| match word.as_str() {
        "PID" => "1".to_owned(),
        "JOB" => "01a22363-27e4-7eff-8c52-c1bc0dcdf68f".to_owned(),
        word => word.to_owned(),
    };
    let read = Cli::try_parse_from(words.iter().map(own));
    if let Err(error) = read.map_err(|error| error.to_string()) {
        panic!("{}: {}\n{error}", block.place(), words.join(" "));
    }
}

#[test]
fn every_command_line_can_be_read() {
    let mut count = 0;
    for block in guides().iter().flat_map(|guide| blocks(guide)) {
        let shell = lines(&block.text);
        for command in shell.iter().flat_map(|line| &line.commands) {
            if block.is_shell()
                && command
                    .words
                    .first()
                    .is_some_and(|word| word == "avtomatika")
            {
                read(&command.words, &block);
                count += 1;
            }
        }
    }
    assert!(count > 75, "{count}");
}

/// The examples of the help, in which words follow a command after two spaces.
#[test]
fn every_example_of_the_help_can_be_read() {
    let mut count = 0;
    for block in blocks("docs/cli.md") {
        // `…` stands for what the example before it has.
        let bare = block.text.lines().filter(|line| !line.contains('…'));
        let bare = bare.map(|line| {
            let words = line.split("  ").next().unwrap_or_default();
            if line.ends_with('\\') { line } else { words }
        });
        let bare: Vec<&str> = bare.collect();
        for command in lines(&bare.join("\n"))
            .iter()
            .flat_map(|line| &line.commands)
        {
            if command
                .words
                .first()
                .is_some_and(|word| word == "avtomatika")
            {
                read(&command.words, &block);
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

/// A command that is named in the text may leave out what it needs.
#[test]
fn every_command_that_is_named_is_there() {
    let mut count = 0;
    for guide in guides() {
        for (line, span) in spans(&guide) {
            if !span.starts_with("avtomatika ") {
                continue;
            }
            let shell = lines(&span);
            let words = &shell[0].commands.last().expect("a command").words;
            let read = Cli::try_parse_from(words).map_err(|error| (error.kind(), error));
            let is_there = match &read {
                Ok(_) => true,
                Err((kind, _)) => matches!(
                    kind,
                    ErrorKind::MissingSubcommand
                        | ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                ),
            };
            assert!(is_there, "{guide}:{line}: `{span}`\n{read:?}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// Every blueprint in a guide is a good one.
#[test]
fn every_blueprint_is_good() {
    let mut count = 0;
    for block in guides().iter().flat_map(|guide| blocks(guide)) {
        if block.language == "yaml" && block.text.starts_with("blueprint: ") {
            let loaded = load(&block.place(), &block.text);
            assert_eq!(loaded.problems, [], "{}", block.place());
            count += 1;
        }
    }
    assert!(count > 8, "{count}");
}

/// What is not run says why, and the list of all of it is looked at when it changes.
#[test]
fn what_is_not_run_says_why() {
    let mut told = Vec::new();
    let (mut run, mut left) = (0, 0);
    for guide in guides() {
        for block in blocks(&guide) {
            let known = LANGUAGES.contains(&block.language.as_str());
            assert!(known, "{}: `{}`", block.place(), block.language);
            run += usize::from(is_run(&block));
            if let Some(reason) = block.said("not run:") {
                assert!(reason.len() > 10, "{}: a reason", block.place());
                left += 1;
                told.push(format!("{guide}: {}: {reason}", beginning(&block)));
            }
        }
    }
    told.push(format!("{left} blocks are not run, {run} are"));
    insta::assert_snapshot!(told.join("\n"));
}

/// What can be run is run. The Russian README has the blocks of the English one.
#[test]
fn every_guide_is_played() {
    for guide in guides().iter().filter(|guide| *guide != "README_RU.md") {
        let is_for_playing = blocks(guide).iter().any(is_run);
        let is_played = PLAYED.contains(&guide.as_str());
        assert_eq!(
            is_for_playing, is_played,
            "{guide}: tests/guides/played.rs plays it"
        );
    }
}

fn beginning(block: &Block) -> &str {
    block.text.lines().next().unwrap_or_default()
}
