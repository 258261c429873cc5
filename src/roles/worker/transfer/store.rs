//! After a run: files of the task's own that its result names are stored.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::fs;
use tokio_util::io::ReaderStream;

use super::fetch::Inputs;
use super::walk::{Found, strings};
use super::{Account, FILES_AT_ONCE, FILES_MAX, Transfer, Trouble};
use crate::base::ids;
use crate::domain::{Object, TaskErrorCode};
use crate::observe::Moved;
use crate::store::{BlobBody, BlobError, BlobInfo, BlobStore as _, offload};

/// The longest path that is looked for; longer texts are no paths.
const PATH_BYTES_MAX: usize = 4_096;
/// What makes a text that begins with a path and leads to nothing a pattern, a list or a place in a file:
/// `frame_%04d.png`, `a.png,b.png`, `a.py:12:3`.
const SIGNS: &str = "%*?,:[{";

/// What a result names.
struct Named {
    /// The file, or the folder.
    path: PathBuf,
    is_folder: bool,
    /// Its key, or what its files' keys begin with.
    key: String,
}

impl Transfer {
    /// Stores every file of the folder that the data name, and returns them with the addresses in
    /// the paths' places, and a description of each file by its place among the data.
    ///
    /// A path that leads out of the folder, be it by a link, is a text like any other. One that leads to
    /// nothing in the folder is an error, unless it is that of an input: whoever gets the text elsewhere could
    /// do nothing with it.
    pub(in crate::roles::worker) async fn store(
        &self,
        job_id: &str,
        data: Object,
        (folder, inputs): (&Path, &Inputs),
        account: &Account,
    ) -> Result<(Object, Object), Trouble> {
        let mut value = Value::Object(data);
        let prefix = folder.display().to_string();
        let is_path = |text: &str| text.len() <= PATH_BYTES_MAX && Path::new(text).is_absolute();
        let found = strings(&value, &is_path);
        let named = self.named(job_id, &found, (folder, inputs)).await?;
        let mut described = Object::new();
        for one in &found {
            let Some(named) = named.get(&one.text) else {
                continue;
            };
            debug_assert!(named.path.starts_with(&prefix));
            let (uri, bytes, sha256) = self.stored(named, account).await?;
            let mut file = json!({"uri": uri, "size": bytes});
            if let Some(sha256) = sha256 {
                file["metadata"] = json!({"sha256": sha256});
            }
            described.insert(one.path.clone(), file);
            if let Some(place) = value.pointer_mut(&one.pointer) {
                *place = Value::String(uri);
            }
        }
        match value {
            Value::Object(data) => Ok((data, described)),
            _ => unreachable!("an object's members have changed, it is still one"),
        }
    }

