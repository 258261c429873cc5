//! The audit trail: each event carries the hashes of the one before it in its job and of the one
//! before it on its day, so that nothing can be changed, left out or put in unseen. The first event of a
//! day goes on from the latest earlier day that the archive has then, as far as that one's chain goes then:
//! a day that is taken out whole is missed by the next one that began after it. What is cut off at an end
//! leaves no gap.
//!
//! The hash of an event is HMAC-SHA256 under the salt, which may be empty, over: the hash before it
//! in the job, the hash before it on the day (32 bytes each, zeros for the first), its number in the
//! job and its number on the day (from 1, 8 bytes each, most significant first), then the event as
//! canonical JSON: keys sorted, no member that is null, no spaces, UTF-8.
//!
//! For a first event that goes on from an earlier day the hash before it on the day is that of the event
//! it goes on from, and between the numbers and the JSON are that event's day (counted from 1970-01-01,
//! signed) and its number on it (8 bytes each). The first of these bytes begins no JSON. What an earlier
//! version has begun a day with goes on from none and is hashed as ever.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::crypto::{self, HmacKey};
use crate::base::{JobId, Secret, Timestamp};
use crate::protocol::canonical::to_wire_bytes;
use crate::store::EventText;

const DAY_MS: i64 = 86_400_000;

/// A day of the calendar, UTC. As text `2026-11-23`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(pub i32);

impl Day {
    /// Returns the day of a time.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let days = at.0.div_euclid(DAY_MS);
        Self(i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX }))
    }

    /// Returns when the day begins.
    #[must_use]
    pub fn begin(self) -> Timestamp {
        Timestamp(i64::from(self.0) * DAY_MS)
    }

    /// Returns the next day.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Reads `2026-11-23`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let at = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))?;
        (text.len() == 10).then(|| Self::of(at))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.begin().to_rfc3339();
        f.write_str(text.split('T').next().unwrap_or(&text))
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no day, expected YYYY-MM-DD"))
    }
}

/// A hash. As text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Reads 32 bytes, as databases have them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crypto::hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no hash, expected 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// The last link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Its number, from 1; 0 before the first.
    pub number: u64,
    /// Its hash; zeros before the first.
    pub hash: Hash,
}

/// What the first event of a day goes on from: an event of the latest earlier day that the archive had
/// when the day began, the last one of that day then. More may have come behind it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayBefore {
    /// The earlier day.
    pub day: Day,
    /// The event's number on it, from 1.
    pub number: u64,
}

impl DayBefore {
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&i64::from(self.day.0).to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// One event with its links: a line of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The event, in canonical form once it is stored.
    pub event: Value,
    /// Its number in its job, from 1.
    pub job_number: u64,
    /// The day that it belongs to.
    pub day: Day,
    /// Its number on that day, from 1.
    pub day_number: u64,
    /// The hash of the event before it in the job.
    pub previous_in_job: Hash,
    /// The hash of the event before it on the day, or of the one that it goes on from.
    pub previous_in_day: Hash,
    /// What it goes on from, as the first of its day; none when the archive had no earlier day, or when an
    /// earlier version has stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_before: Option<DayBefore>,
    /// Its own.
    pub hash: Hash,
}

/// An event that has got its links.
#[derive(Debug, Clone, PartialEq)]
pub struct Linked<'a> {
    /// The event, whose text is what is stored and hashed.
    pub event: &'a EventText,
    /// Its day.
    pub day: Day,
    /// The chain of its job, this event being the last link.
    pub job: Head,
    /// The chain of its day, likewise.
    pub on_day: Head,
    /// The hash of the event before it in the job.
    pub previous_in_job: Hash,
    /// The hash of the event before it on the day, or of the one that it goes on from.
    pub previous_in_day: Hash,
    /// What it goes on from, as the first of its day.
    pub day_before: Option<DayBefore>,
}

/// What hashes are made with: the salt keeps those who do not have it from making others that fit.
#[derive(Debug, Clone)]
pub struct Hasher {
    key: HmacKey,
}

