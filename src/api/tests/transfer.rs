//! Files, links and compressed bodies.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::fixture::{ALICE, Api, BOB, request};
use super::story::Answer;
use crate::api::ApiSettings;

#[tokio::test(start_paused = true)]
async fn files_go_up_and_down() {
    let api = Api::start().await;
    let job = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "I"}}),
        )
        .await;
    let content = "x".repeat(3 << 20);
    let header = format!("X-Client-Token: {ALICE}");
    let path = format!("/api/v1/jobs/{job}/files");
    let answer = api
        .send(&format!(
            "PUT {path}/content/a%20b.txt\n{header}\n\n{content}"
        ))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.json()["s3_uri"],
        format!("memory://jobs/{job}/a b.txt")
    );
    assert_eq!(answer.json()["size"], content.len());
    let list = api.get(ALICE, &path).await.json();
    assert_eq!(list[0]["filename"], "a b.txt");
    let answer = api.get(ALICE, &format!("{path}/download/a%20b.txt")).await;
    assert_eq!(answer.status, 302);
    let url = answer.headers["location"]
        .strip_prefix("http://api.test")
        .expect("ours")
        .to_owned();
    let answer = api.send(&format!("GET {url}")).await;
    assert_eq!((answer.status, answer.body == content), (200, true));
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    for changed in [
        url.replace("a%20b", "a%20c"),
        url.replace("expires=1", "expires=2"),
    ] {
        assert_eq!(
            api.send(&format!("GET {changed}")).await.code(),
            "link_invalid",
            "{changed}"
        );
    }
    assert_eq!(
        api.send(&format!("PUT {url}\n\nx")).await.code(),
        "link_invalid",
        "to read only"
    );
    api.pass(61_000);
    assert_eq!(
        api.send(&format!("GET {url}")).await.code(),
        "link_invalid",
        "a minute only"
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_lets_anybody_upload_one_file_for_a_while() {
    let api = Api::start().await;
    let job = api
        .create(
            ALICE,
            "/api/v1/jobs/ask",
            &json!({"initial_data": {"who": "I"}}),
        )
        .await;
    let path = format!("/api/v1/jobs/{job}/files/upload?filename=in.bin&expires_in=10");
    let link = api.get(ALICE, &path).await.json();
    assert_eq!(
        (&link["method"], &link["expires_in"]),
        (&json!("PUT"), &json!(10))
    );
    let url = link["url"]
        .as_str()
        .and_then(|url| url.strip_prefix("http://api.test"));
    let put = format!("PUT {}\n\nhello", url.expect("ours"));
    assert_eq!(api.send(&put).await.json()["size"], 5);
    let decided = json!({"decision": "approved"});
    api.post(ALICE, &format!("/api/v1/jobs/{job}/approve"), &decided)
        .await;
    assert_eq!(api.send(&put).await.code(), "job_ended");
    let refused = api.get(ALICE, &path).await;
    assert_eq!(refused.code(), "job_ended", "no link that leads nowhere");
    api.pass(10_000);
    assert_eq!(api.send(&put).await.code(), "link_invalid");
    assert_eq!(api.get(BOB, &path).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_link_may_be_for_just_so_many_bytes() {
    let settings = ApiSettings {
        upload_bytes_max: 10,
        ..ApiSettings::default()
    };
    let api = Api::with(settings).await;
    let job = api.create(ALICE, "/api/v1/jobs/listen", &json!({})).await;
    let link = |size: &str| format!("/api/v1/jobs/{job}/files/upload?filename=in.bin&size={size}");
    for wrong in ["", "-1", "1.5", "11", "x"] {
        let refused = api.get(ALICE, &link(wrong)).await;
        assert_eq!(refused.code(), "invalid_query", "{wrong}");
    }
    let link = api.get(ALICE, &link("5")).await.json();
    let url = link["url"].as_str().expect("a link");
    let put = |url: &str, content: &str| format!("PUT {url}\n\n{content}");
    for (content, code) in [("hello!", "body_too_large"), ("hell", "upload_interrupted")] {
        assert_eq!(api.send(&put(url, content)).await.code(), code);
    }
    for other in ["size=6", "size=4", "x=1"] {
        let url = url.replace("size=5", other);
        assert_eq!(api.send(&put(&url, "hello!")).await.code(), "link_invalid");
    }
    let files = format!("/api/v1/jobs/{job}/files");
    assert_eq!(api.get(ALICE, &files).await.json(), json!([]));
    assert_eq!(api.send(&put(url, "hello")).await.json()["size"], 5);
}

#[tokio::test(start_paused = true)]
async fn an_upload_has_a_limit_of_its_own() {
    let settings = ApiSettings {
        upload_bytes_max: 10,
        body_bytes_max: 30,
        ..ApiSettings::default()
    };
    let api = Api::with(settings).await;
    let job = api.create(ALICE, "/api/v1/jobs/listen", &json!({})).await;
    let put = |name: &str, content: &str| {
        format!("PUT /api/v1/jobs/{job}/files/content/{name}\nX-Client-Token: {ALICE}\n\n{content}")
    };
    assert_eq!(api.send(&put("a", "0123456789")).await.status, 200);
    let refused = api.send(&put("b", "0123456789x")).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (413, "body_too_large")
    );
    let list = api
        .get(ALICE, &format!("/api/v1/jobs/{job}/files"))
        .await
        .json();
    assert_eq!(
        list.as_array().map(Vec::len),
        Some(1),
        "nothing of it was stored"
    );
}

/// Whoever uploads slowly, and much at once, takes the places of nobody else.
#[tokio::test(start_paused = true)]
async fn one_client_has_a_part_of_the_places_for_uploads() {
    let api = Api::start().await;
    let mut jobs = Vec::new();
    for token in [ALICE, BOB] {
        jobs.push(api.create(token, "/api/v1/jobs/listen", &json!({})).await);
    }
    // A letter each second.
    let put = async |client: usize, seconds: usize| {
        let letters = futures::stream::iter(0..seconds).then(|_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>("x")
        });
        let path = format!("/api/v1/jobs/{}/files/content/{seconds}", jobs[client]);
        let request = Request::put(path)
            .header("x-client-token", [ALICE, BOB][client])
            .body(Body::from_stream(letters))
            .expect("a request");
        Answer::of(api.call(request).await).await
    };
    // A quarter of eight for each.
    let (long, short, patient, refused, other) = tokio::join!(
        put(0, 100),
        put(0, 20),
        // Waits for the second's place.
        put(0, 50),
        put(0, 1),
        put(1, 2),
    );
    for stored in [long, short, patient, other] {
        assert_eq!(stored.status, 200, "{}", stored.body);
    }
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(put(0, 1).await.status, 200);
}

/// There the job's own large values are.
#[tokio::test(start_paused = true)]
async fn no_file_takes_the_place_of_large_values() {
    let api = Api::start().await;
    let job = api.create(ALICE, "/api/v1/jobs/listen", &json!({})).await;
    let path = format!("/api/v1/jobs/{job}/files");
    let put = format!("PUT {path}/content/payloads\nX-Client-Token: {ALICE}\n\nx");
    let refused = api.send(&put).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "invalid_file_name")
    );
    let link = format!("{path}/upload?filename=payloads");
    assert_eq!(api.get(ALICE, &link).await.code(), "invalid_file_name");
}

