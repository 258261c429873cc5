//! The way to a collector: OTLP over our own HTTP client, or gRPC.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient as OtlpClient, HttpError};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    Compression, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::{Protocol, Service, TraceSettings};
use crate::net::{Call, ClientOptions, HttpClient, Method, TlsFiles};

/// A collector's answer is a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Our own client, as OTLP wants one.
struct Way {
    http: HttpClient,
    timeout: Duration,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

#[async_trait]
impl OtlpClient for Way {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let mut call = Call::new(Method::Post, head.uri.to_string()).timeout(self.timeout);
        let mut content_type = "application/x-protobuf";
        for (name, value) in &head.headers {
            let text = value.to_str()?;
            if name == hyper::header::CONTENT_TYPE {
                content_type = text;
            } else {
                call = call.header(name.as_str(), text);
            }
        }
        let answer = self.http.send(call.body(body, content_type)).await?;
        let mut response = Response::builder().status(answer.status);
        if let Some(wait) = answer.header("retry-after") {
            response = response.header("retry-after", wait);
        }
        Ok(response.body(answer.body)?)
    }
}

/// Builds the exporter.
///
/// Errors: the certificate cannot be read, or a variable that the exporter reads itself is wrong.
pub(super) fn exporter(
    settings: &TraceSettings,
    service: &Service,
) -> Result<SpanExporter, String> {
    let mut exporter = match settings.protocol {
        Protocol::Http => over_http(settings)?,
        Protocol::Grpc => over_grpc(settings)?,
    };
    exporter.set_resource(&resource(settings, service));
    Ok(exporter)
}

fn over_http(settings: &TraceSettings) -> Result<SpanExporter, String> {
    let options = ClientOptions {
        timeout: settings.timeout,
        answer_bytes_max: ANSWER_BYTES_MAX,
        tls: TlsFiles {
            ca: settings.certificate.clone(),
            identity: None,
        },
        decodes: false,
        ..ClientOptions::default()
    };
    let http = HttpClient::new(options).map_err(|error| error.to_string())?;
    let headers = settings
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_endpoint(settings.endpoint.as_str())
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_timeout(settings.timeout)
        .with_headers(headers.collect())
        .with_http_client(Way {
            http,
            timeout: settings.timeout,
        });
    if settings.compresses {
        builder = builder.with_compression(Compression::Gzip);
    }
    builder.build().map_err(|error| error.to_string())
}

fn over_grpc(settings: &TraceSettings) -> Result<SpanExporter, String> {
    let mut metadata = MetadataMap::new().into_headers();
    for (name, value) in &settings.headers {
        let name: hyper::header::HeaderName = name.parse().map_err(|_| "a header's name")?;
        let value = value.expose().parse().map_err(|_| "a header's value")?;
        metadata.insert(name, value);
    }
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(settings.endpoint.as_str())
        .with_timeout(settings.timeout)
        .with_metadata(MetadataMap::from_headers(metadata));
    if settings.endpoint.starts_with("https:") {
        let tls = match &settings.certificate {
            None => ClientTlsConfig::new().with_webpki_roots(),
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
        };
        builder = builder.with_tls_config(tls);
    }
    if settings.compresses {
        builder = builder.with_compression(Compression::Gzip);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Returns what a collector is told of the process.
fn resource(settings: &TraceSettings, service: &Service) -> Resource {
    let name = settings
        .service_name
        .clone()
        .unwrap_or_else(|| service.name.clone());
    let own = [
        KeyValue::new("service.name", name),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", service.instance.clone()),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.version", "0.33"),
    ];
    let of_role = service
        .attributes
        .iter()
        .map(|(name, value)| KeyValue::new(*name, value.clone()));
    let given = settings
        .resource
        .iter()
        .map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    // What is said last holds: the operator's word.
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(of_role)
        .with_attributes(given)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the settings allow, the exporter can be built with.
    #[tokio::test]
    async fn all_settings_make_an_exporter() {
        let service = Service {
            name: "test".to_owned(),
            instance: "1".to_owned(),
            attributes: Vec::new(),
        };
        for protocol in ["grpc", "http/protobuf"] {
            for compression in ["none", "gzip"] {
                for address in ["http://localhost:1", "https://localhost:1"] {
                    let read = |name: &str| {
                        Some(match name {
                            "OTEL_EXPORTER_OTLP_ENDPOINT" => address.to_owned(),
                            "OTEL_EXPORTER_OTLP_PROTOCOL" => protocol.to_owned(),
                            "OTEL_EXPORTER_OTLP_COMPRESSION" => compression.to_owned(),
                            "OTEL_EXPORTER_OTLP_HEADERS" => "api-key=x".to_owned(),
                            _ => return None,
                        })
                    };
                    let settings = TraceSettings::read(&read);
                    let settings = settings.expect("good").expect("on");
                    let built = exporter(&settings, &service);
                    assert!(
                        built.is_ok(),
                        "{protocol} {compression} {address}: {built:?}"
                    );
                }
            }
        }
    }
}
