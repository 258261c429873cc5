//! Following a job to its end: by its event stream, and where that fails by asking for the job.

use std::time::Duration;

use indicatif::MultiProgress;
use serde_json::Value;

use super::bars::Bars;
use super::progress::JobProgress;
use crate::net::EventStream;
use crate::roles::exit::{Exit, Failure};
use crate::roles::remote::{Remote, encoded};

/// Between two questions for the job, at first.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// Between two questions for a job that has been asked for often.
const POLL_PAUSE_LONG: Duration = Duration::from_secs(3);

/// Questions until the long pause.
const POLLS_SHORT: u32 = 60;

/// After a refusal for asking too often. The original counts anew only after a minute without any
/// question (HQ16), so a shorter pause would never end.
const PATIENCE: Duration = Duration::from_secs(61);

/// Streams that may break without having told anything before polling takes over.
const BREAKS_MAX: u32 = 3;

/// Times in a row that the orchestrator may be out of reach; each is several tries already.
const OUTAGES_MAX: u32 = 20;

/// A job that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its status.
    pub status: String,
    /// The job as its owner sees it.
    pub job: Value,
    /// States that were seen to be entered.
    pub states: Vec<String>,
    /// What the last task said that failed, as far as it was seen.
    pub cause: Option<String>,
}

/// Follows one job.
pub struct Follower {
    remote: Remote,
    path: String,
    progress: JobProgress,
    bars: Bars,
    last_id: Option<String>,
}

impl Follower {
    /// Starts to follow.
    #[must_use]
    pub fn new(remote: &Remote, job_id: &str, multi: MultiProgress) -> Self {
        Self {
            remote: remote.clone(),
            path: format!("/jobs/{}", encoded(job_id)),
            progress: JobProgress::default(),
            bars: Bars::new(multi, job_id),
            last_id: None,
        }
    }

    /// Returns once the job has ended.
    pub async fn follow(&mut self) -> Result<Ended, Failure> {
        let mut breaks = 0;
        let mut outages = 0;
        let mut polls: u32 = 0;
        let mut has_stream = true;
        loop {
            if has_stream && breaks < BREAKS_MAX {
                let before = self.progress.events;
                has_stream = self.stream().await;
                breaks = if self.progress.events > before {
                    0
                } else {
                    breaks + 1
                };
            }
            polls = polls.saturating_add(1);
            let asked = self.ask().await;
            let pause = pause_after(asked.as_ref().err(), polls);
            match asked {
                Ok(Some(ended)) => {
                    self.bars.clear();
                    return Ok(ended);
                }
                Ok(None) => outages = 0,
                Err(failure) if is_passing(&failure) && outages < OUTAGES_MAX => {
                    outages += 1;
                    tracing::warn!(error = %failure, "the job cannot be seen just now, asking again");
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads events until the job ends or the stream does; tells whether there is a stream at all.
    async fn stream(&mut self) -> bool {
        let path = format!("{}/events", self.path);
        match self.remote.events(&path, self.last_id.as_deref()).await {
            Ok(Some(stream)) => {
                self.read(stream).await;
                true
            }
            Ok(None) => false,
            // Being out of reach is judged where the job is asked for.
            Err(failure) => failure.exit == Exit::Unreachable,
        }
    }

    async fn read(&mut self, mut stream: EventStream) {
        while !self.progress.ended {
            let Some(Ok(event)) = stream.next().await else {
                return;
            };
            self.last_id = event.id.or(self.last_id.take());
            if let Ok(data) = serde_json::from_str(&event.data) {
                self.progress.event(&data);
            }
            self.progress.ended |= event.event == "end";
            self.bars.draw(&self.progress);
        }
    }

    /// Asks for the job; returns it when it has ended.
    async fn ask(&mut self) -> Result<Option<Ended>, Failure> {
        let job = self.remote.get(&self.path).await?.body;
        let status = job["status"].as_str().unwrap_or_default().to_owned();
        self.progress.job(&job);
        self.bars.draw(&self.progress);
        if Exit::of_status(&status).is_none() {
            // The stream may have told of an end that a retry undid.
            self.progress.ended = false;
            return Ok(None);
        }
        Ok(Some(Ended {
            status,
            job,
            states: self.progress.states.clone(),
            cause: self.progress.cause.clone(),
        }))
    }
}

/// Tells whether the same question may be answered later.
fn is_passing(failure: &Failure) -> bool {
    failure.exit == Exit::Unreachable || failure.status == Some(429)
}

/// Returns how long to wait before the next question.
fn pause_after(failure: Option<&Failure>, polls: u32) -> Duration {
    match failure {
        Some(failure) if failure.status == Some(429) => PATIENCE,
        _ if polls < POLLS_SHORT => POLL_PAUSE,
        _ => POLL_PAUSE_LONG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_is_patient() {
        let mut refused = Failure::new(Exit::Refused, "Too Many Requests");
        refused.status = Some(429);
        assert!(is_passing(&refused));
        assert_eq!(pause_after(Some(&refused), 1), PATIENCE);
        refused.status = Some(404);
        assert!(!is_passing(&refused));
        assert!(is_passing(&Failure::new(
            Exit::Unreachable,
            "connection refused"
        )));
        assert_eq!(pause_after(None, 1), POLL_PAUSE);
        assert_eq!(pause_after(None, 1000), POLL_PAUSE_LONG);
    }
}
