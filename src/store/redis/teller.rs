//! What this process tells the others on the same server: lines that are gathered for a moment and go
//! out in one message, so that a commit costs nobody a message of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::link::{Link, Repeat, held};
use crate::base::{JobId, TaskId};
use crate::store::{FleetNews, StoreError};

/// How long lines are gathered.
const GATHERED_FOR: Duration = Duration::from_millis(1);
/// From one message to the next, when there is always more to tell: each wakes every orchestrator.
const TOLD_EVERY: Duration = Duration::from_millis(5);
/// Until a message that did not go out is followed by another.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines in one message; where there are more, looking at everything is less.
const LINES_MAX: usize = 500;

/// The lines that are to go out.
#[derive(Default)]
struct Lines {
    text: String,
    count: usize,
    /// Some did not fit, or did not go out.
    missed: bool,
}

impl Lines {
    fn add(&mut self, line: &str) {
        if self.count >= LINES_MAX {
            self.missed = true;
            return;
        }
        self.text.push('\n');
        self.text.push_str(line);
        self.count += 1;
    }

    /// Takes what is to be said by a process of that name; nothing when there is nothing.
    fn take(&mut self, origin: &str) -> Option<String> {
        let Self { text, missed, .. } = std::mem::take(self);
        match (missed, text.is_empty()) {
            (true, _) => Some(format!("{origin}\nm")),
            (false, false) => Some(format!("{origin}{text}")),
            (false, true) => None,
        }
    }
}

/// The way out.
pub(super) struct Teller {
    link: Arc<Link>,
    channel: String,
    /// This process's name among those that tell each other.
    origin: String,
    lines: Mutex<Lines>,
    more: Notify,
    stop: CancellationToken,
}

impl Teller {
    /// Prepares to tell others on that channel; [`run`](Self::run) does it.
    pub fn new(link: Arc<Link>, channel: String, origin: String) -> Self {
        Self {
            link,
            channel,
            origin,
            lines: Mutex::default(),
            more: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Returns this process's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The job has changed, and with it these of its tasks. Never waits.
    pub fn tell_of_job(&self, job: JobId, tasks: impl Iterator<Item = String>) {
        let mut lines = held(&self.lines);
        lines.add(&format!("j {job}"));
        for line in tasks {
            lines.add(&line);
        }
        drop(lines);
        self.more.notify_one();
    }

    /// Something has become of a task; the letter says what. Never waits.
    pub fn tell_of_task(&self, what: char, task: &TaskId) {
        held(&self.lines).add(&format!("{what} {task}"));
        self.more.notify_one();
    }

    /// Something may have been done of which nobody will be told: everybody is to look. Never waits.
    pub fn tell_of_a_gap(&self) {
        held(&self.lines).missed = true;
        self.more.notify_one();
    }

    /// Tells the news at once.
    pub async fn tell_news(&self, news: &FleetNews) -> Result<(), StoreError> {
        // Numbers that JSON does not have are none that a worker has.
        let news = serde_json::to_string(news).unwrap_or_default();
        self.publish(format!("{}\nf {news}", self.origin)).await
    }

    /// Says something at once that tells nobody anything, to hear it come back.
    pub async fn tell_nothing(&self) -> Result<(), StoreError> {
        self.publish(self.origin.clone()).await
    }

    /// Lets lines go out until [`stop`](Self::stop), and then those that are left.
    pub async fn run(self: Arc<Self>) {
        let (mut stopped, mut next) = (false, Instant::now());
        while !stopped {
            let gathered = async {
                self.more.notified().await;
                sleep_until(next.max(Instant::now() + GATHERED_FOR)).await;
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => stopped = true,
                () = gathered => {}
            }
            next = Instant::now() + TOLD_EVERY;
            let message = held(&self.lines).take(&self.origin);
            let Some(message) = message else { continue };
            if let Err(error) = self.publish(message).await {
                tracing::debug!(%error, "the other orchestrators were not told what this one did");
                next = Instant::now() + PAUSE;
                self.tell_of_a_gap();
            }
        }
    }

    /// Makes [`run`](Self::run) end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    async fn publish(&self, message: String) -> Result<(), StoreError> {
        let sent = vec![self.channel.as_str().into(), message.into()];
        let told = self.link.call("PUBLISH", sent, Repeat::Safe).await;
        told.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_out_together_until_there_are_too_many() {
        let mut lines = Lines::default();
        assert_eq!(lines.take("me"), None);
        lines.add("j 1");
        lines.add("q t");
        assert_eq!(lines.take("me").as_deref(), Some("me\nj 1\nq t"));
        assert_eq!(lines.take("me"), None);
        for _ in 0..=LINES_MAX {
            lines.add("l t");
        }
        assert_eq!(lines.take("me").as_deref(), Some("me\nm"));
        assert_eq!(lines.take("me"), None);
    }
}
