//! TLS settings of outgoing connections: *ring*, public roots or the operator's own.

use std::path::PathBuf;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::pem::{TlsProblem, authorities, certificates, private_key};

/// PEM files of the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Trusted instead of the public roots.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key by which this side identifies itself.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Makes *ring* the process's cryptography; for `main`. Doing it again changes nothing.
pub fn install_crypto() {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns *ring*.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Builds the client side's settings.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsProblem> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for both versions");
    let builder = match &files.ca {
        None => builder.with_webpki_roots(),
        Some(path) => builder.with_root_certificates(authorities(path)?),
    };
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| unfit(certificate, key, &error))?,
    };
    Ok(Arc::new(config))
}

/// Builds the client side's settings for a server whose certificate nobody checks: what is sent is
/// hidden from who listens, but not from who stands in between.
#[must_use]
pub fn unchecked_client_config() -> ClientConfig {
    let provider = provider();
    let unchecked = Unchecked(Arc::clone(&provider));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unchecked))
        .with_no_client_auth()
}

/// Takes every certificate.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Says why a certificate and a key cannot be used together.
pub(super) fn unfit(
    certificate: &std::path::Path,
    key: &std::path::Path,
    error: &rustls::Error,
) -> TlsProblem {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsProblem::new(
            certificate,
            format!(
                "was not made for the key in {}: give the two that belong together",
                key.display()
            ),
        ),
        // What rustls says of keys only: their kind is unknown or their content damaged.
        rustls::Error::General(message) => TlsProblem::new(key, message.clone()),
        error => TlsProblem::new(certificate, error.to_string()),
    }
}
