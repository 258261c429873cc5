//! Lists in pages: none of many jobs is too large, and going on by the cursor leaves none out.

use serde_json::{Value, json};

use super::fixture::{ALICE, Api};

/// Follows the cursors; returns how many jobs each page had, and all jobs.
async fn pages(api: &Api, query: &str) -> (Vec<usize>, Vec<Value>) {
    let (mut counts, mut jobs, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?{query}{cursor}");
        let answer = api.get(ALICE, &path).await;
        let rows = answer.json();
        let rows = rows.as_array().expect("rows");
        counts.push(rows.len());
        jobs.extend(rows.iter().map(|row| row["job_id"].clone()));
        let Some(next) = answer.headers.get("x-next-cursor") else {
            return (counts, jobs);
        };
        cursor = format!("&cursor={next}");
    }
}

async fn create(api: &Api, count: usize, input: &Value) -> Vec<Value> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        let path = "/api/quick";
        let job = api
            .create(ALICE, path, &json!({"initial_data": input}))
            .await;
        jobs.push(json!(job));
    }
    // Newest first; in one millisecond chance orders them.
    jobs.sort_by(|a, b| b.as_str().cmp(&a.as_str()));
    jobs
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_large_ends_early() {
    let api = Api::start().await;
    // The tenth makes it larger than 8 MiB.
    let jobs = create(&api, 12, &json!({"text": "x".repeat(900 << 10)})).await;
    assert_eq!(pages(&api, "limit=500").await, (vec![10, 2], jobs));
}

#[tokio::test(start_paused = true)]
async fn a_page_has_as_many_as_are_wanted() {
    let api = Api::start().await;
    let jobs = create(&api, 60, &json!({})).await;
    for (query, counts) in [
        ("limit=59", vec![59, 1]),
        ("limit=61", vec![60]),
        ("limit=25", vec![25, 25, 10]),
        ("limit=50", vec![50, 10]),
    ] {
        let (seen, listed) = pages(&api, query).await;
        assert_eq!((seen, &listed), (counts, &jobs), "{query}");
    }
    let answer = api.get(ALICE, "/api/v1/jobs?limit=40&offset=7").await;
    let rows = answer.json();
    let ids: Vec<&Value> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["job_id"])
        .collect();
    let expected: Vec<&Value> = jobs[7..47].iter().collect();
    assert_eq!(ids, expected);
}
