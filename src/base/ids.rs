//! Ids as newtypes, from parse to print, so that a worker id is never taken for a task id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::crypto;
use super::time::Timestamp;

/// The longest identifier (worker, blueprint, skill names), in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 128;

/// Tells whether the text is an identifier: `^[A-Za-z0-9_-]{1,128}$`, without the trailing
/// newline that the original lets through. Source: wire-protocol §11.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= IDENTIFIER_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Returns the partition, 0 to 255, of what a name stands for and not an id: an idempotency key, a quota,
/// a data store.
#[must_use]
pub fn partition_of(name: &[&str]) -> u8 {
    let parts: Vec<&[u8]> = name.iter().map(|part| part.as_bytes()).collect();
    crypto::sha256(&parts)[0]
}

/// A job's id: a version 7 UUID whose last byte is the family's partition.
///
/// A child's id derives from its parent's and keeps the partition, so that everything that one
/// commit touches lies in one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// Builds an id from a time and ten random bytes; the last of them is the partition.
    #[must_use]
    pub fn from_parts(now: Timestamp, random: [u8; 10]) -> Self {
        let ms = u64::try_from(now.0).unwrap_or(0);
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Self(
            uuid::Builder::from_random_bytes(bytes)
                .with_version(uuid::Version::SortRand)
                .into_uuid(),
        )
    }

    /// Derives the id of the child that this job starts at the given state visit.
    ///
    /// The same parent and visit always give the same id: starting a child twice is one start.
    #[must_use]
    pub fn child(self, visit: u64, now: Timestamp) -> Self {
        let digest = crypto::sha256(&[b"child", self.0.as_bytes(), &visit.to_be_bytes()]);
        let mut random = [0_u8; 10];
        random.copy_from_slice(&digest[..10]);
        random[9] = self.partition();
        Self::from_parts(now, random)
    }

    /// Returns the same id in the partition: where something lies that is to be written with the job.
    #[must_use]
    pub const fn in_partition(self, partition: u8) -> Self {
        let mut bytes = *self.0.as_bytes();
        bytes[15] = partition;
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns when the id was made.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let mut ms = [0_u8; 8];
        ms[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        Timestamp(i64::from_be_bytes(ms))
    }

    /// Returns the family's partition, 0 to 255.
    #[must_use]
    pub fn partition(self) -> u8 {
        self.0.as_bytes()[15]
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// Defines an id that is text on the wire.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes the text as it is; whoever reads it from outside checks it first.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// Returns the id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// One attempt at one task. Every attempt and every delivery has an id of its own, so the id is
    /// the fencing token: a result that names an older attempt cannot be taken for the current one.
    TaskId
}
text_id! {
    /// A worker's id as it registers itself; an [identifier](is_identifier).
    WorkerId
}
text_id! {
    /// A client's id: its table name in `clients.toml`. Never its token.
    ClientId
}

impl TaskId {
    /// Derives the id of an attempt from where it stands: job, state visit, branch and attempt.
    ///
    /// A single task is `task-<uuid>`, a branch a bare UUID, as the original has them. The UUID
    /// starts with the job's time, so that tasks of one age lie together in a store's index, and ends
    /// with the family's partition.
    /// Shape: unique for each (job, visit, branch, attempt). Source: wire-protocol §11.
    #[must_use]
    pub fn derive(job: JobId, visit: u64, branch: Option<u32>, attempt: u32) -> Self {
        let branch_bytes = branch.map_or(u64::MAX, u64::from).to_be_bytes();
        let digest = crypto::sha256(&[
            b"task",
            job.0.as_bytes(),
            &visit.to_be_bytes(),
            &branch_bytes,
            &attempt.to_be_bytes(),
        ]);
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[..6].copy_from_slice(&job.0.as_bytes()[..6]);
        bytes[15] = job.partition();
        let uuid = uuid::Builder::from_random_bytes(bytes)
            .with_version(uuid::Version::SortRand)
            .into_uuid();
        match branch {
            Some(_) => Self(uuid.to_string().into()),
            None => Self(format!("task-{uuid}").into()),
        }
    }

    /// Returns the family's partition; 0 for what is no id of a task and so is never found.
    #[must_use]
    pub fn partition(&self) -> u8 {
        let from = self.0.len().checked_sub(2);
        from.and_then(|from| self.0.get(from..))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["a", "gpu-worker-01", "A_b-9"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "a b", "a\n", "ä", "a/b", &"x".repeat(129)] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }

    #[test]
    fn children_derive_from_their_parent_and_keep_its_partition() {
        let parent = JobId::from_parts(Timestamp(1_700_000_000_000), [7; 10]);
        let child = parent.child(3, Timestamp(1_700_000_001_000));
        assert_eq!(child, parent.child(3, Timestamp(1_700_000_001_000)));
        assert_ne!(child, parent.child(4, Timestamp(1_700_000_001_000)));
        assert_eq!(child.partition(), parent.partition());
        assert_eq!(parent.0.get_version_num(), 7);
        assert!(parent < child, "ids sort by time");
    }

    #[test]
    fn task_ids_name_the_attempt() {
        let job = JobId::from_parts(Timestamp(1), [1; 10]);
        let first = TaskId::derive(job, 1, None, 1);
        assert!(first.as_str().starts_with("task-"));
        assert_ne!(first, TaskId::derive(job, 1, None, 2));
        assert_ne!(first, TaskId::derive(job, 2, None, 1));
        let branch = TaskId::derive(job, 1, Some(0), 1);
        assert!(Uuid::try_parse(branch.as_str()).is_ok());
        for task in [first, branch] {
            assert_eq!(task.partition(), job.partition());
        }
        for other in ["", "a", "task-unknown", "task-ü"] {
            assert_eq!(TaskId::new(other).partition(), 0);
        }
    }
}
