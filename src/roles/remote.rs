//! The orchestrator as seen from a command line: its client API over HTTP, with every answer either
//! a value or a failure that says what to do next.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::base::Secret;
use crate::base::trace::TRACEPARENT;
use crate::net::{
    Call, ClientOptions, EventStream, HttpAnswer, HttpClient, Method, NetError, TlsFiles,
};

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Tries of a request that is safe to repeat.
const TRIES: u32 = 4;

/// A stream that is silent for so long is taken for dead; the orchestrator sends a comment more
/// often than that.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Where the orchestrator is and who asks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct RemoteArgs {
    /// The orchestrator's address
    #[arg(long, env = "AVTOMATIKA_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The client's token
    #[arg(long, env = "CLIENT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// First part of the client routes
    #[arg(long, env = "CLIENT_API_PREFIX", default_value = "api")]
    pub prefix: String,
    /// Version part of the client routes; empty when there is none
    #[arg(long, default_value = "v1")]
    pub api_version: String,
    /// Whom to trust, and what to show.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Certificates of both sides, for an orchestrator that serves HTTPS.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct TrustArgs {
    /// Authorities to trust instead of the public ones, PEM
    #[arg(long, value_name = "FILE", env = "AVTOMATIKA_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Certificate to show to an orchestrator that wants one of everybody, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "AVTOMATIKA_CERT_FILE",
        requires = "key_file"
    )]
    pub cert_file: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "AVTOMATIKA_KEY_FILE",
        requires = "cert_file"
    )]
    pub key_file: Option<PathBuf>,
}

impl TrustArgs {
    fn identity(&self) -> Option<(PathBuf, PathBuf)> {
        self.cert_file.clone().zip(self.key_file.clone())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `X-Next-Cursor`, when there is more of a list.
    pub next: Option<String>,
    /// The body as JSON; as a string when it is something else.
    pub body: Value,
}

/// The client API of one orchestrator.
#[derive(Clone)]
pub struct Remote {
    origin: String,
    mount: String,
    token: Secret,
    client: HttpClient,
    /// What new jobs are part of.
    traceparent: Option<String>,
}

impl Remote {
    /// Checks the arguments; connects to nothing yet.
    pub fn new(args: &RemoteArgs) -> Result<Self, Failure> {
        let token = args.token.clone().unwrap_or_default();
        if token.is_empty() {
            return Err(Failure::usage("no client token")
                .hint("give --token, or set CLIENT_TOKEN to a token of clients.toml"));
        }
        Self::public(args)
    }

    /// As [`Remote::new`], for what needs no token.
    pub fn public(args: &RemoteArgs) -> Result<Self, Failure> {
        let origin = args.url.trim_end_matches('/').to_owned();
        if !origin.starts_with("http://") && !origin.starts_with("https://") {
            let message = format!("`{}` is not an address", args.url);
            return Err(Failure::usage(message).hint("write --url http://HOST:PORT"));
        }
        let mut mount = String::new();
        for part in [args.prefix.as_str(), args.api_version.as_str()] {
            let part = part.trim_matches('/');
            if !part.is_empty() {
                mount.push('/');
                mount.push_str(part);
            }
        }
        let options = ClientOptions {
            answer_bytes_max: ANSWER_BYTES_MAX,
            tls: TlsFiles {
                ca: args.trust.ca_file.clone(),
                identity: args.trust.identity(),
            },
            ..ClientOptions::default()
        };
        let client = HttpClient::new(options).map_err(|error| Failure::usage(error.to_string()))?;
        let token = Secret::new(args.token.clone().unwrap_or_default());
        Ok(Self {
            origin,
            mount,
            token,
            client,
            traceparent: None,
        })
    }

    /// Returns the same orchestrator, for jobs that are part of a trace.
    #[must_use]
    pub fn within(&self, traceparent: Option<String>) -> Self {
        Self {
            traceparent,
            ..self.clone()
        }
    }

    /// Returns the orchestrator's address.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the whole path of one below the client routes.
    #[must_use]
    pub fn below(&self, path: &str) -> String {
        format!("{}/{}", self.mount, path.trim_start_matches('/'))
    }

    /// Reads something below the client routes; tries again when the orchestrator cannot be reached.
    pub async fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.repeat(&self.call(Method::Get, &self.below(path)))
            .await
    }

    /// Reads something outside the client routes, of any role, once; any status is an answer.
    pub async fn get_public(&self, path: &str) -> Result<Reply, Failure> {
        let sent = self.client.send(self.call(Method::Get, path)).await;
        sent.map(|answer| reply(&answer)).map_err(|error| {
            let failure = self.failed(&error);
            match error {
                NetError::Certificate(_) | NetError::BadUrl { .. } => failure,
                _ => failure.hint("does anything listen there? An orchestrator does at its port, every other role at its METRICS_ADDR; --url names the address"),
            }
        })
    }

