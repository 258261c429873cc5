//! Finding jobs again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::auth::Caller;
use super::create::members::is_label_name;
use super::error::{ApiError, Code};
use super::job_view::{View, shorten};
use super::jobs::{Answer, limit_of, with_cursor};
use super::query::Parameters;
use super::{ApiState, json as answers};
use crate::base::Timestamp;
use crate::domain::{Job, JobStatus};
use crate::store::JobQuery;

/// Jobs on a page when the request does not say.
const PAGE: u32 = 100;
/// Most jobs on a page.
const PAGE_MAX: u32 = 500;
/// With the job that makes it so large a page ends, or the rest of its jobs become short. Units: bytes of JSON.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// What of a short job is not left out. Units: bytes of JSON of a member.
const MEMBER_BYTES_MAX: usize = 1 << 10;
/// Jobs that are read at once. Those beyond the page's bytes were read for nothing.
const READ_AT_ONCE: u32 = 25;
/// Largest offset; beyond it a cursor has to be used.
const OFFSET_MAX: u32 = 10_000;

fn refused(message: &str) -> ApiError {
    ApiError::new(Code::InvalidQuery, message)
}

/// Reads the query's parameters; `status` and `label` may come several times.
pub(super) fn page_of(parameters: Vec<(String, String)>) -> Result<JobQuery, ApiError> {
    let mut query = JobQuery {
        limit: PAGE,
        ..JobQuery::default()
    };
    for (name, value) in parameters {
        match name.as_str() {
            "limit" => query.limit = limit_of(Some(&value), PAGE, PAGE_MAX)?,
            "offset" => {
                query.skip = value.parse().ok().filter(|n| *n <= OFFSET_MAX).ok_or_else(|| {
                    refused("Invalid limit/offset parameter: offset must be 0 to 10000, or use cursor")
                })?;
            }
            "cursor" if value.is_empty() => query.after = None,
            "cursor" => {
                query.after = Some(value.parse().map_err(|_| refused("Invalid cursor"))?);
            }
            "status" => {
                for status in value.split(',') {
                    let status = JobStatus::parse(status.trim())
                        .ok_or_else(|| refused("status is none that a job can have"))?;
                    query.statuses.push(status);
                }
            }
            "blueprint" => query.blueprint = Some(value),
            "created_from" => query.created_from = Some(time_of(&value)?),
            "created_to" => query.created_to = Some(time_of(&value)?),
            "label" => {
                let (label, value) = value
                    .split_once(':')
                    .filter(|(name, _)| is_label_name(name))
                    .ok_or_else(|| refused("label must be name:value"))?;
                let known = query.labels.insert(label.to_owned(), value.to_owned());
                if known.is_some_and(|known| known != value) {
                    return Err(refused(
                        "label has two values of one name, and no job has both",
                    ));
                }
            }
            // Unknown parameters are nobody's business, as in the original.
            _ => {}
        }
    }
    Ok(query)
}

/// Tells whether who asks goes on by the cursor that a page ends with, however few jobs it has. Others know
/// the original, which has limit and offset: they would overlook what a page lacks.
fn is_by_cursor(parameters: &[(String, String)]) -> bool {
    parameters.iter().any(|(name, _)| name == "cursor")
}

/// Reads RFC 3339 text, or seconds since the epoch.
fn time_of(text: &str) -> Result<Timestamp, ApiError> {
    let seconds = || {
        text.parse::<i64>()
            .ok()
            .map(|s| Timestamp(s.saturating_mul(1000)))
    };
    Timestamp::parse_rfc3339(text)
        .or_else(seconds)
        .ok_or_else(|| refused("times must be RFC 3339, or seconds since the epoch"))
}

/// Lists the client's jobs, newest first.
#[utoipa::path(
    get, path = "/jobs", tag = "jobs",
    params(
        ("limit" = Option<u32>, Query, description = "by default 100", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before, or nothing for the first one", pattern = r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$", example = "01a2077f-ef04-70ed-a54d-b6abff5e0442"),
        ("offset" = Option<u32>, Query, description = "jobs to skip, at most 10000; a cursor is cheaper"),
        ("status" = Option<Vec<String>>, Query, description = "repeated for more than one, or separated by commas"),
        ("blueprint" = Option<String>, Query, description = "name"),
        ("created_from" = Option<String>, Query, description = "RFC 3339, or seconds since the epoch; inclusive"),
        ("created_to" = Option<String>, Query, description = "exclusive"),
        ("label" = Option<Vec<String>>, Query, description = "name:value; may be repeated, all have to fit"),
    ),
    responses(
        (status = 200, description = "`job_id` and the job as `context_snapshot`: with `$offloaded` (`key`, `size`, `sha256`) in place of values that are kept elsewhere, which the job itself has. A page that becomes larger than 8 MiB ends early where it is asked for with `cursor`; any other has all its jobs, and from there on leaves out of them what is larger than 1 KiB, which each names in `left_out`", body = ref("#/components/schemas/JobRows"),
         headers(("X-Next-Cursor" = String, description = "where the next page begins, when there is one"))),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
) -> Answer {
    let is_by_cursor = is_by_cursor(&parameters);
    let mut query = page_of(parameters)?;
    query.client = Some(caller.0.id.clone());
    let row = |job: &Job, shown: Value| json!({"job_id": job.id, "context_snapshot": shown});
    page(&state, (query, is_by_cursor), row).await
}

