//! Floor 7: the roles.
