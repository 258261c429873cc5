//! The S3 server's settings: all three of what it takes, or a directory.

use super::{load_with, problems_of};
use crate::api::FileLinks;
use crate::store::S3Addressing;

const ALL: [(&str, &str); 3] = [
    ("S3_ENDPOINT_URL", "http://minio:9000/"),
    ("S3_ACCESS_KEY", "minioadmin"),
    ("S3_SECRET_KEY", "minioadmin"),
];

#[test]
fn all_three_turn_it_on() {
    assert!(
        load_with(vec![], &[], None)
            .expect("good")
            .settings
            .files
            .s3
            .is_none()
    );
    let mut env = ALL.to_vec();
    env.extend([
        ("S3_REGION", "eu-west-1"),
        ("S3_DEFAULT_BUCKET", "media"),
        ("S3_MAX_CONCURRENCY", "7"),
        ("S3_AUTO_CLEANUP", "false"),
    ]);
    let files = load_with(vec![], &env, None).expect("good").settings.files;
    let s3 = files.s3.expect("is on");
    assert_eq!(s3.endpoint, "http://minio:9000");
    assert_eq!(
        (s3.region.as_str(), s3.bucket.as_str()),
        ("eu-west-1", "media")
    );
    assert_eq!((s3.addressing, s3.concurrency), (S3Addressing::Path, 7));
    assert_eq!((files.links, files.deletes), (FileLinks::Store, false));
    assert_eq!(s3.secret_key.expose(), "minioadmin");
}

#[test]
fn what_is_incomplete_or_well_known_is_told() {
    let seen = problems_of(load_with(vec![], &ALL[..1], None));
    insta::assert_snapshot!(seen.join("\n"), @"environment S3_ENDPOINT_URL: warning: S3_ENDPOINT_URL: has no effect without S3_ACCESS_KEY and S3_SECRET_KEY: job files are kept in TASK_FILES_DIR");
    let production = [
        ("ENVIRONMENT", "production"),
        ("ORCHESTRATOR_SECRET_KEY", "of its own"),
        ("CLIENT_TOKEN", "of its own too"),
    ];
    let seen = |s3: &[(&'static str, &'static str)]| {
        let env = [&production[..], s3].concat();
        problems_of(load_with(vec![], &env, None)).join("\n")
    };
    insta::assert_snapshot!(seen(&ALL[1..]), @r"
    environment S3_ACCESS_KEY: error: S3_ACCESS_KEY: everybody knows this secret from an example or a documentation: production needs one of its own, for example the output of `openssl rand -hex 32`
    environment S3_SECRET_KEY: error: S3_SECRET_KEY: everybody knows this secret from an example or a documentation: production needs one of its own, for example the output of `openssl rand -hex 32`
    environment S3_ACCESS_KEY: error: S3_ACCESS_KEY: has no effect without S3_ENDPOINT_URL: job files are kept in TASK_FILES_DIR
    ");
    insta::assert_snapshot!(seen(&ALL), @r"
    environment S3_ACCESS_KEY: error: S3_ACCESS_KEY: everybody knows this secret from an example or a documentation: production needs one of its own, for example the output of `openssl rand -hex 32`
    environment S3_SECRET_KEY: error: S3_SECRET_KEY: everybody knows this secret from an example or a documentation: production needs one of its own, for example the output of `openssl rand -hex 32`
    environment S3_ENDPOINT_URL: warning: S3_ENDPOINT_URL: files cross the network without encryption: https:// where it is not your own
    ");
}

#[test]
fn a_directory_takes_large_values_only_when_told_and_only_of_one_process() {
    const LIMIT: (&str, &str) = ("TASK_FILES_OFFLOAD_BYTES", "4096");
    let seen = |env: &[(&'static str, &'static str)]| {
        let loaded = load_with(vec![], env, None).expect("good");
        let files = loaded.settings.files;
        (files.offloads, files.offload_bytes)
    };
    assert_eq!(seen(&[]), (true, None), "what was offloaded is read");
    assert_eq!(seen(&[LIMIT]), (true, Some(4096)));
    let redis = ("STORE", "redis://127.0.0.1");
    assert!(!seen(&[redis]).0);
    assert_eq!(seen(&ALL), (true, Some(262_144)));
    let told =
        |env: &[(&'static str, &'static str)]| problems_of(load_with(vec![], env, None)).join("\n");
    insta::assert_snapshot!(told(&[LIMIT, redis]), @"environment TASK_FILES_OFFLOAD_BYTES: warning: TASK_FILES_OFFLOAD_BYTES: has no effect with STORE or REDIS_HOST: large values need a store of files that all orchestrators share, S3");
    let env = [&ALL[..], &[LIMIT]].concat();
    insta::assert_snapshot!(told(&env), @"environment TASK_FILES_OFFLOAD_BYTES: warning: TASK_FILES_OFFLOAD_BYTES: has no effect with S3_ENDPOINT_URL: S3_OFFLOAD_BYTES says what is kept there");
}
