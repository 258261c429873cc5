//! The settings of TLS and of what workers show: which belong together, and whether their files can
//! be used. The files are read here once to tell what is wrong with them, and again when the server
//! starts.

use std::path::PathBuf;

use super::{Problem, Problems, Resolved};
use crate::api::WorkerAuthMode;
use crate::net::{ListenerFiles, ListenerTls};

/// Returns how workers prove who they are.
pub(super) fn worker_auth(values: &Resolved) -> WorkerAuthMode {
    match values
        .text("WORKER_AUTH_MODE")
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "mtls-only" => WorkerAuthMode::MtlsOnly,
        "token-only" => WorkerAuthMode::TokenOnly,
        _ => WorkerAuthMode::Mixed,
    }
}

/// Returns the workers' own port, when there is one.
pub(super) fn worker_port(values: &Resolved, problems: &mut Problems) -> Option<u16> {
    let port = values.port("WORKER_API_PORT")?;
    if port != 0 && u64::from(port) == values.integer("API_PORT") {
        let place = values.origin("WORKER_API_PORT").to_string();
        let message =
            "is API_PORT: give workers another port, or leave this empty and they share it";
        problems.push(Problem::error(&place, "WORKER_API_PORT", message));
    }
    Some(port)
}

/// Returns the listeners' files when TLS is wanted and everything that it needs is named.
pub(super) fn files(
    values: &Resolved,
    mode: WorkerAuthMode,
    problems: &mut Problems,
) -> Option<ListenerFiles> {
    let mut wants = |key: &'static str, message: &str| {
        let place = values.origin(key).to_string();
        problems.push(Problem::error(&place, key, message));
    };
    let requires_client = values.flag("TLS_REQUIRE_CLIENT_CERT");
    let certificates_only = mode == WorkerAuthMode::MtlsOnly;
    let is_enabled = values.flag("TLS_ENABLED");
    if !is_enabled {
        // The files may be named all the same: workers read the same names for their own side.
        if requires_client {
            let message = "needs TLS_ENABLED=true: nobody can show a certificate over plain HTTP";
            wants("TLS_REQUIRE_CLIENT_CERT", message);
        }
        if certificates_only {
            let message =
                "mtls-only needs TLS_ENABLED=true and TLS_CA_PATH: no worker could come in";
            wants("WORKER_AUTH_MODE", message);
        }
        return None;
    }
    let certificate = values.path("TLS_CERT_PATH");
    let key = values.path("TLS_KEY_PATH");
    for (name, file) in [("TLS_CERT_PATH", &certificate), ("TLS_KEY_PATH", &key)] {
        if file.is_none() {
            wants(
                name,
                "missing: TLS_ENABLED needs TLS_CERT_PATH and TLS_KEY_PATH",
            );
        }
    }
    let client_ca = values.path("TLS_CA_PATH");
    if client_ca.is_none() {
        let message = "needs TLS_CA_PATH: the authorities whose certificates are taken";
        if requires_client {
            wants("TLS_REQUIRE_CLIENT_CERT", message);
        }
        if certificates_only {
            wants("WORKER_AUTH_MODE", &format!("mtls-only {message}"));
        }
    }
    let files = ListenerFiles {
        certificate: certificate?,
        key: key?,
        client_ca,
        requires_client,
    };
    if let Err(problem) = ListenerTls::open(files.clone()) {
        let named = |name: &'static str, file: Option<&PathBuf>| {
            (file == Some(&problem.file)).then_some(name)
        };
        let key = named("TLS_CERT_PATH", Some(&files.certificate))
            .or_else(|| named("TLS_KEY_PATH", Some(&files.key)))
            .or_else(|| named("TLS_CA_PATH", files.client_ca.as_ref()))
            .unwrap_or_default();
        let place = problem.file.display().to_string();
        problems.push(Problem::error(&place, key, &problem.message));
    }
    Some(files)
}
