//! Checking the audit trail: goes through linked events and names the first link that does not hold.

use std::collections::{BTreeMap, HashMap};

use super::chain::{Day, DayBefore, Hash, Hasher, Head, Record};
use crate::base::JobId;
use crate::domain::Event;

/// What is gone through. It decides which chains have to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One job: its chain.
    Job(JobId),
    /// Whole days, in order: their chains, and those of the jobs as far as they lie in them.
    Days,
}

/// The first link that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {job_number} of job {job} (event {day_number} of {day}) {problem}")]
pub struct Broken {
    /// The job, as the event names it; empty when it is no event at all.
    pub job: String,
    /// Its number in the job.
    pub job_number: u64,
    /// The day.
    pub day: Day,
    /// Its number on the day.
    pub day_number: u64,
    /// What was seen and what was expected.
    pub problem: String,
}

/// Goes through linked events.
#[derive(Debug)]
pub struct Verifier {
    hasher: Hasher,
    scope: Scope,
    kept_from: Option<Day>,
    /// The furthest link of each job. Grows with the jobs, about 100 bytes for each.
    jobs: HashMap<JobId, Head>,
    day: Option<(Day, Head)>,
    seen: Option<Seen>,
    count: u64,
}

/// The days that have been gone through, to find in them what later ones go on from.
#[derive(Debug)]
struct Seen {
    from: Option<Day>,
    /// The beginnings of all hashes, in order: enough to know them by, since nobody without the salt makes
    /// others that begin alike.
    days: BTreeMap<Day, Vec<[u8; 8]>>,
}

impl Verifier {
    /// Begins. What was told before `kept_from` may be missing: it went with its time.
    #[must_use]
    pub fn new(hasher: Hasher, scope: Scope, kept_from: Option<Day>) -> Self {
        Self {
            hasher,
            scope,
            kept_from,
            jobs: HashMap::new(),
            day: None,
            seen: None,
            count: 0,
        }
    }

    /// Finds also what each day goes on from, where that lies in what is gone through: all days from this
    /// one on, none is all that there are. Grows with the events, 8 bytes for each.
    #[must_use]
    pub fn linking_days(self, from: Option<Day>) -> Self {
        let days = BTreeMap::new();
        Self {
            seen: Some(Seen { from, days }),
            ..self
        }
    }

    /// Returns how many events have been gone through.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the last link of the day that is being gone through.
    #[must_use]
    pub const fn day(&self) -> Option<(Day, Head)> {
        self.day
    }

