//! What a server refuses for good holds up nothing behind it, and is not dropped in silence.

use std::sync::Arc;

use avtomatika::domain::{ClientRef, JobStatus, Object};
use avtomatika::runtime::NewJob;
use avtomatika::store::archive::postgres::PostgresArchive;
use avtomatika::store::archive::uri::Protection;
use avtomatika::store::archive::withheld::MARK;
use avtomatika::store::{Archive, StoreError};
use serde_json::json;

use crate::export::World;
use crate::fixtures::{DAY, batch, event, job};
use crate::hasher;
use crate::on_server;
use crate::servers::postgres::Postgres;
use crate::unsteady::Unsteady;

/// A database whose encoding has not all characters, as an operator may have made it.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_that_refuses_a_text_gets_everything_else() {
    let server = Postgres::start();
    server.run("CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let url = server.url();
    let url = format!("{}narrow", url.trim_end_matches("postgres"));
    let archive = PostgresArchive::new(&url, &Protection::Prefer, hasher());
    let archive: Arc<dyn Archive> = Arc::new(archive.expect("a good address"));
    let unsteady = Unsteady::over(Arc::clone(&archive));
    let world = World::start(unsteady.clone()).await;
    // All of it comes in one batch.
    unsteady.goes(true);
    let mut jobs = world.run(3).await;
    let client = ClientRef {
        id: "acme".into(),
        plan: "free".to_owned(),
        params: Object::new(),
    };
    let new = NewJob::new(client, json!({"said": "größe, 日本"}));
    let odd = world.runtime.submit("told", new).await.expect("accepts");
    let odd = odd.job_id;
    // A client whose very name the server has not.
    let client = ClientRef {
        id: "日本 1".into(),
        plan: "日".to_owned(),
        params: Object::from_iter([("city".to_owned(), "京都".into())]),
    };
    let new = NewJob::new(client, json!({}));
    let foreign = world.runtime.submit("short", new).await.expect("accepts");
    let foreign = foreign.job_id;
    jobs.extend(world.run(4).await);
    unsteady.goes(false);
    world.is_through().await;
    world.says("ok").await;
    world.has_arrived(&jobs).await;

    let own = world.runtime.history(odd, None, 100).await.expect("reads");
    let archived = archive.by_job(odd, None, 100).await.expect("reads");
    assert_eq!(archived.len(), own.len());
    let mut withheld = 0;
    for (archived, own) in archived.iter().zip(&own) {
        if archived.details.contains_key(MARK) {
            withheld += 1;
            let said = json!(own.details).to_string();
            assert!(said.contains("日本"), "{said}");
            assert_eq!((archived.at, &archived.kind), (own.at, &own.kind));
        } else {
            assert_eq!(archived, own);
        }
    }
    let job = archive.job(odd).await.expect("reads").expect("has ended");
    assert_eq!(job.status, JobStatus::Finished);
    assert!(job.initial_data.get(MARK).is_some(), "{job:?}");
    let own = world.runtime.history(foreign, None, 100).await;
    let unnamed = own.expect("reads").len();
    let archived = archive.by_job(foreign, None, 100).await.expect("reads");
    assert_eq!(archived.len(), unnamed);
    for event in &archived {
        assert_eq!(event.client.to_string(), "?? 1");
    }
    let job = archive.job(foreign).await.expect("reads");
    assert_eq!(job.expect("has ended").client.id.to_string(), "?? 1");
    let figures = world.runtime.scrape().await;
    for (part, count) in [("event", withheld + unnamed), ("job", 2)] {
        let line = format!("orchestrator_history_withheld_total{{part=\"{part}\"}} {count}\n");
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    assert_eq!(withheld, 1);
    world.runtime.shutdown().await;
}

/// What the server says of content, and says of everything, is no content: as somebody has altered a
/// table, or when it may not go on before its transaction ids are tended.
#[tokio::test(flavor = "multi_thread")]
async fn server_postgres_that_refuses_everything_gets_everything_afterwards() {
    let server = Postgres::start();
    let archive = on_server(&server);
    let world = World::start(Arc::clone(&archive)).await;
    let mut jobs = world.run(2).await;
    world.is_through().await;
    server.run("ALTER TABLE history_events ALTER COLUMN place TYPE integer");
    let other = job(1, DAY);
    let refused = archive
        .append(batch(vec![event(&other, 0, DAY)], vec![other]))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    jobs.extend(world.run(5).await);
    world.says("degraded since").await;
    assert_eq!(world.store.feed_length().await.expect("counts"), 5);
    server.run("ALTER TABLE history_events ALTER COLUMN place TYPE bigint");
    world.is_through().await;
    world.says("ok").await;
    world.has_arrived(&jobs).await;
    let figures = world.runtime.scrape().await;
    for part in ["event", "job"] {
        let line = format!("orchestrator_history_withheld_total{{part=\"{part}\"}} 0\n");
        assert!(figures.contains(&line), "{line}: {figures}");
    }
    world.runtime.shutdown().await;
}
