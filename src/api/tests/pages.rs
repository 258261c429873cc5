//! Lists in pages: none of many jobs is too large, and going on leaves none out.

use serde_json::{Value, json};

use super::fixture::{ALICE, Api};

/// Follows the cursors; returns how many jobs each page had, and all jobs.
async fn pages(api: &Api, query: &str) -> (Vec<usize>, Vec<Value>) {
    let (mut counts, mut jobs, mut cursor) = (Vec::new(), Vec::new(), "&cursor=".to_owned());
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

/// As the original's clients do, which know of no cursor and take a page of fewer than they asked for to be
/// the last.
#[tokio::test(start_paused = true)]
async fn who_goes_on_by_offset_misses_no_job_of_a_large_page() {
    let api = Api::start().await;
    let input = json!({"text": "x".repeat(900 << 10)});
    let jobs = create(&api, 14, &input).await;
    let mut listed = Vec::new();
    for (offset, count, short) in [(0, 12, 2), (12, 2, 0)] {
        let path = format!("/api/v1/jobs?limit=12&offset={offset}");
        let rows = api.get(ALICE, &path).await.json();
        let rows = rows.as_array().expect("rows");
        assert_eq!(rows.len(), count, "{path}");
        for (place, row) in rows.iter().enumerate() {
            let job = &row["context_snapshot"];
            assert_eq!(job["status"], "finished");
            if place < count - short {
                assert!(job["result"] == input, "{place} is whole");
                assert_eq!(job["left_out"], Value::Null);
            } else {
                assert_eq!(job["result"], Value::Null);
                let bytes = input.to_string().len();
                assert_eq!(job["left_out"], json!({"result": bytes}));
            }
            listed.push(row["job_id"].clone());
        }
    }
    assert_eq!(listed, jobs);
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
