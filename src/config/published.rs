//! Secrets that everybody knows, because an example or somebody's documentation has them. In
//! development they are as good as others; production refuses them wherever they are set.

use super::keys::KEYS;
use super::{Origin, Problem, Problems, Resolved, secret_file};

/// What the secrets of `compose.yaml` and `.env.example` begin with; an address may have one inside.
const EXAMPLE: &str = "example-only";

/// Those of this program's example files, of object stores' documentation, and the original's defaults.
const KNOWN: [&str; 11] = [
    "user_token_vip",
    "limited-access-token",
    "super-secret-gpu-worker-token",
    "super-secret-cpu-worker-token",
    "super-secret-cpu-worker-token-2",
    "minioadmin",
    "rustfsadmin",
    "default_audit_salt",
    "secure-orchestrator-token",
    "secure-worker-token",
    "your-secret-worker-token",
];

/// Tells whether everybody knows the secret, or one in the address.
pub(super) fn is_published(text: &str) -> bool {
    KNOWN.contains(&text.trim()) || text.contains(EXAMPLE)
}

/// Adds a problem for each setting that is such a secret. Defaults are looked at where they are used.
pub(super) fn refuse(values: &Resolved, problems: &mut Problems) {
    for key in KEYS {
        let (text, origin) = (values.text(key.name), values.origin(key.name));
        let is_default = origin == Origin::Default || text == key.default;
        if secret_file::name_of(key).is_some() && !is_default && is_published(text) {
            let message = "everybody knows this secret from an example or a documentation: production needs one of its own, for example the output of `openssl rand -hex 32`";
            problems.push(Problem::error(&origin.to_string(), key.name, message));
        }
    }
}
