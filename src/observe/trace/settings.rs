//! Where spans go and which of them, as OpenTelemetry's own variables say it. Reads no environment
//! itself: whoever calls hands in a function. Source: OpenTelemetry, "Environment variable
//! specification" and "OTLP exporter configuration".

use std::path::PathBuf;
use std::time::Duration;

use super::sampler::Sampler;
use crate::base::Secret;

/// The port at which a collector speaks gRPC.
const GRPC_PORT: &str = ":4317";
/// What an address is followed by for spans, unless it is meant for spans alone.
const TRACES_PATH: &str = "/v1/traces";

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf as gRPC's messages, over HTTP/2.
    Grpc,
    /// Protobuf as bodies of POST requests.
    Http,
}

/// Everything about the way of spans out of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// Where they go, with the path when there is one.
    pub endpoint: String,
    /// How.
    pub protocol: Protocol,
    /// What each request carries besides: keys of collectors' services, so secrets.
    pub headers: Vec<(String, Secret)>,
    /// Longest time of one request, its repetitions included.
    pub timeout: Duration,
    /// Whether requests are compressed, by gzip.
    pub compresses: bool,
    /// PEM file of who signs the collector's certificate; none and the public ones do.
    pub certificate: Option<PathBuf>,
    /// `service.name`; none leaves it to the role.
    pub service_name: Option<String>,
    /// Attributes of the process, by name.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// Spans that wait at most; more are dropped and counted.
    pub queue_max: usize,
    /// Spans of one request at most.
    pub batch_max: usize,
    /// Longest wait of a span for others to go with.
    pub delay: Duration,
    /// Longest time until a batch is given up.
    pub export_timeout: Duration,
}

/// Texts by the variables' names; empty ones count as not set.
struct Texts<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Texts<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let text = (self.0)(name)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Reads what may be said for spans alone, before what is said for all signals.
    fn of_traces(&self, name: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_TRACES_{name}");
        let common = format!("OTEL_EXPORTER_OTLP_{name}");
        [own, common]
            .into_iter()
            .find_map(|key| self.get(&key).map(|text| (key, text)))
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => number(name, &text),
        }
    }

    fn size(&self, name: &str, default: u64) -> Result<usize, String> {
        let number = self.number(name, default)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse::<u64>()
        .ok()
        .filter(|number| (1..=86_400_000).contains(number))
        .ok_or_else(|| format!("{name}: `{text}` is not a whole number from 1 to 86400000"))
}

impl TraceSettings {
    /// Reads the settings; nothing when spans are not to go anywhere.
    ///
    /// Errors: one of the texts cannot be used; says which, what was expected and how to mend it.
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let texts = Texts(get);
        let is_disabled = texts.get("OTEL_SDK_DISABLED");
        if is_disabled.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match texts.get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_EXPORTER: `{other}` is neither otlp nor none"
                ));
            }
        }
        let Some((name, address)) = texts.of_traces("ENDPOINT") else {
            return Ok(None);
        };
        check_address(&name, &address)?;
        let protocol = protocol(&texts, &address)?;
        let is_own = name.contains("TRACES");
        let endpoint = match protocol {
            Protocol::Http if !is_own => {
                format!("{}{TRACES_PATH}", address.trim_end_matches('/'))
            }
            _ => address,
        };
        let timeout = match texts.of_traces("TIMEOUT") {
            Some((name, text)) => number(&name, &text)?,
            None => 10_000,
        };
        let (resource, service_name) = resource(&texts)?;
        Ok(Some(Self {
            endpoint,
            protocol,
            headers: headers(&texts)?,
            timeout: Duration::from_millis(timeout),
            compresses: compresses(&texts)?,
            certificate: texts.of_traces("CERTIFICATE").map(|(_, path)| path.into()),
            service_name,
            resource,
            sampler: Sampler::read(
                texts.get("OTEL_TRACES_SAMPLER").as_deref(),
                texts.get("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            )?,
            queue_max: texts.size("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?,
            batch_max: texts.size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
            delay: Duration::from_millis(texts.number("OTEL_BSP_SCHEDULE_DELAY", 5000)?),
            export_timeout: Duration::from_millis(texts.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000)?),
        }))
    }
}

/// The texts are not repeated: an address may have a password in it.
fn check_address(name: &str, address: &str) -> Result<(), String> {
    let uri = address.parse::<hyper::Uri>().ok();
    let is_good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|at| !at.host().is_empty() && !at.as_str().contains('@'))
    });
    is_good.then_some(()).ok_or_else(|| {
        format!(
            "{name}: is not an address like http://localhost:4318; keys go into OTEL_EXPORTER_OTLP_HEADERS"
        )
    })
}

