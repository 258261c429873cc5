//! Floor 2: the wire.

pub mod webhook;
