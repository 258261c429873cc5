//! How much a crash may cost.

use serde::{Deserialize, Serialize};

/// How much a crash may cost, as the store is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing that was answered.
    Fsync,
    /// The last second before a power loss; nothing when only the process dies.
    Everysec,
    /// The last moments before a power loss; nothing when only the process dies.
    Os,
    /// Everything.
    None,
}