fn gzip(text: &[u8]) -> Vec<u8> {
    // A stored block: the simplest stream that is gzip.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let length = u16::try_from(text.len()).expect("short");
    out.push(1);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.write_all(text).expect("in memory");
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

#[tokio::test(start_paused = true)]
async fn compressed_requests() {
    let api = Api::start().await;
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = Request::post("/api/v1/jobs/work")
            .header("x-client-token", ALICE)
            .header("content-encoding", encoding)
            .body(Body::from(body))
            .expect("a request");
        Answer::of(api.call(request).await).await
    };
    assert_eq!(
        send("gzip", gzip(br#"{"initial_data":{"n":1}}"#))
            .await
            .status,
        202
    );
    assert_eq!(
        send("gzip", b"not gzip".to_vec()).await.code(),
        "invalid_json"
    );
    let refused = send("br", b"{}".to_vec()).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (415, "unsupported_encoding")
    );
}

#[tokio::test(start_paused = true)]
async fn compressed_answers() {
    let api = Api::start().await;
    for (accept, encoding) in [
        ("gzip, deflate", Some("gzip")),
        ("zstd, gzip", Some("zstd")),
        ("zstd;q=0, gzip", Some("gzip")),
        ("identity", None),
        ("br", None),
    ] {
        let text = format!("GET /_public/openapi.json\nAccept-Encoding: {accept}");
        let answer = api.send(&text).await;
        assert_eq!(
            answer.headers.get("content-encoding").map(String::as_str),
            encoding,
            "{accept}"
        );
        assert_eq!(
            answer.headers["x-rxon-version"], "1.0b17",
            "other headers stay (WQ6)"
        );
        assert!(
            answer.headers["vary"]
                .to_lowercase()
                .contains("accept-encoding"),
            "{accept}"
        );
    }
    let small = api.send("GET /_public/status\nAccept-Encoding: gzip").await;
    assert!(!small.headers.contains_key("content-encoding"));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_measured_after_it_was_inflated() {
    let text = "GET /_public/openapi.json\nAccept-Encoding: gzip";
    let response = Api::start().await.call(request(text)).await;
    let packed = response
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    let bytes_max = packed.len() * 2;
    let api = Api::with(ApiSettings {
        body_bytes_max: bytes_max,
        ..ApiSettings::default()
    })
    .await;
    let request = Request::post("/api/v1/jobs/work")
        .header("x-client-token", ALICE)
        .header("content-encoding", "gzip")
        .body(Body::from(packed))
        .expect("a request");
    let answer = Answer::of(api.call(request).await).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
}

/// Over HTTP/2 there is no `Host`: the address stands in the request's target.
#[tokio::test(start_paused = true)]
async fn a_link_leads_to_where_the_client_came() {
    let api = Api::with(ApiSettings {
        rate_limits: None,
        ..ApiSettings::default()
    })
    .await;
    let job = api.create(ALICE, "/api/v1/jobs/work", &json!({})).await;
    let path = format!("/api/v1/jobs/{job}/files/upload?filename=a");
    let targets = [
        format!("GET {path}\nHost: jobs.test:81"),
        format!("GET http://jobs.test:81{path}"),
    ];
    for target in targets {
        let answer = api
            .send(&format!("{target}\nX-Client-Token: {ALICE}"))
            .await;
        let body = answer.json();
        let url = body["url"].as_str().expect("a link");
        assert!(
            url.starts_with("http://jobs.test:81/_public/files/"),
            "{url}"
        );
    }
}
