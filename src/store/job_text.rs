//! Jobs on their way into an archive, as what is stored there: text, so that no record need be kept until a
//! batch is brought over.

use crate::base::JobId;
use crate::domain::Job;

use super::archive::JobSummary;
use super::partial::Part;
use super::text::Text;

/// How long an ended job is, mostly.
const LENGTH_USUAL: usize = 2048;

/// A job as an archive keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobText {
    /// The job.
    pub id: JobId,
    /// The revision of its record.
    pub revision: u64,
    /// What is searched and shown.
    pub summary: JobSummary,
    /// The record itself as JSON, once the job has ended, without what only its tasks needed to know.
    pub body: Option<Text>,
}

impl JobText {
    /// Writes a job out.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            revision: job.revision,
            summary: JobSummary::of(job),
            body: job.status.is_terminal().then(|| {
                Text::write(LENGTH_USUAL, |out| {
                    serde_json::to_writer(out, &record(job)).expect("a job's keys are texts");
                })
            }),
        }
    }
}

/// Returns what an archive keeps of an ended job's record: all but what only its tasks needed to know.
pub(super) fn record(job: &Job) -> Part<'_, Job> {
    Part(job, |name| name != "security")
}
