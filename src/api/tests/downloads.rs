//! How many files are on their way to readers, and for how long.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::fixture::{ALICE, Api};

/// Returns a link to a file of a new job's that is larger than what is on its way to a reader at once.
async fn large_file(api: &Api) -> String {
    let job = api.create(ALICE, "/api/v1/jobs/listen", &json!({})).await;
    let path = format!("/api/v1/jobs/{job}/files");
    let content = "x".repeat(3 << 20);
    let put = format!("PUT {path}/content/f\nX-Client-Token: {ALICE}\n\n{content}");
    assert_eq!(api.send(&put).await.status, 200);
    let answer = api.get(ALICE, &format!("{path}/download/f")).await;
    let url = answer.headers["location"].strip_prefix("http://api.test");
    url.expect("ours").to_owned()
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).expect("a request")
}

/// Whoever has links to one job's files cannot have all the places.
#[tokio::test(start_paused = true)]
async fn one_job_has_a_part_of_the_places_for_downloads() {
    let api = Api::start().await;
    let (own, other) = (large_file(&api).await, large_file(&api).await);
    let mut reading = Vec::new();
    for _ in 0..16 {
        reading.push(api.call(get(&own)).await);
    }
    let refused = api.send(&format!("GET {own}")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(api.send(&format!("GET {other}")).await.status, 200);
    reading.pop();
    assert_eq!(api.send(&format!("GET {own}")).await.status, 200);
}

/// Over HTTP/2 nobody asks for more of a body of which nothing is taken.
#[tokio::test(start_paused = true)]
async fn a_download_of_which_nothing_is_read_ends() {
    let api = Api::start().await;
    let url = large_file(&api).await;
    let mut left = Vec::new();
    for _ in 0..16 {
        left.push(api.call(get(&url)).await);
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(api.send(&format!("GET {url}")).await.status, 200);
    for answer in left {
        let read = answer.into_body().collect().await;
        assert!(read.is_err(), "it has broken off, which is told");
    }
    // One who takes a little now and then gets all of it.
    let mut pieces = api.call(get(&url)).await.into_body().into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.expect("goes on").len();
        tokio::time::sleep(Duration::from_secs(59)).await;
    }
    assert_eq!(bytes, 3 << 20);
}
