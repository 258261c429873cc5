//! Floor 0: time, ids, entropy, hashes, secrets and places in traces. Knows nothing of jobs and performs no I/O
//! beyond reading the clock and the operating system's entropy.

pub mod crypto;
pub mod entropy;
pub mod ids;
pub mod secret;
pub mod time;
pub mod trace;

pub use entropy::{Entropy, SystemEntropy};
pub use ids::{ClientId, JobId, TaskId, WorkerId, partition_of};
pub use secret::Secret;
pub use time::{Clock, SystemClock, Timestamp};
pub use trace::TraceContext;
