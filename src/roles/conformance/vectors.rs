//! The canonical form in bytes, as the original's own library wrote them. Literal on purpose: a
//! checker that computed them with this program's code would only compare it with itself.
//!
//! Source: wire-protocol §6.4.

/// A JSON text as it may come, and its canonical form.
pub struct Vector {
    /// What it is about.
    pub name: &'static str,
    /// As sent.
    pub text: &'static str,
    /// As signed.
    pub canonical: &'static str,
}

const fn vector(name: &'static str, text: &'static str, canonical: &'static str) -> Vector {
    Vector {
        name,
        text,
        canonical,
    }
}

/// Values that lie below the top level of a message.
pub const NESTED: [Vector; 9] = [
    vector("order of keys", r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
    vector(
        "nulls",
        r#"{"z":null,"a":{"y":null,"x":[null,{"q":null}]}}"#,
        r#"{"a":{"x":[null,{}]}}"#,
    ),
    vector(
        "numbers",
        r#"{"f":1.0,"g":-0.0,"h":2.50,"i":1e3,"j":1E-7,"k":0.000001,"l":0.00001,"m":123456789012345678}"#,
        r#"{"f":1,"g":0,"h":2.5,"i":1000,"j":1e-7,"k":1e-6,"l":0.00001,"m":123456789012345678}"#,
    ),
    vector(
        "escapes",
        r#"{"s":"\u00e9\u2028\u007f/\"\\\b\f\n\r\t\u0001\ud83d\ude00"}"#,
        "{\"s\":\"\u{e9}\u{2028}\u{7f}/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{1f600}\"}",
    ),
    vector(
        "keys by code point",
        r#"{"é":1,"z":2,"Z":3,"a.b":4,"a":5,"":6,"\uffff":7,"\ud800\udc00":8}"#,
        "{\"\":6,\"Z\":3,\"a\":5,\"a.b\":4,\"z\":2,\"é\":1,\"\u{ffff}\":7,\"\u{10000}\":8}",
    ),
    vector(
        "left out at the top only",
        r#"{"security":{"signature":"x"},"_signature":"y","sig":"keep"}"#,
        r#"{"_signature":"y","security":{"signature":"x"},"sig":"keep"}"#,
    ),
    vector(
        "edges of 64 bits",
        r#"{"e":{},"l":[],"t":true,"f":false,"d":0.1,"n":18446744073709551615,"m":-9223372036854775808}"#,
        r#"{"d":0.1,"e":{},"f":false,"l":[],"m":-9223372036854775808,"n":18446744073709551615,"t":true}"#,
    ),
    vector("repeated keys", r#"{"dup":1,"dup":2}"#, r#"{"dup":2}"#),
    vector(
        "shortest digits",
        "[0.3333333333333333,123456789.123,1234567890123456.7,0.00001234,1.5e-7,5e-324,1e16,1e19]",
        "[0.3333333333333333,123456789.123,1234567890123456.8,0.00001234,1.5e-7,5e-324,10000000000000000,10000000000000000000]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{canonical_form, parse_json};

    #[test]
    fn our_own_canonical_form_agrees() {
        for vector in NESTED {
            let value = parse_json(vector.text.as_bytes()).unwrap();
            let bytes = canonical_form(&value).unwrap();
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                vector.canonical,
                "{}",
                vector.name
            );
        }
    }
}
