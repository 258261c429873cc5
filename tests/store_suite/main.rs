//! The conformance suite of the stores: plain functions over the traits, run against every adapter.
//!
//! A new adapter is one function that opens an empty store and one `suite!` line.

mod blobs;
mod blobs_dir;
mod blobs_s3;
mod branches;
mod commits;
mod crash;
mod draws;
mod feed;
mod fixtures;
mod leases;
mod offload;
mod offload_dir;
mod offload_rest;
mod outbox;
mod queries;
mod random;
mod records;
mod redis_cluster;
mod redis_damaged;
mod redis_databases;
mod redis_facts;
mod redis_feed;
mod redis_mixed;
mod redis_only;
mod redis_purge;
mod redis_sentinel;
mod redis_silent;
mod resident;
#[expect(dead_code, reason = "shared with other tests of real servers")]
#[path = "../servers/mod.rs"]
mod servers;
mod sqlite_only;
mod sqlite_versions;
mod submissions;
mod workers;

#[path = "../servers/s3.rs"]
mod s3;

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use avtomatika::store::{
    HistoryFeed, HistoryStore, JobStore, MemoryStore, RedisSettings, RedisStore, SqliteSettings,
    SqliteStore, WorkerStore,
};

use servers::redis::Redis;

/// All that an orchestrator asks of its store.
pub trait AnyStore: JobStore + WorkerStore + HistoryStore {}

impl<S: JobStore + WorkerStore + HistoryStore> AnyStore for S {}

/// A store under test.
pub type Store = Arc<dyn AnyStore>;

/// What goes with a store: its folder or its server.
pub type Place = Box<dyn std::any::Any>;

/// Makes one test of each function of the suite, each with an empty store of its own.
macro_rules! suite {
    ($adapter:ident, $open:path) => {
        suite!(each $adapter, $open);
    };
    ($how:ident $adapter:ident, $open:path) => {
        suite!(@$how $adapter, $open:
            commits::stores_a_job_with_everything_that_goes_with_it,
            commits::refuses_another_revision,
            commits::lets_one_of_many_rivals_win,
            submissions::refuses_a_second_job_under_one_key,
            submissions::makes_one_job_of_a_hundred_submissions_with_one_key,
            submissions::frees_a_key_when_its_time_is_over,
            submissions::counts_a_quota_exactly,
            submissions::takes_no_quota_for_a_refused_commit,
            commits::guards_a_task_by_its_holder,
            leases::guards_a_task_by_its_lease,
            commits::guards_a_task_by_its_due_time,
            commits::guards_a_child_by_its_parent,
            records::keeps_data_stores_by_blueprint,
            records::keeps_the_first_id_of_its_deployment,
            records::keeps_history_once_and_in_order,
            records::pins_blueprints,
            records::forgets_revisions_that_no_job_has,
            records::keeps_numbers_exactly,
            branches::releases_held_branches,
            branches::ends_open_tasks_and_names_their_holders,
            branches::shows_the_latest_attempt_of_each_branch,
            branches::orders_open_tasks,
            branches::keeps_an_ended_task_without_its_parameters,
            leases::gives_a_task_to_one_worker,
            leases::gives_a_task_to_one_of_many_rivals,
            leases::extends_what_the_worker_holds,
            leases::takes_an_undelivered_task_back,
            leases::lists_queued_and_leased_tasks,
            leases::reads_tasks_together,
            leases::tells_what_is_due,
            leases::lets_either_the_result_or_the_expiry_win,
            outbox::hands_out_what_is_due_and_claims_it,
            outbox::puts_off_the_end_of_claims,
            outbox::settles_a_signal,
            outbox::settles_a_signal_with_the_step_that_answers_it,
            outbox::keeps_a_log_of_webhooks,
            outbox::does_not_share_a_claim,
            outbox::derives_ids_of_signals,
            queries::lists_newest_first_with_a_cursor,
            queries::filters,
            queries::counts_by_status,
            queries::purges_what_is_over,
            queries::purges_in_bounded_portions,
            queries::forgets_keys_at_their_own_time,
            queries::waits_with_purging_for_pending_messages,
            queries::finds_nothing_in_an_empty_store,
            queries::closes,
            workers::keeps_reputation_across_registrations,
            workers::lets_a_heartbeat_change_all_but_two_things,
            workers::extends_lives_and_changes_nothing_else,
            workers::forgets_the_expired_but_not_their_reputation,
            workers::forgets_a_reputation_long_after_its_worker,
            workers::keeps_reputation_within_bounds,
            workers::finds_access_tokens,
            workers::takes_a_refresh_token_once,
            workers::revokes_a_family_for_good,
            workers::remembers_nonces,
            workers::purges_secrets,
        );
    };
    (@each $adapter:ident, $open:path: $($module:ident::$test:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $test() {
                    let (store, place) = $open().await;
                    crate::$module::$test(store.clone()).await;
                    store.close().await;
                    drop(place);
                }
            )*
        }
    };
    // One server for all, which is dear to start: each function has a prefix of its own there.
    (@together $adapter:ident, $open:path: $($module:ident::$test:ident),* $(,)?) => {
        #[tokio::test]
        async fn $adapter() {
            let server = $open();
            $(
                let store = server.store(stringify!($test)).await;
                Box::pin(crate::$module::$test(store.clone())).await;
                store.close().await;
            )*
        }
    };
}

