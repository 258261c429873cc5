//! An S3 server on a free port, its objects in a folder that goes with it. It checks signatures, on
//! addresses of both kinds. It runs on a thread of its own, so that a test may wait for its client
//! in any way; it can be gone for a while, and refuse calls as a busy server does.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::host::MultiDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Who may use the server.
pub const ACCESS_KEY: &str = "test-access";
/// What signs their requests.
pub const SECRET_KEY: &str = "test-secret";
/// The bucket that is there.
pub const BUCKET: &str = "files";

/// What the server has seen, and what it is to refuse.
#[derive(Default)]
pub struct Desk {
    /// Requests that are still to be answered with 503.
    pub busy: AtomicU32,
    /// POSTs that are still to be carried out, and then answered with 500.
    pub unheard: AtomicU32,
    /// POSTs that are still to be carried out, and never answered.
    pub lost: AtomicU32,
    /// GETs that have come.
    pub gets: AtomicU32,
}

/// A running server; stopped when dropped.
pub struct S3Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// See [`Desk`].
    pub desk: Arc<Desk>,
    /// What it has stored, uploads that nobody has ended included.
    pub folder: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl S3Server {
    /// Starts a server with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("makes the bucket");
        let mut server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            desk: Arc::default(),
            folder,
            running: None,
        };
        server.resume();
        server
    }

    /// Returns the server's address as clients know it.
    pub fn endpoint(&self) -> String {
        // A name: the bucket's name goes before it where addresses are virtual.
        format!("http://localhost:{}", self.address.port())
    }

    /// Stops answering; connections are closed.
    pub fn pause(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running.thread.join().expect("the server's thread ends");
        }
    }

    /// Answers again, at the same address.
    pub fn resume(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).expect("the port is free");
        listener.set_nonblocking(true).expect("is a socket");
        self.address = listener.local_addr().expect("is bound");
        let service = service(self.folder.path().to_owned(), self.address.port());
        let (stop, desk) = (CancellationToken::new(), Arc::clone(&self.desk));
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(serve(listener, service, desk, until));
        });
        self.running = Some(Running { stop, thread });
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            // A panic there has been printed; the test fails by what it has missed.
            drop(running.thread.join());
        }
    }
}

fn service(root: PathBuf, port: u16) -> S3Service {
    let files = FileSystem::new(root).expect("the folder is there");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let domain = format!("localhost:{port}");
    builder.set_host(MultiDomain::new(&[domain]).expect("is a domain"));
    builder.build()
}

async fn serve(
    listener: std::net::TcpListener,
    service: S3Service,
    desk: Arc<Desk>,
    stop: CancellationToken,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("is a socket");
    let mut connections = JoinSet::new();
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted.expect("accepts").0,
        };
        let (service, desk) = (service.clone(), Arc::clone(&desk));
        connections.spawn(async move {
            let answer = hyper::service::service_fn(move |request| {
                answered(service.clone(), Arc::clone(&desk), request)
            });
            // A client may close when it likes.
            drop(
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), answer)
                    .await,
            );
        });
    }
    connections.shutdown().await;
}

async fn answered(
    service: S3Service,
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Infallible> {
    if taken(&desk.busy) {
        return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
    }
    let is_post = request.method() == "POST";
    if request.method() == "GET" {
        desk.gets.fetch_add(1, Ordering::SeqCst);
    }
    let answer = hyper::service::Service::call(&service, request).await;
    if is_post && taken(&desk.unheard) {
        return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"));
    }
    if is_post && taken(&desk.lost) {
        std::future::pending::<()>().await;
    }
    Ok(answer.unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "Broken")))
}

fn taken(count: &AtomicU32) -> bool {
    count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            count.checked_sub(1)
        })
        .is_ok()
}

fn refusal(status: StatusCode, code: &str) -> Response<s3s::Body> {
    let text = format!("<Error><Code>{code}</Code><Message>later</Message></Error>");
    let mut response = Response::new(s3s::Body::from(bytes::Bytes::from(text)));
    *response.status_mut() = status;
    response
}
