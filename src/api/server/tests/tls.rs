//! TLS on the listener, with certificates made for each test.

use std::path::Path;

use axum::Extension;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::net::authority::Authority;
use crate::net::{Call, ClientOptions, HttpClient, ListenerFiles, Method, NetError, TlsFiles};

/// A folder with an authority and a server's certificate of its.
struct Place {
    folder: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("the authority");
        authority.write(folder.path(), "ca.pem");
        authority.server(folder.path(), "server");
        Self { folder, authority }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn files(&self) -> ListenerFiles {
        ListenerFiles {
            certificate: self.path().join("server.pem"),
            key: self.path().join("server.key"),
            client_ca: Some(self.path().join("ca.pem")),
            requires_client: false,
        }
    }

    async fn start(&self, settings: ServerSettings) -> (Running, Arc<ListenerTls>) {
        let tls = Arc::new(ListenerTls::open(self.files()).expect("good files"));
        let settings = ServerSettings {
            tls: Some(Arc::clone(&tls)),
            ..settings
        };
        (start(app(), settings).await, tls)
    }

    /// Returns a client that trusts the authority.
    fn client(&self, identity: Option<&str>) -> HttpClient {
        let files = |name: &str| {
            (
                self.path().join(format!("{name}.pem")),
                self.path().join(format!("{name}.key")),
            )
        };
        HttpClient::new(ClientOptions {
            tls: TlsFiles {
                ca: Some(self.path().join("ca.pem")),
                identity: identity.map(files),
            },
            ..ClientOptions::default()
        })
        .expect("good files")
    }

    /// Returns a connector for the protocols and versions; it trusts the authority.
    fn connector(
        &self,
        protocols: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_file(self.path().join("ca.pem"));
        roots.add(ca.expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

fn app() -> Router {
    let whoami = |certificate: Option<Extension<ClientCertificate>>| async move {
        let name = certificate.and_then(|Extension(certificate)| certificate.common_name);
        name.as_deref().unwrap_or("nobody").to_owned()
    };
    super::app()
        .route("/whoami", get(whoami))
        .route("/big", get(|| async { Bytes::from(vec![b'x'; 64 << 20]) }))
}

impl Running {
    async fn connect_tls(&self, connector: &TlsConnector) -> ClientStream<TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.connect().await;
        connector.connect(name, stream).await.expect("a handshake")
    }

    async fn whoami(&self, client: &HttpClient) -> Result<String, NetError> {
        let url = format!("https://{}/whoami", self.address);
        let answer = client.send(Call::new(Method::Get, url)).await?;
        assert_eq!(answer.status, 200);
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}

#[tokio::test]
async fn both_protocols_over_both_versions() {
    const H2: &[u8] = b"h2";
    const H1: &[u8] = b"http/1.1";
    let place = Place::new();
    let (running, _) = place.start(ServerSettings::default()).await;
    for (offered, version, chosen) in [
        (&[H2, H1][..], &TLS13, Some(H2)),
        (&[H1], &TLS13, Some(H1)),
        (&[], &TLS13, None),
        (&[H2], &TLS12, Some(H2)),
    ] {
        let stream = running
            .connect_tls(&place.connector(offered, &[version]))
            .await;
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), chosen);
        assert_eq!(session.protocol_version(), Some(version.version));
        let io = hyper_util::rt::TokioIo::new(stream);
        let mut tasks = tokio::task::JoinSet::new();
        let request = Request::get("https://localhost/").body(Empty::<Bytes>::new());
        let request = request.expect("a request");
        let response = if chosen == Some(H2) {
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, connection) = shaken.expect("h2");
            tasks.spawn(async move { connection.await.is_ok() });
            sender.send_request(request).await
        } else {
            let shaken = hyper::client::conn::http1::handshake(io).await;
            let (mut sender, connection) = shaken.expect("h1");
            tasks.spawn(async move { connection.await.is_ok() });
            sender.send_request(request).await
        };
        let body = response.expect("answered").into_body();
        let body = body.collect().await.expect("whole").to_bytes();
        assert_eq!(body, "hello");
    }
    running.stop().await;
}

