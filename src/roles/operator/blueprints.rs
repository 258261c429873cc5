//! `blueprints`: check, list, graph. Reads the files; needs no orchestrator.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::short;
use crate::blueprint::{Blueprint, Catalog, Problem, graph as drawing, language_schema, load};
use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::printer::{Printer, Table};

/// What to do with blueprints.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check files and tell every problem with its place
    #[command(after_help = "Examples:
  avtomatika blueprints check
  avtomatika blueprints check ./more-blueprints
  avtomatika blueprints check blueprints/full_showcase.yaml -o json")]
    Check(CheckArgs),
    /// List the blueprints of a directory
    #[command(after_help = "Example:\n  avtomatika blueprints list --blueprints blueprints")]
    List(FolderArgs),
    /// Draw a blueprint's states and ways
    #[command(after_help = "Examples:
  avtomatika blueprints graph full_showcase --format svg > full_showcase.svg
  avtomatika blueprints graph my-flow.yaml --format mermaid")]
    Graph(GraphArgs),
    /// Print the JSON Schema of the language, for editors
    #[command(after_help = "Example:\n  avtomatika blueprints schema > blueprint.schema.json")]
    Schema,
}

/// What to draw.
#[derive(Debug, clap::Args)]
pub struct GraphArgs {
    /// A blueprint's name, or a file
    pub name: String,
    /// The form of the drawing
    #[arg(short, long, value_enum, default_value_t)]
    pub format: GraphFormat,
    /// Where blueprints lie.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// The form of a drawing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz
    #[default]
    Dot,
    /// For Markdown
    Mermaid,
    /// A picture
    Svg,
}

/// Which files.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Files, or directories of them; none are all of --blueprints
    pub files: Vec<PathBuf>,
    /// Where blueprints lie.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Where blueprints lie.
#[derive(Debug, clap::Args)]
pub struct FolderArgs {
    /// Directory of blueprint files
    #[arg(
        long,
        env = "BLUEPRINTS_DIR",
        default_value = "blueprints",
        value_name = "DIR"
    )]
    pub blueprints: PathBuf,
}

/// Runs the verb.
pub fn run(verb: Verb, context: &Context) -> RoleResult {
    match verb {
        Verb::Check(args) => check(&args, &context.printer),
        Verb::List(args) => list(&args, &context.printer),
        Verb::Graph(args) => graph(&args, &context.printer),
        Verb::Schema => {
            context.printer.value(&language_schema());
            Ok(Exit::Ok)
        }
    }
}

/// Reads the files of a directory that hold blueprints, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unread = |error: std::io::Error| {
        Failure::new(
            Exit::Invalid,
            format!("{} cannot be read: {error}", folder.display()),
        )
        .hint("name the directory by --blueprints or BLUEPRINTS_DIR")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(
                Exit::Invalid,
                format!("{} cannot be read: {error}", file.display()),
            )
        })?;
        texts.push((file.display().to_string(), text));
    }
    Ok(texts)
}

/// Checks files. What they refer to is looked for in the directory, if it is there.
fn check(args: &CheckArgs, printer: &Printer) -> RoleResult {
    let neighbours = match files_of(&args.folder.blueprints) {
        Ok(files) => files,
        Err(failure) if args.files.is_empty() => return Err(failure),
        Err(_) => Vec::new(),
    };
    let mut wanted = Vec::new();
    for file in &args.files {
        if file.is_dir() {
            wanted.extend(files_of(file)?);
        } else {
            wanted.push(file.clone());
        }
    }
    if args.files.is_empty() {
        wanted.clone_from(&neighbours);
    }
    let mut all = wanted.clone();
    all.extend(
        neighbours
            .into_iter()
            .filter(|file| !wanted.iter().any(|one| same(one, file))),
    );
    let names: Vec<String> = wanted
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let (_, mut problems) = Catalog::load_files(read(&all)?, &Catalog::default());
    problems.retain(|problem| names.contains(&problem.file));
    let errors = problems
        .iter()
        .filter(|problem| !problem.is_warning)
        .count();
    let items: Vec<Value> = problems.iter().map(as_json).collect();
    let text: String = problems
        .iter()
        .map(|problem| format!("{}\n", as_line(problem)))
        .collect();
    printer.item(
        &json!({"files": names, "errors": errors, "problems": items}),
        &text,
    );
    if errors > 0 {
        let message = format!("{errors} error(s) in {} file(s)", names.len());
        return Err(Failure::new(Exit::Invalid, message));
    }
    printer.note(&format!("{} file(s) are good", names.len()));
    Ok(Exit::Ok)
}

