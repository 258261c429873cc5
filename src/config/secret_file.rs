//! Secrets that lie in files of their own, as containers are given them: `NAME_FILE` names the file.

use std::path::Path;

use super::keys::Key;
use super::value::Kind;
use super::{Origin, Problem, Problems};

/// The longest secret, in bytes: what is longer is another file.
const BYTES_MAX: u64 = 64 << 10;

/// Returns the name of the setting that names a secret's file.
pub(super) fn name_of(key: &Key) -> Option<String> {
    matches!(key.kind, Kind::Secret | Kind::History).then(|| format!("{}_FILE", key.name))
}

/// Reads the secret whose file the environment names. One that is also there itself is a problem:
/// nobody could tell which holds.
pub(super) fn from_environment(
    key: &Key,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<(String, Origin)> {
    let name = name_of(key)?;
    let path = env(&name).filter(|path| !path.is_empty())?;
    let place = format!("environment {name}");
    if env(key.name).is_some_and(|text| !text.is_empty()) {
        let message = format!("{name} is set too: expected one of them");
        problems.push(Problem::error(&place, key.name, &message));
        return None;
    }
    from_file(key, Path::new(&path), &place, problems)
}

/// Reads a secret's file. What does not fit is told, never shown.
pub(super) fn from_file(
    key: &Key,
    path: &Path,
    place: &str,
    problems: &mut Problems,
) -> Option<(String, Origin)> {
    let read = std::fs::metadata(path).and_then(|facts| {
        if facts.len() > BYTES_MAX {
            return Err(std::io::Error::other("it is longer than any secret"));
        }
        std::fs::read_to_string(path)
    });
    let message = match read {
        Ok(text) if !text.trim().is_empty() => {
            let origin = Origin::File(path.display().to_string());
            return Some((text.trim().to_owned(), origin));
        }
        Ok(_) => format!("{} is empty, expected a secret", path.display()),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    };
    problems.push(Problem::error(place, key.name, &message));
    None
}
