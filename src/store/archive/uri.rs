//! Where an archive lies, as one text: `sqlite:history.db`, `postgresql://user:password@host/name`.

use std::path::PathBuf;

use crate::net::TlsFiles;

/// How a connection to a server is protected. The names are those of PostgreSQL's own clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Never encrypted.
    Disable,
    /// Encrypted when the server offers it; nobody's certificate is checked.
    Prefer,
    /// Encrypted; nobody's certificate is checked.
    Require,
    /// Encrypted, and the certificate has to be the host's.
    Verify(TlsFiles),
}

/// Where an archive lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres {
        /// The address, which may hold a password; without what says how it is protected.
        uri: String,
        /// How it is protected.
        protection: Protection,
    },
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres { protection, .. } => f
                .debug_struct("Postgres")
                .field("protection", protection)
                .finish_non_exhaustive(),
        }
    }
}

impl Target {
    /// Reads the text. The message says what was expected and never repeats the text, which may
    /// hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.is_empty() {
                Err(
                    "names no file, expected sqlite:history.db or sqlite:///var/lib/history.db"
                        .to_owned(),
                )
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
            return Err(
                "is neither sqlite:PATH nor postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                    .to_owned(),
            );
        }
        // A password may have a question mark in it: what says who somebody is goes up to the first `@`.
        let behind = text.find('@').unwrap_or(0);
        let (address, query) = match text[behind..].find('?') {
            Some(at) => (&text[..behind + at], &text[behind + at + 1..]),
            None => (text, ""),
        };
        let (mut mode, mut ca, mut rest) = ("prefer", None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", value)) => ca = Some(value),
                _ => rest.push(parameter),
            }
        }
        let mut uri = address.to_owned();
        if !rest.is_empty() {
            uri.push_str(&format!("?{}", rest.join("&")));
        }
        uri.parse::<tokio_postgres::Config>()
            .map_err(|error| format!("cannot be read: {error}"))?;
        Ok(Self::Postgres {
            uri,
            protection: protection(mode, ca)?,
        })
    }
}

/// Returns an address as it may be shown: with three stars for its password.
#[must_use]
pub fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // A password may also stand among the parameters, and have either character in it.
    let without_query = |text: &str| text.split('?').next().unwrap_or(text).to_owned();
    let Some((user, behind)) = rest.rsplit_once('@') else {
        return format!("{scheme}://{}", without_query(rest));
    };
    match user.split_once([':', '?']) {
        Some((name, _)) if user[name.len()..].starts_with(':') => {
            format!("{scheme}://{name}:***@{}", without_query(behind))
        }
        Some((address, _)) => format!("{scheme}://{address}"),
        None => format!("{scheme}://{user}@{}", without_query(behind)),
    }
}

/// A file of authorities asks for checking, as with PostgreSQL's own clients; `system` is the public
/// ones, which this program brings along.
fn protection(mode: &str, ca: Option<&str>) -> Result<Protection, String> {
    let files = TlsFiles {
        ca: ca.filter(|path| *path != "system").map(PathBuf::from),
        identity: None,
    };
    match (mode, ca) {
        ("disable", _) => Ok(Protection::Disable),
        ("prefer" | "allow", None) => Ok(Protection::Prefer),
        ("require", None) => Ok(Protection::Require),
        ("prefer" | "allow" | "require", Some(_)) | ("verify-ca" | "verify-full", _) => {
            Ok(Protection::Verify(files))
        }
        _ => {
            Err("sslmode is none of disable, prefer, require, verify-ca and verify-full".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(uri: &str, protection: Protection) -> Target {
        let uri = uri.to_owned();
        Target::Postgres { uri, protection }
    }

    #[test]
    fn addresses_are_read() {
        let file = |path: &str| Ok(Target::Sqlite(path.into()));
        assert_eq!(Target::parse("sqlite:history.db"), file("history.db"));
        assert_eq!(Target::parse("sqlite:///var/h.db"), file("/var/h.db"));
        assert_eq!(Target::parse("sqlite:////var/h.db"), file("//var/h.db"));
        assert_eq!(
            Target::parse("postgresql://u:p@h:1/d"),
            Ok(postgres("postgresql://u:p@h:1/d", Protection::Prefer))
        );
        assert_eq!(
            Target::parse(" postgres://h/d?sslmode=require&application_name=a "),
            Ok(postgres(
                "postgres://h/d?application_name=a",
                Protection::Require
            ))
        );
        assert_eq!(
            Target::parse("postgres://u:p?s@h/d?sslmode=require"),
            Ok(postgres("postgres://u:p?s@h/d", Protection::Require))
        );
        let own = TlsFiles {
            ca: Some("/ca.pem".into()),
            identity: None,
        };
        assert_eq!(
            Target::parse("postgres://h/d?sslmode=verify-full&sslrootcert=/ca.pem"),
            Ok(postgres("postgres://h/d", Protection::Verify(own.clone())))
        );
        assert_eq!(
            Target::parse("postgres://h/d?sslrootcert=/ca.pem"),
            Ok(postgres("postgres://h/d", Protection::Verify(own)))
        );
        assert_eq!(
            Target::parse("postgres://h/d?sslmode=verify-full&sslrootcert=system"),
            Ok(postgres(
                "postgres://h/d",
                Protection::Verify(TlsFiles::default())
            ))
        );
    }

    #[test]
    fn addresses_are_shown_without_a_password() {
        for (text, shown) in [
            ("", ""),
            ("sqlite:history.db", "sqlite:history.db"),
            ("sqlite:///var/h.db", "sqlite:///var/h.db"),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:p@ss@h:1/d?a=b", "postgres://u:***@h:1/d"),
            ("postgres://h/d?password=p", "postgres://h/d"),
            ("postgres://h/d?password=p@ss", "postgres://h/d"),
            ("postgres://u:p?ss@h/d?a=b", "postgres://u:***@h/d"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn bad_addresses_are_refused_without_telling_a_password() {
        for text in [
            "",
            "sqlite:",
            "sqlite://",
            "mysql://u:hidden@h/d",
            "postgres://u:hidden@h/d?sslmode=sometimes",
            "postgres://u:hidden@h:port/d",
            "postgres://u:hidden@h/d?never=heard",
        ] {
            let message = Target::parse(text).expect_err(text);
            assert!(!message.contains("hidden"), "{message}");
        }
        let good = Target::parse("postgres://u:hidden@h/d").expect("good");
        assert!(!format!("{good:?}").contains("hidden"));
    }
}
