//! The archive: one suite over the port, run against a file and against a real PostgreSQL; the way
//! into it through outages; what only a server can do wrong.

mod audit;
mod damaged;
mod days;
mod export;
mod fixtures;
mod heavy;
mod kept;
mod links;
mod postgres;
mod reads;
mod redis;
mod refused;
mod runs;
#[path = "../servers/s3.rs"]
mod s3;
mod segments;
#[path = "../servers/mod.rs"]
#[expect(
    dead_code,
    reason = "not every server and not every act is needed here"
)]
mod servers;
mod shared;
mod suite;
mod unsteady;
mod upkeep;

use std::sync::Arc;

use avtomatika::base::Secret;
use avtomatika::store::archive::chain::Hasher;
use avtomatika::store::archive::postgres::PostgresArchive;
use avtomatika::store::archive::uri::Protection;
use avtomatika::store::{Archive, SqliteArchive};

use servers::postgres::Postgres;

/// What has to outlast an archive.
#[expect(dead_code, reason = "held to be dropped")]
enum Ground {
    Folder(tempfile::TempDir),
    Server(Postgres),
}

/// Returns what links the tests' events.
fn hasher() -> Hasher {
    Hasher::new(&Secret::new("salt of the tests"))
}

/// Opens an empty archive in a file.
fn open_sqlite() -> (Arc<dyn Archive>, Ground) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = SqliteArchive::open(&folder.path().join("history.db"), hasher());
    (Arc::new(archive.expect("opens")), Ground::Folder(folder))
}

/// Opens an archive on a server.
fn on_server(server: &Postgres) -> Arc<dyn Archive> {
    let archive = PostgresArchive::new(&server.url(), &Protection::Prefer, hasher());
    Arc::new(archive.expect("a good address"))
}

/// Opens an empty archive on a server of its own.
fn open_postgres() -> (Arc<dyn Archive>, Ground) {
    let server = Postgres::start();
    (on_server(&server), Ground::Server(server))
}

/// Makes one test of each function of the suite, each with an empty archive of its own.
macro_rules! suite {
    ($($sqlite:ident $postgres:ident: $module:ident::$test:ident;)*) => {
        $(
            #[tokio::test]
            async fn $sqlite() {
                let (archive, ground) = open_sqlite();
                $module::$test(Arc::clone(&archive)).await;
                archive.close().await;
                drop(ground);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn $postgres() {
                let (archive, ground) = open_postgres();
                $module::$test(Arc::clone(&archive)).await;
                archive.close().await;
                drop(ground);
            }
        )*
    };
}

suite!(
    sqlite_keeps_events server_postgres_keeps_events: suite::keeps_events_once_and_in_order;
    sqlite_keeps_jobs server_postgres_keeps_jobs: suite::keeps_jobs_as_they_ended;
    sqlite_places server_postgres_places: suite::reads_late_events_in_their_places;
    sqlite_searches server_postgres_searches: suite::searches;
    sqlite_pages server_postgres_pages: suite::pages_without_gaps_while_jobs_come;
    sqlite_finds_words server_postgres_finds_words: suite::finds_words_of_errors;
    sqlite_links server_postgres_links: links::links_every_event;
    sqlite_forgets server_postgres_forgets: links::forgets_what_is_too_old;
    sqlite_links_days server_postgres_links_days: days::goes_on_from_the_latest_earlier_day;
    sqlite_links_days_of_many server_postgres_links_days_of_many: days::goes_on_with_many_jobs;
    sqlite_forgets_days server_postgres_forgets_days: days::goes_on_from_what_has_gone;
    sqlite_keeps_many server_postgres_keeps_many: segments::keeps_what_many_jobs_begin_with;
    sqlite_lets_many_go server_postgres_lets_many_go: segments::lets_many_jobs_go;
    sqlite_tells_until_when server_postgres_tells_until_when:
        kept::tells_until_when_jobs_are_kept;
    sqlite_takes_odd_texts server_postgres_takes_odd_texts: suite::takes_odd_texts;
);
