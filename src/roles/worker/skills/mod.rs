//! The skills that the binary brings along, and the one that runs any executable.

mod analyze;
mod blobs;
mod command;
mod transcode;

pub(super) use analyze::AnalyzeFile;
pub(super) use blobs::ProcessBlobs;
pub(super) use command::CommandSkill;
pub(super) use transcode::TranscodeVideo;

#[cfg(test)]
mod tests;
