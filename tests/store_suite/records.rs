//! What lies beside the jobs: data stores, history, blueprints.

use std::sync::Arc;

use avtomatika::domain::{EventKind, JobStatus};
use avtomatika::engine::Effect;
use avtomatika::store::BlueprintRevision;
use serde_json::json;

use crate::Store;
use crate::fixtures::*;

pub async fn keeps_data_stores_by_blueprint(store: Store) {
    let put = |name: &str, key: &str, value| Effect::PutData {
        store: name.to_owned(),
        key: key.to_owned(),
        value,
    };
    let effects = vec![
        put("users", "b", json!({"ratio": 0.1})),
        put("users", "a", json!(1)),
        put("users", "a", json!([2])),
        put("other", "x", json!(null)),
    ];
    store
        .commit(commit(job(1), effects, vec![]))
        .await
        .expect("commits");
    let stores = store.data_stores("render").await.expect("reads");
    assert_eq!(
        serde_json::to_string(&stores).expect("writes"),
        r#"{"other":{"x":null},"users":{"a":[2],"b":{"ratio":0.1}}}"#
    );
    assert!(
        store
            .data_stores("another")
            .await
            .expect("reads")
            .is_empty()
    );
}

pub async fn keeps_the_first_id_of_its_deployment(store: Store) {
    let first = uuid::Uuid::from_u128(7);
    for proposed in [first, uuid::Uuid::from_u128(8)] {
        let id = store.deployment_id(proposed).await;
        assert_eq!(id.expect("answers"), first);
    }
}

pub async fn keeps_history_once_and_in_order(store: Store) {
    let first = job(1);
    let second = next(&first);
    let lines = [
        event(&first, 0, EventKind::JobCreated),
        event(&first, 1, EventKind::StateStarted),
        event(&second, 0, EventKind::StateFinished),
    ];
    let record = |n: usize| Effect::Record(Arc::new(lines[n].clone()));
    store
        .commit(commit(first.clone(), vec![record(0), record(1)], vec![]))
        .await
        .expect("commits");
    let mut altered = lines[0].clone();
    "altered".clone_into(&mut altered.state);
    let more = vec![
        lines[2].clone(),
        altered,
        event(&job(2), 0, EventKind::JobCreated),
    ];
    store.append(more).await.expect("appends");
    store.append(lines.to_vec()).await.expect("appends");
    let read = |after, limit| store.by_job(first.id, after, limit);
    assert_eq!(read(None, 10).await.expect("reads"), lines);
    assert_eq!(read(None, 2).await.expect("reads"), lines[..2]);
    assert_eq!(read(Some((1, 0)), 10).await.expect("reads"), lines[1..]);
    assert_eq!(read(Some((1, 1)), 10).await.expect("reads"), lines[2..]);
    assert_eq!(read(Some((2, 0)), 10).await.expect("reads"), []);
}

pub async fn pins_blueprints(store: Store) {
    let source = async |name: &str, revision: &str| {
        store.blueprint_source(name, revision).await.expect("reads")
    };
    store
        .put_blueprint("render", "r1", "the first")
        .await
        .expect("stores");
    store
        .put_blueprint("render", "r1", "not any more")
        .await
        .expect("stores");
    store
        .put_blueprint("render", "r2", "the second")
        .await
        .expect("stores");
    assert_eq!(source("render", "r1").await.as_deref(), Some("the first"));
    assert_eq!(source("render", "r2").await.as_deref(), Some("the second"));
    assert_eq!(source("render", "r3").await, None);
}

pub async fn forgets_revisions_that_no_job_has(store: Store) {
    let one = |name: &str, revision: &str| BlueprintRevision {
        name: name.to_owned(),
        revision: revision.to_owned(),
    };
    for (name, revision) in [
        ("render", "r1"),
        ("render", "r2"),
        ("render", "r3"),
        ("a", "r1"),
    ] {
        let stored = store.put_blueprint(name, revision, "source").await;
        stored.expect("stores");
    }
    let pinned = job(1);
    let stored = store.commit(commit(pinned.clone(), vec![], vec![])).await;
    stored.expect("commits");
    let newest = [one("render", "r3"), one("gone", "r9")];
    let purge = async || store.purge_blueprints(&newest).await.expect("purges");
    assert_eq!(purge().await, [one("a", "r1"), one("render", "r2")]);
    assert_eq!(purge().await, []);
    let over = ended(&pinned, JobStatus::Finished, NOW);
    let stored = store.commit(commit(over, vec![], vec![])).await;
    stored.expect("commits");
    assert_eq!(purge().await, [], "an ended job may be set going again");
    assert_eq!(store.purge(NOW, 9).await.expect("purges"), [pinned.id]);
    assert_eq!(purge().await, [one("render", "r1")]);
    for (revision, expected) in [("r1", None), ("r2", None), ("r3", Some("source"))] {
        let source = store.blueprint_source("render", revision).await;
        assert_eq!(source.expect("reads").as_deref(), expected, "{revision}");
    }
    let again = store.put_blueprint("render", "r2", "the same").await;
    again.expect("stores");
    let source = store.blueprint_source("render", "r2").await;
    assert_eq!(source.expect("reads").as_deref(), Some("the same"));
}

pub async fn keeps_numbers_exactly(store: Store) {
    let mut job = job(1);
    let mut numbers: Vec<serde_json::Value> = [
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        -0.0,
        0.1 + 0.2,
        1_795_422_093.123_456_7,
    ]
    .map(Into::into)
    .to_vec();
    for n in 0..200_u32 {
        let share = avtomatika::base::crypto::share(&[&n.to_be_bytes()]);
        numbers.push((share * 1e9).into());
    }
    numbers.extend([u64::MAX, 9_007_199_254_740_993].map(serde_json::Value::from));
    numbers.push(i64::MIN.into());
    job.initial_data = Arc::new(serde_json::Value::Array(numbers));
    store
        .commit(commit(job.clone(), vec![], vec![]))
        .await
        .expect("commits");
    assert_eq!(store.load(job.id).await.expect("loads"), Some(job));
}
