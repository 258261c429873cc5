//! A collector of traces that takes everything and keeps nothing, so that what is measured is the
//! orchestrator's own cost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// The collector; its threads end with the process.
pub struct Collector {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Collector {
    /// Listens for `http/protobuf`.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let collector = Self {
            address: listener.local_addr()?,
            bytes: Arc::default(),
        };
        let bytes = Arc::clone(&collector.bytes);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let bytes = Arc::clone(&bytes);
                // An end of the connection is no error here.
                std::thread::spawn(move || drop(serve(&stream, &bytes)));
            }
        });
        Ok(collector)
    }

    /// Returns the settings by which an orchestrator finds it, and records that share of the traces.
    pub fn settings(&self, share: &str) -> Vec<(&'static str, String)> {
        vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", self.address),
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_TRACES_SAMPLER", "traceidratio".to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", share.to_owned()),
        ]
    }

    /// Returns how much has come in, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn serve(stream: &TcpStream, bytes: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or(0);
            }
        }
        let read = std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        bytes.fetch_add(read, Ordering::Relaxed);
        let mut writer = stream;
        writer.write_all(ANSWER)?;
    }
}
