//! A job's life as it happens: server-sent events, first what was, then what comes.
//!
//! Nothing is missed between the two: the watch is opened first, then the history is read, and
//! what comes twice is dropped by its place. A reader that falls behind is served from the history
//! again, as is one that may have missed something, and one that comes back names its last place in
//! `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::jobs::{Answer, event_row, owned, place, place_of};
use super::server::Draining;
use super::{ApiState, json as answers};
use crate::base::JobId;
use crate::domain::{Event, EventKind, Job};
use crate::engine::Input;
use crate::protocol::to_wire_bytes;
use crate::protocol::wire::PROGRESS;
use crate::runtime::{Applied, RuntimeError, Watch};

/// Time between two comments that keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a stream that hears nothing relies on being told: a process may end between a commit and its
/// word to others, and one whose answer was lost may have gone through.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Events that are read from the history at once.
const PAGE: u32 = 200;
/// Longest name of an event, in characters.
const NAME_CHARS_MAX: usize = 128;

/// Where a stream begins, for readers that cannot set headers.
#[derive(Debug, Deserialize)]
struct StreamQuery {
    last_event_id: Option<String>,
}

/// The last event that the reader has seen: from the header, else from the query.
pub struct After(Option<(u64, u32)>);

impl<S: Send + Sync> FromRequestParts<S> for After {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refused =
            || ApiError::new(Code::InvalidQuery, "Last-Event-ID is no place in a history");
        let header = match parts.headers.get("last-event-id") {
            Some(value) => Some(value.to_str().map_err(|_| refused())?.to_owned()),
            None => None,
        };
        let Query(query) = Query::<StreamQuery>::from_request_parts(parts, state)
            .await
            .map_err(|_| refused())?;
        let place = |text: Option<String>| match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => place_of(&text).map(Some).ok_or_else(refused),
        };
        // Both have to be good, and the header goes first: a browser that comes back sets it.
        let (header, query) = (place(header)?, place(query.last_event_id)?);
        Ok(Self(header.or(query)))
    }
}

/// Streams a job's events: `state`, `task`, `progress`, and `end` as the last one.
#[utoipa::path(
    get, path = "/jobs/{job_id}/events", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "the job"),
        ("Last-Event-ID" = Option<String>, Header, description = "go on after this event"),
        ("last_event_id" = Option<String>, Query, description = "the same, for readers that cannot set headers"),
    ),
    responses(
        (status = 200, description = "data of each event: a line of the history; of `end` also `status`, `result`, `error`", content_type = "text/event-stream", body = ref("#/components/schemas/EventStream")),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
    ),
)]
pub async fn stream(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    After(after): After,
    Draining(drained): Draining,
) -> Answer {
    let job = owned(&state, &caller, &job_id).await?;
    let feed = Feed {
        watch: state.runtime.watch(job.id),
        state,
        caller,
        job: job.id,
        after,
        pending: VecDeque::new(),
        phase: Phase::Replaying,
        drained,
    };
    let mut response = Sse::new(feed.lines())
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // Proxies that gather answers would hold the events back.
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where a feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Reading the history; the watch is open already.
    Replaying,
    /// Waiting for what comes.
    Live,
    /// Nothing more will come.
    Over,
}

/// One reader's stream.
struct Feed {
    state: Arc<ApiState>,
    caller: Caller,
    job: JobId,
    watch: Watch,
    after: Option<(u64, u32)>,
    pending: VecDeque<Event>,
    phase: Phase,
    drained: CancellationToken,
}

impl Feed {
    fn lines(self) -> impl Stream<Item = Result<Line, Infallible>> {
        futures::stream::unfold(self, |mut feed| async move {
            match feed.next().await {
                Ok(line) => line.map(|line| (Ok(line), feed)),
                Err(error) => {
                    // The reader comes back by itself and names where it was.
                    tracing::warn!(job.id = %feed.job, error = error.message(), "event stream broken off");
                    None
                }
            }
        })
    }

