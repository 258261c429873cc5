//! When what other orchestrators did was not heard.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::runtime::{Beat, Settings};
use avtomatika::store::Hint;
use tokio::sync::broadcast;

use crate::away::{Fickle, LATE};
use crate::fixture::Fixture;

/// However often everything is looked at again, whoever is not heard of is forgotten in time.
#[tokio::test(start_paused = true)]
async fn a_look_at_everything_lets_nobody_live_longer() {
    let (hints, _) = broadcast::channel(16);
    let mut store = Fickle::default();
    store.hints = Some(hints.clone());
    let world = Fixture::start_on(Arc::new(store), Settings::default(), LATE).await;
    let (silent, heard) = (
        world.worker("silent", &["work"]).await,
        world.worker("heard", &["work"]).await,
    );
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(15)).await;
        hints.send(Hint::Missed).expect("the runtime listens");
        let answer = world.runtime.heartbeat(&heard, Beat::default()).await;
        assert!(answer.expect("is stored").is_some(), "is known");
    }
    assert!(world.runtime.worker(&silent).is_none());
    assert!(world.runtime.worker(&heard).is_some());
    world.stop().await;
}