#[tokio::test]
async fn whose_certificate_it_is() {
    let place = Place::new();
    place.authority.client(place.path(), "gpu-01");
    Authority::new("a stranger").client(place.path(), "stranger");
    for requires_client in [false, true] {
        let files = ListenerFiles {
            requires_client,
            ..place.files()
        };
        let tls = Some(Arc::new(ListenerTls::open(files).expect("good files")));
        let settings = ServerSettings {
            tls,
            ..ServerSettings::default()
        };
        let running = start(app(), settings).await;
        let known = running.whoami(&place.client(Some("gpu-01"))).await;
        assert_eq!(known.expect("answered"), "gpu-01");
        let nobody = running.whoami(&place.client(None)).await;
        if requires_client {
            let error = nobody.expect_err("no certificate").to_string();
            assert_eq!(error, "the server wants a certificate, and none was shown");
        } else {
            assert_eq!(nobody.expect("answered"), "nobody");
        }
        let stranger = running.whoami(&place.client(Some("stranger"))).await;
        let error = stranger.expect_err("another authority's").to_string();
        let expected = "the server does not take the certificate that was shown: ";
        assert!(error.starts_with(expected), "{error}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_that_has_run_out_is_told() {
    let place = Place::new();
    place.authority.expired(place.path(), "server");
    let (running, _) = place.start(ServerSettings::default()).await;
    let error = running.whoami(&place.client(None)).await;
    let text = error.expect_err("it has run out").to_string();
    assert!(
        text.contains("the server's certificate is not good"),
        "{text}"
    );
    assert!(text.contains("expired"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn who_does_not_trust_or_does_not_speak_tls_is_told() {
    let place = Place::new();
    let (running, _) = place.start(ServerSettings::default()).await;
    let public = HttpClient::new(ClientOptions::default()).expect("public roots");
    let error = running.whoami(&public).await.expect_err("a private CA");
    assert!(matches!(error, NetError::Certificate(_)), "{error}");
    assert!(error.is_transient(), "somebody may set it right");
    let text = error.to_string();
    assert!(text.contains("an authority that is not trusted"), "{text}");

    let url = format!("http://{}/whoami", running.address);
    let answer = public.send(Call::new(Method::Get, url)).await;
    let answer = answer.expect("an answer in plain HTTP");
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.body,
        "this port speaks HTTPS only: write https:// in the address\r\n"
    );
    running.stop().await;
}

/// Connections that say nothing, or half of what a handshake needs.
async fn dawdlers(running: &Running) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for said in [
        &b""[..],
        &[0x16, 0x03, 0x01],
        &[0x16, 0x03, 0x01, 0x00, 0x05, 0x01],
    ] {
        let mut stream = running.connect().await;
        stream.write_all(said).await.expect("open");
        streams.push(stream);
    }
    streams
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_holds_nobody_up_and_has_an_end() {
    let place = Place::new();
    let (running, _) = place.start(ServerSettings::default()).await;
    let connector = place.connector(&[], &[&TLS13]);
    let begun = tokio::time::Instant::now();
    let slow = dawdlers(&running).await;
    let mut quick = running.connect_tls(&connector).await;
    quick.write_all(HELLO.as_bytes()).await.expect("open");
    let mut answer = [0; 15];
    quick.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let limit = ServerSettings::default().handshake_timeout;
    assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
    for mut stream in slow {
        closes(&mut stream).await;
        let lasted = begun.elapsed();
        assert!(lasted >= limit && lasted <= limit + LINGER, "{lasted:?}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_handshake() {
    let place = Place::new();
    let (running, _) = place.start(ServerSettings::default()).await;
    let connector = place.connector(&[], &[&TLS13]);
    let slow = dawdlers(&running).await;
    // Taken in order, so the slow ones are in their handshakes.
    let idle = running.connect_tls(&connector).await;
    let begun = tokio::time::Instant::now();
    running.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop((slow, idle));
}

#[tokio::test(start_paused = true)]
async fn handshakes_count_as_connections() {
    let place = Place::new();
    let settings = ServerSettings {
        connections_max: 1,
        ..ServerSettings::default()
    };
    let (running, _) = place.start(settings).await;
    let begun = tokio::time::Instant::now();
    let slow = running.connect().await;
    running.connect_tls(&place.connector(&[], &[&TLS13])).await;
    let limit = ServerSettings::default().handshake_timeout;
    assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
    drop(slow);
    running.stop().await;
}

/// In TLS the bytes that nobody takes lie in a buffer of the session first.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_loses_the_connection() {
    let place = Place::new();
    let settings = ServerSettings {
        connections_max: 1,
        ..ServerSettings::default()
    };
    let (running, _) = place.start(settings).await;
    let connector = place.connector(&[], &[&TLS13]);
    let mut stuck = running.connect_tls(&connector).await;
    let big = "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    stuck.write_all(big.as_bytes()).await.expect("open");
    let begun = tokio::time::Instant::now();
    let next = running.connect_tls(&connector).await;
    let limit = ServerSettings::default().write_timeout;
    let lasted = begun.elapsed();
    assert!(
        lasted >= limit && lasted <= limit + 2 * LINGER,
        "{lasted:?}"
    );
    drop((stuck, next));
    running.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_under_open_connections() {
    let place = Place::new();
    let (running, tls) = place.start(ServerSettings::default()).await;
    let old = place.connector(&[], &[&TLS13]);
    let mut open = running.connect_tls(&old).await;
    let next = Authority::new("the next authority");
    next.write(place.path(), "ca.pem");
    next.server(place.path(), "server");
    tls.reload().expect("good files");
    let new = place.connector(&[], &[&TLS13]);
    running.connect_tls(&new).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let refused = old.connect(name, running.connect().await).await;
    assert!(refused.is_err(), "the old authority has no part in it");
    open.write_all(HELLO.as_bytes()).await.expect("open");
    let mut answer = [0; 15];
    open.read_exact(&mut answer).await.expect("an answer");

    place.authority.server(place.path(), "another");
    std::fs::copy(
        place.path().join("another.key"),
        place.path().join("server.key"),
    )
    .expect("copied");
    let problem = tls.reload().expect_err("they do not belong together");
    assert_eq!(problem.file, place.path().join("server.pem"));
    assert!(problem.message.contains("server.key"), "{problem}");
    running.connect_tls(&new).await;
    running.stop().await;
}
