//! Settings of job files and heavy payloads: an S3 server instead of a directory.

use super::{Key, count, key};
use crate::config::value::Kind;

/// In the order of `config/avtomatika.toml`.
pub(super) const KEYS: &[Key] = &[
    key(
        "S3_ENDPOINT_URL",
        Kind::Url,
        "",
        "address of the S3 server that keeps job files, instead of TASK_FILES_DIR, when both keys below are set too: http://minio:9000",
    ),
    key(
        "S3_ACCESS_KEY",
        Kind::Secret,
        "",
        "whose requests to the S3 server they are",
    ),
    key(
        "S3_SECRET_KEY",
        Kind::Secret,
        "",
        "signs the requests to the S3 server",
    ),
    key(
        "S3_REGION",
        Kind::Text,
        "us-east-1",
        "region that the signatures name",
    ),
    key(
        "S3_DEFAULT_BUCKET",
        Kind::Text,
        "avtomatika-payloads",
        "bucket of all files, which has to be there; also what `s3://` addresses of files in a directory begin with",
    ),
    key(
        "S3_MAX_CONCURRENCY",
        count(10_000),
        "100",
        "calls to the S3 server at once",
    ),
    key(
        "S3_ADDRESSING",
        Kind::OneOf(&["auto", "path", "virtual"]),
        "auto",
        "path is server/bucket, virtual is bucket.server; auto is virtual for amazonaws.com and path for others",
    ),
    key(
        "S3_LINKS",
        Kind::OneOf(&["s3", "orchestrator"]),
        "s3",
        "where links to files lead: to the S3 server itself by presigned addresses, or to this server, which bounds uploads by FILE_BYTES_MAX",
    ),
    key(
        "S3_OFFLOAD_BYTES",
        Kind::Integer {
            min: 0,
            max: 64 << 20,
        },
        "262144",
        "values of initial data, results and parameters whose JSON is larger are kept on the S3 server, with a reference in the store, in bytes; 0 is never",
    ),
    key(
        "TASK_FILES_OFFLOAD_BYTES",
        Kind::Integer {
            min: 0,
            max: 64 << 20,
        },
        "0",
        "the same for files in TASK_FILES_DIR beside the embedded store; an archive of the history then has references that lead nowhere once the job has gone; 0 is never",
    ),
    key(
        "S3_AUTO_CLEANUP",
        Kind::Bool,
        "true",
        "whether a job's files go when the job goes, after JOB_RETENTION (the original's go when it ends); else they stay for good",
    ),
];
