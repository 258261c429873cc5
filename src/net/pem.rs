//! Certificates and keys from PEM files, with messages that name the file and the way out.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// A file of certificates or keys that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", file.display())]
pub struct TlsProblem {
    /// The file.
    pub file: PathBuf,
    /// What was seen, what was expected, what to do.
    pub message: String,
}

impl TlsProblem {
    /// Makes one.
    pub(super) fn new(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            message: message.into(),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsProblem> {
    std::fs::read(file).map_err(|error| TlsProblem::new(file, format!("cannot be read: {error}")))
}

fn broken(file: &Path, error: &pem::Error) -> TlsProblem {
    TlsProblem::new(file, format!("is not good PEM: {error}"))
}

/// Reads every certificate of a file, in its order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsProblem::new(
            file,
            "holds no certificate: expected PEM, `-----BEGIN CERTIFICATE-----` and what follows",
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(broken(file, &error)),
    }
}

/// Reads a file's first private key: PKCS#8, PKCS#1 or SEC1, without a passphrase.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    let bytes = read(file)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound)
            if bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) =>
        {
            let message = "holds a key under a passphrase, which nobody could give: write it without one, `openssl pkey -in OLD -out NEW`";
            Err(TlsProblem::new(file, message))
        }
        Err(pem::Error::NoItemsFound) => Err(TlsProblem::new(
            file,
            "holds no private key: expected PEM, `-----BEGIN PRIVATE KEY-----` and what follows",
        )),
        Err(error) => Err(broken(file, &error)),
    }
}

/// Reads the authorities that a file names.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            TlsProblem::new(file, format!("holds what is no authority: {error}"))
        })?;
    }
    Ok(roots)
}