// Fixes HQ9.
/// Lists the client's quarantined jobs, newest first.
#[utoipa::path(
    get, path = "/jobs/quarantined", tag = "jobs",
    params(
        ("limit" = Option<u32>, Query, description = "by default 100", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before, or nothing for the first one", pattern = r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$", example = "01a2077f-ef04-70ed-a54d-b6abff5e0442"),
    ),
    responses(
        (status = 200, description = "the jobs, as `/jobs` has them", body = ref("#/components/schemas/Jobs"),
         headers(("X-Next-Cursor" = String, description = "where the next page begins, when there is one"))),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn quarantined(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Parameters(parameters): Parameters<BTreeMap<String, String>>,
) -> Answer {
    let wanted: Vec<(String, String)> = parameters
        .into_iter()
        .filter(|(name, _)| name == "limit" || name == "cursor")
        .collect();
    let is_by_cursor = is_by_cursor(&wanted);
    let mut query = page_of(wanted)?;
    query.client = Some(caller.0.id.clone());
    query.statuses = vec![JobStatus::Quarantined];
    page(&state, (query, is_by_cursor), |_, shown| shown).await
}

/// Answers with the jobs of a page, each as `row` makes it of what is shown of it, and with the place where
/// the next page begins when this one is full.
async fn page(
    state: &ApiState,
    (mut query, is_by_cursor): (JobQuery, bool),
    row: impl Fn(&Job, Value) -> Value,
) -> Answer {
    let view = View {
        detailed: state.settings.detailed,
        fields: None,
    };
    let (mut rows, mut bytes, mut left) = (Vec::new(), 0, query.limit);
    loop {
        query.limit = left.min(READ_AT_ONCE);
        let jobs = state.runtime.list(query.clone()).await?;
        for job in &jobs {
            let mut shown = view.of(job);
            if bytes >= PAGE_BYTES_MAX {
                shorten(&mut shown, MEMBER_BYTES_MAX);
            }
            let row = row(job, shown);
            bytes += row.to_string().len();
            rows.push(row);
            left -= 1;
            if left == 0 || (is_by_cursor && bytes >= PAGE_BYTES_MAX) {
                let next = Some(job.id.to_string());
                return Ok(with_cursor(answers::ok(&Value::Array(rows)), next));
            }
        }
        if jobs.len() < query.limit as usize {
            return Ok(answers::ok(&Value::Array(rows)));
        }
        query.after = jobs.last().map(|job| job.id);
        query.skip = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &[(&str, &str)]) -> Result<JobQuery, ApiError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        page_of(text.iter().map(own).collect())
    }

    #[test]
    fn filters_are_read() {
        let page = page(&[
            ("status", "failed, quarantined"),
            ("status", "finished"),
            ("label", "team:a:b"),
            ("label", "env:prod"),
            ("created_from", "2026-11-23T08:00:00Z"),
            ("created_to", "1795422154"),
            ("blueprint", "full_showcase"),
            ("limit", "7"),
            ("offset", "3"),
            ("never", "heard of"),
        ])
        .expect("good");
        assert_eq!(page.skip, 3);
        assert_eq!(page.limit, 7);
        assert_eq!(page.statuses.len(), 3);
        assert_eq!(page.labels["team"], "a:b");
        assert_eq!(
            page.created_from.map(Timestamp::as_secs),
            Some(1_795_420_800)
        );
        assert_eq!(page.created_to.map(Timestamp::as_secs), Some(1_795_422_154));
    }

    #[test]
    fn bad_parameters_are_refused() {
        for parameter in [
            ("limit", "0"),
            ("limit", "501"),
            ("limit", "-1"),
            ("limit", "ten"),
            ("offset", "-1"),
            ("offset", "10001"),
            ("cursor", "not-an-id"),
            ("status", "error"),
            ("status", ""),
            ("label", "no-colon"),
            ("label", ":no-name"),
            ("created_from", "yesterday"),
        ] {
            let error = page(&[parameter]).expect_err(parameter.1);
            assert_eq!(error.code(), Code::InvalidQuery, "{parameter:?}");
        }
    }

    #[test]
    fn all_labels_have_to_fit() {
        let error = page(&[("label", "team:a"), ("label", "team:b")]).expect_err("never both");
        assert_eq!(error.code(), Code::InvalidQuery);
        let twice = page(&[("label", "team:a"), ("label", "team:a")]).expect("the same");
        assert_eq!(twice.labels["team"], "a");
    }
}
