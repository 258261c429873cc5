//! What is missing, and what cannot be compared.

use serde_json::json;

use super::{check, check_error, check_when};

#[test]
fn missing_values_in_templates_are_errors_unless_there_is_a_default() {
    for (source, part) in [
        (
            "{{ initial_data.trigger }}",
            "`initial_data.trigger` has no value",
        ),
        (
            "{{ initial_data.a.b.c }}",
            "`initial_data.a.b.c` has no value",
        ),
        (
            "x {{ initial_data.a.b }}",
            "`initial_data.a.b` has no value",
        ),
        ("{{ [initial_data.a] }}", "`initial_data.a` has no value"),
        (
            "{{ initial_data.a | upper }}",
            "`initial_data.a` has no value",
        ),
        ("{{ initial_data.a + 1 }}", "`initial_data.a` has no value"),
        ("{{ initial_data.a == 1 }}", "`initial_data.a` has no value"),
        ("{{ initial_data.a[:2] }}", "`initial_data.a` has no value"),
        (
            "{{ initial_data.size.a }}",
            "`initial_data.size.a` has no value",
        ),
        (
            "{{ data_stores.user_prefs[initial_data.nobody] }}",
            "`initial_data.nobody` has no value",
        ),
        (
            "{{ data_stores.user_prefs[initial_data.quality] }}",
            "`data_stores.user_prefs[initial_data.quality]` has no value",
        ),
        ("{{ initial_data.a or initial_data.b }}", "has no value"),
        ("{{ [] | first }}", "has no value"),
        ("{{ 1 + 'x' }}", "unsupported types"),
        ("{{ 1 // 0 }}", "//"),
        ("{{ [1] | merge({}) }}", "`merge` wants a map"),
        ("{{ 'x' * 100000000 }}", "costs more"),
        ("{{ range(1000000) | list | length }}", "range"),
    ] {
        check_error(source, part);
    }
    for (source, expected) in [
        ("{{ initial_data.trigger | default('') }}", json!("")),
        (
            "{{ initial_data.a.b.c | default('x') | upper }}",
            json!("X"),
        ),
        (
            "{{ initial_data.a | default(initial_data.b) | default(3) }}",
            json!(3),
        ),
        ("{{ initial_data.a or 'b' }}", json!("b")),
        ("{{ initial_data.a is defined }}", json!(false)),
        ("{{ 'x' if initial_data.a.b == 1 else 'y' }}", json!("y")),
        (
            "{{ data_stores.user_prefs[initial_data.user_id | default('u')] | default('nothing') }}",
            json!("dark_mode"),
        ),
        (
            "{{ data_stores.absent[initial_data.user_id] | default('nothing') }}",
            json!("nothing"),
        ),
        ("{{ [] | first | default(1) }}", json!(1)),
    ] {
        check(source, &expected);
    }
}

#[test]
fn conditions() {
    for (source, expected) in [
        ("initial_data.quality == \"low\"", true),
        ("initial_data.quality != 'low'", false),
        ("initial_data.yes", true),
        ("initial_data.no or initial_data.tags", true),
        ("not initial_data.no and initial_data.size >= 10", true),
        ("initial_data.size in [1, 10]", true),
        ("'b' in initial_data.tags", true),
        ("'z' not in initial_data.tags", true),
        ("initial_data.nothing is none", true),
        ("initial_data.path is startingwith('/s3')", true),
        ("initial_data.deep", true),
        ("attempt == 2", true),
        ("initial_data.price < initial_data.size", true),
        ("true", true),
        ("(initial_data.yes and not initial_data.no) or false", true),
    ] {
        check_when(source, expected);
    }
}

#[test]
fn missing_values_in_conditions_are_false_like() {
    for (source, expected) in [
        ("initial_data.a", false),
        ("initial_data.a.b.c", false),
        ("not initial_data.a", true),
        ("initial_data.a == 'x'", false),
        ("initial_data.a != 'x'", true),
        ("initial_data.a < 5", false),
        ("initial_data.a > 5", false),
        ("5 >= initial_data.a", false),
        ("initial_data.a + 1 > 0", false),
        ("initial_data.a | length > 0", false),
        ("initial_data.a | length > 0 or initial_data.yes", true),
        ("not (initial_data.a | length > 0)", true),
        ("initial_data.a in [1]", false),
        ("1 in initial_data.a", false),
        ("initial_data.size[initial_data.a]", false),
        ("state_history.nowhere[0].x == 1", false),
        ("initial_data.a is defined", false),
        ("initial_data.a | default(3) == 3", true),
    ] {
        check_when(source, expected);
    }
}

#[test]
fn values_of_different_kinds_are_in_no_order() {
    for source in [
        "initial_data.text_size < 10",
        "initial_data.text_size > 10",
        "initial_data.yes > 0",
        "initial_data.nothing < 1",
        "initial_data.tags < 'x'",
        "initial_data.deep >= initial_data.deep",
    ] {
        check_when(source, false);
    }
    check_when("initial_data.text_size > '10'", true);
    check_when("[1, 2] < [1, 3]", true);
}