impl Hasher {
    /// Takes the salt; an empty one is none.
    #[must_use]
    pub fn new(salt: &Secret) -> Self {
        Self {
            key: HmacKey::new(salt.expose().as_bytes()),
        }
    }

    fn hash(
        &self,
        (in_job, on_day): (Hash, Hash),
        numbers: (u64, u64),
        day_before: Option<DayBefore>,
        event: &[u8],
    ) -> Hash {
        let day_before = day_before.map(DayBefore::bytes);
        Hash(self.key.sign(&[
            &in_job.0,
            &on_day.0,
            &numbers.0.to_be_bytes(),
            &numbers.1.to_be_bytes(),
            day_before.as_ref().map_or(&[], |bytes| &bytes[..]),
            event,
        ]))
    }

    /// Returns the hash that a record has to have.
    #[must_use]
    pub fn expected(&self, record: &Record) -> Hash {
        self.hash(
            (record.previous_in_job, record.previous_in_day),
            (record.job_number, record.day_number),
            record.day_before,
            &to_wire_bytes(&record.event),
        )
    }
}

/// How an archive has the days that a batch touches.
#[derive(Debug, Clone, Default)]
pub struct Days {
    /// Where their chains stand; one that is not among them begins.
    pub heads: BTreeMap<Day, Head>,
    /// Of each that begins the latest earlier day that the archive has, and where its chain stands.
    pub before: BTreeMap<Day, (Day, Head)>,
}

impl Days {
    /// Returns what a day that begins now goes on from: an earlier day may have begun a moment ago.
    fn before(&self, day: Day) -> Option<(Day, Head)> {
        let stored = self.before.get(&day).copied();
        let touched = self.heads.range(..day).next_back();
        let touched = touched.map(|(day, head)| (*day, *head));
        // Of one day what is touched is the newer, and of two that are equal the last is taken.
        let both = stored.into_iter().chain(touched);
        both.max_by_key(|(day, _)| *day)
    }
}

/// The chains' ends while events are linked to them.
#[derive(Debug)]
pub struct Linker {
    hasher: Hasher,
    jobs: BTreeMap<JobId, Head>,
    days: Days,
}

impl Linker {
    /// Starts from where the chains stand; one that is not among them begins.
    #[must_use]
    pub const fn new(hasher: Hasher, jobs: BTreeMap<JobId, Head>, days: Days) -> Self {
        Self { hasher, jobs, days }
    }

    /// Links the event to both of its chains.
    pub fn link<'a>(&mut self, event: &'a EventText) -> Linked<'a> {
        let day = Day::of(event.at);
        let (day_before, last_on_day) = match self.days.heads.get(&day) {
            Some(head) => (None, *head),
            None => match self.days.before(day) {
                Some((day, Head { number, hash })) => {
                    (Some(DayBefore { day, number }), Head { number: 0, hash })
                }
                None => (None, Head::default()),
            },
        };
        let in_job = self.jobs.entry(event.job_id).or_default();
        let on_day = self.days.heads.entry(day).or_default();
        let before = (in_job.hash, last_on_day.hash);
        let numbers = (in_job.number + 1, last_on_day.number + 1);
        let text = event.as_bytes();
        let hash = self.hasher.hash(before, numbers, day_before, text);
        *in_job = Head {
            number: numbers.0,
            hash,
        };
        *on_day = Head {
            number: numbers.1,
            hash,
        };
        Linked {
            event,
            day,
            job: *in_job,
            on_day: *on_day,
            previous_in_job: before.0,
            previous_in_day: before.1,
            day_before,
        }
    }

    /// Returns where the jobs' chains stand now.
    #[must_use]
    pub const fn jobs(&self) -> &BTreeMap<JobId, Head> {
        &self.jobs
    }

    /// Returns where the days' chains stand now.
    #[must_use]
    pub const fn days(&self) -> &BTreeMap<Day, Head> {
        &self.days.heads
    }
}
