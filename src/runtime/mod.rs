//! Floor 5: the shell.
