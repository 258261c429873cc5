//! The strings in a JSON document, with their places.

use serde_json::Value;

/// A string that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Leads to it: `/a/b/0`.
    pub(super) pointer: String,
    /// The same as the wire writes it: `a.b[0]`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

/// Returns the strings that `is_wanted` wants, in the document's order.
pub(super) fn strings(value: &Value, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    // A stack of what is still to be seen: a document may be deep.
    let mut open = vec![(String::new(), String::new(), value)];
    while let Some((pointer, path, value)) = open.pop() {
        match value {
            Value::String(text) if is_wanted(text) => found.push(Found {
                pointer,
                path,
                text: text.clone(),
            }),
            Value::Array(items) => {
                let items = items.iter().enumerate().rev();
                open.extend(items.map(|(index, item)| {
                    (
                        format!("{pointer}/{index}"),
                        format!("{path}[{index}]"),
                        item,
                    )
                }));
            }
            Value::Object(members) => {
                let members = members.iter().rev();
                open.extend(members.map(|(name, item)| {
                    let escaped = name.replace('~', "~0").replace('/', "~1");
                    let dot = if path.is_empty() { "" } else { "." };
                    (
                        format!("{pointer}/{escaped}"),
                        format!("{path}{dot}{name}"),
                        item,
                    )
                }));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_strings_and_says_where() {
        let value = json!({"a": {"b": ["s3://x", 1, "y"]}, "c/d~e": "s3://z", "f": "w"});
        let found = strings(&value, &|text| text.starts_with("s3://"));
        let places: Vec<(&str, &str)> = found
            .iter()
            .map(|one| (one.path.as_str(), one.text.as_str()))
            .collect();
        assert_eq!(places, [("a.b[0]", "s3://x"), ("c/d~e", "s3://z")]);
        for one in &found {
            assert_eq!(value.pointer(&one.pointer), Some(&json!(one.text)));
        }
    }
}
