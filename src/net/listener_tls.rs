//! TLS settings of a listener: its own certificate, and whose certificates it takes from others.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};

use super::pem::{TlsProblem, authorities, certificates, private_key};
use super::tls::{provider, unfit};

/// What a listener speaks above TLS, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// PEM files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFiles {
    /// Its certificate chain, its own certificate first.
    pub certificate: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
    /// The authorities whose certificates clients may show; without it nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether who shows no certificate is turned away. Without `client_ca` it says nothing.
    pub requires_client: bool,
}

/// A listener's settings, which may be read again while it listens.
pub struct ListenerTls {
    files: ListenerFiles,
    current: ArcSwap<ServerConfig>,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenerTls").field(&self.files).finish()
    }
}

impl ListenerTls {
    /// Reads the files. Errors name the file and what is wrong with it.
    pub fn open(files: ListenerFiles) -> Result<Self, TlsProblem> {
        let current = ArcSwap::from(server_config(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again, for connections that come from now on; those that are open go on.
    ///
    /// The new settings begin without the old one's sessions, so nobody comes in by a session whose
    /// certificate an authority issued that is no longer trusted. An error changes nothing.
    pub fn reload(&self) -> Result<(), TlsProblem> {
        self.current.store(server_config(&self.files)?);
        Ok(())
    }

    /// Returns the settings as they are now.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn server_config(files: &ListenerFiles) -> Result<Arc<ServerConfig>, TlsProblem> {
    let verifier = match &files.client_ca {
        None => Arc::new(NoClientAuth),
        Some(ca) => {
            let roots = Arc::new(authorities(ca)?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let builder = if files.requires_client {
                builder
            } else {
                builder.allow_unauthenticated()
            };
            builder
                .build()
                .map_err(|error| TlsProblem::new(ca, error.to_string()))?
        }
    };
    let (chain, key) = (certificates(&files.certificate)?, private_key(&files.key)?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for both versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unfit(&files.certificate, &files.key, &error))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
