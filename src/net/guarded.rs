//! Calls to addresses that outsiders choose, webhooks above all.
//!
//! The name is resolved once, every address is checked, and the connection goes to a checked
//! address: there is no second look-up that could answer differently. Redirects are not followed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Error as PoolError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tower::{Service, ServiceExt as _};

use super::client::{Pool, pool, pool_error, read_answer};
use super::{Call, HttpAnswer, NetError, Network, TlsFiles, client_config, is_public};

/// The largest answer that is read: the sender wants to know the status, not the page.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where calls may go besides the public internet.
#[derive(Debug, Default)]
struct Rules {
    allowed: Vec<Network>,
}

impl Rules {
    fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }
}

/// Why a look-up brought nothing; carried through the pool as an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{address} may not be called from here")]
struct Forbidden {
    address: IpAddr,
}

/// Resolves names and drops the addresses that may not be called.
#[derive(Clone)]
struct Resolver {
    rules: Arc<Rules>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            // The connector puts the port in; it cuts the wait short by its own timeout.
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            permitted(&rules, found).map(Vec::into_iter)
        })
    }
}

/// Keeps the addresses that may be called; an error when there are some, but none of those.
fn permitted(rules: &Rules, found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let first = found.first().map(SocketAddr::ip);
    let kept: Vec<_> = found
        .into_iter()
        .filter(|address| rules.permits(address.ip()))
        .collect();
    match first {
        Some(address) if kept.is_empty() => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            Forbidden { address },
        )),
        _ => Ok(kept),
    }
}

/// A client that reaches the public internet and the networks that the operator allows.
#[derive(Clone)]
pub struct GuardedClient {
    pool: Pool<Resolver>,
    rules: Arc<Rules>,
    timeout: Duration,
}

impl GuardedClient {
    /// Builds a client with a pool of its own; `timeout` holds for each whole call.
    pub fn new(
        allowed: impl IntoIterator<Item = (IpAddr, u8)>,
        timeout: Duration,
    ) -> Result<Self, NetError> {
        let allowed = allowed
            .into_iter()
            .filter_map(|(address, bits)| Network::new(address, bits));
        let rules = Arc::new(Rules {
            allowed: allowed.collect(),
        });
        let resolver = Resolver {
            rules: Arc::clone(&rules),
        };
        let tls = client_config(&TlsFiles::default())?;
        let pool = pool(HttpConnector::new_with_resolver(resolver), timeout, &tls);
        Ok(Self {
            pool,
            rules,
            timeout,
        })
    }

    /// Makes the call; any status is an answer, a redirect too.
    ///
    /// Errors: [`NetError::Refused`] and [`NetError::BadUrl`] are final, see
    /// [`NetError::is_transient`].
    pub async fn send(&self, call: Call) -> Result<HttpAnswer, NetError> {
        let request = call.request()?;
        let host = host_of(request.uri()).to_owned();
        // The connector does not ask the resolver about literal addresses.
        if let Ok(address) = host.parse::<IpAddr>()
            && !self.rules.permits(address)
        {
            return Err(refused(host, address));
        }
        let after = self.timeout;
        tokio::time::timeout(after, self.exchange(request, host))
            .await
            .unwrap_or(Err(NetError::Timeout { after }))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        host: String,
    ) -> Result<HttpAnswer, NetError> {
        let mut pool = self.pool.clone();
        let sorted = |error: PoolError| match forbidden(&error) {
            Some(address) => refused(host.clone(), address),
            None => pool_error(&error),
        };
        let ready = pool.ready().await.map_err(sorted)?;
        let response = ready.call(request).await.map_err(sorted)?;
        read_answer(response, ANSWER_BYTES_MAX).await
    }
}

/// Returns the host without the brackets of IPv6.
fn host_of(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

fn refused(host: String, address: IpAddr) -> NetError {
    NetError::Refused {
        host,
        address: address.to_string(),
    }
}

/// Finds the resolver's refusal in the chain of causes.
fn forbidden(error: &PoolError) -> Option<IpAddr> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let carried = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = carried.and_then(|inner| inner.downcast_ref::<Forbidden>()) {
            return Some(found.address);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Method;

    fn client(allowed: &[(&str, u8)]) -> GuardedClient {
        let allowed = allowed
            .iter()
            .map(|(net, bits)| (net.parse().unwrap(), *bits));
        GuardedClient::new(allowed, Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn private_places_are_refused() {
        let client = client(&[]);
        for url in [
            "http://127.0.0.1:1/",
            "http://localhost:1/",
            "http://[::1]:1/",
            "http://[::ffff:127.0.0.1]:1/",
            "http://169.254.169.254/latest",
            "http://0.0.0.0:1/",
            // Old spellings of 127.0.0.1 that only the system's resolver understands.
            "http://127.1:1/",
            "http://2130706433:1/",
        ] {
            let error = client.send(Call::new(Method::Post, url)).await.unwrap_err();
            assert!(matches!(error, NetError::Refused { .. }), "{url}: {error}");
            assert!(!error.is_transient(), "{url}");
        }
        for url in [
            "ftp://example.org/",
            "/path",
            "http://a:b@example.org/",
            "http://",
        ] {
            let error = client.send(Call::new(Method::Post, url)).await.unwrap_err();
            assert!(matches!(error, NetError::BadUrl { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("a:b"), "{error}");
        }
    }

    #[test]
    fn one_public_address_among_private_ones_is_used() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts
                .iter()
                .map(|text| SocketAddr::new(text.parse().unwrap(), 0))
                .collect()
        };
        let rules = Rules::default();
        let kept = permitted(&rules, addresses(&["10.0.0.1", "1.1.1.1"])).unwrap();
        assert_eq!(kept, addresses(&["1.1.1.1"]));
        assert!(permitted(&rules, addresses(&["10.0.0.1", "::1"])).is_err());
        assert!(permitted(&rules, Vec::new()).unwrap().is_empty());
    }
}
