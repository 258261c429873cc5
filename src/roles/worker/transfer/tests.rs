//! Addresses that are none, and paths that lead elsewhere. What needs a server is in `tests/whole`.

use axum::Router;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::fetch::Inputs;
use super::*;
use crate::base::Secret;
use crate::domain::Object;
use crate::roles::worker::trace::Carried;

fn transfer(folder: &Path) -> Transfer {
    // Nothing listens there: what asks the server fails.
    transfer_with("http://127.0.0.1:1", folder)
}

fn transfer_with(endpoint: &str, folder: &Path) -> Transfer {
    let mut config = WorkerConfig::new("w", "t", "http://localhost");
    config.task_files_dir = folder.to_owned();
    let key = || Secret::from("key");
    config.s3 = Some(S3Settings::new(endpoint, "files", key(), key()));
    Transfer::of(&config).unwrap().unwrap()
}

fn account() -> Account {
    let config = WorkerConfig::new("w", "t", "http://localhost");
    Account::new(&config, &Carried::default())
}

fn object(value: &serde_json::Value) -> Object {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn addresses_that_are_none_are_the_inputs_fault() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    for uri in [
        "s3://",
        "s3://files",
        "s3://files/",
        "s3:///key",
        "s3://Files/key",
        "s3://files/..",
        "s3://files/a/../../b",
        "s3://files/a//b",
        "s3://files/a\nb",
    ] {
        let ended = transfer
            .fetch(object(&json!({"f": uri})), folder.path(), &account)
            .await;
        let code = ended.err().map(|trouble| trouble.code);
        assert_eq!(code, Some(TaskErrorCode::InvalidInputError), "{uri}");
    }
    let other = object(&json!({"f": "https://files/key", "g": [1, "s4://x"]}));
    let same = transfer.fetch(other.clone(), folder.path(), &account);
    let same = same.await;
    assert_eq!(same.ok(), Some((other, Inputs::new())));
}

/// What the server has below `all/`.
const LISTED: &str = "<ListBucketResult><Name>files</Name><Prefix>all/</Prefix><KeyCount>1</KeyCount>\
    <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>all/b/c.bin</Key>\
    <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;1&quot;</ETag><Size>1</Size>\
    </Contents></ListBucketResult>";

async fn answered(uri: Uri) -> Response {
    let is_list = uri.query().is_some_and(|query| query.contains("list-type"));
    let content = if is_list { LISTED } else { "x" };
    ([("etag", "\"1\"")], content).into_response()
}

