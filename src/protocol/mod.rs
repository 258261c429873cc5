//! Floor 2: the wire.
