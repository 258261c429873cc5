//! What a worker has against what a task requires.

use serde_json::{Value, json};

use super::select::check;
use crate::engine::matching;

#[test]
fn installed() {
    let has = json!({
        "installed_software": { "ffmpeg": "6.1" },
        "installed_artifacts": [
            { "name": "llama", "version": "3", "properties": { "quant": ["q4", "q8"] } } ],
        "capabilities": { "extra": { "zone": "eu", "racks": 2 } },
    });
    let wants = |requires: Value| json!({ "requires": requires });
    let software = |version: &str| wants(json!({ "software": { "ffmpeg": version } }));
    check("any", &software("any"), &has, Ok(()));
    check("exact", &software("6.1"), &has, Ok(()));
    check(
        "other",
        &software("7"),
        &has,
        Err(("software", "software.ffmpeg")),
    );
    check(
        "missing",
        &software("any"),
        &json!({}),
        Err(("software", "software.ffmpeg")),
    );
    let artifact = |artifact: Value| wants(json!({ "artifacts": [artifact] }));
    let lacks = Err(("artifacts", "artifacts.llama"));
    check("name", &artifact(json!({ "name": "llama" })), &has, Ok(()));
    check(
        "unknown",
        &artifact(json!({ "name": "llama", "version": "unknown" })),
        &has,
        Ok(()),
    );
    check(
        "version",
        &artifact(json!({ "name": "llama", "version": "2" })),
        &has,
        lacks,
    );
    let quant =
        |quant: &str| artifact(json!({ "name": "llama", "properties": { "quant": quant } }));
    check("property", &quant("q8"), &has, Ok(()));
    check("no property", &quant("q2"), &has, lacks);
    check(
        "extra",
        &wants(json!({ "extra": { "zone": "eu", "racks": 2.0 } })),
        &has,
        Ok(()),
    );
    let racks = wants(json!({ "extra": { "racks": 1 } }));
    check(
        "extra is equality",
        &racks,
        &has,
        Err(("extra", "extra.racks")),
    );
}

#[test]
fn devices() {
    let gpu = |model: &str, memory: u32| json!({ "type": "gpu", "model": model, "properties": { "memory_gb": memory } });
    let has = json!({ "resources": {
        "devices": [gpu("NVIDIA A100", 80), gpu("NVIDIA L4", 24)],
        "properties": { "cpu_cores": 8, "arch": ["x86", "arm"] },
    } });
    let wants = |devices: Value| json!({ "requires": { "resources": { "devices": devices } } });
    let at = |place: &'static str| Err(("resources", place));
    check(
        "model part",
        &wants(json!([{ "type": "gpu", "model": "a100" }])),
        &has,
        Ok(()),
    );
    check(
        "no such model",
        &wants(json!([{ "type": "gpu", "model": "H100" }])),
        &has,
        at("resources.devices[0].model"),
    );
    check(
        "no such type",
        &wants(json!([{ "type": "tpu" }])),
        &has,
        at("resources.devices[0].type"),
    );
    let memory = |gb: u32| json!({ "type": "gpu", "properties": { "memory_gb": gb } });
    check(
        "too little",
        &wants(json!([memory(81)])),
        &has,
        at("resources.devices[0].properties.memory_gb"),
    );
    let any = json!({ "type": "gpu" });
    check(
        "order does not matter",
        &wants(json!([any, memory(80)])),
        &has,
        Ok(()),
    );
    check(
        "each its own",
        &wants(json!([memory(25), memory(25)])),
        &has,
        at("resources.devices[1].properties.memory_gb"),
    );
    check(
        "three of two",
        &wants(json!([any, any, any])),
        &has,
        at("resources.devices"),
    );
}

#[test]
fn properties() {
    let has = json!({ "resources": { "properties": { "cpu_cores": 8, "arch": ["x86", "arm"] } } });
    let at = |place: &'static str| Err(("resources", place));
    let properties =
        |wanted: Value| json!({ "requires": { "resources": { "properties": wanted } } });
    check(
        "cores",
        &properties(json!({ "cpu_cores": 8 })),
        &has,
        Ok(()),
    );
    check(
        "more cores",
        &properties(json!({ "cpu_cores": 9 })),
        &has,
        at("resources.properties.cpu_cores"),
    );
    check(
        "one of a list",
        &properties(json!({ "arch": "arm" })),
        &has,
        Ok(()),
    );
    check(
        "nothing there",
        &properties(json!({ "cpu_cores": 1 })),
        &json!({}),
        at("resources.properties.cpu_cores"),
    );
}

#[test]
fn property_rule() {
    for (required, offered, expected) in [
        (json!(2), json!(3), true),
        (json!(2), json!(2.0), true),
        (json!(2), json!(1), false),
        (json!(true), json!(1), true),
        (json!(true), json!(false), false),
        (json!("a"), json!("a"), true),
        (json!("a"), json!(["b", "a"]), true),
        (json!(["a", "b"]), json!("b"), true),
        (json!(["a", "b"]), json!(["b", "c"]), true),
        (json!(["a"]), json!(["b"]), false),
        (json!("2"), json!(2), false),
        (json!(null), json!(null), false),
        (json!({ "a": 1 }), json!({ "a": 1 }), true),
    ] {
        let seen = matching::meets(&required, &offered);
        assert_eq!(seen, expected, "{required} of {offered}");
    }
}
