//! Names of the environment that are nearly ones of settings.

use super::super::misspelt::told;

fn told_of(seen: &[&str]) -> Vec<String> {
    let seen: Vec<String> = seen.iter().map(|name| (*name).to_owned()).collect();
    let told = told(
        &seen,
        &[
            "AVTOMATIKA_URL",
            "ORCHESTRATOR_URL",
            "WORKER_EXTRA_*",
            "WORKER_PORT",
        ],
    );
    told.iter().map(ToString::to_string).collect()
}

#[test]
fn a_slip_is_told_with_the_name_that_was_meant() {
    for (seen, meant) in [
        ("REDIS_HOTS", "REDIS_HOST"),
        ("HISTORY_DATABASE_URL", "HISTORY_DATABASE_URI"),
        ("HISTORY_DATABASE", "HISTORY_DATABASE_URI"),
        ("S3_ACESS_KEY", "S3_ACCESS_KEY"),
        ("S3_SECRET_KEY_FIL", "S3_SECRET_KEY_FILE"),
        ("ENVIROMENT", "ENVIRONMENT"),
        ("redis_host", "REDIS_HOST"),
        ("AVTOMATIKA_URI", "AVTOMATIKA_URL"),
        ("ORCHESTRATOR_SECRETKEY", "ORCHESTRATOR_SECRET_KEY"),
        ("DISPATCHER_SOFTLIMIT", "DISPATCHER_SOFT_LIMIT"),
    ] {
        let expected = format!(
            "environment: warning: {seen}: is not known and has no effect (did you mean `{meant}`?)"
        );
        assert_eq!(told_of(&[seen]), [expected]);
    }
}

/// What other programs have, and what is known under another name.
const OTHERS: &str = "
    API_HOST ENV WATCHER_LIMIT REDIS_PASSWORD_FILE WORKER_EXTRA_ZONE
    PATH HOME LANG TERM USER PWD HOSTNAME SHELL TMPDIR LOGNAME XDG_DATA_DIRS
    WORKER_IP RAM_MB APP_HOST APP_PORT DB_HOST HOST PORT LOG DEBUG NODE_ENV RUST_LOG DATABASE_URL
    REDIS_URL REDIS_DSN REDIS_TLS REDIS_DATABASE REDIS_REPLICAS
    S3_BUCKET S3_ENDPOINT S3_ACCESS_KEY_ID S3_USE_SSL
    AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY MINIO_ROOT_USER POSTGRES_PASSWORD
    OTEL_METRICS_EXPORTER OTEL_LOGS_EXPORTER OTEL_BLRP_SCHEDULE_DELAY
    OTEL_EXPORTER_OTLP_METRICS_TIMEOUT OTEL_EXPORTER_OTLP_LOGS_ENDPOINT
    WORKER_COUNT WORKER_CLASS WEB_CONCURRENCY MAX_WORKERS TLS_CERT SSL_CERT_FILE
    HTTP_PROXY http_proxy NO_PROXY HISTORY_SIZE AVTOMATIKA_IMAGE AVTOMATIKA_VERSION
";

/// What Kubernetes sets for services, also for those that are called as our own names begin.
const SERVICES: &str = "
    REDIS_SERVICE_HOST REDIS_SERVICE_PORT REDIS_SERVICE_PORT_REDIS
    REDIS_PORT_6379_TCP REDIS_PORT_6379_TCP_ADDR
    ORCHESTRATOR_SERVICE_HOST ORCHESTRATOR_PORT WORKERS_SERVICE_HOST WORKERS_PORT
    AVTOMATIKA_SERVICE_HOST AVTOMATIKA_SERVICE_PORT AVTOMATIKA_PORT_8080_TCP_PROTO
";

#[test]
fn other_names_are_left_alone() {
    for names in [OTHERS, SERVICES] {
        let names: Vec<&str> = names.split_whitespace().collect();
        assert_eq!(told_of(&names), Vec::<String>::new());
    }
    assert_eq!(told_of(&["WORKERS_PORT"]).len(), 1, "is no service's");
}
