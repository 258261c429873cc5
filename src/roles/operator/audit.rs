//! The audit trail: `jobs export` writes it, `audit verify` checks it where it is kept or as it was
//! written. Both read the history itself and need no orchestrator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};

use super::audit_file::{self, Header, Trailer};
use crate::base::JobId;
use crate::config::settings::History;
use crate::roles::context::{Context, SettingsArgs};
use crate::roles::exit::{Exit, Failure, RoleResult};
use crate::roles::orchestrator::{ArchiveAccess, open_archive};
use crate::store::archive::chain::Hasher;
use crate::store::archive::verify::{Broken, Scope, Verifier, without_day_before};
use crate::store::archive::{Day, DayBefore, Head, Links, Record};
use crate::store::{Archive, StoreError};

/// Events that one look at the history brings.
const PAGE: u32 = 1_000;

/// Checks of the same part while what is kept gets less, which it does once a day at most.
const CHECKS: u32 = 5;

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check that nothing of the history was changed, left out or put in; name the first broken link
    #[command(after_help = "Examples:
  avtomatika audit verify                            all that is kept
  avtomatika audit verify --from 2026-11-01 --to 2026-11-30
  avtomatika audit verify --job JOB
  avtomatika audit verify november.jsonl             what jobs export has written, offline

The history is that of --history or HISTORY_DATABASE_URI, the salt that of AUDIT_SALT.
Exit code 0 when every link holds, 1 when one is broken.")]
    Verify(VerifyArgs),
}

/// Which part of the history.
#[derive(Debug, Clone, clap::Args)]
pub struct Part {
    /// Only this job's
    #[arg(long, value_name = "JOB", conflicts_with_all = ["from", "to"])]
    pub job: Option<JobId>,
    /// From this day, 2026-11-23; UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub from: Option<Day>,
    /// To this day, itself included
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub to: Option<Day>,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// What `jobs export` has written; else the history itself
    #[arg(value_name = "FILE", conflicts_with_all = ["job", "from", "to"])]
    pub file: Option<PathBuf>,
    /// Which part of it.
    #[command(flatten)]
    pub part: Part,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What to write.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Which part of it.
    #[command(flatten)]
    pub part: Part,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn day(text: &str) -> Result<Day, String> {
    Day::try_from(text.to_owned())
}

/// A chain that is gone through, and its last link as the history tells it.
struct Chain {
    links: Links,
    head: Head,
}

/// Runs the verb.
pub async fn run(verb: Verb, context: &Context) -> RoleResult {
    context.init_logging("WARNING")?;
    let Verb::Verify(args) = verb;
    let history = args.settings.load(context)?.settings.history;
    let checked = match &args.file {
        Some(path) => {
            let (path, hasher) = (path.clone(), Hasher::new(&history.salt));
            tokio::task::spawn_blocking(move || audit_file::verify(&path, &hasher))
                .await
                .map_err(|error| Failure::new(Exit::Internal, error.to_string()))??
        }
        None => verify_archive(&history, &args.part).await?,
    };
    let printer = &context.printer;
    match checked {
        Ok(report) => {
            let count = &report["events"];
            let mut text = format!("every link holds: {count} events");
            if let Some(exports) = report["exports"].as_u64().filter(|count| *count > 1) {
                text.push_str(&format!(" of {exports} exports"));
            }
            for head in report["heads"].as_array().into_iter().flatten() {
                let (of, number) = (&head["of"], &head["number"]);
                let hash = head["hash"].as_str().unwrap_or_default();
                text.push_str(&format!(
                    "\n{}  {number} events  last hash {hash}",
                    of.as_str().unwrap_or_default()
                ));
            }
            printer.item(&report, &text);
            Ok(Exit::Ok)
        }
        Err(broken) => {
            let report = json!({
                "ok": false,
                "job": broken.job,
                "job_number": broken.job_number,
                "day": broken.day,
                "day_number": broken.day_number,
                "problem": broken.problem,
            });
            printer.item(&report, &format!("broken: {broken}"));
            Ok(Exit::JobFailed)
        }
    }
}

/// Writes a part of the history to stdout.
pub async fn export(args: ExportArgs, context: &Context) -> RoleResult {
    let history = args.settings.load(context)?.settings.history;
    let archive = open(&history)?;
    let kept_from = kept_from(&archive).await?;
    let header = Header::new(&args.part, kept_from);
    let printer = &context.printer;
    let line = |value: Result<Value, serde_json::Error>| {
        // One document a line whatever the form: it is read by programs.
        printer.text(&value.unwrap_or_default().to_string());
    };
    line(serde_json::to_value(&header));
    let mut trailer = Trailer::default();
    let days = days(&archive).await?;
    for chain in chains(&archive, &args.part, &days).await? {
        let mut after = 0;
        while let Some(page) = page(&archive, &chain, after).await? {
            for record in &page.records {
                line(serde_json::to_value(record));
                trailer.events += 1;
                trailer.last_hash = record.hash;
            }
            after = page.last;
        }
    }
    still_has(&archive, &args.part, kept_from).await?;
    line(serde_json::to_value(&trailer));
    archive.close().await;
    Ok(Exit::Ok)
}

/// Fails when something of the part may have gone with its time while it was written: a check would miss
/// it. Without its last line no export is taken for whole.
async fn still_has(
    archive: &Arc<dyn Archive>,
    part: &Part,
    before: Option<Day>,
) -> Result<(), Failure> {
    let begins = match part.job {
        Some(id) => Some(Day::of(id.made_at())),
        None => part.from,
    };
    let now = kept_from(archive).await?;
    if now == before || begins >= now {
        return Ok(());
    }
    let problem = "the oldest of it went with its time while it was written: export it again";
    Err(Failure::new(Exit::Unreachable, problem))
}

fn open(history: &History) -> Result<Arc<dyn Archive>, Failure> {
    let Some(target) = &history.target else {
        return Err(Failure::usage(
            "there is no history to read: name it by --history or HISTORY_DATABASE_URI",
        ));
    };
    open_archive(target, &history.salt, ArchiveAccess::Read).map_err(|error| unreachable(&error))
}

fn unreachable(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Unavailable(_) => Exit::Unreachable,
        StoreError::Corrupt(_) | StoreError::Refused(_) => Exit::Invalid,
    };
    Failure::new(exit, format!("the history cannot be read: {error}"))
}

