//! The two entrances to the engine: a new job, and an input for one.

use super::{Advance, Input, Job, Outcome, Submission, SubmitError, World};

/// Makes a job and runs it to its first wait.
pub fn create(_world: &World<'_>, _submission: Submission) -> Result<Advance, SubmitError> {
    unimplemented!()
}

/// Takes a job one input further, to its next wait or its end.
#[must_use]
pub fn step(_world: &World<'_>, _job: Job, _input: Input) -> Outcome {
    unimplemented!()
}

/// Tells whether `step` has to see all branches of the fan-out to deal with this input: it would
/// end the fan-out.
#[must_use]
pub fn needs_branches(_world: &World<'_>, _job: &Job, _input: &Input) -> bool {
    unimplemented!()
}
