//! The TLS handshake of one connection, within a time, and a farewell that tells why it failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{Error as TlsError, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::LINGER;
use crate::net::ClientCertificate;

/// First byte of a TLS handshake. Source: RFC 8446 §5.1.
const HANDSHAKE: u8 = 0x16;

/// Most bytes that are taken from a connection that has been turned away.
const LEFTOVER_BYTES_MAX: u64 = 64 * 1024;

/// What somebody who speaks plain HTTP to this port reads.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 60\r\nConnection: close\r\n\r\nthis port speaks HTTPS only: write https:// in the address\r\n";

/// Makes TLS of a connection; nothing when it came to nothing, which is logged.
pub(super) async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
    peer: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Option<ClientCertificate>)> {
    match tokio::time::timeout(limit, shake_hands(stream, config)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            let certificate = shown
                .and_then(|chain| chain.first())
                .map(|first| ClientCertificate::read(first));
            return Some((stream, certificate));
        }
        Ok(Err(error)) if is_about_certificates(&error) => {
            // The operator of one of the two ends has to do something.
            tracing::info!(%peer, %error, "TLS handshake failed");
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
    None
}

async fn shake_hands(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [HANDSHAKE];
    stream.peek(&mut first).await?;
    if first != [HANDSHAKE] {
        stream.write_all(PLAIN.as_bytes()).await?;
        farewell(stream).await;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not TLS"));
    }
    let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
    match accept.await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            farewell(stream).await;
            Err(error)
        }
    }
}

/// Lets the other side read what it was told last: closing while its bytes lie unread would reset
/// the connection and take the message away.
async fn farewell(mut stream: TcpStream) {
    let leave = async {
        stream.shutdown().await?;
        let mut rest = stream.take(LEFTOVER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // However it ends, the connection is closed then.
    let _ = tokio::time::timeout(LINGER, leave).await;
}

/// Tells whether one side does not take the other's certificate.
fn is_about_certificates(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        cause,
        Some(
            TlsError::NoCertificatesPresented
                | TlsError::InvalidCertificate(_)
                | TlsError::AlertReceived(_)
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_whole() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").expect("a header and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
