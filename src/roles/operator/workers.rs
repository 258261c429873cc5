//! `workers`: list, show.

use clap::Subcommand;
use serde_json::Value;

use super::cell;
use crate::roles::context::Context;
use crate::roles::exit::{Exit, RoleResult};
use crate::roles::printer::Table;
use crate::roles::remote::{Remote, RemoteArgs, encoded};

/// What to see of workers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the workers that are known
    #[command(after_help = "Example:\n  avtomatika workers list")]
    List(ListArgs),
    /// Show one worker
    #[command(after_help = "Example:\n  avtomatika workers show gpu-worker-01 -o json")]
    Show(ShowArgs),
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Which worker.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The worker's id
    pub worker: String,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> RoleResult {
    context.init_logging("WARNING")?;
    match verb {
        Verb::List(args) => {
            let reply = Remote::new(&args.remote)?.get("/workers").await?;
            let workers = reply.body.as_array().cloned().unwrap_or_default();
            if workers.is_empty() {
                context.printer.note("no worker is registered");
            }
            context.printer.list(&workers, &table(&workers));
        }
        Verb::Show(args) => {
            let remote = Remote::new(&args.remote)?;
            let worker = remote
                .get(&format!("/workers/{}", encoded(&args.worker)))
                .await?
                .body;
            context.printer.value(&worker);
        }
    }
    Ok(Exit::Ok)
}

fn table(workers: &[Value]) -> Table {
    let mut table = Table::new(&["WORKER", "TYPE", "STATUS", "REPUTATION", "SKILLS"]);
    for worker in workers {
        let reputation = worker["reputation"].as_f64();
        table.row(&[
            cell(&worker["worker_id"]),
            cell(&worker["worker_type"]),
            cell(&worker["status"]),
            reputation.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")),
            skills(worker),
        ]);
    }
    table
}

/// The original lists whole contracts, this program names.
fn skills(worker: &Value) -> String {
    let list = worker["skills"]
        .as_array()
        .or(worker["supported_skills"].as_array());
    let names: Vec<&str> = list
        .into_iter()
        .flatten()
        .filter_map(|skill| skill.as_str().or(skill["name"].as_str()))
        .collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(",")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_of_both_orchestrators_are_listed() {
        let workers = [
            json!({"worker_id": "a", "worker_type": "gpu", "status": "idle", "reputation": 1, "skills": ["x", "y"]}),
            json!({"worker_id": "b", "supported_skills": [{"name": "z"}]}),
        ];
        insta::assert_snapshot!(table(&workers).render(), @r"
        WORKER  TYPE  STATUS  REPUTATION  SKILLS
        a       gpu   idle    1.000       x,y
        b       -     -       -           z
        ");
    }
}
