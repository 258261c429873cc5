//! The conformance suite of the blob stores, and what only files have.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::{Clock as _, SystemClock, crypto};
use avtomatika::store::{BlobBody, BlobError, BlobRight, BlobStore, DirBlobStore, S3BlobStore};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::blobs_s3;
use super::s3::S3Server;

type Blobs = Arc<dyn BlobStore>;

macro_rules! suite {
    ($adapter:ident, $open:path: $($test:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $test() {
                    let (store, folder) = $open().await;
                    super::$test(store).await;
                    drop(folder);
                }
            )*
        }
    };
}

suite!(directory, super::open_directory:
    gives_back_what_was_put,
    replaces_only_by_a_whole_body,
    refuses_what_is_too_large,
    refuses_bad_keys,
    lists_and_deletes_by_prefix,
    names_folders,
    takes_many_at_once,
);

suite!(s3, super::open_s3:
    gives_back_what_was_put,
    replaces_only_by_a_whole_body,
    refuses_what_is_too_large,
    refuses_bad_keys,
    lists_and_deletes_by_prefix,
    names_folders,
    takes_many_at_once,
);

#[expect(
    clippy::unused_async,
    reason = "stores are opened in one way, whatever they are"
)]
async fn open_s3() -> (Blobs, S3Server) {
    let server = S3Server::start();
    let store = S3BlobStore::new(&blobs_s3::settings(&server)).expect("can be used");
    (Arc::new(store), server)
}

async fn open_directory() -> (Blobs, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = DirBlobStore::open(&folder.path().join("blobs"), "files")
        .await
        .expect("opens");
    (Arc::new(store), folder)
}

fn body(pieces: &[&str]) -> BlobBody {
    let pieces: Vec<_> = pieces
        .iter()
        .map(|p| Ok(Bytes::copy_from_slice(p.as_bytes())))
        .collect();
    stream::iter(pieces).boxed()
}

async fn read(store: &Blobs, key: &str) -> Option<String> {
    let (info, body) = store.get(key).await.expect("opens")?;
    let pieces: Vec<Bytes> = body.try_collect().await.expect("reads");
    let content = pieces.concat();
    assert_eq!((info.key.as_str(), info.bytes), (key, content.len() as u64));
    Some(String::from_utf8(content).expect("is text"))
}

async fn keys(store: &Blobs, prefix: &str) -> Vec<String> {
    store
        .list(prefix)
        .await
        .expect("lists")
        .into_iter()
        .map(|blob| blob.key)
        .collect()
}

async fn gives_back_what_was_put(store: Blobs) {
    let info = store
        .put("jobs/j1/in put.png", body(&["ab", "", "c"]), 3)
        .await
        .expect("stores");
    assert_eq!((info.key.as_str(), info.bytes), ("jobs/j1/in put.png", 3));
    assert_eq!(
        info.sha256.as_deref(),
        Some(crypto::sha256_hex(b"abc").as_str())
    );
    assert_eq!(
        read(&store, "jobs/j1/in put.png").await.as_deref(),
        Some("abc")
    );
    store
        .put("jobs/j1/empty", body(&[]), 3)
        .await
        .expect("stores");
    assert_eq!(read(&store, "jobs/j1/empty").await.as_deref(), Some(""));
    for absent in ["jobs/j2", "jobs/j1/other", "jobs/j1/empty/below"] {
        assert_eq!(read(&store, absent).await, None, "{absent}");
        assert_eq!(store.head(absent).await.expect("asks"), None, "{absent}");
    }
    let seen = store.head("jobs/j1/empty").await.expect("asks");
    assert_eq!(seen.expect("is there").bytes, 0);
    assert_eq!(store.uri("jobs/j1/empty"), "s3://files/jobs/j1/empty");
}

async fn replaces_only_by_a_whole_body(store: Blobs) {
    store
        .put("jobs/j1/f", body(&["old"]), 99)
        .await
        .expect("stores");
    let broken: BlobBody = stream::iter([
        Ok(Bytes::from_static(b"ne")),
        Err(BlobError::Interrupted("gone".to_owned())),
    ])
    .boxed();
    let error = store
        .put("jobs/j1/f", broken, 99)
        .await
        .expect_err("breaks off");
    assert!(matches!(error, BlobError::Interrupted(_)), "{error}");
    assert_eq!(read(&store, "jobs/j1/f").await.as_deref(), Some("old"));
    store
        .put("jobs/j1/f", body(&["new"]), 99)
        .await
        .expect("stores");
    assert_eq!(read(&store, "jobs/j1/f").await.as_deref(), Some("new"));
    assert_eq!(keys(&store, "").await, ["jobs/j1/f"]);
}

