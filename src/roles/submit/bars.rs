//! The picture on the terminal: one bar for the job, one for each running task or branch.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{JobProgress, TaskProgress};
use crate::roles::printer::visible;

/// Tasks that have a bar of their own; more would scroll the terminal.
const BARS_MAX: usize = 10;

/// How finely a share is drawn.
const STEPS: u64 = 1000;

/// The bars of one job.
pub struct Bars {
    multi: MultiProgress,
    job: ProgressBar,
    tasks: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Draws the job's bar; nothing is drawn where there is no terminal.
    #[must_use]
    pub fn new(multi: MultiProgress, job_id: &str) -> Self {
        let job = multi.add(ProgressBar::new_spinner());
        job.set_style(style("{spinner} {prefix}  {msg}  {elapsed}"));
        job.set_prefix(job_id.to_owned());
        job.enable_steady_tick(Duration::from_millis(200));
        Self {
            multi,
            job,
            tasks: BTreeMap::new(),
        }
    }

    /// Draws the job as it is now.
    pub fn draw(&mut self, progress: &JobProgress) {
        let hidden = progress.tasks.len().saturating_sub(BARS_MAX);
        let mut text = format!(
            "{} ({} passed",
            progress.state(),
            counted(progress.states.len() as u64, "state")
        );
        if let Some((ended, total)) = progress.branches {
            text.push_str(&format!(", {ended} of {total} branches ended"));
        }
        if progress.tasks_ended > 0 {
            text.push_str(&format!(
                ", {} ended",
                counted(progress.tasks_ended, "task")
            ));
        }
        if hidden > 0 {
            text.push_str(&format!(", {hidden} more running"));
        }
        text.push(')');
        if progress.asks_person {
            text.push_str("  a person decides: avtomatika jobs approve JOB");
        }
        self.job.set_message(visible(&text));
        self.tasks.retain(|id, bar| {
            let stays = progress.tasks.contains_key(id);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (id, task) in &progress.tasks {
            if self.tasks.len() < BARS_MAX || self.tasks.contains_key(id) {
                self.draw_task(id, task);
            }
        }
    }

    fn draw_task(&mut self, id: &str, task: &TaskProgress) {
        let bar = self.tasks.entry(id.to_owned()).or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new(STEPS));
            bar.set_style(style("  {prefix:24!} {bar:30} {percent:>3}%  {msg}"));
            bar
        });
        bar.set_prefix(visible(&task.label));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share is from 0 to 1"
        )]
        bar.set_position((task.share * STEPS as f64) as u64);
        let worker = task.worker.as_deref().unwrap_or("waiting for a worker");
        bar.set_message(visible(&format!("{worker}  {}", task.message)));
    }

    /// Takes all bars away.
    pub fn clear(&mut self) {
        for bar in std::mem::take(&mut self.tasks).into_values() {
            bar.finish_and_clear();
        }
        self.job.finish_and_clear();
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants, and a test draws them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_follows_the_progress() {
        let mut bars = Bars::new(MultiProgress::new(), "job-1");
        let mut progress = JobProgress {
            states: vec!["start".to_owned(), "transcode".to_owned()],
            ..JobProgress::default()
        };
        let task = TaskProgress {
            worker: Some("gpu-1".to_owned()),
            label: "transcode_video".to_owned(),
            share: 0.4,
            message: "pass\t2".to_owned(),
        };
        for number in 0..12 {
            progress.tasks.insert(format!("t{number:02}"), task.clone());
        }
        bars.draw(&progress);
        assert_eq!(
            bars.job.message(),
            "transcode (2 states passed, 2 more running)"
        );
        assert_eq!(bars.tasks.len(), BARS_MAX);
        let bar = &bars.tasks["t00"];
        assert_eq!(bar.prefix(), "transcode_video");
        assert_eq!(bar.message(), "gpu-1  pass\u{fffd}2");
        assert_eq!(bar.position(), 400);
        progress.tasks.clear();
        progress.tasks_ended = 12;
        bars.draw(&progress);
        assert_eq!(
            bars.job.message(),
            "transcode (2 states passed, 12 tasks ended)"
        );
        assert!(bars.tasks.is_empty());
        bars.clear();
        assert!(bars.job.is_finished());
    }
}
