//! Settings of traces: OpenTelemetry's own names and meanings.

use super::{Key, count, key};
use crate::config::value::Kind;

/// In the order of `config/avtomatika.toml`.
pub(super) const KEYS: &[Key] = &[
    key(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        Kind::Url,
        "",
        "collector that spans go to: http://jaeger:4318, or http://jaeger:4317 for gRPC; empty records no spans",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        Kind::Url,
        "",
        "the same for spans alone, with its whole path; it wins",
    ),
    key(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        Kind::OneOf(&["", "grpc", "http/protobuf"]),
        "",
        "grpc or http/protobuf; empty is grpc at port 4317, else http/protobuf",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        Kind::OneOf(&["", "grpc", "http/protobuf"]),
        "",
        "the same for spans alone; it wins",
    ),
    key(
        "OTEL_EXPORTER_OTLP_HEADERS",
        Kind::Secret,
        "",
        "headers of the requests to the collector: api-key=…,other=…, percent-encoded",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        Kind::Secret,
        "",
        "the same for spans alone; it wins",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        count(86_400_000),
        "10000",
        "longest time of a request to the collector, in milliseconds",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        Kind::Optional,
        "",
        "the same for spans alone; it wins",
    ),
    key(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        Kind::OneOf(&["none", "gzip"]),
        "none",
        "gzip compresses the requests to the collector",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        Kind::OneOf(&["", "none", "gzip"]),
        "",
        "the same for spans alone; it wins",
    ),
    key(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        Kind::Path,
        "",
        "PEM file of who signs the collector's certificate; empty is the public ones",
    ),
    key(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        Kind::Path,
        "",
        "the same for spans alone; it wins",
    ),
    key(
        "OTEL_SERVICE_NAME",
        Kind::Optional,
        "",
        "name by which the process stands in traces; empty is avtomatika",
    ),
    key(
        "OTEL_RESOURCE_ATTRIBUTES",
        Kind::Optional,
        "",
        "what else is said of the process: deployment.environment.name=test,team=media",
    ),
    key(
        "OTEL_TRACES_SAMPLER",
        Kind::OneOf(&[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ]),
        "parentbased_always_on",
        "which traces are recorded; parentbased follows what the caller has decided",
    ),
    key(
        "OTEL_TRACES_SAMPLER_ARG",
        Kind::Share,
        "1.0",
        "share of the traces that traceidratio takes",
    ),
    key(
        "OTEL_TRACES_EXPORTER",
        Kind::OneOf(&["otlp", "none"]),
        "otlp",
        "none records no spans",
    ),
    key(
        "OTEL_SDK_DISABLED",
        Kind::Bool,
        "false",
        "true records no spans",
    ),
    key(
        "OTEL_BSP_SCHEDULE_DELAY",
        count(86_400_000),
        "5000",
        "longest wait of a span for others to go with, in milliseconds",
    ),
    key(
        "OTEL_BSP_EXPORT_TIMEOUT",
        count(86_400_000),
        "30000",
        "longest time until a batch of spans is given up, in milliseconds",
    ),
    key(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        count(1_000_000),
        "2048",
        "spans that wait at most; more are dropped and counted",
    ),
    key(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        count(100_000),
        "512",
        "spans of one request at most",
    ),
];