/// One file may be named in two ways.
fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn as_line(problem: &Problem) -> String {
    let label = if problem.is_warning {
        "warning"
    } else {
        "error"
    };
    let Problem {
        file,
        line,
        column,
        place,
        message,
        ..
    } = problem;
    format!("{file}:{line}:{column}: {label}: {place}: {message}")
}

fn as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "place": problem.place,
        "message": problem.message,
        "severity": if problem.is_warning { "warning" } else { "error" },
    })
}

fn catalog(folder: &FolderArgs, printer: &Printer) -> Result<Catalog, Failure> {
    let files = read(&files_of(&folder.blueprints)?)?;
    let (catalog, problems) = Catalog::load_files(files, &Catalog::default());
    for problem in problems.iter().filter(|problem| !problem.is_warning) {
        printer.warn(&as_line(problem));
    }
    Ok(catalog)
}

fn list(args: &FolderArgs, printer: &Printer) -> RoleResult {
    let catalog = catalog(args, printer)?;
    let mut table = Table::new(&[
        "BLUEPRINT",
        "VERSION",
        "ENDPOINT",
        "STATES",
        "REVISION",
        "DESCRIPTION",
    ]);
    let mut items = Vec::new();
    for blueprint in catalog.iter() {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        table.row(&[
            blueprint.name.clone(),
            text(&blueprint.version),
            text(&blueprint.endpoint),
            blueprint.states.len().to_string(),
            blueprint.revision.clone(),
            short(&text(&blueprint.description), 60),
        ]);
        items.push(json!({
            "name": blueprint.name,
            "version": blueprint.version,
            "endpoint": blueprint.endpoint,
            "states": blueprint.states.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            "revision": blueprint.revision,
            "description": blueprint.description,
        }));
    }
    printer.list(&items, &table);
    Ok(Exit::Ok)
}

fn graph(args: &GraphArgs, printer: &Printer) -> RoleResult {
    let file = Path::new(&args.name);
    if file.is_file() {
        let (name, text) = read(&[file.to_owned()])?.remove(0);
        // By itself: a child in another file is no reason not to draw this one.
        let loaded = load(&name, &text);
        let Some(blueprint) = loaded.blueprint else {
            let lines: Vec<String> = loaded.problems.iter().map(as_line).collect();
            return Err(Failure::new(Exit::Invalid, lines.join("\n")));
        };
        printer.text(&drawn(&blueprint, args.format));
        return Ok(Exit::Ok);
    }
    let catalog = catalog(&args.folder, printer)?;
    let Some(blueprint) = catalog.get(&args.name) else {
        let names: Vec<&str> = catalog.iter().map(|one| one.name.as_str()).collect();
        let message = format!("there is no blueprint `{}`", args.name);
        return Err(
            Failure::new(Exit::Invalid, message).hint(format!("known are: {}", names.join(", ")))
        );
    };
    printer.text(&drawn(blueprint, args.format));
    Ok(Exit::Ok)
}

fn drawn(blueprint: &Blueprint, format: GraphFormat) -> String {
    match format {
        GraphFormat::Dot => drawing::dot(blueprint),
        GraphFormat::Mermaid => drawing::mermaid(blueprint),
        GraphFormat::Svg => drawing::svg(blueprint),
    }
}