async fn refuses_what_is_too_large(store: Blobs) {
    let error = store
        .put("jobs/j1/f", body(&["abc", "d"]), 3)
        .await
        .expect_err("is too large");
    assert!(matches!(error, BlobError::TooLarge { limit: 3 }), "{error}");
    assert_eq!(read(&store, "jobs/j1/f").await, None);
    assert_eq!(keys(&store, "").await, Vec::<String>::new());
}

async fn refuses_bad_keys(store: Blobs) {
    let long_part = format!("jobs/{}", "x".repeat(256));
    let long = "x/".repeat(600) + "x";
    for key in [
        "",
        "/",
        "/etc/passwd",
        "a//b",
        "a/",
        "..",
        "a/../b",
        "a/./b",
        "a\0b",
        "a\n",
        ".incoming/0",
        ".sha256/jobs/j1/f",
        &long_part,
        &long,
    ] {
        let error = store
            .put(key, body(&["x"]), 9)
            .await
            .expect_err("is refused");
        assert!(
            matches!(&error, BlobError::InvalidKey(seen) if seen == key),
            "{key}: {error}"
        );
        assert!(
            matches!(store.get(key).await, Err(BlobError::InvalidKey(_))),
            "{key}"
        );
    }
    for prefix in ["../", "/", "a/../b", "a//"] {
        assert!(
            matches!(store.list(prefix).await, Err(BlobError::InvalidKey(_))),
            "{prefix}"
        );
        assert!(store.delete_prefix(prefix).await.is_err(), "{prefix}");
    }
}

async fn names_folders(store: Blobs) {
    assert_eq!(store.folders("jobs/").await.expect("reads"), [""; 0]);
    for key in [
        "jobs/j2/f",
        "jobs/j1/a/b",
        "jobs/j1/f",
        "jobs/f",
        "other/j3/f",
    ] {
        store.put(key, body(&["x"]), 9).await.expect("stores");
    }
    assert_eq!(store.folders("jobs/").await.expect("reads"), ["j1", "j2"]);
    assert_eq!(store.folders("jobs/j1/").await.expect("reads"), ["a"]);
    store.delete_prefix("jobs/j2/").await.expect("deletes");
    assert_eq!(store.folders("jobs/").await.expect("reads"), ["j1"]);
    for prefix in ["jobs", "/", "../", "jobs/../"] {
        let refused = store.folders(prefix).await;
        assert!(matches!(refused, Err(BlobError::InvalidKey(_))), "{prefix}");
    }
}

async fn lists_and_deletes_by_prefix(store: Blobs) {
    for key in [
        "jobs/j2/a",
        "jobs/j1/b",
        "jobs/j1/a",
        "jobs/j1/sub/c",
        "jobs/j10/a",
        "top",
    ] {
        store.put(key, body(&["x"]), 9).await.expect("stores");
    }
    assert_eq!(
        keys(&store, "jobs/j1/").await,
        ["jobs/j1/a", "jobs/j1/b", "jobs/j1/sub/c"]
    );
    assert_eq!(
        keys(&store, "jobs/j1").await,
        ["jobs/j1/a", "jobs/j1/b", "jobs/j1/sub/c", "jobs/j10/a"]
    );
    assert_eq!(keys(&store, "jobs/j1/su").await, ["jobs/j1/sub/c"]);
    assert_eq!(keys(&store, "t").await, ["top"]);
    assert_eq!(keys(&store, "").await.len(), 6);
    assert_eq!(keys(&store, "nothing/").await, Vec::<String>::new());
    store.delete_prefix("jobs/j1/").await.expect("deletes");
    store
        .delete_prefix("nothing/")
        .await
        .expect("deletes nothing");
    assert_eq!(keys(&store, "").await, ["jobs/j10/a", "jobs/j2/a", "top"]);
    assert_eq!(read(&store, "jobs/j1/a").await, None);
    store
        .put("jobs/j1/a", body(&["again"]), 9)
        .await
        .expect("stores");
    assert_eq!(read(&store, "jobs/j1/a").await.as_deref(), Some("again"));
}

async fn takes_many_at_once(store: Blobs) {
    let contents: Vec<String> = (0..40).map(|n| format!("content {n}")).collect();
    let puts = contents.iter().enumerate().map(|(n, text)| {
        let store = &store;
        async move {
            store
                .put("jobs/same", body(&[text]), 99)
                .await
                .expect("stores");
            let key = format!("jobs/j{n}/f");
            store.put(&key, body(&[text]), 99).await.expect("stores");
            if n % 2 == 0 {
                store
                    .delete_prefix(&format!("jobs/j{n}/"))
                    .await
                    .expect("deletes");
            }
        }
    });
    futures::future::join_all(puts).await;
    let last = read(&store, "jobs/same").await.expect("is there");
    assert!(contents.contains(&last), "one of them, whole: {last}");
    assert_eq!(keys(&store, "jobs/j").await.len(), 20);
}