fn protocol(texts: &Texts<'_>, address: &str) -> Result<Protocol, String> {
    match texts.of_traces("PROTOCOL") {
        // The original knows gRPC alone, and nobody serves anything else at its port.
        None if address.trim_end_matches('/').ends_with(GRPC_PORT) => Ok(Protocol::Grpc),
        None => Ok(Protocol::Http),
        Some((name, text)) => match text.to_ascii_lowercase().as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::Http),
            _ => Err(format!(
                "{name}: `{text}` is neither grpc nor http/protobuf"
            )),
        },
    }
}

fn compresses(texts: &Texts<'_>) -> Result<bool, String> {
    match texts.of_traces("COMPRESSION") {
        None => Ok(false),
        Some((name, text)) => match text.to_ascii_lowercase().as_str() {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err(format!("{name}: `{text}` is neither gzip nor none")),
        },
    }
}

fn headers(texts: &Texts<'_>) -> Result<Vec<(String, Secret)>, String> {
    let Some((name, text)) = texts.of_traces("HEADERS") else {
        return Ok(Vec::new());
    };
    let pairs = pairs(&text).ok_or_else(|| {
        format!("{name}: expected key=value pairs with commas between, percent-encoded")
    })?;
    let is_sendable = |(key, value): &(String, String)| {
        key.parse::<hyper::header::HeaderName>().is_ok()
            && value.parse::<hyper::header::HeaderValue>().is_ok()
    };
    if !pairs.iter().all(is_sendable) {
        return Err(format!(
            "{name}: one of the keys or values cannot be sent as a header"
        ));
    }
    let secret = |(key, value): (String, String)| (key, Secret::new(value.as_str()));
    Ok(pairs.into_iter().map(secret).collect())
}

/// Returns the process's attributes, and the service's name apart.
#[expect(
    clippy::type_complexity,
    reason = "names with values, and one value; a type would have one use"
)]
fn resource(texts: &Texts<'_>) -> Result<(Vec<(String, String)>, Option<String>), String> {
    let mut named = texts.get("OTEL_SERVICE_NAME");
    let text = texts.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut attributes = pairs(&text).ok_or(
        "OTEL_RESOURCE_ATTRIBUTES: expected key=value pairs with commas between, percent-encoded",
    )?;
    attributes.retain(|(key, value)| {
        let is_name = key == "service.name";
        if is_name && named.is_none() {
            named = Some(value.clone());
        }
        !is_name
    });
    Ok((attributes, named))
}

/// Reads `key=value,key=value`, both percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = decoded(key.trim())?;
            Some((key, decoded(value.trim())?)).filter(|(key, _)| !key.is_empty())
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<TraceSettings>, String> {
        TraceSettings::read(&|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    fn on(pairs: &[(&str, &str)]) -> TraceSettings {
        read(pairs).expect("can be used").expect("is on")
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn nothing_is_recorded_without_an_endpoint_or_when_switched_off() {
        for pairs in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[("OTEL_SERVICE_NAME", "x")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(pairs), Ok(None), "{pairs:?}");
        }
    }

    #[test]
    fn an_address_says_where_and_its_port_how() {
        for (pairs, endpoint, protocol) in [
            (
                &[ENDPOINT][..],
                "http://collector:4318/v1/traces",
                Protocol::Http,
            ),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317/")],
                "http://c:4317/",
                Protocol::Grpc,
            ),
            (
                &[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "http://collector:4318",
                Protocol::Grpc,
            ),
            (
                &[
                    ENDPOINT,
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/own"),
                ],
                "https://c/own",
                Protocol::Http,
            ),
            (
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317/base/"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
                ],
                "http://c:4317/base/v1/traces",
                Protocol::Http,
            ),
        ] {
            let settings = on(pairs);
            assert_eq!(
                (settings.endpoint.as_str(), settings.protocol),
                (endpoint, protocol),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn lists_are_decoded_and_secrets_are_not_shown() {
        let settings = on(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%3Decret, x = y"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,a%2Cb=c"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ]);
        assert_eq!(settings.headers[0].0, "api-key");
        assert_eq!(settings.headers[0].1.expose(), "s=ecret");
        assert_eq!(settings.headers[1].1.expose(), "y");
        assert!(!format!("{settings:?}").contains("s=ecret"));
        assert_eq!(settings.resource, [("a,b".to_owned(), "c".to_owned())]);
        assert_eq!(settings.service_name.as_deref(), Some("mine"));
        assert_eq!(settings.queue_max, 7);
        assert_eq!(settings.timeout, Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@c"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no-value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%+1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ] {
            let error = read(&[(name, text), ENDPOINT]).expect_err(text);
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
