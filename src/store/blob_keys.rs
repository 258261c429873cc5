//! Which keys a blob may have; the same for every store, so that blobs can move between them.

use super::BlobError;

/// The longest key, in bytes. Source: S3's limit.
const KEY_BYTES_MAX: usize = 1024;

/// The longest part of a key, in bytes: a file name's limit.
const PART_BYTES_MAX: usize = 255;

/// Where the directory has bodies while they come in.
pub(super) const INCOMING: &str = ".incoming";

/// Where the S3 store notes digests that came too late for an object's own metadata.
pub(super) const DIGESTS: &str = ".sha256";

/// Refuses what is no key: empty, too long, leaving its prefix, or beginning with a store's own
/// folder.
pub(super) fn check_key(key: &str) -> Result<(), BlobError> {
    let first = key.split('/').next();
    let is_good = key.len() <= KEY_BYTES_MAX
        && key.split('/').all(is_part)
        && ![INCOMING, DIGESTS].map(Some).contains(&first);
    if is_good {
        Ok(())
    } else {
        Err(BlobError::InvalidKey(key.to_owned()))
    }
}

/// A prefix is the beginning of a key: its last part may be cut off anywhere.
pub(super) fn check_prefix(prefix: &str) -> Result<(), BlobError> {
    match prefix.rsplit_once('/') {
        Some((folder, "")) => check_key(folder),
        Some((folder, rest)) if !rest.contains('\0') => check_key(folder),
        None if !prefix.contains('\0') => Ok(()),
        _ => Err(BlobError::InvalidKey(prefix.to_owned())),
    }
}

/// Refuses what is no folder: a key with a slash at its end. Returns it without the slash.
pub(super) fn check_folder(prefix: &str) -> Result<&str, BlobError> {
    let folder = prefix
        .strip_suffix('/')
        .ok_or_else(|| BlobError::InvalidKey(prefix.to_owned()))?;
    check_key(folder)?;
    Ok(folder)
}

fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.len() <= PART_BYTES_MAX
        && !part.chars().any(char::is_control)
}
