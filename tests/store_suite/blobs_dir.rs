//! What only a directory of blobs has: a disk that may be full or not be there.

use avtomatika::store::{BlobBody, BlobError, BlobStore, DirBlobStore};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// Something else is where bodies come in, as when the disk is not there any more: nothing can be written,
/// and what is stored can be read.
#[tokio::test]
async fn an_outage_of_the_directory_is_seen_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let store = DirBlobStore::open(root, "files").await.expect("opens");
    let put = async || {
        let body: BlobBody = stream::iter([Ok(Bytes::from("x"))]).boxed();
        store.put("jobs/j/f", body, 9).await
    };
    let seen = || (store.standing().is_away, store.standing().outage_count);
    put().await.expect("stores");
    store.health().await.expect("is good");
    assert_eq!(seen(), (false, 0));
    let (incoming, aside) = (root.join(".incoming"), root.join("aside"));
    for outage in [1, 2] {
        std::fs::rename(&incoming, &aside).expect("moves");
        std::fs::write(&incoming, "").expect("writes");
        // Whoever comes first.
        if outage == 1 {
            let refused = put().await;
            assert!(matches!(refused, Err(BlobError::Unavailable(_))));
        }
        for _ in 0..2 {
            let refused = store.health().await;
            assert!(matches!(refused, Err(BlobError::Unavailable(_))));
        }
        let read = store.get("jobs/j/f").await.expect("reads");
        assert!(read.is_some());
        assert_eq!(seen(), (true, outage));
        std::fs::remove_file(&incoming).expect("removes");
        std::fs::rename(&aside, &incoming).expect("moves");
        if outage == 1 {
            store.health().await.expect("is good again");
        } else {
            put().await.expect("stores again");
        }
        assert_eq!(seen(), (false, outage));
    }
    let left = std::fs::read_dir(&incoming).expect("reads").count();
    assert_eq!(left, 0, "asking leaves nothing behind");
}
