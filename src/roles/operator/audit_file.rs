//! What `jobs export` writes around the events, and how `audit verify` goes through files of it. Several
//! exports may lie in one file, as after `cat`: each is checked, and nothing may lie between or behind them.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audit::{Checked, Part};
use crate::base::JobId;
use crate::roles::exit::{Exit, Failure};
use crate::store::archive::chain::Hasher;
use crate::store::archive::verify::{Broken, Scope, Verifier};
use crate::store::archive::{Day, Hash, Record};

/// What an export begins with, and its version.
const FORMAT: &str = "avtomatika-history-2";

/// The version before: no day goes on from another.
const FORMAT_BEFORE: &str = "avtomatika-history-1";

/// The first line of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    /// The one job whose history it is; none when it is that of days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    /// The first day that it may have; none when it has all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Day>,
    /// What was told before may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_from: Option<Day>,
}

impl Header {
    /// Begins an export of a job, or of days.
    pub(super) fn new(part: &Part, kept_from: Option<Day>) -> Self {
        let format = FORMAT.to_owned();
        Self {
            format,
            job: part.job,
            from: part.from,
            kept_from,
        }
    }

    fn read(line: &str) -> Option<Self> {
        let header: Self = serde_json::from_str(line).ok()?;
        [FORMAT, FORMAT_BEFORE]
            .contains(&&*header.format)
            .then_some(header)
    }
}

/// The last line of an export: without it the end is missing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Trailer {
    pub(super) events: u64,
    pub(super) last_hash: Hash,
}

/// A file, line by line.
struct Reader<'a> {
    path: &'a Path,
    lines: Lines<BufReader<File>>,
    /// The line that was read last, from 1.
    line: usize,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let bad = |error| Failure::new(Exit::Invalid, format!("{}: {error}", path.display()));
        let lines = BufReader::new(File::open(path).map_err(bad)?).lines();
        Ok(Self {
            path,
            lines,
            line: 0,
        })
    }

    fn next(&mut self) -> Result<Option<String>, Failure> {
        let Some(line) = self.lines.next() else {
            return Ok(None);
        };
        self.line += 1;
        line.map(Some).map_err(|error| self.bad(&error))
    }

    fn bad(&self, problem: &dyn Display) -> Failure {
        let place = format!("{}:{}", self.path.display(), self.line.max(1));
        Failure::new(Exit::Invalid, format!("{place}: {problem}"))
    }
}

/// Checks what exports have written. Blocks.
pub(super) fn verify(path: &Path, hasher: &Hasher) -> Result<Checked, Failure> {
    let mut file = Reader::open(path)?;
    let (mut events, mut exports, mut last_hash) = (0, 0, Hash::default());
    while let Some(line) = file.next()? {
        let Some(header) = Header::read(&line) else {
            let expected = format!("no export begins here: expected {{\"format\":\"{FORMAT}\"}}");
            return Err(file.bad(&expected));
        };
        match verify_one(&mut file, &header, hasher.clone())? {
            Ok(trailer) => {
                events += trailer.events;
                last_hash = trailer.last_hash;
            }
            Err(broken) => return Ok(Err(broken)),
        }
        exports += 1;
    }
    if exports == 0 {
        return Err(file.bad(&"the file is empty"));
    }
    let report = json!({"ok": true, "events": events, "exports": exports, "last_hash": last_hash});
    Ok(Ok(report))
}

/// Goes through one export, to its last line.
fn verify_one(
    file: &mut Reader<'_>,
    header: &Header,
    hasher: Hasher,
) -> Result<Result<Trailer, Broken>, Failure> {
    let scope = header.job.map_or(Scope::Days, Scope::Job);
    let verifier = Verifier::new(hasher, scope, header.kept_from);
    let mut verifier = verifier.linking_days(header.from);
    let mut last_hash = Hash::default();
    while let Some(line) = file.next()? {
        if let Ok(trailer) = serde_json::from_str::<Trailer>(&line) {
            let (told, seen) = (trailer.events, verifier.count());
            if told != seen || trailer.last_hash != last_hash {
                return Err(file.bad(&format!("{told} events were written, {seen} are here")));
            }
            return Ok(Ok(trailer));
        }
        if Header::read(&line).is_some() {
            return Err(file.bad(&"the end of the export before is missing"));
        }
        let record: Record = serde_json::from_str(&line).map_err(|error| file.bad(&error))?;
        if let Err(broken) = verifier.check(&record) {
            return Ok(Err(broken));
        }
        last_hash = record.hash;
    }
    Err(file.bad(&"the end is missing: the last line has to tell how many events there are"))
}
