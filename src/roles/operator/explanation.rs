//! An explanation of the orchestrator's, put into words.

use serde_json::Value;

use super::cell;

/// Puts an explanation into words.
#[must_use]
pub fn in_words(explanation: &Value) -> String {
    let mut text = format!(
        "{} in {}: {} ({})\n",
        cell(&explanation["status"]),
        cell(&explanation["state"]),
        cell(&explanation["message"]),
        cell(&explanation["code"]),
    );
    for task in explanation["tasks"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\ntask {} ({}): {} ({})\n",
            cell(&task["task_id"]),
            cell(&task["skill"]),
            cell(&task["message"]),
            cell(&task["code"]),
        ));
        for worker in task["workers"].as_array().into_iter().flatten() {
            let mismatch = &worker["mismatch"];
            let verdict = if mismatch.is_null() {
                "qualifies".to_owned()
            } else {
                format!(
                    "{}: {} wanted {}, seen {}",
                    cell(&mismatch["code"]),
                    cell(&mismatch["requirement"]),
                    cell(&mismatch["wanted"]),
                    cell(&mismatch["seen"]),
                )
            };
            text.push_str(&format!("  {}  {verdict}\n", cell(&worker["worker_id"])));
        }
    }
    let unblocks = explanation["unblocks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !unblocks.is_empty() {
        text.push_str("\nwhat would set it going:\n");
        for line in unblocks {
            text.push_str(&format!("  - {}\n", cell(line)));
        }
    }
    if let Some(verb) = verb(explanation) {
        let job = cell(&explanation["job_id"]);
        text.push_str(&format!("\nnext: avtomatika jobs {verb} {job}\n"));
    }
    text
}

/// Returns the operator's verb that answers what the job waits for.
fn verb(explanation: &Value) -> Option<&'static str> {
    match explanation["code"].as_str()? {
        "waiting_for_human" => Some("approve"),
        "ended"
            if explanation["unblocks"]
                .as_array()
                .is_some_and(|list| !list.is_empty()) =>
        {
            Some("retry")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verb_that_helps_is_named() {
        let words = |code: &str, unblocks: Value| {
            let explanation = json!({"job_id": "j", "code": code, "unblocks": unblocks});
            let words = in_words(&explanation);
            words.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(
            words("waiting_for_human", json!(["a decision for this job"])),
            "next: avtomatika jobs approve j"
        );
        assert_eq!(
            words("ended", json!(["a retry goes on from state `a`"])),
            "next: avtomatika jobs retry j"
        );
        assert!(!words("ended", json!([])).contains("next"));
        assert!(!words("waiting_for_timer", json!([])).contains("next"));
    }

    #[test]
    fn explanations_are_put_into_words() {
        let explanation = json!({
            "job_id": "j", "status": "waiting_for_worker", "state": "render",
            "code": "no_qualified_worker", "message": "no worker qualifies",
            "unblocks": ["a worker with 80 GB"],
            "tasks": [{"task_id": "task-1", "skill": "render", "code": "no_qualified_worker",
                "message": "2 workers know the skill, none qualifies",
                "workers": [
                    {"worker_id": "gpu-1", "mismatch": {"code": "resources",
                        "requirement": "resources.devices[0].properties.memory_gb", "wanted": 80, "seen": 24}},
                    {"worker_id": "gpu-2"}]}],
        });
        insta::assert_snapshot!(in_words(&explanation), @r"
        waiting_for_worker in render: no worker qualifies (no_qualified_worker)

        task task-1 (render): 2 workers know the skill, none qualifies (no_qualified_worker)
          gpu-1  resources: resources.devices[0].properties.memory_gb wanted 80, seen 24
          gpu-2  qualifies

        what would set it going:
          - a worker with 80 GB
        ");
    }
}