/// A store under test that hands out its history.
pub trait AnyFeed: JobStore + HistoryStore + HistoryFeed {}

impl<S: JobStore + HistoryStore + HistoryFeed> AnyFeed for S {}

/// Likewise, shared.
pub type FeedStore = Arc<dyn AnyFeed>;

/// Makes one test of each function on the feed, each with an empty store that has one; or one of all.
macro_rules! feed_suite {
    ($adapter:ident, $open:path) => {
        feed_suite!(each $adapter, $open);
    };
    ($how:ident $adapter:ident, $open:path) => {
        feed_suite!(@$how $adapter, $open:
            feed::hands_out_what_commits_record_until_it_is_acknowledged,
            feed::hands_out_what_is_appended_once,
            feed::hands_out_in_bounded_portions,
            feed::tells_each_job_as_it_is_now,
            feed::acknowledges_late_without_loss,
            feed::keeps_jobs_that_wait_from_being_purged,
        );
    };
    (@each $adapter:ident, $open:path: $($module:ident::$test:ident),* $(,)?) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $test() {
                    let (store, place) = $open().await;
                    crate::$module::$test(store.clone()).await;
                    store.close().await;
                    drop(place);
                }
            )*
        }
    };
    (@together $adapter:ident, $open:path: $($module:ident::$test:ident),* $(,)?) => {
        #[tokio::test]
        async fn $adapter() {
            let server = $open();
            $(
                let store = server.feed_store(stringify!($test)).await;
                Box::pin(crate::$module::$test(store.clone())).await;
                store.close().await;
            )*
        }
    };
}

feed_suite!(memory_feed, crate::open_memory_feed);
feed_suite!(sqlite_feed, crate::open_sqlite_feed);
feed_suite!(server_redis_feed, crate::open_redis_feed);
feed_suite!(together server_redis_cluster_hands_out_history, crate::redis_cluster::start);

/// Opens an empty store in memory that hands out its history.
pub fn open_memory_feed() -> Ready<(FeedStore, Place)> {
    ready((Arc::new(MemoryStore::with_feed()), Box::new(())))
}

/// Opens an empty store in a file that hands out its history.
pub fn open_sqlite_feed() -> Ready<(FeedStore, Place)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = SqliteSettings {
        feed: true,
        ..SqliteSettings::default()
    };
    let store = SqliteStore::open(&folder.path().join("jobs.db"), &settings).expect("opens");
    ready((Arc::new(store), Box::new(folder)))
}

/// Opens an empty store in a Redis server of its own that hands out its history.
pub async fn open_redis_feed() -> (FeedStore, Place) {
    let redis = Redis::start();
    let settings = RedisSettings::new(redis.url().as_str().into());
    let store = RedisStore::open(&settings).await.expect("opens");
    store.switch_feed(true).await.expect("switches it on");
    (Arc::new(store), Box::new(redis))
}

suite!(memory, crate::open_memory);
suite!(sqlite, crate::open_sqlite);
suite!(server_redis, crate::open_redis);
suite!(together server_redis_cluster_passes_the_suite, crate::redis_cluster::start);
suite!(offloading, crate::offload::open);

/// Opens an empty store in memory.
pub fn open_memory() -> Ready<(Store, Place)> {
    ready((Arc::new(MemoryStore::new()), Box::new(())))
}

/// Opens an empty store in a file, and the folder to be deleted after use.
pub fn open_sqlite() -> Ready<(Store, Place)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::open(&path, &SqliteSettings::default()).expect("opens");
    ready((Arc::new(store), Box::new(folder)))
}

/// Opens an empty store in a Redis server of its own.
pub async fn open_redis() -> (Store, Place) {
    let redis = Redis::start();
    let settings = RedisSettings {
        revisions_kept: Duration::ZERO,
        ..RedisSettings::new(redis.url().as_str().into())
    };
    let store = RedisStore::open(&settings).await.expect("opens");
    (Arc::new(store), Box::new(redis))
}
