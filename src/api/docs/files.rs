//! The files of the documentation's page, as they lie in the binary.

use std::sync::LazyLock;

use crate::base::crypto;

/// One file.
pub(super) struct File {
    /// Its name in the page's addresses.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) content_type: &'static str,
    /// Its bytes, packed by gzip or not.
    pub(super) bytes: &'static [u8],
    /// Whether they are packed.
    pub(super) is_packed: bool,
    /// The digest of its bytes between quotes.
    pub(super) etag: String,
}

impl File {
    fn new(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest = crypto::sha256_hex(bytes);
        Self {
            name,
            content_type,
            bytes,
            is_packed: bytes.starts_with(&GZIP),
            etag: format!("\"{}\"", &digest[..DIGEST_CHARS]),
        }
    }

    /// Returns the digest of its bytes.
    pub(super) fn digest(&self) -> &str {
        self.etag.trim_matches('"')
    }
}

/// Characters of a digest that are enough to tell two files apart.
const DIGEST_CHARS: usize = 16;

/// How what is packed begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// All of them.
pub(super) static FILES: LazyLock<[File; 4]> = LazyLock::new(|| {
    let bundle = include_bytes!("swagger-ui/swagger-ui-bundle.js.gz");
    let style = include_bytes!("swagger-ui/swagger-ui.css.gz");
    [
        File::new("swagger-ui-bundle.js", SCRIPT, bundle),
        File::new("swagger-ui.css", STYLE, style),
        File::new("page.js", SCRIPT, include_bytes!("page.js")),
        File::new("page.css", STYLE, include_bytes!("page.css")),
    ]
});
