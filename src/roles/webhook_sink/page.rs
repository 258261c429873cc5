//! The sink's page for browsers: a table, no script, nothing from elsewhere.

use super::inbox::Received;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Webhooks</title><style>\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem;\
border-bottom:1px solid #8884;vertical-align:top}pre{margin:0;white-space:pre-wrap;\
word-break:break-word;font-size:.85rem}</style></head><body><h1>Webhooks</h1>";

/// Returns the page, newest first.
#[must_use]
pub fn render(all: &[Received], repeats: u64) -> String {
    let mut page = String::from(HEAD);
    page.push_str(&format!(
        "<p>{} kept, {repeats} repeats dropped.</p>",
        all.len()
    ));
    page.push_str(
        "<table><thead><tr><th>Received</th><th>Event</th><th>Job</th><th>Status</th>\
         <th>Signature</th><th>Body</th></tr></thead><tbody>",
    );
    for received in all.iter().rev() {
        let text = |name: &str| escaped(received.body[name].as_str().unwrap_or("-"));
        let proof = if received.verified {
            "verified"
        } else {
            "not checked"
        };
        let body = serde_json::to_string_pretty(&received.body).unwrap_or_default();
        page.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{proof}</td>\
             <td><details><summary>show</summary><pre>{}</pre></details></td></tr>",
            received.received_at,
            text("event"),
            text("job_id"),
            text("status"),
            escaped(&body),
        ));
    }
    page.push_str("</tbody></table></body></html>");
    page
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
