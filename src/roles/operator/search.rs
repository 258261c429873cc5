//! `jobs search`: jobs in the history, by what they were and what went wrong.

use super::listing::{self, Filters};
use crate::base::Timestamp;
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::printer::Printer;
use crate::roles::remote::{Remote, RemoteArgs, encoded};

/// What to find.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Words that all have to be in the error's code or message
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// What is wanted.
    #[command(flatten)]
    pub filters: Filters,
    /// Created at or after: 2026-11-23 or 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Created before
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .or_else(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "expected a day, 2026-11-23, or a time, 2026-11-23T08:00:00Z".to_owned())
}

/// Runs the verb.
pub(super) async fn run(args: Args, printer: &Printer) -> RoleResult {
    let remote = Remote::new(&args.remote)?;
    let query = query(&args)?;
    let limit = (args.filters.limit, &[][..]);
    let jobs = listing::pages(&remote, "/jobs/search", &query, limit).await?;
    listing::print(&jobs, printer);
    Ok(Exit::Ok)
}

fn query(args: &Args) -> Result<String, Failure> {
    let mut query = listing::query(&args.filters, &args.filters.status)?;
    if !args.words.is_empty() {
        query.push_str(&format!("&error={}", encoded(&args.words.join(" "))));
    }
    for (name, at) in [("created_from", args.since), ("created_to", args.until)] {
        if let Some(at) = at {
            query.push_str(&format!("&{name}={}", encoded(&at.to_rfc3339())));
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let day = time("2026-11-23").expect("a day");
        assert_eq!(day.to_rfc3339(), "2026-11-23T00:00:00.000Z");
        assert_eq!(time("2026-11-23T01:00:00+01:00"), Ok(day));
        time("yesterday").expect_err("no time");
    }
}
