//! Virtual time and seeded entropy, as the shell's ports want them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use avtomatika::base::{Clock, Entropy, Timestamp};
use tokio::time::Instant;

use crate::rng::Rng;

/// Where virtual time begins: the middle of a month, so that no quota turns over.
pub const EPOCH_MS: i64 = 1_795_000_000_000;

/// One machine's wall clock: virtual time, off by what the machine's clock is off.
pub struct SimClock {
    began: Instant,
    offset_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Makes a clock over virtual time that began then.
    pub fn new(began: Instant, offset_ms: Arc<AtomicI64>) -> Self {
        Self { began, offset_ms }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).expect("a short simulation");
        Timestamp(EPOCH_MS + passed + self.offset_ms.load(Ordering::Relaxed))
    }
}

/// Bytes that the seed decides.
pub struct SimEntropy(Mutex<Rng>);

impl SimEntropy {
    /// Makes a source.
    pub fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.fill(buffer);
    }
}
