//! Real servers for tests: each starts an instance of its own, on a free port and in a temporary
//! folder, and both are gone when it is dropped, or when the test's thread ends in any other way.
//!
//! The programs are installed by `make test`, or by `tests/servers/install.sh`. Where they are
//! missing the tests fail; they are never skipped silently. Names of tests that start a server begin
//! with `server_`, so that they can be left out by name (`make test SERVERS=off`).

mod launch;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod redis;
pub(crate) mod sentinel;