/// In a directory, that is; a server of blobs knows no folders.
#[tokio::test]
async fn a_file_cannot_be_a_folder_too() {
    let (store, _folder) = open_directory().await;
    store.put("a/b", body(&["x"]), 9).await.expect("stores");
    for key in ["a", "a/b/c"] {
        let refused = store.put(key, body(&["y"]), 9).await;
        assert!(
            matches!(refused, Err(BlobError::InvalidKey(_))),
            "{key}: {refused:?}"
        );
    }
    assert_eq!(read(&store, "a").await, None, "a folder is no blob");
    assert_eq!(read(&store, "a/b").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn a_directory_has_no_addresses_and_tells_when_it_is_gone() {
    let (store, folder) = open_directory().await;
    let hour = Duration::from_hours(1);
    let address = store.presign(BlobRight::Get, "jobs/j/f", hour).await;
    assert_eq!(address.expect("is asked well"), None);
    store.health().await.expect("is there");
    std::fs::remove_dir_all(folder.path()).expect("removes");
    let gone = store.health().await;
    assert!(matches!(gone, Err(BlobError::Unavailable(_))), "{gone:?}");
}

#[tokio::test]
async fn removes_what_a_crash_has_left_and_keeps_the_rest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("blobs");
    let open = async |root: &Path| {
        let store: Blobs = Arc::new(DirBlobStore::open(root, "files").await.expect("opens"));
        store
    };
    let store = open(&root).await;
    store
        .put("jobs/j1/f", body(&["kept"]), 99)
        .await
        .expect("stores");
    let incoming = |name: &str, age: Duration| {
        let file = std::fs::File::create(root.join(".incoming").join(name)).expect("writes");
        let now = u64::try_from(SystemClock.now().0).expect("later");
        let modified = std::time::UNIX_EPOCH + Duration::from_millis(now) - age;
        file.set_modified(modified).expect("sets");
    };
    let left = || {
        let left = std::fs::read_dir(root.join(".incoming")).expect("is there");
        left.map(|entry| entry.expect("reads").file_name())
            .collect::<Vec<_>>()
    };
    incoming("left", Duration::from_hours(25));
    incoming("coming", Duration::from_hours(23));
    let store = open(&root).await;
    assert_eq!(left(), ["coming"], "another process may be writing it");
    incoming("left", Duration::from_hours(25));
    store.remove_broken_off().await.expect("removes");
    assert_eq!(left(), ["coming"]);
    assert_eq!(keys(&store, "").await, ["jobs/j1/f"]);
    assert_eq!(read(&store, "jobs/j1/f").await.as_deref(), Some("kept"));
}

/// As orchestrators do that have a volume in common.
#[tokio::test]
async fn processes_share_a_directory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = async || {
        DirBlobStore::open(folder.path(), "files")
            .await
            .expect("opens")
    };
    let first = open().await;
    let (tell, told) = futures::channel::mpsc::unbounded();
    tell.unbounded_send(Ok("from the ".into()))
        .expect("is heard");
    let store: Blobs = Arc::new(first);
    let has_begun = || {
        let mut entries = std::fs::read_dir(folder.path().join(".incoming")).expect("is there");
        entries.any(|entry| {
            entry
                .expect("reads")
                .metadata()
                .is_ok_and(|facts| facts.len() > 0)
        })
    };
    let beside = async {
        while !has_begun() {
            tokio::task::yield_now().await;
        }
        let second: Blobs = Arc::new(open().await);
        let other = second.put("jobs/j1/g", body(&["from the second"]), 99);
        other.await.expect("stores");
        tell.unbounded_send(Ok("first".into())).expect("is heard");
        drop(tell);
        second
    };
    let both = async { tokio::join!(store.put("jobs/j1/f", Box::pin(told), 99), beside) };
    let both = tokio::time::timeout(Duration::from_mins(1), both).await;
    let (slow, second) = both.expect("both end");
    slow.expect("stores");
    for store in [store, second] {
        let content = async |key| read(&store, key).await;
        assert_eq!(
            content("jobs/j1/f").await.as_deref(),
            Some("from the first")
        );
        assert_eq!(
            content("jobs/j1/g").await.as_deref(),
            Some("from the second")
        );
    }
}