    /// Returns the last link of a job, as far as it has been gone through.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<Head> {
        self.jobs.get(&id).copied()
    }

    /// Checks the next event, in the order of its chain.
    pub fn check(&mut self, record: &Record) -> Result<(), Broken> {
        let event = self
            .read(record)
            .map_err(|problem| broken(record, problem))?;
        self.check_job(record, &event)
            .and_then(|()| self.check_day(record))
            .map_err(|problem| broken(record, problem))?;
        self.count += 1;
        Ok(())
    }

    /// Checks the event by itself: its hash first, since whatever else is wrong makes that wrong.
    fn read(&self, record: &Record) -> Result<Event, String> {
        let expected = self.hasher.expected(record);
        if expected != record.hash {
            return Err(format!(
                "has been changed: its content has the hash {expected}, expected {}, which it is stored with \
                 (or AUDIT_SALT is another)",
                record.hash
            ));
        }
        let event: Event = serde_json::from_value(record.event.clone())
            .map_err(|error| format!("is no event: {error}"))?;
        if event.event_id != Event::derive_id(event.job_id, event.revision, event.index) {
            return Err("has an id that is not that of its place".to_owned());
        }
        if Day::of(event.at) != record.day {
            return Err(format!(
                "is of {}, not of the day that it is filed under",
                event.at
            ));
        }
        Ok(event)
    }

    fn check_job(&mut self, record: &Record, event: &Event) -> Result<(), String> {
        let head = Head {
            number: record.job_number,
            hash: record.hash,
        };
        let Some(last) = self.jobs.get(&event.job_id).copied() else {
            let went = self
                .kept_from
                .is_some_and(|day| event.job_id.made_at() < day.begin());
            let begins = self.scope == Scope::Days || went;
            self.jobs.insert(event.job_id, head);
            return follows(Head::default(), head, record.previous_in_job, begins)
                .map_err(|problem| format!("{problem} in its job"));
        };
        if let Scope::Job(id) = self.scope
            && id != event.job_id
        {
            return Err(format!("is not of job {id}"));
        }
        // Two orchestrators' clocks may put neighbours on different days, the later on the earlier:
        // by days their links are met in another order, and the days' own chains hold them.
        if self.scope == Scope::Days && head.number != last.number + 1 {
            if head.number > last.number {
                self.jobs.insert(event.job_id, head);
            }
            return Ok(());
        }
        self.jobs.insert(event.job_id, head);
        follows(last, head, record.previous_in_job, false)
            .map_err(|problem| format!("{problem} in its job"))
    }

    fn check_day(&mut self, record: &Record) -> Result<(), String> {
        if self.scope != Scope::Days {
            return Ok(());
        }
        let last = match self.day {
            Some((day, head)) if day == record.day => head,
            Some((day, _)) if day > record.day => {
                return Err(format!("comes after events of {day}"));
            }
            _ => Head {
                number: 0,
                // What is named with the earlier day is to be found there.
                hash: match record.day_before {
                    Some(_) => record.previous_in_day,
                    None => Hash::default(),
                },
            },
        };
        let head = Head {
            number: record.day_number,
            hash: record.hash,
        };
        self.day = Some((record.day, head));
        follows(last, head, record.previous_in_day, false)
            .map_err(|problem| format!("{problem} on its day"))?;
        self.check_day_before(record)
    }

    fn check_day_before(&mut self, record: &Record) -> Result<(), String> {
        let Some(seen) = &mut self.seen else {
            return Ok(());
        };
        let hashes = seen.days.entry(record.day).or_default();
        hashes.push(beginning(record.hash));
        let Some(before) = record.day_before.filter(|_| record.day_number == 1) else {
            return Ok(());
        };
        // Whatever is told of where it begins, it does not begin later than with what is there.
        let is_within = seen.from.is_none_or(|from| before.day >= from)
            || (seen.days.first_key_value()).is_some_and(|(first, _)| before.day >= *first);
        if !is_within || self.kept_from.is_some_and(|day| before.day < day) {
            return Ok(());
        }
        let hashes = seen
            .days
            .get(&before.day)
            .filter(|_| before.day < record.day);
        let index = usize::try_from(before.number.saturating_sub(1)).unwrap_or(usize::MAX);
        let found = hashes.and_then(|hashes| hashes.get(index));
        if found == Some(&beginning(record.previous_in_day)) {
            return Ok(());
        }
        Err(no_day_before(record, before, hashes.is_some()))
    }
}

fn beginning(hash: Hash) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.0[..8]);
    bytes
}

/// Tells of a first event that goes on from what is not there: the day, or only that event.
fn no_day_before(record: &Record, before: DayBefore, has_day: bool) -> String {
    let DayBefore { day, number } = before;
    if has_day {
        let hash = record.previous_in_day;
        format!("goes on from event {number} of {day} with the hash {hash}, which that day has not")
    } else {
        format!("goes on from event {number} of {day}, a day that is missing")
    }
}

/// Returns the break at an event, the first of its day, that goes on from what is not there.
#[must_use]
pub fn without_day_before(record: &Record, before: DayBefore, has_day: bool) -> Broken {
    broken(record, no_day_before(record, before, has_day))
}

/// Checks that one link follows another. The first that is seen of a chain may be any one of it when
/// it `begins` there.
fn follows(last: Head, head: Head, previous: Hash, begins: bool) -> Result<(), String> {
    if begins && head.number > 1 {
        return Ok(());
    }
    let expected = last.number + 1;
    if head.number != expected {
        return Err(if head.number > expected {
            format!(
                "follows event {}: events {expected} to {} are missing",
                last.number,
                head.number - 1
            )
        } else {
            format!(
                "follows event {}: its number has been there before",
                last.number
            )
        });
    }
    if previous != last.hash {
        return Err(format!(
            "follows an event with the hash {previous}, but the one before it has {}",
            last.hash
        ));
    }
    Ok(())
}

fn broken(record: &Record, problem: String) -> Broken {
    let job = record.event.get("job_id").and_then(|id| id.as_str());
    Broken {
        job: job.unwrap_or_default().to_owned(),
        job_number: record.job_number,
        day: record.day,
        day_number: record.day_number,
        problem,
    }
}

#[cfg(test)]
mod tests;
