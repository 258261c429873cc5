//! The documentation's page has all that it loads, and may load nothing else.

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};

use super::fixture::{Api, request};
use crate::base::crypto;

/// What Swagger UI's folder says of its files.
const SWAGGER_UI: &str = include_str!("../docs/swagger-ui/README.md");

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn bytes_of(response: Response<Body>) -> Vec<u8> {
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    body.expect("in memory").into()
}

/// Returns what stands between a text and the next quote, wherever the text is.
fn quoted<'a>(html: &'a str, before: &str) -> Vec<&'a str> {
    html.split(before)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_slash_at_the_end_leads_to_the_page() {
    let api = Api::start().await;
    let answer = api.call(request("GET /_public/docs/")).await;
    assert_eq!(answer.status(), 308);
    assert_eq!(text_of(answer.headers(), "location"), "../docs");
}

#[tokio::test(start_paused = true)]
async fn the_page_has_all_that_it_loads_and_may_load_it() {
    let api = Api::start().await;
    let page = api.call(request("GET /_public/docs")).await;
    assert_eq!(page.status(), 200);
    let headers = page.headers().clone();
    assert_eq!(
        text_of(&headers, "content-type"),
        "text/html; charset=utf-8"
    );
    assert_eq!(text_of(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(text_of(&headers, "cache-control"), "no-store");
    let policy = text_of(&headers, "content-security-policy");
    let html = String::from_utf8(bytes_of(page).await).expect("text");

    // Nothing within the page, nothing from elsewhere.
    assert!(!policy.contains("unsafe"), "{policy}");
    for inline in [
        "<style",
        "style=",
        "javascript:",
        "onload=",
        "http:",
        "https:",
    ] {
        assert!(!html.contains(inline), "{inline}: {html}");
    }
    assert_eq!(html.matches("<script").count(), 2);
    let scripts = quoted(&html, "<script src=\"");
    assert_eq!(scripts.len(), 2, "{html}");
    let styles = quoted(&html, "<link rel=\"stylesheet\" href=\"");
    assert_eq!(styles.len(), 2, "{html}");

    let wanted = [("script-src", scripts), ("style-src", styles)];
    for (directive, addresses) in wanted {
        assert!(policy.contains(&format!("{directive} 'self'")), "{policy}");
        for address in addresses {
            let line = format!("GET /_public/{address}");
            let answer = api
                .call(request(&format!("{line}\nAccept-Encoding: gzip, br")))
                .await;
            assert_eq!(answer.status(), 200, "{line}");
            let headers = answer.headers();
            let expected = match directive {
                "script-src" => "text/javascript; charset=utf-8",
                _ => "text/css; charset=utf-8",
            };
            assert_eq!(text_of(headers, "content-type"), expected, "{line}");
            assert_eq!(text_of(headers, "x-content-type-options"), "nosniff");
            assert!(text_of(headers, "cache-control").contains("immutable"));
            let etag = text_of(headers, "etag").to_owned();
            assert!(address.contains(etag.trim_matches('"')), "{address} {etag}");
            let known = format!("{line}\nIf-None-Match: {etag}");
            let again = api.call(request(&known)).await;
            assert_eq!(again.status(), 304, "{line}");
            assert_eq!(text_of(again.headers(), "etag"), etag);
            assert!(bytes_of(again).await.is_empty());
        }
    }
    // The page's own script asks for the document, which is this server's.
    assert!(policy.contains("connect-src 'self'"), "{policy}");
    for link in ["docs/plain", "openapi.json"] {
        assert!(html.contains(&format!("href=\"{link}\"")), "{link}");
        let answer = api.send(&format!("GET /_public/{link}")).await;
        assert_eq!(answer.status, 200, "{link}");
    }
    let plain = api.send("GET /_public/docs/plain").await.body;
    assert!(plain.contains("href=\"../docs\""));
    assert!(!plain.contains("<script"));
}

/// A body refers to its schema: a blueprint's input is among them.
#[tokio::test(start_paused = true)]
async fn the_page_without_scripts_shows_every_schema() {
    let api = Api::start().await;
    let document = api.send("GET /_public/openapi.json").await.json();
    let plain = api.send("GET /_public/docs/plain").await.body;
    let schemas = document["components"]["schemas"].as_object();
    let names: Vec<_> = schemas.expect("a list").keys().collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let shown = format!("<summary>{name}</summary>");
        assert!(plain.contains(&shown), "{name}");
    }
}

/// They are sent packed to who takes that, and come out as the publisher has made them.
#[tokio::test(start_paused = true)]
async fn swagger_ui_is_as_it_was_published() {
    let api = Api::start().await;
    let mut sent = 0;
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        let line = format!("GET /_public/docs/{name}");
        let packed = api
            .call(request(&format!("{line}\nAccept-Encoding: gzip")))
            .await;
        assert_eq!(text_of(packed.headers(), "content-encoding"), "gzip");
        assert_eq!(text_of(packed.headers(), "vary"), "accept-encoding");
        sent += bytes_of(packed).await.len();
        let plain = api.call(request(&line)).await;
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        let digest = crypto::sha256_hex(&bytes_of(plain).await);
        let row = format!("| `{name}.gz` | `{digest}` |");
        assert!(SWAGGER_UI.contains(&row), "{row}");
    }
    assert!(sent < 500_000, "the binary carries {sent} bytes");
}

#[tokio::test(start_paused = true)]
async fn no_other_file_is_there() {
    let api = Api::start().await;
    for name in [
        "LICENSE",
        "mod.rs",
        "..%2fmod.rs",
        "swagger-ui-bundle.js.gz",
    ] {
        let answer = api.send(&format!("GET /_public/docs/{name}")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "file_not_found")
        );
    }
}
