//! Entropy as a port: job ids, tokens and nonces need it, nothing else does.

use uuid::Uuid;

use super::ids::JobId;
use super::time::Timestamp;

/// A source of unpredictable bytes. The simulation has a seeded twin.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// Mints a job id: a version 7 UUID, so that ids sort by creation time.
    fn job_id(&self, now: Timestamp) -> JobId {
        let mut random = [0_u8; 10];
        self.fill(&mut random);
        JobId::from_parts(now, random)
    }

    /// Mints a version 4 UUID.
    fn uuid(&self) -> Uuid {
        let mut random = [0_u8; 16];
        self.fill(&mut random);
        uuid::Builder::from_random_bytes(random).into_uuid()
    }

    /// Mints a token: 32 random bytes as 43 characters of URL-safe base64 without padding.
    fn token(&self) -> String {
        let mut random = [0_u8; 32];
        self.fill(&mut random);
        super::crypto::base64url(&random)
    }
}

/// The operating system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system's entropy source answers");
    }
}
