//! Why a connection failed, dug out of errors that wrap each other.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// Returns an error and what it wraps, outermost first.
///
/// An `io::Error` that carries another error does not name it as its source, but that one's.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(carried) => Some(carried),
            None => error.source(),
        }
    })
}

/// Returns the innermost reason: "connection refused" says more than "client error".
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// Says what is wrong with whose certificate, when that is why.
pub(super) fn certificate_trouble(error: &(dyn Error + 'static)) -> Option<String> {
    let error = chain(error).find_map(|error| error.downcast_ref::<TlsError>())?;
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => Some(
            "the server's certificate comes from an authority that is not trusted here".to_owned(),
        ),
        TlsError::InvalidCertificate(reason) => {
            Some(format!("the server's certificate is not good: {reason}"))
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server wants a certificate, and none was shown".to_owned())
        }
        TlsError::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => Some(format!(
            "the server does not take the certificate that was shown: {alert:?}"
        )),
        _ => None,
    }
}
