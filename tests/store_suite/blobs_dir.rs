//! What only a directory of blobs has: a disk that may be full or not be there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use avtomatika::base::{Clock, Timestamp};
use avtomatika::store::{BlobBody, BlobError, BlobStore, DirBlobStore};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// A time that stands still until it is moved.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl Hand {
    fn moves_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }
}

async fn open(root: &Path) -> (DirBlobStore, Arc<Hand>) {
    let clock = Arc::new(Hand::default());
    let store = DirBlobStore::open(root, "files").await.expect("opens");
    (store.with_clock(clock.clone()), clock)
}

/// Something else is where bodies come in, as when the disk is not there any more: nothing can be written,
/// and what is stored can be read.
#[tokio::test]
async fn an_outage_of_the_directory_is_seen_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let (store, clock) = open(root).await;
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
        clock.moves_seconds(1);
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

/// A disk that takes no large file takes small ones for hours, and somebody always writes some.
#[tokio::test]
async fn large_files_for_which_there_is_no_room_are_one_outage() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let (store, clock) = open(root).await;
    let put = async |bytes: usize, fits: bool| {
        let incoming = root.join(".incoming");
        let content = stream::iter([Ok(Bytes::from(vec![7; bytes]))]);
        // What comes in is gone before it is put into place: as good as one that could not be written.
        let last = stream::once(async move {
            for entry in std::fs::read_dir(incoming).expect("reads").flatten() {
                if !fits {
                    std::fs::remove_file(entry.path()).expect("removes");
                }
            }
            Ok(Bytes::new())
        });
        let body = content.chain(last).boxed();
        store.put("jobs/j/f", body, 1 << 20).await
    };
    let seen = || (store.standing().is_away, store.standing().outage_count);
    for _ in 0..20 {
        let refused = put(100_000, false).await;
        assert!(matches!(refused, Err(BlobError::Unavailable(_))));
        clock.moves_seconds(30);
        put(99_999, true).await.expect("stores");
        store.health().await.expect("small files fit");
        assert_eq!(seen(), (true, 1));
    }
    put(100_000, true).await.expect("stores");
    assert_eq!(seen(), (false, 1), "as large as what did not fit");
    put(100_000, false).await.expect_err("does not fit");
    clock.moves_seconds(59);
    store.health().await.expect("small files fit");
    assert_eq!(seen(), (true, 2));
    clock.moves_seconds(1);
    store.health().await.expect("small files fit");
    assert_eq!(seen(), (false, 2), "nobody has tried a large one since");
}
