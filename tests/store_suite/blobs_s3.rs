//! What only a server of blobs has: parts, ranges, presigned addresses, outages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use avtomatika::base::{Secret, crypto};
use avtomatika::net::{Call, ClientOptions, HttpAnswer, HttpClient, Method};
use avtomatika::store::{
    BlobBody, BlobError, BlobRight, BlobStore, PRESIGN_MAX, S3Addressing, S3BlobStore, S3Settings,
};
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

/// A part as the store makes them.
const PART: usize = 5 << 20;

pub fn settings(server: &S3Server) -> S3Settings {
    let (access, secret) = (Secret::from(ACCESS_KEY), Secret::from(SECRET_KEY));
    S3Settings {
        retry_pause: Duration::from_millis(1),
        ..S3Settings::new(&server.endpoint(), BUCKET, access, secret)
    }
}

fn open() -> (S3BlobStore, S3Server) {
    let server = S3Server::start();
    let store = S3BlobStore::new(&settings(&server)).expect("can be used");
    (store, server)
}

/// Returns a body of so many bytes, in pieces that do not match parts.
fn large(bytes: usize) -> (BlobBody, String) {
    let content: Vec<u8> = (0..=250).cycle().take(bytes).collect();
    let digest = crypto::sha256_hex(&content);
    let pieces: Vec<_> = content
        .chunks(700_001)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    (stream::iter(pieces).boxed(), digest)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

async fn read(store: &S3BlobStore, key: &str) -> Option<Vec<u8>> {
    let (_, body) = store.get(key).await.expect("opens")?;
    let pieces: Vec<Bytes> = body.try_collect().await.expect("reads");
    Some(pieces.concat())
}

#[tokio::test]
async fn stores_large_blobs_in_parts_with_their_digest() {
    let (store, _server) = open();
    for (key, bytes) in [("jobs/j/a", PART), ("jobs/j/b", 2 * PART + 12_345)] {
        let (body, digest) = large(bytes);
        let stored = store.put(key, body, 1 << 30).await.expect("stores");
        assert_eq!(stored.bytes, bytes as u64);
        assert_eq!(stored.sha256.as_deref(), Some(digest.as_str()));
        let seen = store.head(key).await.expect("asks").expect("is there");
        assert_eq!(seen, stored, "the digest is known to those who come later");
        let content = read(&store, key).await.expect("is there");
        assert_eq!(crypto::sha256_hex(&content), digest);
    }
    // A small one in its place: what was noted for the other content is not told of this one.
    let small: BlobBody = stream::iter([Ok(Bytes::from("small"))]).boxed();
    store.put("jobs/j/b", small, 99).await.expect("stores");
    let seen = store
        .head("jobs/j/b")
        .await
        .expect("asks")
        .expect("is there");
    let digest = crypto::sha256_hex(b"small");
    assert_eq!(seen.sha256.as_deref(), Some(digest.as_str()));
    let keys: Vec<_> = store.list("").await.expect("lists");
    assert_eq!(keys.len(), 2, "notes of digests are no blobs: {keys:?}");
    store.delete_prefix("jobs/j/").await.expect("deletes");
    assert_eq!(store.list("").await.expect("lists"), []);
}

#[tokio::test]
async fn leaves_nothing_of_a_large_body_that_breaks_off() {
    let (store, server) = open();
    let (body, _) = large(2 * PART);
    let broken = body.chain(stream::iter([Err(BlobError::Interrupted(
        "gone".to_owned(),
    ))]));
    let error = store.put("jobs/j/f", broken.boxed(), 1 << 30).await;
    assert!(matches!(error, Err(BlobError::Interrupted(_))), "{error:?}");
    let (body, _) = large(2 * PART);
    let error = store.put("jobs/j/f", body, (2 * PART - 1) as u64).await;
    assert!(
        matches!(error, Err(BlobError::TooLarge { .. })),
        "{error:?}"
    );
    assert_eq!(files_below(server.folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn repeats_what_a_busy_server_refuses() {
    let (store, server) = open();
    let (body, digest) = large(PART + 1);
    server.desk.busy.store(3, Ordering::SeqCst);
    store.put("jobs/j/f", body, 1 << 30).await.expect("stores");
    for _ in 0..2 {
        server.desk.busy.store(3, Ordering::SeqCst);
        let content = read(&store, "jobs/j/f").await.expect("is there");
        assert_eq!(crypto::sha256_hex(&content), digest);
    }
    server.desk.busy.store(3, Ordering::SeqCst);
    assert_eq!(store.list("jobs/").await.expect("lists").len(), 1);
    server.desk.busy.store(4, Ordering::SeqCst);
    let refused = store.list("jobs/").await;
    assert!(
        matches!(refused, Err(BlobError::Unavailable(_))),
        "it is asked four times"
    );
}

/// What comes in slowly keeps nothing waiting that is there already.
#[tokio::test]
async fn content_that_is_there_waits_for_no_upload() {
    let (store, _server) = open();
    let places = store.uploads_max().expect("there is a limit");
    let slow = |number| {
        let begun: BlobBody = stream::iter([Ok(Bytes::from("x"))])
            .chain(stream::pending())
            .boxed();
        let (store, key) = (&store, format!("jobs/j/{number}"));
        async move { store.put(&key, begun, 9).await }
    };
    let mut uploads: FuturesUnordered<_> = (0..places).map(slow).collect();
    assert!(
        uploads.next().now_or_never().is_none(),
        "they are under way"
    );
    for bytes in [5, PART + 1] {
        let content = Bytes::from(vec![7; bytes]);
        let digest = crypto::sha256_hex(&content);
        let stored = store.put_whole("jobs/j/whole", content).await;
        assert_eq!(stored.expect("stores").sha256, Some(digest.clone()));
        let content = read(&store, "jobs/j/whole").await.expect("is there");
        assert_eq!(crypto::sha256_hex(&content), digest);
        assert!(uploads.next().now_or_never().is_none());
    }
}

/// The server completes the upload, and its answer is lost.
#[tokio::test]
async fn an_upload_that_was_completed_unheard_is_complete() {
    let (store, server) = open();
    let (body, digest) = large(PART);
    // The last piece comes when the upload has begun: the next POST is what completes it.
    let desk = Arc::clone(&server.desk);
    let last = stream::once(async move {
        desk.unheard.store(1, Ordering::SeqCst);
        Ok(Bytes::new())
    });
    let stored = store
        .put("jobs/j/f", body.chain(last).boxed(), 1 << 30)
        .await;
    assert_eq!(stored.expect("stores").sha256, Some(digest.clone()));
    assert_eq!(server.desk.unheard.load(Ordering::SeqCst), 0);
    let content = read(&store, "jobs/j/f").await.expect("is there");
    assert_eq!(crypto::sha256_hex(&content), digest);
}

/// The server completes the upload, and nothing is heard of it.
#[tokio::test]
async fn an_upload_whose_completion_was_not_answered_is_complete() {
    let server = S3Server::start();
    let settings = S3Settings {
        completion_timeout: Duration::from_secs(8),
        ..settings(&server)
    };
    let store = S3BlobStore::new(&settings).expect("can be used");
    let (body, digest) = large(PART);
    let desk = Arc::clone(&server.desk);
    let last = stream::once(async move {
        desk.lost.store(1, Ordering::SeqCst);
        Ok(Bytes::new())
    });
    let stored = store
        .put("jobs/j/f", body.chain(last).boxed(), 1 << 30)
        .await;
    assert_eq!(stored.expect("stores").sha256, Some(digest.clone()));
    assert_eq!(server.desk.lost.load(Ordering::SeqCst), 0);
    let content = read(&store, "jobs/j/f").await.expect("is there");
    assert_eq!(crypto::sha256_hex(&content), digest);
}

#[tokio::test]
async fn a_reader_gets_no_parts_of_two_contents() {
    let (store, _server) = open();
    let (body, _) = large(3 * PART);
    store.put("jobs/j/f", body, 1 << 30).await.expect("stores");
    let (_, mut reading) = store
        .get("jobs/j/f")
        .await
        .expect("opens")
        .expect("is there");
    reading.next().await.expect("begins").expect("reads");
    // As long as the other, so that only the version tells them apart.
    let other = stream::repeat_with(|| Ok(Bytes::from(vec![9; PART]))).take(3);
    store
        .put("jobs/j/f", other.boxed(), 1 << 30)
        .await
        .expect("stores");
    let rest: Result<Vec<Bytes>, _> = reading.try_collect().await;
    assert!(
        matches!(rest, Err(BlobError::Interrupted(_))),
        "{:?}",
        rest.err()
    );
}

#[tokio::test]
async fn pages_through_what_one_answer_does_not_hold() {
    let (store, server) = open();
    let puts = stream::iter(0..1_005).map(|n| {
        let store = &store;
        async move {
            let body: BlobBody = stream::iter([Ok(Bytes::from("x"))]).boxed();
            let key = format!("jobs/j{n}/f");
            store.put(&key, body, 9).await.expect("stores");
        }
    });
    puts.buffer_unordered(16).collect::<Vec<()>>().await;
    assert_eq!(store.list("jobs/").await.expect("lists").len(), 1_005);
    for (count_max, expected, gets) in [(9, 9, 1), (1_000, 1_000, 1), (1_001, 1_001, 2)] {
        let before = server.desk.gets.load(Ordering::SeqCst);
        let some = store.list_some("jobs/", count_max).await.expect("lists");
        assert_eq!(some.len(), expected);
        let asked = server.desk.gets.load(Ordering::SeqCst) - before;
        assert_eq!(asked, gets, "no page more than is needed");
    }
    assert_eq!(store.folders("jobs/").await.expect("lists").len(), 1_005);
    store.delete_prefix("jobs/").await.expect("deletes");
    assert_eq!(store.list("").await.expect("lists"), []);
}

/// Calls an address as a stranger who finds the server by its name, whatever stands before that.
async fn call(method: Method, address: &str, body: &'static str) -> HttpAnswer {
    let http = HttpClient::new(ClientOptions::default()).expect("a client");
    let (_, rest) = address.split_once("://").expect("has a scheme");
    let (host, _) = rest.split_once('/').expect("has a path");
    let reachable = address.replacen(&format!("{BUCKET}.localhost"), "localhost", 1);
    let call = Call::new(method, reachable).header("host", host);
    let call = match body {
        "" => call,
        body => call.body(body, "text/plain"),
    };
    http.send(call).await.expect("answers")
}

#[tokio::test]
async fn presigned_addresses_work_and_end() {
    let (store, server) = open();
    for (addressing, host) in [
        (S3Addressing::Path, "localhost"),
        (S3Addressing::Virtual, "files.localhost"),
    ] {
        let settings = S3Settings {
            addressing,
            ..settings(&server)
        };
        let store = S3BlobStore::new(&settings).expect("can be used");
        let key = format!("jobs/j/{host} \u{e4}.txt");
        let address = async |right| {
            let signed = store.presign(right, &key, PRESIGN_MAX).await;
            signed.expect("signs").expect("a server has addresses")
        };
        let put = address(BlobRight::Put(None)).await;
        assert!(put.starts_with(&format!("http://{host}:")), "{put}");
        let stored = call(Method::Put, &put, "by a stranger").await;
        assert_eq!(stored.status, 200, "{stored:?}");
        let sized = address(BlobRight::Put(Some(13))).await;
        for (body, status) in [
            ("by a stranger!", 403),
            ("by a", 403),
            ("by a stranger", 200),
        ] {
            let answer = call(Method::Put, &sized, body).await;
            assert_eq!(answer.status, status, "{body}: {answer:?}");
        }
        let get = address(BlobRight::Get).await;
        let got = call(Method::Get, &get, "").await;
        assert_eq!((got.status, &got.body[..]), (200, &b"by a stranger"[..]));
        assert_eq!(got.header("content-disposition"), Some("attachment"));
        let refused = call(Method::Get, &get.replace(".txt", ".exe"), "").await;
        assert_eq!(refused.status, 403);
    }
    for lifetime in [Duration::ZERO, PRESIGN_MAX + Duration::from_secs(1)] {
        let refused = store.presign(BlobRight::Get, "jobs/j/f", lifetime).await;
        assert!(matches!(
            refused,
            Err(BlobError::InvalidLifetime { max: 604_800 })
        ));
    }
}

#[tokio::test]
async fn tells_an_outage_and_its_end() {
    let (store, mut server) = open();
    store.health().await.expect("is there");
    server.pause();
    let error = store.health().await.expect_err("is gone");
    assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
    let body: BlobBody = stream::iter([Ok(Bytes::from("x"))]).boxed();
    let error = store.put("jobs/j/f", body, 9).await.expect_err("is gone");
    assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains(SECRET_KEY), "{error}");
    server.resume();
    store.health().await.expect("is back");
    let wrong = S3Settings {
        secret_key: Secret::from("another"),
        ..settings(&server)
    };
    let refused = S3BlobStore::new(&wrong)
        .expect("can be used")
        .health()
        .await;
    let refused = refused.expect_err("is refused").to_string();
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    let absent = S3Settings {
        bucket: "absent".to_owned(),
        ..settings(&server)
    };
    let refused = S3BlobStore::new(&absent)
        .expect("can be used")
        .health()
        .await;
    let refused = refused.expect_err("is refused").to_string();
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}
