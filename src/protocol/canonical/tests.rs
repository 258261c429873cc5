//! Numbers, nesting and whole texts. The byte vectors are in `vectors.rs`.

use serde_json::{Value, json};

use super::*;
use crate::protocol::{sign, verify};

#[test]
fn numbers() {
    for (input, canonical) in [
        (0.1, Some("0.1")),
        (1.0 / 3.0, Some("0.3333333333333333")),
        (123_456_789.123, Some("123456789.123")),
        (1_234_567_890_123_456.7, Some("1234567890123456.8")),
        (0.0001, Some("0.0001")),
        (0.000_012_34, Some("0.00001234")),
        (1.5e-7, Some("1.5e-7")),
        (1e-10, Some("1e-10")),
        (5e-324, Some("5e-324")),
        (1e16, Some("10000000000000000")),
        (1e19, Some("10000000000000000000")),
        (2e19, None),
        (-9_223_372_036_854_775_808.0, Some("-9223372036854775808")),
        (-1e19, None),
        (-2.0, Some("-2")),
        (18_446_744_073_709_551_616.0, None),
    ] {
        let seen = canonical_form(&json!(input))
            .ok()
            .map(|b| String::from_utf8(b).unwrap());
        assert_eq!(seen.as_deref(), canonical, "{input}");
    }
    for text in [
        "18446744073709551616",
        "-9223372036854777856",
        "1e20",
        "[1e300]",
    ] {
        let error = parse_json(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, WireError::NumberOutOfRange(_)),
            "{text}: {error}"
        );
    }
    assert_eq!(
        to_wire_bytes(&json!({"b": 1e300, "a": null, "c": 2.0})),
        br#"{"b":1e+300,"c":2}"#
    );
}

#[test]
fn nesting() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse_json(nested(30).as_bytes()).is_ok());
    assert_eq!(
        parse_json(nested(31).as_bytes()),
        Err(WireError::TooDeep { max: 30 })
    );
    assert!(parse_json(nested(100_000).as_bytes()).is_err());
    let mut deep = json!(1);
    for _ in 0..31 {
        deep = json!({ "a": deep });
    }
    assert_eq!(sign(&deep, "k", &[]), Err(WireError::TooDeep { max: 30 }));
    assert!(!verify(&deep, "k", &[], ""));
    assert_eq!(to_wire_bytes(&deep).len(), 31 * 6 + 1);
}

#[test]
fn one_whole_text_only() {
    for bytes in [
        &b""[..],
        b"{} {}",
        b"{\"a\":NaN}",
        b"{\"a\":1e999}",
        b"\"\\ud800\"",
        b"\xff",
        b"{",
    ] {
        assert!(
            matches!(parse_json(bytes), Err(WireError::NotJson(_))),
            "{bytes:?}"
        );
    }
    assert_eq!(parse_json(b" null\n"), Ok(Value::Null));
}
