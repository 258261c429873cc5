//! What a setting's text may look like, and how it is read. The same rules hold for flags,
//! environment and files, because all three become text first.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;

use super::keys::Key;
use crate::store::archive::uri::{Target, without_password};

/// What a setting's text must look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text; empty counts as not set.
    Text,
    /// Any text; empty is a value of its own.
    Optional,
    /// Any text that is never printed; empty means that there is none.
    Secret,
    /// An archive's address, which is printed without its password; empty means that there is none.
    History,
    /// A path; empty means that there is none. In a file it is relative to the file.
    Path,
    /// A whole number within bounds.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A port, 0 for a free one; empty means that there is none.
    Port,
    /// A number from 0 to 1.
    Share,
    /// `true` or `false`.
    Bool,
    /// `45s`, `10m`, `24h`, `30d`, or a number of seconds; at least one second.
    Duration {
        /// The longest, in seconds.
        max: u64,
    },
    /// One of these words, whatever its case.
    OneOf(&'static [&'static str]),
    /// An IANA time zone.
    TimeZone,
    /// Addresses with prefix lengths, separated by commas.
    Networks,
    /// An `http` or `https` address without query and user name; empty means that there is none.
    Url,
    /// A level's name, or directives.
    LogLevel,
}

impl Kind {
    /// Tells whether an empty text says something, rather than nothing.
    #[must_use]
    pub const fn empty_is_a_value(self) -> bool {
        matches!(
            self,
            Self::Optional | Self::Secret | Self::History | Self::Path | Self::Port | Self::Url
        )
    }

    /// Checks a text. The message says what was seen and what was expected.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text | Self::Optional | Self::Secret | Self::Path => Ok(()),
            Self::History | Self::Port if text.trim().is_empty() => Ok(()),
            Self::History => Target::parse(text).map(drop),
            Self::Integer { min, max } => match text.trim().parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(number) => Err(format!("{number} is out of range, expected {min} to {max}")),
                Err(_) => Err(format!(
                    "`{text}` is not a whole number, expected {min} to {max}"
                )),
            },
            Self::Port => text
                .trim()
                .parse::<u16>()
                .map(drop)
                .map_err(|_| format!("`{text}` is not a port, expected 0 to 65535 or nothing")),
            Self::Share => match text.trim().parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                _ => Err(format!("`{text}` is not a number from 0 to 1")),
            },
            Self::Bool => parse_bool(text)
                .map(drop)
                .ok_or_else(|| format!("`{text}` is neither `true` nor `false`")),
            Self::Duration { max } => check_duration(text, max),
            Self::OneOf(words) => {
                if words
                    .iter()
                    .any(|word| word.eq_ignore_ascii_case(text.trim()))
                {
                    Ok(())
                } else {
                    Err(format!("`{text}` is none of {}", words.join(", ")))
                }
            }
            Self::TimeZone => check_time_zone(text),
            Self::Networks => parse_networks(text).map(drop),
            Self::Url => check_url(text.trim()),
            Self::LogLevel => crate::observe::check_level(text),
        }
    }
}

/// Reads `true` or `false`, whatever the case.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Reads `45s`, `10m`, `24h`, `30d` or a number of seconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn check_duration(text: &str, max: u64) -> Result<(), String> {
    match parse_duration(text) {
        Some(duration) if (1..=max).contains(&duration.as_secs()) => Ok(()),
        Some(_) => Err(format!("`{text}` is out of range, expected 1s to {max}s")),
        None => Err(format!(
            "`{text}` is not a duration such as 45s, 10m, 24h or 30d"
        )),
    }
}

/// Checks that a time zone is known.
pub fn check_time_zone(name: &str) -> Result<(), String> {
    match jiff::tz::TimeZone::get(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "`{name}` is not a known time zone such as Europe/Berlin or UTC"
        )),
    }
}

/// Reads addresses with prefix lengths, separated by commas; an address alone is a network of one.
pub fn parse_networks(text: &str) -> Result<Vec<(IpAddr, u8)>, String> {
    let mut networks = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        networks.push(parse_network(part)?);
    }
    Ok(networks)
}

