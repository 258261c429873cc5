//! The sink's routes without a socket: requests in, answers and inbox out.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::base::Timestamp;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_800_000_000;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(NOW * 1000)
    }
}

fn sink(secret: Option<&str>, keep: usize) -> (Router, Inbox) {
    let inbox = Inbox::new(keep);
    let config = SinkConfig {
        metrics: SinkMetrics::new(),
        traces: Traces::default(),
        secret: secret.map(Secret::from),
        keep,
        printer: None,
        clock: Arc::new(Fixed),
    };
    (router(config, inbox.clone()), inbox)
}

fn delivery(id: &str, sent: i64, body: &str) -> Request<Body> {
    let signature = webhook::sign(&SECRET.into(), id, sent, body.as_bytes());
    Request::post("/")
        .header(webhook::HEADER_ID, id)
        .header(webhook::HEADER_TIMESTAMP, sent.to_string())
        .header(webhook::HEADER_SIGNATURE, signature)
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

async fn answer(router: &Router, request: Request<Body>) -> (u16, String) {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn good_ones_are_kept_once_and_bad_ones_refused() {
    let (router, inbox) = sink(Some(SECRET), 10);
    let body = r#"{"event":"job_finished","job_id":"j1","status":"finished"}"#;
    let mut forged = delivery("c", NOW, body);
    *forged.body_mut() = Body::from(body.replace("j1", "j2"));
    let unsigned = Request::post("/")
        .body(Body::from(body))
        .expect("a request");
    let cases = [
        ("new", delivery("a", NOW, body), 200, "received"),
        ("again", delivery("a", NOW + 1, body), 200, "repeated"),
        ("old", delivery("b", NOW - 301, body), 401, "timestamp"),
        ("forged", forged, 401, "no signature matches"),
        ("unsigned", unsigned, 401, "webhook-id is missing"),
        ("not JSON", delivery("d", NOW, "hello"), 400, "not JSON"),
        (
            "too large",
            delivery("e", NOW, &"x".repeat(BODY_BYTES_MAX + 1)),
            413,
            "",
        ),
    ];
    for (name, request, status, word) in cases {
        let (seen, text) = answer(&router, request).await;
        assert_eq!(seen, status, "{name}: {text}");
        assert!(text.contains(word), "{name}: {text}");
    }
    let kept = inbox.all();
    assert_eq!((kept.len(), inbox.repeats()), (1, 1));
    assert!(kept[0].verified);
    assert_eq!(
        line(&kept[0]),
        "2027-01-15T08:00:00.000Z  verified  job_finished  job j1  finished"
    );
}

#[tokio::test]
async fn the_last_ones_are_shown_to_programs_and_people() {
    let (router, inbox) = sink(None, 2);
    for number in 0..3 {
        let body = format!("{{\"event\":\"<b>{number}\",\"job_id\":\"j\"}}");
        let request = Request::post("/hooks")
            .body(Body::from(body))
            .expect("a request");
        assert_eq!(answer(&router, request).await.0, 200);
    }
    assert_eq!(inbox.all().len(), 2);
    let get = |accept: &str| {
        Request::get("/")
            .header("accept", accept)
            .body(Body::empty())
            .expect("a request")
    };
    let (_, json) = answer(&router, get("application/json")).await;
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["webhooks"][1]["body"]["event"], "<b>2");
    let (_, page) = answer(&router, get("text/html")).await;
    assert!(
        page.contains("&lt;b&gt;2") && !page.contains("<b>2"),
        "{page}"
    );
    let missing = Request::get("/x").body(Body::empty()).expect("a request");
    assert_eq!(answer(&router, missing).await.0, 404);
}

#[tokio::test]
async fn whoever_waits_is_told() {
    let (router, inbox) = sink(None, 10);
    let waiting = inbox.wait_for(|one| one.body["job_id"] == "wanted");
    let sending = async {
        for job in ["other", "wanted"] {
            let body = format!("{{\"job_id\":\"{job}\"}}");
            answer(
                &router,
                Request::post("/")
                    .body(Body::from(body))
                    .expect("a request"),
            )
            .await;
        }
    };
    let (found, ()) = tokio::join!(waiting, sending);
    assert_eq!(found.body["job_id"], "wanted");
}
