//! I9: no secret is seen where it does not belong.

use avtomatika::base::JobId;
use avtomatika::domain::job::Waiting;
use avtomatika::store::Commit;

use super::{Auditor, Verdict, broken, jobs};
use crate::seen::short;

impl Auditor {
    /// Looks at a commit's history and at its job's error; learns the tokens that it mints.
    pub(super) fn commit_keeps_secrets(&mut self, commit: &Commit) -> Verdict {
        let job = &commit.job;
        if let Some(Waiting::Human { token, .. }) = &job.waiting {
            self.approval_tokens.insert(token.clone(), job.id);
        }
        for event in jobs::events(commit) {
            let text = serde_json::to_string(event).expect("an event serialises");
            self.no_secret("the history", &text, None)?;
        }
        if let Some(error) = &job.error {
            self.no_secret("a job's error", &error.message, None)?;
        }
        Ok(())
    }

    /// Looks for a secret in a text. The approval token of the job that the text asks a person
    /// about is none.
    pub(super) fn no_secret(&self, place: &str, text: &str, about: Option<JobId>) -> Verdict {
        if let Some(secret) = self
            .facts
            .secrets
            .iter()
            .find(|secret| text.contains(*secret))
        {
            return broken("I9", format!("{place} shows `{secret}`: {text}"));
        }
        let token = self
            .approval_tokens
            .iter()
            .find(|(token, job)| Some(**job) != about && text.contains(token.as_str()));
        token.map_or(Ok(()), |(_, job)| {
            broken(
                "I9",
                format!(
                    "{place} shows the approval token of job {}: {text}",
                    short(job)
                ),
            )
        })
    }

    /// Returns the job that a webhook asks a person about.
    pub(super) fn approval_of(body: &str) -> Option<JobId> {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        let asks = body.get("event")?.as_str()? == "approval_required";
        asks.then(|| body.get("job_id")?.as_str()?.parse().ok())?
    }
}
