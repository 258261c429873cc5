//! Checking the audit trail: goes through linked events and names the first link that does not hold.

use std::collections::HashMap;

use super::chain::{Day, Hash, Hasher, Head, Record};
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
    count: u64,
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
            count: 0,
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
            _ => Head::default(),
        };
        let head = Head {
            number: record.day_number,
            hash: record.hash,
        };
        self.day = Some((record.day, head));
        follows(last, head, record.previous_in_day, false)
            .map_err(|problem| format!("{problem} on its day"))
    }
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
