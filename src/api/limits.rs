//! How much one caller may ask for: rate limits with bounded memory, and the compression of bodies.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;

use super::error::{ApiError, Code};
use crate::base::Timestamp;

/// How many requests of one kind, in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests at once, and on average in a period.
    pub limit: u32,
    /// The period, in ms.
    pub period_ms: u64,
}

/// The rates of all kinds. Source: http-api §4.3, wire-protocol §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// A client's requests for one path; those without a client by address and path.
    pub client: Rate,
    /// A worker's polls that brought nothing.
    pub poll: Rate,
    /// A worker's heartbeats.
    pub heartbeat: Rate,
    /// A worker's events: several a second from each of its tasks.
    pub event: Rate,
    /// A worker's messages of any other kind, each kind for itself.
    pub worker: Rate,
    /// Wrong tokens for one job's approval.
    pub approval: Rate,
}

impl RateLimits {
    /// Returns the original's limits over one period.
    #[must_use]
    pub const fn over(period_ms: u64) -> Self {
        Self {
            client: Rate {
                limit: 100,
                period_ms,
            },
            poll: Rate {
                limit: 60,
                period_ms,
            },
            heartbeat: Rate {
                limit: 120,
                period_ms,
            },
            event: Rate {
                limit: 1000,
                period_ms,
            },
            worker: Rate {
                limit: 100,
                period_ms,
            },
            approval: Rate {
                limit: 10,
                period_ms,
            },
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::over(60_000)
    }
}

/// Callers that are remembered at once. One costs about 50 bytes.
const BUCKETS_MAX: usize = 100_000;

/// Token buckets, one for each caller and kind of request.
///
/// A bucket is one number, the time at which it is full again (the generic cell rate algorithm),
/// so a caller that has kept quiet for a period costs nothing. Fixes HQ16 and WQ21: a steady caller
/// below the rate is never stopped, and one above it is let in again at the rate.
pub struct Buckets {
    hasher: RandomState,
    table: Mutex<Table>,
}

/// The buckets that are not full.
#[derive(Default)]
struct Table {
    /// When each is full again, in ms times its rate's limit.
    full_at: HashMap<u64, (i64, Timestamp)>,
    /// A crowded table is swept once in a while, not with every stranger.
    sweep_at: Timestamp,
}

/// Least time between two sweeps, in ms.
const SWEEP_MS: u64 = 1000;

impl Default for Buckets {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            table: Mutex::default(),
        }
    }
}

impl Buckets {
    /// Names a bucket. The parts are hashed with a key of this process, so that nobody can choose
    /// colliding names.
    pub fn key(&self, parts: &[&str]) -> u64 {
        self.hasher.hash_one(parts)
    }

    /// Takes one request out of the bucket, or returns after how many ms it can be had.
    pub fn take(&self, key: u64, rate: Rate, now: Timestamp) -> Result<(), u64> {
        let limit = i64::from(rate.limit.max(1));
        let period = period_ms(rate);
        // In units of 1/limit ms, so that no request's share of the period is rounded away.
        let (scaled, step) = (now.0.saturating_mul(limit), period);
        let span = period.saturating_mul(limit);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.full_at.get(&key).map(|(full, _)| *full);
        let next = known
            .map_or(scaled, |full| full.max(scaled))
            .saturating_add(step);
        let excess = next.saturating_sub(scaled).saturating_sub(span);
        if excess > 0 {
            return Err(u64::try_from(div_ceil(excess, limit)).unwrap_or(u64::MAX));
        }
        if known.is_none() && !table.has_room(now) {
            // More callers at once than can be remembered: those known stay limited.
            return Ok(());
        }
        table
            .full_at
            .insert(key, (next, Timestamp(div_ceil(next, limit))));
        Ok(())
    }

    /// Puts one request back: it turned out to be useful work.
    pub fn refund(&self, key: u64, rate: Rate) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((full, _)) = table.full_at.get_mut(&key) {
            *full = full.saturating_sub(period_ms(rate));
        }
    }
}

impl Table {
    /// Makes room for one more by forgetting those whose bucket is full.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.full_at.len() >= BUCKETS_MAX && now >= self.sweep_at {
            self.sweep_at = now.after_ms(SWEEP_MS);
            self.full_at.retain(|_, (_, full_at)| *full_at > now);
        }
        self.full_at.len() < BUCKETS_MAX
    }
}

fn period_ms(rate: Rate) -> i64 {
    i64::try_from(rate.period_ms).unwrap_or(i64::MAX / 2).max(1)
}

/// Divides positive numbers, rounding up.
const fn div_ceil(dividend: i64, divisor: i64) -> i64 {
    dividend / divisor + (dividend % divisor != 0) as i64
}

/// The refusal of a client, or of a worker with its own code, that may come again after so long.
#[must_use]
pub fn too_many(code: Code, wait_ms: u64) -> ApiError {
    ApiError::new(code, "Too Many Requests").retry_after(wait_ms.div_ceil(1000).max(1))
}

/// Smallest answer that is compressed, in bytes. Source: wire-protocol §4.1.
const COMPRESS_BYTES_MIN: u64 = 500;

/// Compresses answers by what the caller accepts, q-values honoured, other headers kept (WQ6).
#[must_use]
pub fn compression() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(
            SizeAbove::new(COMPRESS_BYTES_MIN)
                .and(NotForContentType::SSE)
                .and(NotForContentType::const_new("application/octet-stream")),
        )
}

/// Inflates request bodies. Whoever reads them limits the inflated size.
#[must_use]
pub fn decompression() -> RequestDecompressionLayer {
    RequestDecompressionLayer::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        limit: 3,
        period_ms: 1000,
    };

    #[test]
    fn a_burst_then_the_rate() {
        let buckets = Buckets::default();
        let key = buckets.key(&["a", "b"]);
        let at = |ms| buckets.take(key, RATE, Timestamp(ms));
        assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
        assert_eq!(at(0), Err(334));
        assert_eq!(at(333), Err(1));
        assert_eq!(at(334), Ok(()));
        assert_eq!(at(334), Err(333));
        assert!(
            buckets
                .take(buckets.key(&["ab", ""]), RATE, Timestamp(334))
                .is_ok()
        );
    }

    #[test]
    fn a_steady_caller_below_the_rate_is_never_stopped() {
        let buckets = Buckets::default();
        let heartbeat = RateLimits::default().heartbeat;
        for beat in 0..10_000 {
            assert_eq!(
                buckets.take(1, heartbeat, Timestamp(beat * 15_000)),
                Ok(()),
                "{beat}"
            );
        }
    }

    #[test]
    fn refunds_count() {
        let buckets = Buckets::default();
        for _ in 0..100 {
            assert_eq!(buckets.take(1, RATE, Timestamp(0)), Ok(()));
            buckets.refund(1, RATE);
        }
        assert_eq!(
            [(); 4].map(|()| buckets.take(1, RATE, Timestamp(0)).is_ok()),
            [true, true, true, false]
        );
    }

    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::default();
        for caller in 0..(BUCKETS_MAX as u64 + 50_000) {
            assert!(buckets.take(caller, RATE, Timestamp(0)).is_ok());
        }
        let count = || {
            buckets
                .table
                .lock()
                .map(|table| table.full_at.len())
                .unwrap_or_default()
        };
        assert_eq!(count(), BUCKETS_MAX);
        assert!(buckets.take(u64::MAX, RATE, Timestamp(5_000)).is_ok());
        assert_eq!(count(), 1, "those who kept quiet are forgotten");
    }
}
