//! What is in the directory: looks, and changes nothing.

use std::path::Path;

use super::{INCOMING, is_absent, unavailable};
use crate::store::{BlobError, BlobInfo};

/// Returns the names of the folders in a folder, in order; one that is not there has none.
pub(super) fn folders_in(path: &Path) -> Result<Vec<String>, BlobError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unavailable(&error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unavailable(&error))?;
        // One that is gone meanwhile, or whose name is not UTF-8, is no key's.
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the blobs whose key starts with the prefix, in key order.
pub(super) fn find(root: &Path, prefix: &str) -> Result<Vec<BlobInfo>, BlobError> {
    let start = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut folders = vec![start.to_owned()];
    let mut blobs = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(unavailable(&error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unavailable(&error))?;
            // A name that is not UTF-8 is no key's.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let key = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            if key == INCOMING || !(key.starts_with(prefix) || prefix.starts_with(&key)) {
                continue;
            }
            match entry.metadata() {
                Ok(facts) if facts.is_dir() => folders.push(key),
                Ok(facts) if key.starts_with(prefix) => {
                    blobs.push(BlobInfo {
                        key,
                        bytes: facts.len(),
                        sha256: None,
                    });
                }
                // Gone meanwhile, or nothing that we wrote.
                _ => {}
            }
        }
    }
    blobs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(blobs)
}
