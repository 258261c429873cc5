//! Certificates for tests: an authority and what it issues, made anew each time.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// One that issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Founds one.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("signed");
        Self(issuer)
    }

    /// Writes its own certificate.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        fs::write(&file, self.0.pem()).expect("written");
        file
    }

    /// Issues a server's certificate for this machine; writes it as `NAME.pem`, its key as
    /// `NAME.key`.
    pub(crate) fn server(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name = named("orchestrator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params, folder, name)
    }

    /// Issues a client's certificate; writes it as `NAME.pem`, its key as `NAME.key`.
    pub(crate) fn client(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, folder, name)
    }

    /// Issues a certificate for server and client alike that has run out; the files as `client`.
    pub(crate) fn expired(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name = named(name);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.issue(&params, folder, name)
    }

    fn issue(&self, params: &CertificateParams, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        let files = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        fs::write(&files.0, certificate.pem()).expect("written");
        fs::write(&files.1, key.serialize_pem()).expect("written");
        files
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("chance")
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
