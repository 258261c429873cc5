//! Which workers qualify, with the first thing that one lacks, and which is chosen.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskSpec, Worker};
use crate::engine::select::{Candidate, choose, qualify};

/// A task for `skill`, with members replaced by those given.
fn spec(members: &Value) -> TaskSpec {
    let mut spec = json!({
        "skill": "skill", "params": {}, "strategy": "default", "priority": 0.0, "max_cost": null,
        "requires": {}, "execution_timeout_ms": 1000, "max_deliveries": 3, "step": 1, "depth": 0,
        "retry": { "max_attempts": 1,
            "backoff": { "initial_ms": 1, "factor": 1.0, "max_ms": 1, "jitter": 0.0 } },
    });
    merge(&mut spec, members);
    serde_json::from_value(spec).unwrap()
}

/// A worker with `skill`, with members replaced by those given.
fn worker(id: &str, members: &Value) -> Worker {
    let mut worker = json!({
        "id": id, "worker_type": "generic", "skills": [{ "name": "skill" }], "status": "idle",
        "reputation": 1.0, "registered_at": 0, "last_seen": 0, "expires_at": 0,
    });
    merge(&mut worker, members);
    serde_json::from_value(worker).unwrap()
}

fn merge(into: &mut Value, members: &Value) {
    for (key, value) in members.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// Checks whether the worker qualifies, and if not, the code and the place of what it lacks.
pub fn check(name: &str, task: &Value, has: &Value, expected: Result<(), (&str, &str)>) {
    let params_ok = |skill: &SkillInfo, params: &Object| {
        skill.input_schema.is_none() || params.contains_key("needed")
    };
    let seen = qualify(&spec(task), &worker("w", has), 0.3, &params_ok);
    let seen = seen.map_err(|why| (why.code, why.requirement));
    let expected = expected.map_err(|(code, place)| (code.to_owned(), place.to_owned()));
    assert_eq!(seen, expected, "{name}");
}

#[test]
fn skills() {
    let none = json!({});
    check("plain", &none, &none, Ok(()));
    check(
        "other",
        &json!({ "skill": "x" }),
        &none,
        Err(("no_such_skill", "skill")),
    );
    check(
        "draining",
        &none,
        &json!({ "status": "draining" }),
        Err(("draining", "status")),
    );
    check(
        "offline",
        &none,
        &json!({ "status": "offline" }),
        Err(("offline", "status")),
    );
    check(
        "busy is not asked here",
        &none,
        &json!({ "status": "busy" }),
        Ok(()),
    );
    let versioned = json!({ "requires": { "skill_version": "2", "skill_type": "gpu" } });
    check(
        "version",
        &versioned,
        &none,
        Err(("skill_version", "skill_version")),
    );
    let two = json!({ "skills": [{ "name": "skill", "version": "2" }] });
    check("type", &versioned, &two, Err(("skill_type", "skill_type")));
    let gpu = json!({ "skills": [{ "name": "skill", "version": "2", "type": "gpu" }] });
    check("both", &versioned, &gpu, Ok(()));
    let property = json!({ "requires": { "skill": { "type": "gpu", "lang": "de" } } });
    check(
        "member first",
        &property,
        &gpu,
        Err(("skill_properties", "skill.lang")),
    );
    let both = json!({ "skills": [{ "name": "skill", "type": "gpu",
        "properties": { "lang": "de" } }] });
    check("member and property", &property, &both, Ok(()));
    let schema = json!({ "skills": [{ "name": "skill", "input_schema": {} }] });
    check("params", &none, &schema, Err(("params_schema", "params")));
    check(
        "good params",
        &json!({ "params": { "needed": 1 } }),
        &schema,
        Ok(()),
    );
    let custom = json!({ "custom_statuses": ["needs_review"] });
    check(
        "undeclared statuses are not asked for",
        &custom,
        &none,
        Ok(()),
    );
    let declared = json!({ "skills": [{ "name": "skill", "output_statuses": ["success"] }] });
    check(
        "declared statuses",
        &custom,
        &declared,
        Err(("statuses", "on")),
    );
}

#[test]
fn price_and_reputation() {
    let none = json!({});
    let cheap = json!({ "capabilities": { "cost_per_skill": { "skill": 0.5 } } });
    check(
        "dear",
        &json!({ "max_cost": 0.4 }),
        &cheap,
        Err(("cost", "max_cost")),
    );
    check("just so", &json!({ "max_cost": 0.5 }), &cheap, Ok(()));
    check(
        "no price is infinite",
        &json!({ "max_cost": 9.0 }),
        &none,
        Err(("cost", "max_cost")),
    );
    check("no limit", &none, &none, Ok(()));
    check(
        "low",
        &none,
        &json!({ "reputation": 0.29 }),
        Err(("reputation", "reputation")),
    );
    check("floor", &none, &json!({ "reputation": 0.3 }), Ok(()));
}

fn chosen(strategy: &str, candidates: &[(&str, f64, f64, bool, u32)]) -> Option<String> {
    let spec = spec(&json!({ "strategy": strategy }));
    let workers: Vec<(Worker, u32)> = candidates
        .iter()
        .map(|(id, cost, reputation, hot, load)| {
            let costs = BTreeMap::from([("skill", cost)]);
            let hot: &[&str] = if *hot { &["skill"] } else { &[] };
            let has = json!({ "reputation": reputation, "hot_skills": hot,
                "capabilities": { "cost_per_skill": costs } });
            (worker(id, &has), *load)
        })
        .collect();
    let candidates: Vec<Candidate<'_>> = workers
        .iter()
        .map(|(worker, load)| Candidate {
            worker,
            load: *load,
            is_near: true,
        })
        .collect();
    choose(&spec, &candidates, 3).map(|index| candidates[index].worker.id.to_string())
}

#[test]
fn strategies() {
    // id, cost, reputation, hot, load
    let three = [
        ("dear", 3.0, 1.0, false, 0),
        ("cheap", 1.0, 0.4, false, 3),
        ("fair", 2.0, 1.0, false, 1),
    ];
    for (strategy, expected) in [
        ("default", "cheap"),
        ("round_robin", "dear"),
        ("least_connections", "dear"),
        ("cheapest", "cheap"),
        // 3.0, 2.5, 2.0
        ("best_value", "fair"),
        // the cheapest is at the soft limit
        ("overflow", "fair"),
    ] {
        assert_eq!(
            chosen(strategy, &three).as_deref(),
            Some(expected),
            "{strategy}"
        );
        assert_eq!(chosen(strategy, &[]), None, "{strategy}");
    }
}

#[test]
fn ties_go_by_load_then_turn() {
    for (name, strategy, candidates, expected) in [
        (
            "hot first",
            "default",
            [("a", 1.0, 1.0, false, 0), ("b", 9.0, 0.5, true, 9)],
            "b",
        ),
        (
            "then reputation",
            "default",
            [("a", 1.0, 0.5, true, 0), ("b", 1.0, 0.9, true, 9)],
            "b",
        ),
        (
            "then load",
            "default",
            [("a", 1.0, 1.0, true, 2), ("b", 1.0, 1.0, true, 1)],
            "b",
        ),
        (
            "then turn",
            "default",
            [("b", 1.0, 1.0, true, 1), ("a", 1.0, 1.0, true, 1)],
            "b",
        ),
        (
            "cheapest by load",
            "cheapest",
            [("a", 1.0, 1.0, true, 2), ("b", 1.0, 0.1, true, 1)],
            "b",
        ),
        (
            "no reputation",
            "best_value",
            [("a", 0.1, 0.0, true, 0), ("b", 9.0, 0.5, true, 0)],
            "b",
        ),
        (
            "all full",
            "overflow",
            [("a", 1.0, 1.0, true, 5), ("b", 9.0, 1.0, true, 4)],
            "b",
        ),
    ] {
        assert_eq!(
            chosen(strategy, &candidates).as_deref(),
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn a_better_worker_is_chosen_from_afar_and_an_equal_one_is_not() {
    for (strategy, far_cost, near_load, far_is_chosen) in [
        ("cheapest", 1.0, 0, true),
        ("cheapest", 2.0, 5, false),
        ("default", 2.0, 5, false),
        ("least_connections", 9.0, 5, true),
        ("least_connections", 1.0, 0, false),
    ] {
        let costs = |cost: f64| json!({ "capabilities": { "cost_per_skill": { "skill": cost } } });
        let (far, near) = (worker("far", &costs(far_cost)), worker("near", &costs(2.0)));
        let candidate = |worker, load, is_near| Candidate {
            worker,
            load,
            is_near,
        };
        let candidates = [candidate(&far, 0, false), candidate(&near, near_load, true)];
        let chosen = choose(&spec(&json!({ "strategy": strategy })), &candidates, 3);
        assert_eq!(
            chosen,
            Some(usize::from(!far_is_chosen)),
            "{strategy} {far_cost}"
        );
    }
}

#[test]
fn names_what_it_saw_and_wanted() {
    let wants = json!({ "requires": { "resources": { "devices": [
        { "type": "gpu", "properties": { "memory_gb": 80 } } ] } } });
    let has = json!({ "resources": { "devices": [
        { "type": "gpu", "properties": { "memory_gb": 24 } } ] } });
    let why = qualify(&spec(&wants), &worker("w", &has), 0.3, &|_, _| true).unwrap_err();
    assert_eq!((why.wanted, why.seen), (json!(80), json!(24)));
}
