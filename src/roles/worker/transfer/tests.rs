//! Addresses that are none, and paths that lead elsewhere. What needs a server is in `tests/whole`.

use serde_json::json;

use super::*;
use crate::base::Secret;
use crate::domain::Object;
use crate::roles::worker::trace::Carried;

fn transfer(folder: &Path) -> Transfer {
    let mut config = WorkerConfig::new("w", "t", "http://localhost");
    config.task_files_dir = folder.to_owned();
    let key = || Secret::from("key");
    // Nothing listens there: what asks the server fails.
    config.s3 = Some(S3Settings::new("http://127.0.0.1:1", "files", key(), key()));
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
    assert_eq!(same.ok(), Some(other));
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
    let ended = transfer.store("job-1", data, folder.path(), &account);
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
        "text": "plain", "long": "/".repeat(10_000),
    }));
    let (same, files) = transfer
        .store("job-1", data.clone(), folder.path(), &account)
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
        let ended = transfer.store(job, data.clone(), folder.path(), &account);
        let ended = ended.await;
        assert_eq!(ended.err().map(|trouble| trouble.code), Some(code), "{job}");
    }
}

/// A file that was lost is no text.
#[tokio::test]
async fn a_result_that_names_what_is_not_there_is_none() {
    let root = tempfile::tempdir().unwrap();
    let (transfer, account) = (transfer(root.path()), account());
    let Ok(folder) = transfer.folder("t-1") else {
        panic!("there is room")
    };
    let data = object(&json!({"f": folder.path().join("out/a.bin")}));
    let ended = transfer.store("job-1", data, folder.path(), &account);
    let trouble = ended.await.err().unwrap();
    assert_eq!(trouble.code, TaskErrorCode::TransientError);
    assert!(trouble.reason.contains("out/a.bin"), "{}", trouble.reason);
}