fn parse_network(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || format!("`{text}` is not a network such as 10.0.0.0/8 or ::1/128");
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    match prefix {
        None => Ok((address, bits)),
        Some(prefix) => match prefix.parse::<u8>() {
            Ok(prefix) if prefix <= bits => Ok((address, prefix)),
            _ => Err(expected()),
        },
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let is_good = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| {
                !authority.host().is_empty() && !authority.as_str().contains('@')
            })
    };
    if text.is_empty() || text.parse().is_ok_and(|uri| is_good(&uri)) {
        return Ok(());
    }
    // What stands before an `@` may be a secret.
    Err(match text.rsplit_once('@') {
        Some((_, host)) => format!(
            "`…@{host}` is not an address such as https://jobs.example.org: it has a name or a password in it"
        ),
        None => format!("`{text}` is not an address such as https://jobs.example.org"),
    })
}

/// Returns the text as it may be shown: secrets only by whether they are there.
#[must_use]
pub fn shown(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Secret if !text.is_empty() => "***".to_owned(),
        Kind::History => without_password(text),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged() {
        let cases = [
            (Kind::Integer { min: 1, max: 9 }, "9", ""),
            (
                Kind::Integer { min: 1, max: 9 },
                "10",
                "10 is out of range, expected 1 to 9",
            ),
            (
                Kind::Integer { min: 1, max: 9 },
                "x",
                "`x` is not a whole number, expected 1 to 9",
            ),
            (Kind::Port, "", ""),
            (Kind::Port, "0", ""),
            (
                Kind::Port,
                "65536",
                "`65536` is not a port, expected 0 to 65535 or nothing",
            ),
            (Kind::Share, "1.5", "`1.5` is not a number from 0 to 1"),
            (Kind::Share, "NaN", "`NaN` is not a number from 0 to 1"),
            (Kind::Bool, "TRUE", ""),
            (Kind::Bool, "yes", "`yes` is neither `true` nor `false`"),
            (Kind::Duration { max: 3600 }, "60m", ""),
            (
                Kind::Duration { max: 3600 },
                "2h",
                "`2h` is out of range, expected 1s to 3600s",
            ),
            (
                Kind::Duration { max: 3600 },
                "soon",
                "`soon` is not a duration such as 45s, 10m, 24h or 30d",
            ),
            (Kind::OneOf(&["full", "off"]), "FULL", ""),
            (
                Kind::OneOf(&["full", "off"]),
                "half",
                "`half` is none of full, off",
            ),
            (Kind::TimeZone, "Europe/Berlin", ""),
            (
                Kind::TimeZone,
                "Mars/Olympus",
                "`Mars/Olympus` is not a known time zone such as Europe/Berlin or UTC",
            ),
            (Kind::Networks, "127.0.0.0/8, ::1", ""),
            (
                Kind::Networks,
                "10.0.0.0/33",
                "`10.0.0.0/33` is not a network such as 10.0.0.0/8 or ::1/128",
            ),
        ];
        for (kind, text, expected) in cases {
            let seen = kind.check(text).err().unwrap_or_default();
            assert_eq!(seen, expected, "{kind:?} `{text}`");
        }
    }

    #[test]
    fn addresses() {
        for good in ["", "https://jobs.example.org/av", "http://127.0.0.1:8080"] {
            assert_eq!(Kind::Url.check(good), Ok(()), "{good}");
        }
        for bad in [
            "jobs.example.org",
            "ftp://a/",
            "http://a/?b=1",
            "http://me:key@a/",
            "http:///a",
        ] {
            let seen = Kind::Url.check(bad).expect_err(bad);
            assert!(seen.contains("is not an address"), "{seen}");
            assert!(!seen.contains("key"), "{seen}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("2d"), Some(Duration::from_hours(48)));
        assert_eq!(parse_duration(""), None);
        assert_eq!(parse_duration("99999999999999999999d"), None);
        assert_eq!(parse_duration(&format!("{}d", u64::MAX)), None);
    }
}
