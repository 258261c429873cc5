//! Connections to PostgreSQL: a few, shared, protected as asked, and given up when they hang.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Client, Hook, HookError, Manager, ManagerConfig, Object, Pool, Runtime};
use deadpool_postgres::{RecyclingMethod, Timeouts};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::uri::Protection;
use crate::net::{client_config, unchecked_client_config};
use crate::store::StoreError;

/// The longest wait for a connection to be free, and for a new one to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What the server itself holds statements to, so that none runs on when nobody waits any more.
const SESSION: &str = "SET statement_timeout = '20s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '60s'; SET timezone = 'UTC'";

/// Work on a connection.
pub(super) type Work<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a>>;

/// The connections.
#[derive(Debug)]
pub(super) struct Connections {
    pool: Pool,
}

impl Connections {
    /// Prepares the connections; none is made yet.
    ///
    /// Errors: `Corrupt` when the address or a file of authorities cannot be read.
    pub(super) fn new(
        uri: &str,
        protection: &Protection,
        count: usize,
    ) -> Result<Self, StoreError> {
        let unusable = |reason: String| StoreError::Corrupt(reason);
        let mut config: Config = uri
            .parse()
            .map_err(|error| unusable(format!("the history's address cannot be read: {error}")))?;
        config.connect_timeout(CONNECT_TIMEOUT);
        config.tcp_user_timeout(Duration::from_secs(30));
        if config.get_application_name().is_none() {
            config.application_name("avtomatika");
        }
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        config.ssl_mode(match protection {
            Protection::Disable => SslMode::Disable,
            Protection::Prefer => SslMode::Prefer,
            Protection::Require | Protection::Verify(_) => SslMode::Require,
        });
        let manager = match protection {
            Protection::Disable => Manager::from_config(config, NoTls, recycling),
            Protection::Prefer | Protection::Require => {
                let tls = MakeRustlsConnect::new(unchecked_client_config());
                Manager::from_config(config, tls, recycling)
            }
            Protection::Verify(files) => {
                let settings = client_config(files).map_err(|error| unusable(error.to_string()))?;
                let tls = MakeRustlsConnect::new(settings.as_ref().clone());
                Manager::from_config(config, tls, recycling)
            }
        };
        let timeout = Some(CONNECT_TIMEOUT);
        let pool = Pool::builder(manager)
            .max_size(count)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: timeout,
                create: timeout,
                recycle: timeout,
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    let set = client.batch_execute(SESSION).await;
                    set.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self { pool })
    }

    /// Has the work done on one of the connections, within the time.
    pub(super) async fn call<T>(
        &self,
        timeout: Duration,
        work: impl for<'a> FnOnce(&'a mut Client) -> Work<'a, T>,
    ) -> Result<T, StoreError> {
        let done = self.answer(timeout, work).await?;
        done.map_err(|error| unavailable(&error))
    }

    /// Likewise, and tells what the server may never take from what it cannot do just now.
    pub(super) async fn write<T>(
        &self,
        timeout: Duration,
        work: impl for<'a> FnOnce(&'a mut Client) -> Work<'a, T>,
    ) -> Result<T, StoreError> {
        let done = self.answer(timeout, work).await?;
        done.map_err(|error| {
            if may_be_of_content(&error) {
                StoreError::Refused(format!("PostgreSQL: {}", chain(&error)))
            } else {
                unavailable(&error)
            }
        })
    }

    async fn answer<T>(
        &self,
        timeout: Duration,
        work: impl for<'a> FnOnce(&'a mut Client) -> Work<'a, T>,
    ) -> Result<Result<T, tokio_postgres::Error>, StoreError> {
        let mut client =
            self.pool.get().await.map_err(|error| {
                StoreError::Unavailable(format!("PostgreSQL: {}", chain(&error)))
            })?;
        match tokio::time::timeout(timeout, work(&mut client)).await {
            Ok(done) => Ok(done),
            Err(_elapsed) => {
                // Nobody knows what it is doing; the next call gets another.
                drop(Object::take(client));
                Err(StoreError::Unavailable(format!(
                    "PostgreSQL: no answer within {timeout:?}"
                )))
            }
        }
    }

    /// Closes all connections; whoever waits for one is told.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Tells whether it may be the content that the server objects to: classes 22 (data exception: a
/// character that its encoding has not) and 54 (a limit: a key that is too long). Some of them are of
/// everything: a column whose type somebody has changed, transaction ids that have run out; so whoever is
/// refused has to try without the content. All others may pass, a constraint too: a partition may be
/// missing for a moment. Source: PostgreSQL, appendix A.
fn may_be_of_content(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|state| state.code().get(..2));
    matches!(class, Some("22" | "54"))
}

fn unavailable(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(format!("PostgreSQL: {}", chain(error)))
}

/// Says what went wrong with all its causes: the outermost says only that something did.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
