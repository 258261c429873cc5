//! The client: pooled connections, one timeout for connecting and one for the whole call, bounded
//! answers, gzip and zstd decoded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde_json::Value;
use tower::{Service as _, ServiceExt as _};
use tower_http::decompression::{Decompression, DecompressionBody};

use super::reason::{certificate_trouble, innermost};
use super::sse::EventStream;
use super::{NetError, TlsFiles, client_config};

/// A request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are HTTP's own")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn http(self) -> hyper::Method {
        match self {
            Self::Get => hyper::Method::GET,
            Self::Post => hyper::Method::POST,
            Self::Put => hyper::Method::PUT,
            Self::Patch => hyper::Method::PATCH,
            Self::Delete => hyper::Method::DELETE,
        }
    }
}

/// Limits of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for a whole call, unless the call names its own.
    pub timeout: Duration,
    /// Largest answer that is read, after decoding. Units: bytes.
    pub answer_bytes_max: usize,
    /// The operator's certificates.
    pub tls: TlsFiles,
    /// Whether compressed answers are asked for and decoded; else they come as they are.
    pub decodes: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            answer_bytes_max: 16 * 1024 * 1024,
            tls: TlsFiles::default(),
            decodes: true,
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    timeout: Option<Duration>,
}

impl Call {
    /// Starts a call.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a JSON body that is written already.
    #[must_use]
    pub fn json(self, body: impl Into<Bytes>) -> Self {
        self.body(body, "application/json")
    }

    /// Sets a body and its type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>, content_type: &str) -> Self {
        self.body = Some(body.into());
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Sets this call's own limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns the address that is called.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Builds the request; the address must be absolute, `http` or `https`, without user and
    /// password, which would end up in logs.
    pub(super) fn request(&self) -> Result<Request<Full<Bytes>>, NetError> {
        let bad = |reason| NetError::BadUrl {
            url: self.url.clone(),
            reason,
        };
        let uri: Uri = self.url.parse().map_err(|_| bad("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it must begin with http:// or https://"));
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(NetError::BadUrl {
                url: "…@".to_owned() + authority.host(),
                reason: "user and password do not belong into it",
            });
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.method_mut() = self.method.http();
        *request.uri_mut() = uri;
        for (name, value) in &self.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| bad("one of its header names cannot be sent"))?;
            let value: HeaderValue = value
                .parse()
                .map_err(|_| bad("one of its header values cannot be sent"))?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// 100 to 599.
    pub status: u16,
    headers: HeaderMap,
    /// Decoded.
    pub body: Bytes,
}

impl HttpAnswer {
    /// Returns a header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns how long the other side wants to be left alone: `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }

    /// Returns the answer, or the refusal when the status is not 2xx.
    pub fn success(self) -> Result<Self, NetError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let retry_after = self.retry_after();
        Err(NetError::Status {
            code: self.status,
            body: self.body.to_vec(),
            retry_after,
        })
    }

    /// Reads the body as JSON; an empty one is `null`.
    pub fn json(&self) -> Result<Value, NetError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|error| NetError::Decode(error.to_string()))
    }
}

/// Reads `Retry-After`, when it is given in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

pub(super) type Pool<R> = Decompression<Client<HttpsConnector<HttpConnector<R>>, Full<Bytes>>>;
pub(super) type Body = DecompressionBody<hyper::body::Incoming>;

/// Builds the pool over a connector.
pub(super) fn pool<R>(
    mut connector: HttpConnector<R>,
    connect_timeout: Duration,
    tls: &ClientConfig,
) -> Pool<R>
where
    R: Clone,
    HttpsConnector<HttpConnector<R>>: hyper_util::client::legacy::connect::Connect,
{
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(16)
        .build(connector);
    Decompression::new(client)
}

/// The client; a clone shares the pool.
#[derive(Clone)]
pub struct HttpClient {
    pool: Pool<hyper_util::client::legacy::connect::dns::GaiResolver>,
    options: Arc<ClientOptions>,
}

/// Times that a request is tried whose connection ends before it takes it.
const UNSENT_TRIES: u32 = 5;

impl HttpClient {
    /// Builds a client with a pool of its own.
    pub fn new(options: ClientOptions) -> Result<Self, NetError> {
        let tls = client_config(&options.tls)?;
        let pool = pool(HttpConnector::new(), options.connect_timeout, &tls);
        let pool = if options.decodes {
            pool
        } else {
            pool.no_gzip().no_deflate().no_zstd()
        };
        Ok(Self {
            pool,
            options: Arc::new(options),
        })
    }

    /// Makes the call; any status is an answer.
    pub async fn send(&self, call: Call) -> Result<HttpAnswer, NetError> {
        let after = call.timeout.unwrap_or(self.options.timeout);
        let request = call.request()?;
        let bytes_max = self.options.answer_bytes_max;
        let exchange = async {
            let response = self.exchange(request).await?;
            read_answer(response, bytes_max).await
        };
        tokio::time::timeout(after, exchange)
            .await
            .unwrap_or(Err(NetError::Timeout { after }))
    }

    /// Makes the call and reads its JSON; a status other than 2xx is an error.
    pub async fn json(&self, call: Call) -> Result<Value, NetError> {
        self.send(call).await?.success()?.json()
    }

    /// Opens a stream of server-sent events; the call's timeout holds for the answer's head, `idle`
    /// for each wait after it.
    pub async fn events(&self, call: Call, idle: Duration) -> Result<EventStream, NetError> {
        let after = call.timeout.unwrap_or(self.options.timeout);
        let request = call
            .header(ACCEPT.as_str(), "text/event-stream")
            .request()?;
        let bytes_max = self.options.answer_bytes_max;
        let head = async {
            let response = self.exchange(request).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(match read_answer(response, bytes_max).await?.success() {
                Err(error) => error,
                Ok(_) => NetError::Decode("the status changed".to_owned()),
            })
        };
        let response = tokio::time::timeout(after, head)
            .await
            .unwrap_or(Err(NetError::Timeout { after }))?;
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        if !content_type.is_some_and(|text| text.starts_with("text/event-stream")) {
            return Err(NetError::Decode(
                "the answer is not an event stream".to_owned(),
            ));
        }
        Ok(EventStream::new(response.into_body(), idle))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, NetError> {
        let mut tries = 1;
        loop {
            let mut pool = self.pool.clone();
            let ready = pool.ready().await.map_err(|error| pool_error(&error))?;
            match ready.call(request.clone()).await {
                // The connection ended before it took the request, and the reason went with it: as
                // when a server refuses a certificate after the client's part of the handshake.
                Err(error) if tries < UNSENT_TRIES && is_unsent(&error) => tries += 1,
                outcome => return outcome.map_err(|error| pool_error(&error)),
            }
        }
    }
}

/// Reads an answer's body up to the limit.
pub(super) async fn read_answer(
    response: Response<Body>,
    bytes_max: usize,
) -> Result<HttpAnswer, NetError> {
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(NetError::TooLarge { bytes_max });
        }
        Err(error) => return Err(NetError::Broken(error.to_string())),
    };
    Ok(HttpAnswer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// Tells whether a request never left: its connection was over before it was sent.
fn is_unsent(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_canceled)
}

/// Sorts a pool's error by what the caller can do.
pub(super) fn pool_error(error: &PoolError) -> NetError {
    if let Some(reason) = certificate_trouble(error) {
        return NetError::Certificate(reason);
    }
    let reason = innermost(error);
    if error.is_connect() {
        NetError::Connect(reason)
    } else {
        NetError::Broken(reason)
    }
}