#[tokio::test]
async fn what_was_fetched_is_known() {
    let root = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = axum::serve(listener, Router::new().fallback(answered));
    let (transfer, account) = (transfer_with(&endpoint, root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let params = object(&json!({"f": "s3://files/a.bin", "all": "s3://files/all/"}));
    let fetched = tokio::select! {
        _ = server.into_future() => panic!("the server ended"),
        fetched = transfer.fetch(params, folder.path(), &account) => fetched,
    };
    let fetched = fetched.map_err(|trouble| trouble.reason);
    let at = |rest: &str| folder.path().join(rest);
    let params = object(&json!({"f": at("a.bin"), "all": at("all")}));
    let inputs = Inputs::from(["a.bin", "all", "all/b/c.bin"].map(at));
    assert_eq!(fetched, Ok((params, inputs)));
}

/// Among the job's files that name is the folder of its large values.
#[tokio::test]
async fn a_file_does_not_take_the_place_of_large_values() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let file = folder.path().join("payloads");
    std::fs::write(&file, "its own").unwrap();
    let data = object(&json!({"f": file}));
    let none = Inputs::new();
    let ended = transfer.store("job-1", data, (folder.path(), &none), &account);
    let reason = ended.await.err().unwrap().reason;
    assert!(
        reason.starts_with("s3://files/jobs/job-1/2-payloads:"),
        "{reason}"
    );
}

#[tokio::test]
async fn only_files_of_the_task_are_stored() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let (Ok(folder), Ok(other)) = (transfer.folder("t-1"), transfer.folder("t-2")) else {
        panic!("there is room")
    };
    let none = Inputs::new();
    let foreign = other.path().join("secret");
    std::fs::write(&foreign, "another task's").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&foreign, &link).unwrap();
    let around = folder
        .path()
        .join("..")
        .join(other.path().file_name().unwrap());
    let said = format!("{}: a picture", folder.path().join("absent").display());
    let data = object(&json!({
        "foreign": foreign, "link": link, "around": around.join("secret"),
        "folder": folder.path(), "root": "/", "absent": other.path().join("absent"),
        "around_to_nothing": around.join("absent"), "said": said,
        "lock": folder.path().with_added_extension("lock"),
        "text": "plain", "long": "/".repeat(10_000),
    }));
    let (same, files) = transfer
        .store("job-1", data.clone(), (folder.path(), &none), &account)
        .await
        .ok()
        .unwrap();
    assert_eq!((same, files), (data, Object::new()), "nothing was stored");
    std::fs::write(folder.path().join("own"), "its own").unwrap();
    let data = object(&json!({"own": folder.path().join("own")}));
    for (job, code) in [
        ("job-1", TaskErrorCode::TransientError),
        ("../job-1", TaskErrorCode::InvalidInputError),
    ] {
        let ended = transfer.store(job, data.clone(), (folder.path(), &none), &account);
        let ended = ended.await;
        assert_eq!(ended.err().map(|trouble| trouble.code), Some(code), "{job}");
    }
}

/// A file that was lost is no text, and a space in the folder's own path makes it none.
#[tokio::test]
async fn a_result_that_names_what_is_not_there_is_none() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("files: tasks, [all]");
    let (transfer, account) = (transfer(&place), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let data = object(&json!({"f": folder.path().join("out/a.bin")}));
    // Its name begins as that of an input does.
    let inputs = Inputs::from([folder.path().join("out/a.bin.gz")]);
    let ended = transfer.store("job-1", data, (folder.path(), &inputs), &account);
    let trouble = ended.await.err().unwrap();
    assert_eq!(trouble.code, TaskErrorCode::TransientError);
    assert!(
        trouble
            .reason
            .starts_with("the result names out/a.bin of the"),
        "{}",
        trouble.reason
    );
}

#[tokio::test]
async fn what_names_no_one_file_is_a_text() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let at = |rest: &str| format!("{}/{rest}", folder.path().display());
    let none = Inputs::new();
    for text in [
        at("frame_%04d.png"),
        at("*.png"),
        at("frame_?.png"),
        at("frame_[0-9].png"),
        at("{a,b}.png"),
        format!("{},{}", at("a"), at("b")),
        at("a.py:12:3"),
        at("a.png: a picture"),
    ] {
        let data = object(&json!({"f": text}));
        let stored = transfer.store("job-1", data.clone(), (folder.path(), &none), &account);
        let stored = stored.await.ok();
        assert_eq!(stored, Some((data, Object::new())), "{text}");
    }
}

/// A skill may move or delete what it was given, and say what that was.
#[tokio::test]
async fn inputs_that_are_gone_are_texts() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let at = |rest: &str| folder.path().join(rest);
    let inputs = Inputs::from(["a.bin", "all", "all/b/c.bin"].map(at));
    let data = object(&json!({"f": [at("a.bin"), at("all"), at("all/b"), at("all/b/c.bin")]}));
    let stored = transfer.store("job-1", data.clone(), (folder.path(), &inputs), &account);
    assert_eq!(stored.await.ok(), Some((data, Object::new())));
    for lost in ["a", "all/b/d.bin", "all/c"].map(at) {
        let data = object(&json!({"f": lost}));
        let stored = transfer.store("job-1", data, (folder.path(), &inputs), &account);
        let code = stored.await.err().map(|trouble| trouble.code);
        assert_eq!(code, Some(TaskErrorCode::TransientError), "{lost:?}");
    }
}
