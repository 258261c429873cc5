//! `health`: asks an orchestrator, or any other role that has an address for it, whether it is alive
//! and ready; for people and container probes.

use serde_json::{Value, json};

use crate::roles::context::Context;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::remote::{Remote, RemoteArgs};

/// What to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika health
  avtomatika health --live --url http://orchestrator:8080
  avtomatika health --url http://worker:9100       a worker, scheduler or sink at its METRICS_ADDR

Exit code 0 when it is ready (with --live: when it answers), else 6.")]
pub struct Args {
    /// Ask only whether it answers, not whether it can take work
    #[arg(long)]
    pub live: bool,
    /// Where it is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    context.init_logging("WARNING")?;
    let remote = Remote::public(&args.remote)?;
    // The original's orchestrator has the second alone, its worker the third.
    let paths = ["/_public/ready", "/_public/status", "/health"];
    let mut paths = paths.into_iter().skip(usize::from(args.live));
    let mut reply = remote.get_public(paths.next().unwrap_or_default()).await?;
    for path in paths {
        if reply.status == 404 {
            reply = remote.get_public(path).await?;
        }
    }
    let is_good = (200..300).contains(&reply.status);
    let answer = json!({"url": remote.origin(), "ok": is_good, "answer": reply.body});
    context.printer.item(&answer, &text(&answer));
    if is_good {
        return Ok(Exit::Ok);
    }
    let message = format!("{} is not ready (status {})", remote.origin(), reply.status);
    Err(Failure::new(Exit::Unreachable, message))
}

fn text(answer: &Value) -> String {
    let mut text = format!(
        "{}: {}\n",
        answer["url"].as_str().unwrap_or_default(),
        word(answer)
    );
    for (name, state) in answer["answer"]["checks"].as_object().into_iter().flatten() {
        text.push_str(&format!("  {name}: {}\n", state.as_str().unwrap_or("-")));
    }
    if let Some(durability) = answer["answer"]["durability"].as_str() {
        text.push_str(&format!("  durability: {durability}\n"));
    }
    if let Some(server) = answer["answer"]["server"].as_str() {
        text.push_str(&format!("  server: {server}\n"));
    }
    text
}

fn word(answer: &Value) -> &'static str {
    if answer["ok"] == true {
        "ok"
    } else {
        "not ready"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_put_into_words() {
        let answer = json!({"url": "http://h", "ok": false, "answer": {
            "ready": false, "durability": "fsync", "checks": {"store": "disk full", "loops": "ok"}}});
        insta::assert_snapshot!(text(&answer), @r"
        http://h: not ready
          store: disk full
          loops: ok
          durability: fsync
        ");
    }
}