async fn kept_from(archive: &Arc<dyn Archive>) -> Result<Option<Day>, Failure> {
    let read = archive.kept_from().await;
    read.map_err(|error| unreachable(&error))
}

/// Where the days' chains end. What one of them goes on from is among them, since it was there before.
type Days = BTreeMap<Day, Head>;

async fn days(archive: &Arc<dyn Archive>) -> Result<Days, Failure> {
    let read = archive.days().await.map_err(|error| unreachable(&error))?;
    Ok(read.into_iter().collect())
}

/// Returns the chains of a part, in order.
async fn chains(
    archive: &Arc<dyn Archive>,
    part: &Part,
    days: &Days,
) -> Result<Vec<Chain>, Failure> {
    if let Some(id) = part.job {
        let head = archive
            .head(id)
            .await
            .map_err(|error| unreachable(&error))?;
        let head = head
            .ok_or_else(|| Failure::new(Exit::Refused, format!("the history has no job {id}")))?;
        return Ok(vec![Chain {
            links: Links::Job(id),
            head,
        }]);
    }
    let wanted = days.iter().filter(|(day, _)| {
        part.from.is_none_or(|from| **day >= from) && part.to.is_none_or(|to| **day <= to)
    });
    Ok(wanted
        .map(|(day, head)| Chain {
            links: Links::Day(*day),
            head: *head,
        })
        .collect())
}

/// A part of a chain.
struct Page {
    records: Vec<Record>,
    /// The last number on it.
    last: u64,
}

/// Reads what follows in the chain, up to the head that was read at the beginning.
async fn page(
    archive: &Arc<dyn Archive>,
    chain: &Chain,
    after: u64,
) -> Result<Option<Page>, Failure> {
    let number = |record: &Record| match chain.links {
        Links::Job(_) => record.job_number,
        Links::Day(_) => record.day_number,
    };
    let read = archive.links(chain.links, after, PAGE).await;
    let mut records = read.map_err(|error| unreachable(&error))?;
    records.retain(|record| number(record) <= chain.head.number);
    let last = records.last().map(number);
    Ok(last.map(|last| Page { records, last }))
}

/// What a check has come to: a report, or the first broken link.
pub(super) type Checked = Result<Value, Broken>;

