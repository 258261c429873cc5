//! How far this machine's clock is from the server's. Leases, deadlines and claims are times by the clock of
//! the orchestrator that writes them, and the others go by them: with clocks apart one ends what another
//! has just begun.

use std::fmt;

use fred::types::Value;

use super::RedisSettings;
use super::link::Link;
use super::records::{items, text};
use crate::base::Timestamp;
use crate::store::StoreError;

/// So far apart they are told of.
const TOLD_MS: u64 = 1_000;
/// So near they agree again, so that no line comes with each look.
const AGREE_MS: u64 = 500;

/// How far the clocks are apart, as it was seen last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clocks {
    /// How far this machine's is ahead of the server's at least, less than nothing where it is behind.
    ahead_ms: i64,
    /// Whether that is told.
    is_told: bool,
}

impl Clocks {
    /// Asks the server, or any of a cluster's, for its time; nothing where it does not tell, or took too long
    /// to say anything of the clocks.
    pub async fn look(link: &Link, settings: &RedisSettings) -> Result<Option<i64>, StoreError> {
        let before = (settings.clock)();
        let told = link.ask_any("TIME").await?;
        let after = (settings.clock)();
        let told = told.and_then(read);
        Ok(told.and_then(|told| apart(before, told, after)))
    }

    /// Takes what was seen, and says on the log when it begins or ends to matter.
    pub fn learn(&mut self, ahead_ms: i64) {
        let was_told = self.is_told;
        self.ahead_ms = ahead_ms;
        self.is_told = ahead_ms.unsigned_abs() >= if was_told { AGREE_MS } else { TOLD_MS };
        match (was_told, self.is_told) {
            (false, true) => tracing::warn!(
                ahead_ms,
                "the clocks of this machine and of Redis are apart: leases and deadlines go wrong"
            ),
            (true, false) => {
                tracing::info!(
                    ahead_ms,
                    "the clocks of this machine and of Redis agree again"
                );
            }
            _ => {}
        }
    }
}

/// Nothing while they agree.
impl fmt::Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_told {
            return Ok(());
        }
        let ms = self.ahead_ms.unsigned_abs();
        let (seconds, tenths) = (ms / 1000, ms % 1000 / 100);
        let side = if self.ahead_ms > 0 {
            "behind"
        } else {
            "ahead of"
        };
        write!(f, ", clock {seconds}.{tenths} s {side} this machine's")
    }
}

/// Returns how far ours is ahead at least: the server looked at its own at some time between two looks at
/// ours.
fn ahead_ms(before: Timestamp, told: Timestamp, after: Timestamp) -> i64 {
    let most = after.0.saturating_sub(told.0);
    let least = before.0.saturating_sub(told.0);
    if least > 0 { least } else { most.min(0) }
}

/// The same, but for an answer that took so long that it may hide a difference.
fn apart(before: Timestamp, told: Timestamp, after: Timestamp) -> Option<i64> {
    let ahead_ms = ahead_ms(before, told, after);
    let is_told = ahead_ms != 0 || after.since(before).as_millis() < u128::from(AGREE_MS);
    is_told.then_some(ahead_ms)
}

/// Reads an answer to TIME: seconds and microseconds.
fn read(answer: Value) -> Option<Timestamp> {
    let mut parts = items(answer).into_iter().map(text);
    let mut number = || parts.next().flatten()?.parse::<i64>().ok();
    let (seconds, micros) = (number()?, number()?);
    Some(Timestamp(
        seconds.checked_mul(1000)?.checked_add(micros / 1000)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_back_is_no_difference() {
        for (before, told, after, expected) in [
            (5_000, 5_003, 5_010, 0),
            (5_000, 5_000, 5_000, 0),
            (5_000, 1_000, 9_000, 4_000),
            (5_000, 9_000, 5_010, -3_990),
            (35_000, 5_000, 35_100, 30_000),
            // An answer that took so long says little.
            (5_000, 9_000, 15_000, 0),
        ] {
            let ahead = ahead_ms(Timestamp(before), Timestamp(told), Timestamp(after));
            assert_eq!(ahead, expected, "{before} {told} {after}");
        }
        let apart = |after| apart(Timestamp(5_000), Timestamp(5_003), Timestamp(after));
        assert_eq!((apart(5_499), apart(5_500)), (Some(0), None));
    }

    #[test]
    fn they_are_told_of_from_a_second_on_until_they_agree() {
        let mut clocks = Clocks::default();
        for (ahead_ms, expected) in [
            (999, ""),
            (1_000, ", clock 1.0 s behind this machine's"),
            (-30_250, ", clock 30.2 s ahead of this machine's"),
            (-600, ", clock 0.6 s ahead of this machine's"),
            (-499, ""),
            (600, ""),
        ] {
            clocks.learn(ahead_ms);
            assert_eq!(clocks.to_string(), expected, "{ahead_ms}");
        }
    }

    #[test]
    fn an_answer_is_seconds_and_microseconds() {
        let answer = Value::Array(vec!["1795422000".into(), "123999".into()]);
        assert_eq!(read(answer), Some(Timestamp(1_795_422_000_123)));
        assert_eq!(read(Value::Null), None);
    }
}
