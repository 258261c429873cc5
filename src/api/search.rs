//! Finding jobs in the archive: also those that have left the store, and by what went wrong.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::jobs::{Answer, with_cursor};
use super::listing::page_of;
use super::query::Parameters;
use super::{ApiState, json as answers};
use crate::store::archive::{JobSearch, JobSummary, words};

/// What a search takes of a list's parameters. Others are refused: a filter that nobody sees to would find
/// everything.
const OF_LIST: [&str; 7] = [
    "limit",
    "cursor",
    "status",
    "blueprint",
    "created_from",
    "created_to",
    "label",
];

/// Reads the query's parameters: those of a list, and words of an error.
fn search_of(parameters: Vec<(String, String)>) -> Result<JobSearch, ApiError> {
    let refused = |message: &str| Err(ApiError::new(Code::InvalidQuery, message));
    let (mut list, mut words) = (Vec::new(), Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "error" => {
                let found = words::of(&value);
                if found.is_empty() {
                    return refused("error must hold at least one word");
                }
                words.extend(found);
            }
            "offset" => return refused("a search goes on by cursor, not by offset"),
            known if OF_LIST.contains(&known) => list.push((name, value)),
            unknown => {
                let known = OF_LIST.join(", ");
                let message =
                    format!("{unknown} is no parameter of a search: it has {known}, error");
                return refused(&message);
            }
        }
    }
    Ok(JobSearch {
        jobs: page_of(list)?,
        words,
    })
}

/// Returns a job as a list has it, with what a search knows.
fn row(job: &JobSummary) -> Value {
    json!({
        "job_id": job.id,
        "context_snapshot": {
            "id": job.id,
            "job_id": job.id,
            "blueprint_name": job.blueprint,
            "status": job.status,
            "current_state": job.state,
            "parent_job_id": job.parent,
            "error": job.error,
            "error_message": job.error.as_ref().map(|error| &error.message),
            "labels": job.labels,
            "created_at": job.created_at.to_rfc3339(),
            "updated_at": job.updated_at.to_rfc3339(),
            "ended_at": job.ended_at.map(crate::base::Timestamp::to_rfc3339),
        },
    })
}

/// Finds the client's jobs in the history, newest first: also those that have left the store. What
/// has just happened is there a moment later.
#[utoipa::path(
    get, path = "/jobs/search", tag = "jobs",
    params(
        ("limit" = Option<u32>, Query, description = "by default 100", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "the `X-Next-Cursor` of the page before, or nothing for the first one; jobs that come meanwhile shift nothing", pattern = r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$", example = "01a2077f-ef04-70ed-a54d-b6abff5e0442"),
        ("status" = Option<Vec<String>>, Query, description = "repeated for more than one, or separated by commas"),
        ("blueprint" = Option<String>, Query, description = "name"),
        ("created_from" = Option<String>, Query, description = "RFC 3339, or seconds since the epoch; inclusive"),
        ("created_to" = Option<String>, Query, description = "exclusive"),
        ("label" = Option<Vec<String>>, Query, description = "name:value; may be repeated, all have to fit"),
        ("error" = Option<String>, Query, description = "whole words, in any order and case, that all have to be in the error's code or message; of a long one the first 64 different words and the last 32 count"),
    ),
    responses(
        (status = 200, description = "`job_id` and what is known of the job as `context_snapshot`", body = ref("#/components/schemas/JobRows"),
         headers(("X-Next-Cursor" = String, description = "where the next page begins, when there is one"))),
        (status = 400, description = "invalid_query"),
        (status = 401, description = "unauthorized"),
        (status = 409, description = "history_off"),
    ),
)]
pub async fn search(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
) -> Answer {
    let mut search = search_of(parameters)?;
    search.jobs.client = Some(caller.0.id.clone());
    let Some(page) = state.runtime.search(search).await? else {
        return Err(ApiError::new(
            Code::HistoryOff,
            "no history is kept to search in: start the orchestrator with --history, or list jobs instead",
        ));
    };
    let rows = page.jobs.iter().map(row).collect();
    let next = page.next.map(|job| job.to_string());
    Ok(with_cursor(answers::ok(&Value::Array(rows)), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &[(&str, &str)]) -> Result<JobSearch, ApiError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        search_of(text.iter().map(own).collect())
    }

    #[test]
    fn filters_and_words_are_read() {
        let search = search(&[
            ("error", "Disk full"),
            ("error", "/var"),
            ("status", "failed"),
            ("limit", "7"),
        ])
        .expect("good");
        assert_eq!(search.words, ["disk", "full", "var"]);
        assert_eq!(search.jobs.limit, 7);
        assert_eq!(search.jobs.statuses.len(), 1);
    }

    #[test]
    fn what_no_search_has_is_refused() {
        for parameter in [
            ("error", " … "),
            ("error", ""),
            ("offset", "1"),
            ("limit", "0"),
            ("stauts", "failed"),
            ("labels", "team:a"),
        ] {
            let error = search(&[parameter]).expect_err(parameter.1);
            assert_eq!(error.code(), Code::InvalidQuery, "{parameter:?}");
        }
        let error = search(&[("stauts", "failed")]).expect_err("misspelt");
        let text = format!("{error:?}");
        assert!(
            text.contains("stauts") && text.contains("status, "),
            "{text}"
        );
    }

    #[test]
    fn each_parameter_of_a_search_is_known() {
        let id = "01a2077f-ef04-70ed-a54d-b6abff5e0442";
        search(&[
            ("limit", "7"),
            ("cursor", id),
            ("status", "failed"),
            ("blueprint", "render"),
            ("created_from", "0"),
            ("created_to", "1"),
            ("label", "team:a"),
            ("error", "disk"),
        ])
        .expect("all of them");
    }
}