    /// Returns which texts name files of the folder, each with a key that no other has.
    async fn named(
        &self,
        job_id: &str,
        found: &[Found],
        (folder, inputs): (&Path, &Inputs),
    ) -> Result<BTreeMap<String, Named>, Trouble> {
        let mut named: BTreeMap<String, Named> = BTreeMap::new();
        for one in found {
            let path = match fs::canonicalize(&one.text).await {
                Ok(path) => path,
                Err(error) => match lost(&one.text, folder, inputs) {
                    None => continue,
                    Some(file) => {
                        let reason =
                            format!("the result names {file} of the task's folder: {error}");
                        return Err(Trouble::new(TaskErrorCode::TransientError, reason));
                    }
                },
            };
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| path.starts_with(folder) && path != folder) else {
                continue;
            };
            if !ids::is_identifier(job_id) {
                let reason = format!("files of a job called `{job_id}` have no place");
                return Err(Trouble::new(TaskErrorCode::InvalidInputError, reason));
            }
            if named.len() == FILES_MAX {
                let reason = format!("the result names more than {FILES_MAX} files");
                return Err(Trouble::new(TaskErrorCode::LimitExceededError, reason));
            }
            let facts = fs::metadata(&path).await;
            let facts = facts.map_err(|error| Trouble::io(&path, &error))?;
            let is_taken = |name: &str, key: &str| {
                let mut others = named.values().filter(|known| known.path != path);
                // Large values of the job's own are there.
                name == offload::FOLDER || others.any(|known| known.key == key)
            };
            let numbered = (2..).map(|number| format!("{number}-{name}"));
            let key = std::iter::once(name.to_owned())
                .chain(numbered)
                .map(|name| (format!("jobs/{job_id}/{name}"), name))
                .find(|(key, name)| !is_taken(name, key))
                .map(|(key, _)| key);
            let named_file = Named {
                is_folder: facts.is_dir(),
                key: key.unwrap_or_default(),
                path,
            };
            named.insert(one.text.clone(), named_file);
        }
        Ok(named)
    }

    /// Stores a file, or all files of a folder; returns the address, the size, and the digest of a
    /// file.
    async fn stored(
        &self,
        named: &Named,
        account: &Account,
    ) -> Result<(String, u64, Option<String>), Trouble> {
        let uri = self.own.uri(&named.key);
        if !named.is_folder {
            let upload = self.upload(&named.path, &named.key);
            let info = account.of(Moved::Upload, &uri, upload).await?;
            return Ok((uri, info.bytes, info.sha256));
        }
        let files = files_below(&named.path).await?;
        let uploads = stream::iter(files).map(|path| async move {
            let rest = path.strip_prefix(&named.path).unwrap_or(&path);
            let key = format!("{}/{}", named.key, rest.display());
            let (uri, upload) = (self.own.uri(&key), self.upload(&path, &key));
            let info = account.of(Moved::Upload, &uri, upload).await?;
            Ok(info.bytes)
        });
        let sizes: Vec<u64> = uploads
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        Ok((format!("{uri}/"), sizes.iter().sum(), None))
    }

    async fn upload(&self, path: &Path, key: &str) -> Result<BlobInfo, Trouble> {
        let file = fs::File::open(path).await;
        let file = file.map_err(|error| Trouble::io(path, &error))?;
        let pieces = ReaderStream::with_capacity(file, 1 << 18);
        let body: BlobBody = pieces
            .map_err(|error| BlobError::Interrupted(error.to_string()))
            .boxed();
        let stored = self.own.put(key, body, self.bytes_max).await;
        stored.map_err(|error| Trouble::of(&self.own.uri(key), &error))
    }
}

/// Returns which file of the folder a text names that leads to nothing. One with spaces is taken for a
/// sentence that begins with such a path, as programs say of a file what it is, and an input may be gone: a skill
/// that moves it can still say what it was given.
fn lost<'a>(text: &'a str, folder: &Path, inputs: &Inputs) -> Option<&'a str> {
    let path = Path::new(text);
    let file = path.strip_prefix(folder).ok()?;
    let leaves = file.components().any(|part| part == Component::ParentDir);
    let file = file.to_str().filter(|file| !file.is_empty())?;
    let is_other = |sign: char| sign.is_whitespace() || SIGNS.contains(sign);
    // Paths go by their parts: what is below this one comes right behind it.
    let mut from = inputs.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    let is_input = from.next().is_some_and(|input| input.starts_with(path));
    (!leaves && !is_input && !file.contains(is_other)).then_some(file)
}

/// Returns the files below a folder. Links are left out: they may lead anywhere.
async fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let unread = |error: std::io::Error| Trouble::io(&folder, &error);
        let mut entries = fs::read_dir(&folder).await.map_err(unread)?;
        while let Some(entry) = entries.next_entry().await.map_err(unread)? {
            let kind = entry.file_type().await.map_err(unread)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
            if files.len() + folders.len() > FILES_MAX {
                let reason = format!("the result names more than {FILES_MAX} files");
                return Err(Trouble::new(TaskErrorCode::LimitExceededError, reason));
            }
        }
    }
    Ok(files)
}
