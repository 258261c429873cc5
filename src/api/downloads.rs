//! Files on their way to readers: so many at once, and none for longer than its reader takes something.
//!
//! The connection's own watch sees bytes, not streams: a reader of several answers over HTTP/2 may leave
//! one of them alone for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::error::ApiError;
use super::places::{Places, in_time};
use crate::base::JobId;
use crate::store::{BlobBody, BlobError};

/// Downloads at once: a store of blobs may read megabytes ahead for each.
const DOWNLOADS_MAX: usize = 64;
/// The longest time in which a reader takes nothing.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Bytes that are handed on at once, and that a reader who takes nothing more still holds, a few times.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that are ready for the reader.
const PIECES_AHEAD: usize = 4;

/// The places of downloads.
#[derive(Debug)]
pub(super) struct Downloads {
    all: Arc<Semaphore>,
    /// A link names the job, and it may have left the store: whose it was is not asked.
    by_job: Places<JobId>,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            by_job: Places::default(),
        }
    }
}

/// A place among all, and one among the job's.
pub(super) struct Place {
    _all: Option<OwnedSemaphorePermit>,
    _job: Option<OwnedSemaphorePermit>,
}

impl Downloads {
    /// Waits for a place.
    ///
    /// Errors: `busy` when there is none for half a minute.
    pub(super) async fn take(&self, job: JobId) -> Result<Place, ApiError> {
        let taking = async {
            let own = self.by_job.take(&job, DOWNLOADS_MAX).await;
            Place {
                _job: own,
                // The semaphore itself is never closed.
                _all: Arc::clone(&self.all).acquire_owned().await.ok(),
            }
        };
        in_time("downloads", taking).await
    }
}

/// Returns what a blob's body is sent as. It is read beside the connection, which does not ask for more
/// while the reader takes nothing: after a minute of that the blob and the place are let go, and a reader
/// who comes back finds the answer broken off.
pub(super) fn body(blob: BlobBody, place: Place) -> Body {
    let (ready, pieces) = channel(PIECES_AHEAD);
    // A set of one: it ends with the body.
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let end = hand_over(blob, &ready).await;
        drop(place);
        end
    });
    let pieces = stream::unfold(Some((pieces, reading)), |under_way| async {
        let (mut pieces, mut reading) = under_way?;
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), Some((pieces, reading))));
        }
        let error = match reading.join_next().await {
            Some(Ok(end)) => end.err()?,
            Some(Err(error)) => BlobError::Interrupted(error.to_string()),
            None => return None,
        };
        Some((Err(error), None))
    });
    Body::from_stream(pieces)
}

/// Reads a blob to its end and hands on what has come.
async fn hand_over(mut blob: BlobBody, ready: &Sender<Bytes>) -> Result<(), BlobError> {
    while let Some(piece) = blob.next().await {
        let piece = piece?;
        for part in piece.chunks(PIECE_BYTES) {
            // A slice would hold all of the piece.
            let part = Bytes::copy_from_slice(part);
            match tokio::time::timeout(PAUSE_MAX, ready.send(part)).await {
                Ok(Ok(())) => {}
                // Nobody wants it any more.
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    let reason = format!("nothing was read for {} s", PAUSE_MAX.as_secs());
                    return Err(BlobError::Interrupted(reason));
                }
            }
        }
    }
    Ok(())
}
