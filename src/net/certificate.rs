//! Whose a verified certificate is.

use std::sync::Arc;

use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Tag, Tagged as _};

/// `commonName`. Source: RFC 4519 §2.3.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What the other end's certificate says of it. Made of verified certificates only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The first `commonName` of its subject; none when it has none that is text. Alternative names
    /// do not count. Source: wire-protocol §3.2.
    pub common_name: Option<Arc<str>>,
}

impl ClientCertificate {
    /// Reads a certificate. What cannot be read names nobody.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        Self {
            common_name: common_name(der),
        }
    }
}

fn common_name(der: &[u8]) -> Option<Arc<str>> {
    let certificate = Certificate::from_der(der).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let name = subject.iter().find(|part| part.oid == COMMON_NAME)?;
    match name.value.tag() {
        // All of them hold ASCII as it is, and names of workers are ASCII.
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            std::str::from_utf8(name.value.value()).ok().map(Arc::from)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn name_of(names: &[(DnType, DnValue)]) -> Option<String> {
        let mut params = CertificateParams::new(vec!["an-alternative.name".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = ClientCertificate::read(certificate.der());
        read.common_name.map(|name| name.to_string())
    }

    #[test]
    fn the_common_name_counts_and_nothing_else() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let organization = || (DnType::OrganizationName, utf8("gpu-02"));
        let found = name_of(&[organization(), (DnType::CommonName, utf8("gpu-01"))]);
        assert_eq!(found.as_deref(), Some("gpu-01"));
        let printable = DnValue::PrintableString("gpu-03".try_into().unwrap());
        let found = name_of(&[(DnType::CommonName, printable)]);
        assert_eq!(found.as_deref(), Some("gpu-03"));
        let wide = DnValue::BmpString("gpu-04".try_into().unwrap());
        assert_eq!(name_of(&[(DnType::CommonName, wide)]), None);
        assert_eq!(name_of(&[organization()]), None);
        let nobody = ClientCertificate { common_name: None };
        assert_eq!(ClientCertificate::read(b"no certificate"), nobody);
    }
}
