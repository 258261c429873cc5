//! What a worker has against what a task requires: devices, properties, artifacts, software.
//! Source: engine-semantics §5.2.

use serde_json::{Value, json};

use super::select::Mismatch;
use crate::domain::worker::{Artifact, Device, Requirements, Resources};
use crate::domain::{Object, Worker};

type Fits = Result<(), Box<Mismatch>>;

/// Tells whether two values are equal; numbers by their value, whatever their form.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

/// Tells whether an offer meets a requirement: numbers at least, lists overlapping, a scalar among
/// the list's, else equal. Booleans count as 0 and 1 against numbers.
pub(super) fn meets(required: &Value, offered: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        value => value.as_f64(),
    };
    if let (Some(required), Some(offered)) = (number(required), number(offered)) {
        return offered >= required;
    }
    match (required, offered) {
        (_, Value::Null) => false,
        (Value::Array(required), Value::Array(offered)) => required
            .iter()
            .any(|one| offered.iter().any(|other| same(one, other))),
        (Value::Array(required), offered) => required.iter().any(|one| same(one, offered)),
        (required, Value::Array(offered)) => offered.iter().any(|one| same(required, one)),
        (required, offered) => same(required, offered),
    }
}

/// Returns the first property that an offer does not meet: its name, wanted, seen.
fn failing<'a>(
    required: Option<&'a Object>,
    offered: Option<&Object>,
) -> Option<(&'a String, &'a Value, Value)> {
    required?.iter().find_map(|(key, wanted)| {
        let seen = offered
            .and_then(|all| all.get(key))
            .cloned()
            .unwrap_or_default();
        (!meets(wanted, &seen)).then_some((key, wanted, seen))
    })
}

/// Checks devices and properties.
pub(super) fn resources(requires: &Requirements, worker: &Worker) -> Fits {
    let Some(Resources {
        devices,
        properties,
    }) = &requires.resources
    else {
        return Ok(());
    };
    let offered = worker.resources.properties.as_ref();
    if let Some((key, wanted, seen)) = failing(properties.as_ref(), offered) {
        let place = format!("resources.properties.{key}");
        return Err(Mismatch::new("resources", place, wanted.clone(), seen));
    }
    let Some(wanted) = devices else { return Ok(()) };
    let offered = worker.resources.devices.as_deref().unwrap_or_default();
    match first_unplaced(wanted, offered) {
        Some(index) => Err(device_mismatch(index, &wanted[index], offered)),
        None => Ok(()),
    }
}

/// Gives each required device one of its own and returns the first for which there is none. A
/// device that was given is given up when its owner can have another, so that the order in which
/// the worker lists its devices does not matter.
fn first_unplaced(wanted: &[Device], offered: &[Device]) -> Option<usize> {
    let mut owners: Vec<Option<usize>> = vec![None; offered.len()];
    (0..wanted.len()).find(|index| {
        let mut seen = vec![false; offered.len()];
        !place(*index, wanted, offered, &mut (&mut owners, &mut seen))
    })
}

fn place(
    index: usize,
    wanted: &[Device],
    offered: &[Device],
    state: &mut (&mut Vec<Option<usize>>, &mut Vec<bool>),
) -> bool {
    for slot in 0..offered.len() {
        if state.1[slot] || device_failing(&wanted[index], &offered[slot]).is_some() {
            continue;
        }
        state.1[slot] = true;
        let owner = state.0[slot];
        if owner.is_none_or(|owner| place(owner, wanted, offered, state)) {
            state.0[slot] = Some(index);
            return true;
        }
    }
    false
}

/// Returns the first thing about a device that is not as required: its place, wanted, seen.
fn device_failing(wanted: &Device, offered: &Device) -> Option<(String, Value, Value)> {
    if wanted.kind != offered.kind {
        return Some(("type".to_owned(), json!(wanted.kind), json!(offered.kind)));
    }
    if let Some(model) = &wanted.model {
        let seen = offered.model.clone().unwrap_or_default().to_lowercase();
        if !seen.contains(&model.to_lowercase()) {
            return Some(("model".to_owned(), json!(model), json!(offered.model)));
        }
    }
    if wanted.id.is_some() && wanted.id != offered.id {
        return Some(("id".to_owned(), json!(wanted.id), json!(offered.id)));
    }
    let (key, wanted, seen) = failing(wanted.properties.as_ref(), offered.properties.as_ref())?;
    Some((format!("properties.{key}"), wanted.clone(), seen))
}

/// Names what keeps a device from being found, by the offered one that comes nearest.
fn device_mismatch(index: usize, wanted: &Device, offered: &[Device]) -> Box<Mismatch> {
    let place = format!("resources.devices[{index}]");
    let of_type = || offered.iter().filter(|device| device.kind == wanted.kind);
    if of_type().next().is_none() {
        let kinds: Vec<&str> = offered.iter().map(|device| device.kind.as_str()).collect();
        let place = format!("{place}.type");
        return Mismatch::new("resources", place, json!(wanted.kind), json!(kinds));
    }
    let Some((field, wanted, seen)) = of_type().find_map(|one| device_failing(wanted, one)) else {
        // Each would do, but all are taken by the requirements before it.
        let count = of_type().count();
        return Mismatch::new(
            "resources",
            "resources.devices",
            json!(index + 1),
            json!(count),
        );
    };
    Mismatch::new("resources", format!("{place}.{field}"), wanted, seen)
}

/// Checks that each required artifact is there.
pub(super) fn artifacts(requires: &Requirements, worker: &Worker) -> Fits {
    for wanted in &requires.artifacts {
        let has = |offered: &&Artifact| artifact_fits(wanted, offered);
        if worker.installed_artifacts.iter().find(has).is_none() {
            let place = format!("artifacts.{}", wanted.name);
            let seen: Vec<&Artifact> = worker
                .installed_artifacts
                .iter()
                .filter(|offered| offered.name == wanted.name)
                .collect();
            return Err(Mismatch::new(
                "artifacts",
                place,
                json!(wanted),
                json!(seen),
            ));
        }
    }
    Ok(())
}

fn artifact_fits(wanted: &Artifact, offered: &Artifact) -> bool {
    let any_version = wanted
        .version
        .as_deref()
        .is_none_or(|version| version == "unknown");
    wanted.name == offered.name
        && (any_version || wanted.version == offered.version)
        && failing(wanted.properties.as_ref(), offered.properties.as_ref()).is_none()
}

/// Checks that each required piece of software is there, in its version.
pub(super) fn software(requires: &Requirements, worker: &Worker) -> Fits {
    for (name, wanted) in &requires.software {
        let seen = worker.installed_software.get(name);
        if seen.is_none_or(|seen| wanted != "any" && seen != wanted) {
            let place = format!("software.{name}");
            return Err(Mismatch::new("software", place, json!(wanted), json!(seen)));
        }
    }
    Ok(())
}

/// Checks the worker's free properties.
pub(super) fn extra(requires: &Requirements, worker: &Worker) -> Fits {
    for (key, wanted) in &requires.extra {
        let seen = worker
            .capabilities
            .extra
            .as_ref()
            .and_then(|extra| extra.get(key));
        let seen = seen.unwrap_or(&Value::Null);
        if !same(wanted, seen) {
            let place = format!("extra.{key}");
            return Err(Mismatch::new("extra", place, wanted.clone(), seen.clone()));
        }
    }
    Ok(())
}