async fn verify_archive(history: &History, part: &Part) -> Result<Checked, Failure> {
    let archive = open(history)?;
    let hasher = Hasher::new(&history.salt);
    let checked = verify_kept(&archive, part, &hasher).await?;
    archive.close().await;
    Ok(checked)
}

/// Checks what is kept. What goes with its time meanwhile is missing for no other reason, so a break is
/// looked for again when less is kept than before.
async fn verify_kept(
    archive: &Arc<dyn Archive>,
    part: &Part,
    hasher: &Hasher,
) -> Result<Checked, Failure> {
    let mut before = kept_from(archive).await?;
    let mut checks = 0;
    loop {
        let checked = verify_part(archive, part, (hasher, before)).await?;
        checks += 1;
        let Err(broken) = &checked else {
            return Ok(checked);
        };
        let now = kept_from(archive).await?;
        // It is told before the day goes.
        let is_over = now.is_some_and(|day| broken.day < day);
        let has_gone = is_over && !days(archive).await?.contains_key(&broken.day);
        if checks == CHECKS || (now == before && !has_gone) {
            return Ok(checked);
        }
        before = now;
    }
}

async fn verify_part(
    archive: &Arc<dyn Archive>,
    part: &Part,
    (hasher, kept_from): (&Hasher, Option<Day>),
) -> Result<Checked, Failure> {
    let scope = part.job.map_or(Scope::Days, Scope::Job);
    let mut verifier = Verifier::new(hasher.clone(), scope, kept_from);
    let mut heads = Vec::new();
    let days = days(archive).await?;
    for chain in chains(archive, part, &days).await? {
        let mut after = 0;
        while let Some(page) = page(archive, &chain, after).await? {
            for record in &page.records {
                if let Err(broken) = verifier.check(record) {
                    return Ok(Err(broken));
                }
            }
            let first = page.records.first();
            if let Some((first, before)) = first.and_then(|one| Some((one, one.day_before?)))
                && scope == Scope::Days
                && kept_from.is_none_or(|day| before.day >= day)
            {
                let has_day = days.contains_key(&before.day);
                if !has_day || !goes_on(archive, hasher, (first, before)).await? {
                    return Ok(Err(without_day_before(first, before, has_day)));
                }
            }
            after = page.last;
        }
        if let Err(broken) = ends_well(&verifier, &chain) {
            return Ok(Err(broken));
        }
        heads.push(head(chain.links, chain.head));
    }
    Ok(Ok(
        json!({"ok": true, "events": verifier.count(), "heads": heads}),
    ))
}

/// Tells whether the event that a day goes on from is in the earlier day's chain.
async fn goes_on(
    archive: &Arc<dyn Archive>,
    hasher: &Hasher,
    (first, before): (&Record, DayBefore),
) -> Result<bool, Failure> {
    let after = before.number.saturating_sub(1);
    let read = archive.links(Links::Day(before.day), after, 1).await;
    let read = read.map_err(|error| unreachable(&error))?;
    let found = read.first().map(|record| hasher.expected(record));
    Ok(found == Some(first.previous_in_day))
}

fn head(links: Links, head: Head) -> Value {
    let of = match links {
        Links::Job(id) => id.to_string(),
        Links::Day(day) => day.to_string(),
    };
    json!({"of": of, "number": head.number, "hash": head.hash})
}

/// Checks that a chain ends where the history says that it does.
fn ends_well(verifier: &Verifier, chain: &Chain) -> Result<(), Broken> {
    let (seen, job, day) = match chain.links {
        Links::Job(id) => (verifier.job(id), id.to_string(), None),
        Links::Day(day) => {
            let of_day = verifier.day().filter(|(seen, _)| *seen == day);
            (of_day.map(|(_, head)| head), String::new(), Some(day))
        }
    };
    let seen = seen.unwrap_or_default();
    if seen == chain.head {
        return Ok(());
    }
    Err(Broken {
        job,
        job_number: if day.is_none() { seen.number } else { 0 },
        day: day.unwrap_or(Day(0)),
        day_number: if day.is_some() { seen.number } else { 0 },
        problem: format!(
            "is the last, but the history tells of {} events with the last hash {}",
            chain.head.number, chain.head.hash
        ),
    })
}

#[cfg(test)]
mod tests;
