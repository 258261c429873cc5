//! The original's programs from PyPI with ours: its worker on our orchestrator, our worker, client
//! and scheduler on its orchestrator, and a client in its style on both. Schemathesis, from there too,
//! asks our API what its description promises.
//!
//! The environments are made by `make test`, or by `tests/interop/environments.sh`. Where they are
//! missing the tests fail; they are never skipped silently. Their names begin with `python_`, so
//! that they can be left out by name.

#[path = "../whole/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the tests of whole processes")]
#[path = "../whole/site.rs"]
mod site;

#[expect(dead_code, reason = "shared with the tests of whole processes")]
#[path = "../whole/traces/collector.rs"]
mod collector;
mod original;
mod python;
mod python_client;
mod python_conformance;
mod python_openapi;
mod python_orchestrator;
mod python_showcase;
mod python_traces;
mod python_worker;
mod relay;
mod stage;
