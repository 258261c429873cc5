//! The table: a name, the bytes, the status and the code that they have to bring.
#![expect(
    clippy::too_many_lines,
    reason = "tables are as long as there are cases"
)]

pub(crate) mod bodies;
pub(crate) mod client;
pub(crate) mod encodings;
pub(crate) mod jobs;
pub(crate) mod protocol;
pub(crate) mod public;
pub(crate) mod worker;

use crate::stage::{Facts, as_client};
use crate::wire::Raw;

/// One malformed request.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) raw: Raw,
    /// 0 where the connection may only be closed.
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// Whether it goes to the server whose patience ends at once.
    pub(crate) is_slow: bool,
}

impl Row {
    /// A row whose answer has a code.
    pub(crate) fn new(name: impl Into<String>, raw: Raw, status: u16, code: &'static str) -> Self {
        Self {
            name: name.into(),
            raw,
            status,
            code,
            is_slow: false,
        }
    }

    /// A row that the server has to lose patience with.
    pub(crate) fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }
}

/// Returns the whole table.
pub(crate) fn all(facts: &Facts) -> Vec<Row> {
    [
        client::creations(),
        jobs::jobs(facts),
        jobs::queries(facts),
        jobs::files(facts),
        jobs::strangers(facts),
        public::rows(facts),
        worker::registrations(),
        worker::beats(),
        worker::results(facts),
        worker::callers(),
        worker::sockets(),
        encodings::rows(),
        bodies::rows(facts),
        protocol::heads(),
        protocol::streams(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Posts a body as the client.
pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Raw {
    as_client(&format!("POST /api/v1{path}")).body(body)
}

/// Gets a path as the client.
pub(crate) fn get(path: &str) -> Raw {
    as_client(&format!("GET /api/v1{path}"))
}
