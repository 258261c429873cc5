//! Which skills a worker is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::super::WorkerArgs;
use super::super::profile::Profile;
use super::super::skills::CommandSkill;
use super::WorkerConfig;
use super::read::Vars;
use crate::base::ids;
use crate::blueprint::Schema;
use crate::domain::Object;

/// Runs whatever is given; its parameters are checked when there is a schema for it.
fn command_skill(name: String, command: String, schemas: &mut Schemas) -> Arc<CommandSkill> {
    let input_schema = schemas.remove(&name);
    Arc::new(CommandSkill {
        name,
        command,
        input_schema,
    })
}

/// Schemas by the name of their skill.
type Schemas = BTreeMap<String, Object>;

fn schemas(args: &WorkerArgs, vars: &mut Vars<'_>) -> Schemas {
    let mut found = Schemas::new();
    for text in &args.skill_schemas {
        let Some((name, path)) = text.split_once('=') else {
            vars.problem(format!("--skill-schema `{text}`: expected NAME=FILE"));
            continue;
        };
        match schema(Path::new(path)) {
            Ok(schema) => {
                found.insert(name.to_owned(), schema);
            }
            Err(error) => vars.problem(format!("--skill-schema {name}={path}: {error:#}")),
        }
    }
    found
}

/// Reads a schema from a file.
fn schema(path: &Path) -> anyhow::Result<Object> {
    let schema: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    match schema {
        Value::Object(schema) => {
            let checked = Schema::compile(&Value::Object(schema.clone()));
            checked.map_err(|error| anyhow!("not a JSON Schema: {error}"))?;
            Ok(schema)
        }
        _ => bail!("expected a JSON object"),
    }
}

/// Gives the worker its skills: the profile's, the folder's, then those of the command line.
pub(super) fn skills(args: &WorkerArgs, vars: &mut Vars<'_>, config: &mut WorkerConfig) {
    let named = vars
        .text("WORKER_PROFILE")
        .map(|text| (text.to_owned(), Profile::parse(text)));
    if let Some((text, None)) = &named {
        vars.problem(format!(
            "WORKER_PROFILE: `{text}` is not one of gpu, cpu, flaky"
        ));
    }
    if let Some(profile) = args.profile.or(named.and_then(|(_, profile)| profile)) {
        profile.apply(config);
    }
    let mut schemas = schemas(args, vars);
    if let Some(folder) = vars.text("WORKER_SKILLS_DIR").map(PathBuf::from) {
        match executables(&folder) {
            Ok(found) => {
                for (name, command) in found {
                    config
                        .skills
                        .add(command_skill(name, command, &mut schemas));
                }
            }
            Err(error) => vars.problem(format!("WORKER_SKILLS_DIR: {}: {error}", folder.display())),
        }
    }
    for text in &args.skills {
        match text.split_once('=') {
            Some((name, command)) if ids::is_identifier(name) && !command.trim().is_empty() => {
                let (name, command) = (name.to_owned(), command.to_owned());
                config
                    .skills
                    .add(command_skill(name, command, &mut schemas));
            }
            _ => vars.problem(format!("--skill `{text}`: expected NAME=COMMAND")),
        }
    }
    for name in schemas.keys() {
        vars.problem(format!(
            "--skill-schema {name}: there is no command skill of that name"
        ));
    }
    if config.skills.names().is_empty() {
        vars.problem("no skill: name a --profile or a --skill NAME=COMMAND");
    }
}

/// Finds the executables of a folder; a file's name without its ending is the skill's.
fn executables(folder: &Path) -> std::io::Result<BTreeMap<String, String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let data = path.metadata()?;
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if data.is_file() && data.permissions().mode() & 0o111 != 0 && ids::is_identifier(name) {
            let quoted = path.display().to_string().replace('\'', r"'\''");
            found.insert(name.to_owned(), format!("'{quoted}'"));
        }
    }
    Ok(found)
}