    /// Returns the next line; nothing when the stream is over.
    async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            while let Some(event) = self.pending.pop_front() {
                let at = (event.revision, event.index);
                if self.after.is_none_or(|after| at > after) {
                    self.after = Some(at);
                    return self.line(&event).await.map(Some);
                }
            }
            match self.phase {
                Phase::Over => return Ok(None),
                Phase::Replaying => {
                    let page = self.page().await?;
                    if !page.is_empty() {
                        self.pending.extend(page);
                        continue;
                    }
                    let Some(job) = self.ended().await? else {
                        self.phase = Phase::Live;
                        continue;
                    };
                    // It may have ended after the page was read: then the rest is there by now.
                    let rest = self.page().await?;
                    if rest.is_empty() {
                        return Ok(Some(self.end_again(&job)));
                    }
                    self.pending.extend(rest);
                }
                Phase::Live => {
                    let next = tokio::select! {
                        biased;
                        () = self.drained.cancelled() => return Ok(None),
                        next = self.watch.next() => Some(next),
                        () = tokio::time::sleep(LOOK_EVERY) => {
                            // While the store is away readers stay as they are.
                            let missed = self.page().await.unwrap_or_default();
                            if missed.is_empty() {
                                continue;
                            }
                            None
                        }
                    };
                    if !self.state.clients.load().has(&self.caller.0) {
                        // Taken out meanwhile: its token opens nothing, this stream neither.
                        return Ok(None);
                    }
                    match next {
                        // The history has what was not heard.
                        None => self.phase = Phase::Replaying,
                        Some(Some(event)) if !self.is_next(&event) => {
                            self.phase = Phase::Replaying;
                        }
                        Some(Some(event)) => self.pending.push_back(Event::clone(&event)),
                        Some(None) if self.state.runtime.is_stopping() => return Ok(None),
                        Some(None) => {
                            // Too far behind: the history has what was missed.
                            self.watch = self.state.runtime.watch(self.job);
                            self.phase = Phase::Replaying;
                        }
                    }
                }
            }
        }
    }

    /// Tells whether nothing can lie between the last event and this one.
    fn is_next(&self, event: &Event) -> bool {
        let last = self.after.map_or(0, |(revision, _)| revision);
        event.revision <= last.saturating_add(1)
    }

    /// Writes an event; the job's end carries its outcome and is the last line.
    async fn line(&mut self, event: &Event) -> Result<Line, ApiError> {
        let mut data = event_row(event);
        let mut name = name_of(event);
        if event.kind.is_terminal() {
            let job = self.state.runtime.job(self.job).await?;
            // A job that was retried since has not ended here.
            if let Some(job) = job.filter(|job| job.ended_at == Some(event.at)) {
                name = "end";
                add_outcome(&mut data, &job);
                self.phase = Phase::Over;
                self.pending.clear();
            }
        }
        Ok(written(name, &data).id(place(event)))
    }

    /// Reads on in the history.
    async fn page(&self) -> Result<Vec<Event>, ApiError> {
        let runtime = &self.state.runtime;
        Ok(runtime.history(self.job, self.after, PAGE).await?)
    }

    /// Returns the job if it has ended.
    async fn ended(&self) -> Result<Option<Job>, ApiError> {
        let job = self.state.runtime.job(self.job).await?;
        Ok(job.filter(|job| job.status.is_terminal()))
    }

    /// Returns the last line for a reader that has seen all of the history.
    fn end_again(&mut self, job: &Job) -> Line {
        self.phase = Phase::Over;
        let mut data = json!({"job_id": job.id, "state": job.state});
        add_outcome(&mut data, job);
        written("end", &data)
    }
}

fn add_outcome(data: &mut Value, job: &Job) {
    data["status"] = json!(job.status);
    data["result"] = job.result.clone().unwrap_or(Value::Null);
    data["error"] = json!(job.error);
}

fn written(name: &str, data: &Value) -> Line {
    let text = String::from_utf8_lossy(&to_wire_bytes(data)).into_owned();
    Line::default().event(name).data(text)
}

/// Sorts an event into what a reader tells apart.
fn name_of(event: &Event) -> &'static str {
    match event.kind {
        EventKind::WorkerEvent if event.details.get("type") == Some(&json!(PROGRESS)) => "progress",
        EventKind::WorkerEvent
        | EventKind::TaskDispatched
        | EventKind::TaskFinished
        | EventKind::TaskRetried
        | EventKind::TaskIgnored
        | EventKind::ChildStarted
        | EventKind::ChildFinished => "task",
        EventKind::JobCreated
        | EventKind::StateStarted
        | EventKind::StateFinished
        | EventKind::StateFailed
        | EventKind::ApprovalRequired
        | EventKind::ApprovalReceived
        | EventKind::Log
        | EventKind::Emitted
        | EventKind::JobFinished
        | EventKind::JobFailed
        | EventKind::JobQuarantined
        | EventKind::JobCancelled
        | EventKind::JobRetried => "state",
    }
}

/// Gives a waiting job the event that it waits for.
#[utoipa::path(
    post, path = "/jobs/{job_id}/events", tag = "jobs",
    params(("job_id" = String, Path, description = "the job")),
    request_body(content = ref("#/components/schemas/NamedEvent"), description = "the event"),
    responses(
        (status = 202, description = "the job goes on", body = ref("#/components/schemas/EventAccepted")),
        (status = 400, description = "invalid_json, invalid_request"),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "job_not_found"),
        (status = 409, description = "not_waiting: for no such event"),
    ),
)]
pub async fn publish(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(job_id): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = answers::read_object(body, state.settings.body()).await?;
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| (1..=NAME_CHARS_MAX).contains(&name.chars().count()))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "name must be a text of 1 to {NAME_CHARS_MAX} characters"
            ))
        })?;
    let job = owned(&state, &caller, &job_id).await?;
    let payload = body.get("payload").cloned().unwrap_or(Value::Null);
    let input = Input::EventReceived {
        name: name.to_owned(),
        payload,
    };
    match state.runtime.apply(job.id, input).await {
        Ok(Applied::Advanced { .. }) => Ok(answers::reply(
            StatusCode::ACCEPTED,
            &json!({"job_id": job.id, "status": "event_accepted"}),
        )),
        Ok(Applied::Ignored(_)) => Err(ApiError::new(
            Code::NotWaiting,
            format!("the job does not wait for event `{name}`"),
        )),
        Err(RuntimeError::JobNotFound) => Err(ApiError::job_not_found()),
        Err(error) => Err(error.into()),
    }
}
