//! How far a job is, as told by its events or by the job itself. Pure: events in, a picture out.

use std::collections::BTreeMap;

use serde_json::Value;

/// One task under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskProgress {
    /// Who has it.
    pub worker: Option<String>,
    /// The state or skill that it belongs to.
    pub label: String,
    /// 0 to 1.
    pub share: f64,
    /// The worker's own words.
    pub message: String,
}

/// Branches of a fan-out that are shown one by one.
const BRANCHES_MAX: u64 = 10;

/// One job under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobProgress {
    /// States entered, in order.
    pub states: Vec<String>,
    /// Tasks under way, by id; branches of a fan-out by their number.
    pub tasks: BTreeMap<String, TaskProgress>,
    /// Tasks that have ended.
    pub tasks_ended: u64,
    /// Branches of the present fan-out: ended, and all of them.
    pub branches: Option<(u64, u64)>,
    /// The skill of the state's last task.
    pub skill: Option<String>,
    /// What the last task said that failed, unless one has succeeded since.
    pub cause: Option<String>,
    /// Whether a person is to decide.
    pub asks_person: bool,
    /// The job's status, once it is known.
    pub status: String,
    /// Whether an event has told that the job ended.
    pub ended: bool,
    /// Events seen; for telling whether a stream is alive.
    pub events: u64,
}

impl JobProgress {
    /// Takes one history event.
    pub fn event(&mut self, event: &Value) {
        self.events += 1;
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let kind = text("event_type");
        match kind {
            "state_started" => self.enter(text("state")),
            "task_dispatched" | "task_retried" => self.dispatched(event),
            "task_finished" => self.task_ended(event),
            "approval_required" => self.asks_person = true,
            "job_retried" => self.ended = false,
            "job_finished" | "job_failed" | "job_quarantined" | "job_cancelled"
            | "job_completed" => {
                kind.trim_start_matches("job_").clone_into(&mut self.status);
                self.ended = true;
                self.tasks.clear();
            }
            kind if kind.starts_with("worker_event") => self.worker_event(event),
            _ => {}
        }
    }

    /// Takes the job as it is now, for following without events.
    pub fn job(&mut self, job: &Value) {
        if let Some(status) = job["status"].as_str() {
            status.clone_into(&mut self.status);
        }
        if let Some(state) = job["current_state"].as_str() {
            self.enter(state);
        }
        let task = job["current_task_id"].as_str();
        self.tasks.retain(|id, _| task == Some(id.as_str()));
        if let Some(id) = task {
            let label = job["current_state"].as_str().unwrap_or_default();
            let task = self.tasks.entry(id.to_owned()).or_default();
            label.clone_into(&mut task.label);
            task.share = job["progress"].as_f64().unwrap_or(task.share);
            if let Some(message) = job["progress_message"].as_str() {
                message.clone_into(&mut task.message);
            }
        }
    }

    /// Returns the state that the job is in.
    #[must_use]
    pub fn state(&self) -> &str {
        self.states.last().map_or("", String::as_str)
    }

    fn enter(&mut self, state: &str) {
        if !state.is_empty() && self.states.last().is_none_or(|last| last != state) {
            self.states.push(state.to_owned());
            self.branches = None;
            self.asks_person = false;
            self.skill = None;
            self.tasks.clear();
        }
    }

    fn dispatched(&mut self, event: &Value) {
        let state = event["state"].as_str().unwrap_or_default();
        // A whole fan-out is told of in one event, which names no task.
        if let Some(total) = event["details"]["branches"].as_u64() {
            self.branches = Some((0, total));
            for branch in 0..total.min(BRANCHES_MAX) {
                let label = format!("{state} {}/{total}", branch + 1);
                self.tasks
                    .insert(branch_key(branch), TaskProgress::named(&label));
            }
        } else if let Some(key) = key(event) {
            let details = &event["details"];
            // A further try names no skill: it is that of the task before.
            let skill = details["skill"].as_str().or(self.skill.as_deref());
            let mut task = TaskProgress::named(skill.unwrap_or(state));
            if let (Some(attempt), Some(delay)) = (
                event["attempt_number"].as_u64(),
                details["delay_ms"].as_f64(),
            ) {
                task.message = format!("try {attempt}, {:.1} s after the last", delay / 1000.0);
            }
            self.tasks.insert(key, task);
        }
    }

    fn task_ended(&mut self, event: &Value) {
        self.tasks_ended += 1;
        let details = &event["details"];
        self.skill = details["skill"].as_str().map(str::to_owned);
        if details["status"] == "success" {
            self.cause = None;
        } else if let Some(message) = details["message"].as_str() {
            let part = |value: &Value, before: &str, after: &str| {
                value
                    .as_str()
                    .map(|text| format!("{before}{text}{after}"))
                    .unwrap_or_default()
            };
            self.cause = Some(format!(
                "{}{}: {message}{}",
                details["skill"].as_str().unwrap_or("a task"),
                part(&event["worker_id"], " at ", ""),
                part(&details["code"], " (", ")"),
            ));
        }
        if let (Some((ended, _)), true) = (&mut self.branches, event["details"]["branch"].is_u64())
        {
            *ended += 1;
        }
        if let Some(key) = key(event) {
            self.tasks.remove(&key);
        }
    }

