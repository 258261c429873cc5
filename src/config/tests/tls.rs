//! TLS and workers' proofs: what belongs together, and files that cannot be used.

use std::path::Path;

use super::{load_with, problems_of};
use crate::api::WorkerAuthMode;
use crate::net::authority::Authority;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A folder with an authority and a server's files, and the settings that name them.
struct Place {
    _folder: tempfile::TempDir,
    ca: String,
    certificate: String,
    key: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("the authority");
        let ca = authority.write(folder.path(), "ca.pem");
        let (certificate, key) = authority.server(folder.path(), "server");
        Self {
            ca: text(&ca),
            certificate: text(&certificate),
            key: text(&key),
            _folder: folder,
        }
    }

    /// Returns what switches TLS on, and some more.
    fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let on = [
            ("TLS_ENABLED", "true"),
            ("TLS_CERT_PATH", self.certificate.as_str()),
            ("TLS_KEY_PATH", self.key.as_str()),
        ];
        [&on[..], more].concat()
    }
}

const REQUIRED: (&str, &str) = ("TLS_REQUIRE_CLIENT_CERT", "true");
const CERTIFICATES_ONLY: (&str, &str) = ("WORKER_AUTH_MODE", "mtls-only");

#[test]
fn everything_that_tls_can_have() {
    let place = Place::new();
    let plain = load_with(vec![], &place.with(&[])[1..], None).expect("files ask for nothing");
    assert_eq!(plain.settings.http.tls, None);
    assert_eq!(plain.settings.worker_auth, WorkerAuthMode::Mixed);
    let all = place.with(&[
        ("TLS_CA_PATH", &place.ca),
        REQUIRED,
        CERTIFICATES_ONLY,
        ("WORKER_API_PORT", "0"),
        ("WORKERS_CONFIG_PATH", "/nowhere/workers.toml"),
    ]);
    let all = load_with(vec![], &all, None).expect("good");
    let tls = all.settings.http.tls.expect("TLS is on");
    assert!(tls.requires_client);
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new(&place.ca)));
    assert_eq!(all.settings.http.worker_port, Some(0));
    assert_eq!(all.settings.worker_auth, WorkerAuthMode::MtlsOnly);
    // Not even read, as in the original, and its owner is told.
    let told: Vec<String> = all.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "/nowhere/workers.toml: warning: WORKERS_CONFIG_PATH: has no effect: WORKER_AUTH_MODE=mtls-only lets workers in by certificate"
        ]
    );
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    for (env, expected) in [
        (
            vec![REQUIRED],
            "TLS_REQUIRE_CLIENT_CERT: needs TLS_ENABLED=true: nobody can show a certificate over plain HTTP",
        ),
        (
            vec![CERTIFICATES_ONLY],
            "WORKER_AUTH_MODE: mtls-only needs TLS_ENABLED=true and TLS_CA_PATH: no worker could come in",
        ),
        (
            place.with(&[REQUIRED]),
            "TLS_REQUIRE_CLIENT_CERT: needs TLS_CA_PATH: the authorities whose certificates are taken",
        ),
        (
            place.with(&[CERTIFICATES_ONLY]),
            "WORKER_AUTH_MODE: mtls-only needs TLS_CA_PATH: the authorities whose certificates are taken",
        ),
        (
            vec![("WORKER_AUTH_MODE", "mtls")],
            "WORKER_AUTH_MODE: `mtls` is none of mixed, mtls-only, token-only",
        ),
        (
            vec![("WORKER_API_PORT", "8080")],
            "WORKER_API_PORT: is API_PORT: give workers another port, or leave this empty and they share it",
        ),
        (
            vec![("WORKER_API_PORT", "many")],
            "WORKER_API_PORT: `many` is not a port, expected 0 to 65535 or nothing",
        ),
    ] {
        let seen = problems_of(load_with(vec![], &env, None));
        assert_eq!(seen.len(), 1, "{seen:?}");
        let (_, message) = seen[0].split_once(": error: ").expect("an error");
        assert_eq!(message, expected);
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let authority = Authority::new("the authority");
    authority.write(place, "ca.pem");
    authority.server(place, "server");
    authority.server(place, "other");
    let write = |name: &str, text: &str| {
        std::fs::write(place.join(name), text).expect("written");
    };
    write("empty", "");
    write(
        "locked",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    write(
        "damaged",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    for (files, expected) in [
        (
            ["nowhere", "server.key", "ca.pem"],
            "/nowhere: error: TLS_CERT_PATH: cannot be read: No such file or directory (os error 2)",
        ),
        (
            ["empty", "server.key", "ca.pem"],
            "/empty: error: TLS_CERT_PATH: holds no certificate: expected PEM, `-----BEGIN CERTIFICATE-----` and what follows",
        ),
        (
            ["cut", "server.key", "ca.pem"],
            "/cut: error: TLS_CERT_PATH: is not good PEM: ",
        ),
        (
            ["damaged", "server.key", "ca.pem"],
            "/damaged: error: TLS_CERT_PATH: ",
        ),
        (
            ["server.pem", "server.pem", "ca.pem"],
            "/server.pem: error: TLS_CERT_PATH: holds no private key: expected PEM, `-----BEGIN PRIVATE KEY-----` and what follows",
        ),
        (
            ["server.pem", "locked", "ca.pem"],
            "/locked: error: TLS_KEY_PATH: holds a key under a passphrase",
        ),
        (
            ["server.pem", "other.key", "ca.pem"],
            "/server.pem: error: TLS_CERT_PATH: was not made for the key in ",
        ),
        (
            ["server.pem", "server.key", "damaged"],
            "/damaged: error: TLS_CA_PATH: holds what is no authority: ",
        ),
    ] {
        let [certificate, key, ca] = files.map(|name| text(&place.join(name)));
        let env = [
            ("TLS_ENABLED", "true"),
            ("TLS_CERT_PATH", certificate.as_str()),
            ("TLS_KEY_PATH", key.as_str()),
            ("TLS_CA_PATH", ca.as_str()),
        ];
        let seen = problems_of(load_with(vec![], &env, None));
        assert_eq!(seen.len(), 1, "{seen:?}");
        let seen = seen[0].replace(&text(place), "");
        assert!(seen.starts_with(expected), "{seen}");
    }
}
