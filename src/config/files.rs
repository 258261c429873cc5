//! Where job files are kept.

use super::settings::size;
use super::{Origin, Problem, Problems, Resolved};
use crate::api::FileLinks;
use crate::base::Secret;
use crate::store::{S3Addressing, S3Settings};

/// From which size on a directory has values.
const DIRECTORY_OFFLOADS: &str = "TASK_FILES_OFFLOAD_BYTES";

/// Job files and heavy payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The S3 server that has them; none and they are in a directory.
    pub s3: Option<S3Settings>,
    /// What their addresses begin with.
    pub bucket: String,
    /// Where links lead.
    pub links: FileLinks,
    /// Whether large values lie there instead of in the store, or may have lain there before.
    pub offloads: bool,
    /// Size of a value from which on it is kept there instead of in the store, in bytes; none is
    /// never.
    pub offload_bytes: Option<usize>,
    /// Whether they go with their jobs.
    pub deletes: bool,
}

/// Builds the settings of files from checked texts.
pub(super) fn files(values: &Resolved, production: bool, problems: &mut Problems) -> Files {
    let s3 = s3(values, production, problems);
    let is_embedded = ["STORE", "REDIS_HOST"]
        .iter()
        .all(|name| values.text(name).trim().is_empty());
    // A directory is one process's own, so that nothing that several share may lead there.
    let in_directory = s3.is_none() && is_embedded;
    let limit = if in_directory {
        DIRECTORY_OFFLOADS
    } else {
        "S3_OFFLOAD_BYTES"
    };
    if !in_directory && values.integer(DIRECTORY_OFFLOADS) > 0 {
        let place = values.origin(DIRECTORY_OFFLOADS).to_string();
        let message = if s3.is_some() {
            "has no effect with S3_ENDPOINT_URL: S3_OFFLOAD_BYTES says what is kept there"
        } else {
            "has no effect with STORE or REDIS_HOST: large values need a store of files that all orchestrators share, S3"
        };
        problems.push(Problem::warning(&place, DIRECTORY_OFFLOADS, message));
    }
    Files {
        offloads: s3.is_some() || in_directory,
        s3,
        bucket: values.text("S3_DEFAULT_BUCKET").trim().to_owned(),
        links: match values.text("S3_LINKS").to_ascii_lowercase().as_str() {
            "orchestrator" => FileLinks::Here,
            _ => FileLinks::Store,
        },
        offload_bytes: Some(size(values, limit)).filter(|bytes| *bytes > 0),
        deletes: values.flag("S3_AUTO_CLEANUP"),
    }
}

/// The server is used when all three that it takes are there. Some of them alone are told: files
/// would be in a directory against somebody's intention.
fn s3(values: &Resolved, production: bool, problems: &mut Problems) -> Option<S3Settings> {
    const NAMES: [&str; 3] = ["S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"];
    let [endpoint, access, secret] = NAMES.map(|name| values.text(name).trim());
    let is_missing = |name: &&&str| values.text(name).trim().is_empty();
    let missing: Vec<&str> = NAMES.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        if missing.len() < NAMES.len() {
            let set = NAMES.iter().find(|name| !missing.contains(name));
            let set = set.expect("fewer are missing than there are");
            let message = format!(
                "has no effect without {}: job files are kept in TASK_FILES_DIR",
                missing.join(" and ")
            );
            let place = values.origin(set).to_string();
            problems.push(Problem {
                is_warning: !production,
                ..Problem::error(&place, set, &message)
            });
        }
        return None;
    }
    check_https(values, production, endpoint, problems);
    let mut settings = S3Settings::new(
        endpoint,
        values.text("S3_DEFAULT_BUCKET").trim(),
        Secret::from(access),
        Secret::from(secret),
    );
    values
        .text("S3_REGION")
        .trim()
        .clone_into(&mut settings.region);
    settings.addressing = addressing(values.text("S3_ADDRESSING"), endpoint);
    settings.concurrency = usize::try_from(values.integer("S3_MAX_CONCURRENCY")).unwrap_or(1);
    Some(settings)
}

/// Says that files cross the network as they are, where that may matter.
fn check_https(values: &Resolved, production: bool, endpoint: &str, problems: &mut Problems) {
    let origin = values.origin("S3_ENDPOINT_URL");
    if production && endpoint.starts_with("http://") && origin != Origin::Default {
        let message =
            "files cross the network without encryption: https:// where it is not your own";
        problems.push(Problem::warning(
            &origin.to_string(),
            "S3_ENDPOINT_URL",
            message,
        ));
    }
}

/// Decides how addresses are made, as `S3_ADDRESSING` says and the server's name suggests.
#[must_use]
pub fn addressing(text: &str, endpoint: &str) -> S3Addressing {
    let host = endpoint.split("://").nth(1).unwrap_or(endpoint);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    match text.to_ascii_lowercase().as_str() {
        "path" => S3Addressing::Path,
        "virtual" => S3Addressing::Virtual,
        _ if host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") => {
            S3Addressing::Virtual
        }
        _ => S3Addressing::Path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_as_the_server_wants_them() {
        for (text, endpoint, expected) in [
            ("auto", "http://minio:9000", S3Addressing::Path),
            (
                "auto",
                "https://s3.eu-west-1.amazonaws.com",
                S3Addressing::Virtual,
            ),
            (
                "auto",
                "https://s3.cn-north-1.amazonaws.com.cn/",
                S3Addressing::Virtual,
            ),
            (
                "auto",
                "https://amazonaws.com.example.org",
                S3Addressing::Path,
            ),
            ("Path", "https://s3.amazonaws.com", S3Addressing::Path),
            ("virtual", "http://localhost:9000", S3Addressing::Virtual),
        ] {
            assert_eq!(addressing(text, endpoint), expected, "{text} {endpoint}");
        }
    }
}