    fn worker_event(&mut self, event: &Value) {
        let details = &event["details"];
        let is_progress =
            event["event_type"] == "worker_event:progress" || details["type"] == "progress";
        let (Some(key), true) = (key(event), is_progress) else {
            return;
        };
        let payload = if details["payload"].is_object() {
            &details["payload"]
        } else {
            details
        };
        let task = self.tasks.entry(key).or_default();
        if task.label.is_empty() {
            event["state"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut task.label);
        }
        if let Some(worker) = event["worker_id"].as_str() {
            task.worker = Some(worker.to_owned());
        }
        if let Some(share) = payload["progress"].as_f64() {
            task.share = share.clamp(0.0, 1.0);
        }
        if let Some(message) = payload["message"].as_str() {
            message.clone_into(&mut task.message);
        }
    }
}

/// Names a task among those under way: a branch by its number, which its tries share.
fn key(event: &Value) -> Option<String> {
    if let Some(branch) = event["details"]["branch"].as_u64() {
        return Some(branch_key(branch));
    }
    let id = event["task_id"]
        .as_str()
        .or(event["origin_task_id"].as_str());
    id.map(str::to_owned)
}

fn branch_key(branch: u64) -> String {
    format!("branch {branch:06}")
}

impl TaskProgress {
    fn named(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_make_a_picture() {
        let mut progress = JobProgress::default();
        for event in [
            json!({"event_type": "job_created", "state": "start"}),
            json!({"event_type": "state_started", "state": "start"}),
            json!({"event_type": "state_started", "state": "transcode"}),
            json!({"event_type": "task_dispatched", "state": "transcode", "task_id": "t1", "details": {"skill": "transcode_video"}}),
            json!({"event_type": "worker_event:progress", "state": "transcode", "origin_task_id": "t1", "worker_id": "gpu",
                "details": {"type": "progress", "progress": 0.4, "message": "pass 2"}}),
        ] {
            progress.event(&event);
        }
        assert_eq!(progress.states, ["start", "transcode"]);
        let expected = TaskProgress {
            worker: Some("gpu".to_owned()),
            label: "transcode_video".to_owned(),
            share: 0.4,
            message: "pass 2".to_owned(),
        };
        assert_eq!(progress.tasks["t1"], expected);
        progress
            .event(&json!({"event_type": "task_finished", "state": "transcode", "task_id": "t1"}));
        assert_eq!((progress.tasks.len(), progress.tasks_ended), (0, 1));
        assert_eq!(progress.cause, None);
        progress.event(&json!({"event_type": "task_finished", "task_id": "t2", "worker_id": "gpu",
            "details": {"skill": "transcode_video", "status": "failure", "code": "PERMANENT_ERROR", "message": "no such codec"}}));
        assert_eq!(
            progress.cause.as_deref(),
            Some("transcode_video at gpu: no such codec (PERMANENT_ERROR)")
        );
        progress.event(&json!({"event_type": "task_retried", "task_id": "t3", "state": "transcode", "attempt_number": 2,
            "details": {"failures": 1, "losses": 0, "delay_ms": 1100}}));
        let again = &progress.tasks["t3"];
        assert_eq!(
            (again.label.as_str(), again.message.as_str()),
            ("transcode_video", "try 2, 1.1 s after the last")
        );
        progress.event(&json!({"event_type": "approval_required", "state": "transcode"}));
        assert!(progress.asks_person);
        progress.event(&json!({"event_type": "state_started", "state": "done"}));
        assert!(!progress.asks_person);
        progress.event(&json!({"event_type": "job_finished", "state": "done"}));
        assert_eq!(
            (progress.ended, progress.status.as_str()),
            (true, "finished")
        );
    }

    #[test]
    fn branches_are_followed_by_their_numbers() {
        let mut progress = JobProgress::default();
        let event = |kind: &str, details: Value| json!({"event_type": kind, "state": "fan", "details": details});
        progress.event(&event("task_dispatched", json!({"branches": 12})));
        assert_eq!(
            (progress.branches, progress.tasks.len()),
            (Some((0, 12)), 10)
        );
        progress.event(&event(
            "worker_event:progress",
            json!({"branch": 1, "progress": 0.5}),
        ));
        let second = &progress.tasks[&branch_key(1)];
        assert_eq!((second.label.as_str(), second.share), ("fan 2/12", 0.5));
        progress.event(&event("task_finished", json!({"branch": 1})));
        assert_eq!(
            (progress.branches, progress.tasks.len()),
            (Some((1, 12)), 9)
        );
        progress.event(&json!({"event_type": "state_started", "state": "next"}));
        assert_eq!((progress.branches, progress.tasks.len()), (None, 0));
    }

    #[test]
    fn odd_events_change_nothing() {
        let mut progress = JobProgress::default();
        for event in [
            json!(null),
            json!({}),
            json!({"event_type": 5}),
            json!({"event_type": "worker_event"}),
        ] {
            progress.event(&event);
        }
        assert_eq!(
            progress,
            JobProgress {
                events: 4,
                ..JobProgress::default()
            }
        );
    }

    #[test]
    fn a_job_makes_a_picture_too() {
        let mut progress = JobProgress::default();
        progress.job(&json!({"status": "waiting_for_worker", "current_state": "a", "current_task_id": "t", "progress": 0.5}));
        progress.job(&json!({"status": "waiting_for_worker", "current_state": "a", "current_task_id": "t", "progress": 0.6}));
        assert_eq!(progress.states, ["a"]);
        assert!((progress.tasks["t"].share - 0.6).abs() < 1e-9);
        progress.job(&json!({"status": "finished", "step": 9}));
        assert_eq!(
            (progress.status.as_str(), progress.tasks.len()),
            ("finished", 0)
        );
    }
}
