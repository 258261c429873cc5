//! Finding jobs again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::auth::Caller;
use super::create::members::is_label_name;
use super::error::{ApiError, Code};
use super::job_view::View;
use super::jobs::{Answer, limit_of, with_cursor};
use super::query::Parameters;
use super::{ApiState, json as answers};
use crate::base::Timestamp;
use crate::domain::JobStatus;
use crate::store::JobQuery;

/// Jobs on a page when the request does not say.
const PAGE: u32 = 100;
/// Most jobs on a page.
const PAGE_MAX: u32 = 500;
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
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before", pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", example = "01a2077f-ef04-70ed-a54d-b6abff5e0442"),
        ("offset" = Option<u32>, Query, description = "jobs to skip, at most 10000; a cursor is cheaper"),
        ("status" = Option<Vec<String>>, Query, description = "repeated for more than one, or separated by commas"),
        ("blueprint" = Option<String>, Query, description = "name"),
        ("created_from" = Option<String>, Query, description = "RFC 3339, or seconds since the epoch; inclusive"),
        ("created_to" = Option<String>, Query, description = "exclusive"),
        ("label" = Option<Vec<String>>, Query, description = "name:value; may be repeated, all have to fit"),
    ),
    responses(
        (status = 200, description = "`job_id` and the job itself as `context_snapshot`", body = ref("#/components/schemas/JobRows"),
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
    let mut query = page_of(parameters)?;
    let limit = query.limit;
    query.client = Some(caller.0.id.clone());
    let jobs = state.runtime.list(query).await?;
    let more = jobs.len() == limit as usize;
    let view = View {
        detailed: state.settings.detailed,
        fields: None,
    };
    let rows: Vec<Value> = jobs
        .iter()
        .map(|job| json!({"job_id": job.id, "context_snapshot": view.of(job)}))
        .collect();
    let next = jobs.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(with_cursor(answers::ok(&Value::Array(rows)), next))
}

// Fixes HQ9.
/// Lists the client's quarantined jobs, newest first.
#[utoipa::path(
    get, path = "/jobs/quarantined", tag = "jobs",
    params(
        ("limit" = Option<u32>, Query, description = "by default 100", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before", pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", example = "01a2077f-ef04-70ed-a54d-b6abff5e0442"),
    ),
    responses(
        (status = 200, description = "the jobs", body = ref("#/components/schemas/Jobs"),
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
    let wanted = parameters
        .into_iter()
        .filter(|(name, _)| name == "limit" || name == "cursor");
    let mut query = page_of(wanted.collect())?;
    query.client = Some(caller.0.id.clone());
    query.statuses = vec![JobStatus::Quarantined];
    let limit = query.limit;
    let jobs = state.runtime.list(query).await?;
    let next = jobs
        .last()
        .filter(|_| jobs.len() == limit as usize)
        .map(|job| job.id.to_string());
    let view = View {
        detailed: state.settings.detailed,
        fields: None,
    };
    let rows = jobs.iter().map(|job| view.of(job)).collect();
    Ok(with_cursor(answers::ok(&Value::Array(rows)), next))
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
