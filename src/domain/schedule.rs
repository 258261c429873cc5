//! Schedules: when a job is due, as data. The next slot is computed, never polled for.

use serde::{Deserialize, Serialize};

use super::Object;
use crate::base::{Timestamp, crypto};

/// What becomes of slots that passed while no scheduler ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// The last of them runs.
    #[default]
    One,
    /// Each of them runs, oldest first.
    All,
}

/// When slots are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timetable {
    /// Every so many seconds, counted from the Unix epoch, so that every scheduler agrees.
    Interval {
        /// At least 1.
        seconds: u64,
    },
    /// A cron expression in a time zone; gap and fold as croner defines them (a slot in the gap
    /// runs right after it, a slot in the fold runs once).
    Cron {
        /// Five or six fields.
        expression: String,
        /// IANA name.
        time_zone: String,
    },
}

/// One entry of `schedules.toml`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The table's name.
    pub name: String,
    /// What it starts.
    pub blueprint: String,
    /// With this.
    pub input_data: Object,
    /// When.
    pub timetable: Timetable,
    /// Each slot is put off by a share of this many seconds that a hash of the slot decides.
    pub jitter_seconds: u64,
    /// What becomes of missed slots.
    pub catch_up: CatchUp,
    /// How far back missed slots are looked for, in seconds.
    pub catch_up_window_seconds: u64,
    /// For the job.
    pub dispatch_timeout_seconds: Option<u64>,
    /// For the job.
    pub result_timeout_seconds: Option<u64>,
    /// For the job.
    pub security: Option<Object>,
    /// For the job.
    pub metadata: Option<Object>,
}

/// A slot that is dealt with within this time is on time, in ms; one found later was missed, and
/// the catch-up policy decides.
pub const ON_TIME_MS: i64 = 10_000;

/// The most missed slots that [`CatchUp::All`] runs at once; older ones are skipped.
pub const CATCH_UP_SLOTS_MAX: usize = 1000;

/// What is to be done about a schedule at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueSlots {
    /// Slots to be fired now, oldest first.
    pub fire: Vec<Timestamp>,
    /// Whether slots that came due are passed over, by the catch-up policy or its bounds.
    pub skipped: bool,
    /// The last slot that this deals with: go on after it.
    pub handled_to: Timestamp,
}

impl Timetable {
    /// Checks the expression and the zone.
    pub fn check(&self) -> Result<(), String> {
        self.compile().map(drop)
    }

    fn compile(&self) -> Result<Compiled, String> {
        match self {
            Self::Interval { seconds: 0 } => Err("an interval is at least one second".to_owned()),
            Self::Interval { seconds } => {
                let ms = i64::try_from(*seconds)
                    .ok()
                    .and_then(|s| s.checked_mul(1000));
                ms.map(Compiled::Interval)
                    .ok_or_else(|| "the interval is too long".to_owned())
            }
            Self::Cron {
                expression,
                time_zone,
            } => {
                let zone = jiff::tz::TimeZone::get(time_zone)
                    .map_err(|_| format!("`{time_zone}` is not a known time zone"))?;
                let cron = croner::parser::CronParser::builder()
                    .year(croner::parser::Year::Disallowed)
                    .build()
                    .parse(expression)
                    .map_err(|error| format!("`{expression}` is not a cron expression: {error}"))?;
                Ok(Compiled::Cron(Box::new(cron), zone))
            }
        }
    }
}

/// A timetable ready for questions.
enum Compiled {
    /// In ms.
    Interval(i64),
    Cron(Box<croner::Cron>, jiff::tz::TimeZone),
}

impl Compiled {
    /// Returns the first slot after the time.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval(ms) => after
                .0
                .div_euclid(*ms)
                .checked_add(1)?
                .checked_mul(*ms)
                .map(Timestamp),
            Self::Cron(cron, zone) => {
                let after = zoned(after, zone)?;
                let next = cron.find_next_occurrence(&after, false).ok()?;
                Some(Timestamp(next.timestamp().as_millisecond()))
            }
        }
    }

    /// Returns the last slot at or before the time.
    fn last(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval(ms) => Some(Timestamp(at.0.div_euclid(*ms) * ms)),
            Self::Cron(cron, zone) => {
                let at = zoned(at, zone)?;
                let last = cron.find_previous_occurrence(&at, true).ok()?;
                Some(Timestamp(last.timestamp().as_millisecond()))
            }
        }
    }
}

fn zoned(at: Timestamp, zone: &jiff::tz::TimeZone) -> Option<jiff::Zoned> {
    Some(
        jiff::Timestamp::from_millisecond(at.0)
            .ok()?
            .to_zoned(zone.clone()),
    )
}