    /// Asks for a change, once: whether it happened is unknown when the answer is lost.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.once(
            self.call(Method::Post, &self.below(path))
                .json(body.to_string()),
        )
        .await
    }

    /// Asks for a change under an idempotency key, which makes it safe to try again. The path is
    /// the whole one.
    pub async fn post_with_key(
        &self,
        path: &str,
        body: &Value,
        key: &str,
    ) -> Result<Reply, Failure> {
        let call = self.call(Method::Post, path).json(body.to_string());
        let call = call.header("idempotency-key", key);
        match &self.traceparent {
            Some(text) => self.repeat(&call.header(TRACEPARENT, text)).await,
            None => self.repeat(&call).await,
        }
    }

    /// Opens a stream of events; nothing when this orchestrator has none (the original).
    pub async fn events(
        &self,
        path: &str,
        after: Option<&str>,
    ) -> Result<Option<EventStream>, Failure> {
        let mut call = self.call(Method::Get, &self.below(path));
        if let Some(id) = after {
            call = call.header("last-event-id", id);
        }
        match self.client.events(call, SILENCE_MAX).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.is_transient() && !matches!(error.status(), Some(501)) => {
                Err(self.failed(&error))
            }
            Err(_) => Ok(None),
        }
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let call = Call::new(method, format!("{}{path}", self.origin)).header(
            "user-agent",
            concat!("avtomatika/", env!("CARGO_PKG_VERSION")),
        );
        if self.token.is_empty() {
            call
        } else {
            call.header("x-client-token", self.token.expose())
        }
    }

    async fn repeat(&self, call: &Call) -> Result<Reply, Failure> {
        let mut pause = Duration::from_millis(250);
        for _ in 1..TRIES {
            match self.once(call.clone()).await {
                Err(failure) if failure.exit == Exit::Unreachable => {
                    tracing::debug!(error = %failure, "request is tried again");
                }
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.once(call.clone()).await
    }

    async fn once(&self, call: Call) -> Result<Reply, Failure> {
        let sent = self.client.send(call).await.and_then(HttpAnswer::success);
        sent.map(|answer| reply(&answer))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &NetError) -> Failure {
        match error {
            NetError::Status { code, body, retry_after } => self.refused(*code, body, *retry_after),
            NetError::BadUrl { .. } => Failure::usage(error.to_string()),
            NetError::Certificate(_) => {
                Failure::new(Exit::Unreachable, format!("cannot trust each other with {}: {error}", self.origin))
                    .hint("--ca-file names the authority of the orchestrator's certificate, --cert-file and --key-file what to show of one's own")
            }
            _ => Failure::new(Exit::Unreachable, format!("cannot reach {}: {error}", self.origin))
                .hint("is the orchestrator running there? `avtomatika health` asks it; --url names another"),
        }
    }

    fn refused(&self, status: u16, body: &[u8], retry_after: Option<Duration>) -> Failure {
        let body = text_or_json(body);
        let text = body["error"]
            .as_str()
            .or(body.as_str())
            .unwrap_or("no reason given");
        let code = body["code"]
            .as_str()
            .map_or(String::new(), |code| format!(" ({code})"));
        let message = format!("{} answered {status}: {text}{code}", self.origin);
        let exit = if status >= 500 {
            Exit::Unreachable
        } else {
            Exit::Refused
        };
        let mut failure = Failure::new(exit, message);
        failure.status = Some(status);
        match (status, retry_after) {
            (500.., _) => failure.hint("the orchestrator has trouble of its own: look at its log"),
            (401, _) => failure.hint("the token is not one of the orchestrator's clients.toml"),
            (429, Some(wait)) => failure.hint(format!("try again in {} s", wait.as_secs().max(1))),
            _ => failure,
        }
    }
}

fn reply(answer: &HttpAnswer) -> Reply {
    Reply {
        status: answer.status,
        next: answer.header("x-next-cursor").map(str::to_owned),
        body: text_or_json(&answer.body),
    }
}

/// The original answers some errors as text.
fn text_or_json(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// Writes a text so that it may stand in a path or query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, token: &str) -> RemoteArgs {
        RemoteArgs {
            url: url.to_owned(),
            token: Some(token.to_owned()),
            prefix: "/api/".to_owned(),
            api_version: String::new(),
            trust: TrustArgs::default(),
        }
    }

    #[test]
    fn arguments_are_checked_before_anything_is_sent() {
        for (url, token, word) in [
            ("localhost:8080", "t", "not an address"),
            ("ftp://host", "t", "not an address"),
            ("http://host", "", "no client token"),
        ] {
            let failure = Remote::new(&args(url, token)).err().expect("refused");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(word), "{failure}");
        }
    }

    #[test]
    fn paths_lie_below_the_mount() {
        let remote = Remote::new(&args("http://host:1/", "t")).expect("good");
        assert_eq!(remote.origin(), "http://host:1");
        assert_eq!(remote.below("/jobs"), "/api/jobs");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn refusals_carry_the_code() {
        let remote = Remote::new(&args("http://host", "t")).expect("good");
        let body = br#"{"error": "Job not found", "code": "job_not_found"}"#;
        let failure = remote.refused(404, body, None);
        assert_eq!((failure.exit, failure.status), (Exit::Refused, Some(404)));
        assert_eq!(
            failure.message,
            "http://host answered 404: Job not found (job_not_found)"
        );
        assert!(
            remote
                .refused(403, b"Forbidden", None)
                .message
                .contains("Forbidden")
        );
        assert_eq!(remote.refused(503, body, None).exit, Exit::Unreachable);
    }
}