impl Schedule {
    /// Returns the first slot after the time; nothing when there is none any more.
    #[must_use]
    pub fn next_slot(&self, after: Timestamp) -> Option<Timestamp> {
        self.timetable.compile().ok()?.next(after)
    }

    /// Returns the slots after `after` up to and with `to`, oldest first, at most `limit`.
    #[must_use]
    pub fn slots_between(&self, after: Timestamp, to: Timestamp, limit: usize) -> Vec<Timestamp> {
        let Ok(compiled) = self.timetable.compile() else {
            return Vec::new();
        };
        std::iter::successors(compiled.next(after), |slot| compiled.next(*slot))
            .take_while(|slot| *slot <= to)
            .take(limit)
            .collect()
    }

    /// Returns when a slot is to be fired: its time and its share of the jitter, which a hash of
    /// name and slot decides, so that every scheduler comes to the same.
    #[must_use]
    pub fn due_at(&self, slot: Timestamp) -> Timestamp {
        if self.jitter_seconds == 0 {
            return slot;
        }
        let share = crypto::share(&[b"jitter", self.name.as_bytes(), &slot.0.to_be_bytes()]);
        #[expect(clippy::cast_precision_loss, reason = "a jitter is at most a day")]
        let ms = share * self.jitter_seconds as f64 * 1000.0;
        slot.after(std::time::Duration::from_secs_f64(ms / 1000.0))
    }

    /// Returns the idempotency key of a slot: at most one job comes of it (I8).
    #[must_use]
    pub fn slot_key(&self, slot: Timestamp) -> String {
        format!("schedule:{}:{}", self.name, slot.0)
    }

    /// Returns how far back missed slots are looked for at `now`.
    #[must_use]
    pub fn window_start(&self, now: Timestamp) -> Timestamp {
        let ms = self.catch_up_window_seconds.saturating_mul(1000);
        Timestamp(now.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// Decides what to fire at `now` of the slots after `handled_to`. Never returns a slot whose
    /// time has not come.
    ///
    /// A slot found on time is fired whatever the policy; one that came due before `watching_since`,
    /// or that is found late, was missed. Of the missed ones in the window the policy takes none,
    /// the last, or all, but for those that a slot on time makes up for.
    #[must_use]
    pub fn due_slots(
        &self,
        handled_to: Timestamp,
        watching_since: Timestamp,
        now: Timestamp,
    ) -> DueSlots {
        let Ok(compiled) = self.timetable.compile() else {
            return DueSlots {
                handled_to,
                ..DueSlots::default()
            };
        };
        let from = handled_to.max(self.window_start(now));
        let is_missed = |slot: Timestamp| {
            let due = self.due_at(slot);
            due < watching_since || now.0 - due.0 > ON_TIME_MS
        };
        let mut fire = self.newest(&compiled, from, now, is_missed);
        // A slot behind one whose jitter has not passed yet waits for it: slots keep their order.
        let due_count = fire.iter().position(|slot| self.due_at(*slot) > now);
        fire.truncate(due_count.unwrap_or(fire.len()));
        let done_to = fire.last().copied().unwrap_or(from);
        let missed = fire.iter().filter(|slot| is_missed(**slot)).count();
        let passed_over = match self.catch_up {
            CatchUp::None => missed,
            CatchUp::One => missed.min(fire.len().saturating_sub(1)),
            CatchUp::All => 0,
        };
        fire.drain(..passed_over);
        let first = compiled.next(handled_to).filter(|first| *first <= done_to);
        DueSlots {
            skipped: first.is_some_and(|first| fire.first() != Some(&first)),
            handled_to: done_to,
            fire,
        }
    }

    /// Returns the newest slots after `from` up to `now`, oldest first: as many as the policy can
    /// want, so that a long absence costs no more than a short one.
    fn newest(
        &self,
        compiled: &Compiled,
        from: Timestamp,
        now: Timestamp,
        is_missed: impl Fn(Timestamp) -> bool,
    ) -> Vec<Timestamp> {
        let mut slots = Vec::new();
        let mut next = compiled.last(now);
        while let Some(slot) = next.filter(|slot| *slot > from) {
            slots.push(slot);
            let enough = slots.len() >= CATCH_UP_SLOTS_MAX;
            if enough || (self.catch_up != CatchUp::All && is_missed(slot)) {
                break;
            }
            next = compiled.last(Timestamp(slot.0 - 1));
        }
        slots.reverse();
        slots
    }
}

#[cfg(test)]
mod tests;
