//! The workers and what they offer, as clients and operators may see them. Source: http-api §3.9
//! to §3.12, with HQ11 and HQ13 fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::jobs::Answer;
use super::{ApiState, json as answers};
use crate::base::WorkerId;
use crate::domain::Worker;
use crate::domain::worker::SkillInfo;

/// Returns what the caller may see of a worker: operators all of it, clients what it offers.
fn view(caller: &Caller, worker: &Worker) -> Value {
    let mut view = json!({
        "worker_id": worker.id,
        "worker_type": worker.worker_type,
        "status": worker.status,
        "skills": worker.skills.iter().map(|skill| &skill.name).collect::<Vec<_>>(),
        "reputation": worker.reputation,
    });
    let Some(members) = view.as_object_mut().filter(|_| caller.0.admin) else {
        return view;
    };
    for (name, value) in [
        ("supported_skills", json!(worker.skills)),
        ("available_skills", json!(worker.available_skills)),
        ("hot_skills", json!(worker.hot_skills)),
        ("skills_hash", json!(worker.skills_hash)),
        ("resources", json!(worker.resources)),
        ("installed_software", json!(worker.installed_software)),
        ("installed_artifacts", json!(worker.installed_artifacts)),
        ("capabilities", json!(worker.capabilities)),
        ("metadata", json!(worker.metadata)),
        ("usage", json!(worker.usage)),
        ("current_tasks", json!(worker.current_tasks)),
        ("registered_at", json!(worker.registered_at.to_rfc3339())),
        ("last_seen", json!(worker.last_seen.to_rfc3339())),
        ("expires_at", json!(worker.expires_at.to_rfc3339())),
    ] {
        members.insert(name.to_owned(), value);
    }
    view
}

/// Lists the workers.
#[utoipa::path(
    get, path = "/workers", tag = "workers",
    responses(
        (status = 200, description = "the workers", body = ref("#/components/schemas/Workers")),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn list(State(state): State<Arc<ApiState>>, caller: Caller) -> Answer {
    let workers = state.runtime.workers();
    Ok(answers::ok(
        &workers.iter().map(|worker| view(&caller, worker)).collect(),
    ))
}

/// Shows one worker.
#[utoipa::path(
    get, path = "/workers/{worker_id}", tag = "workers",
    params(("worker_id" = String, Path, description = "the worker")),
    responses(
        (status = 200, description = "the worker", body = ref("#/components/schemas/Worker")),
        (status = 401, description = "unauthorized"),
        (status = 404, description = "worker_not_found"),
    ),
)]
pub async fn show(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path(worker_id): Path<String>,
) -> Answer {
    let worker = state
        .runtime
        .worker(&WorkerId::from(worker_id))
        .ok_or_else(|| ApiError::new(Code::WorkerNotFound, "Worker not found"))?;
    Ok(answers::ok(&view(&caller, &worker)))
}

/// One skill over all its providers.
struct Offer {
    contract: SkillInfo,
    base_price: Option<f64>,
    providers: u32,
    types: BTreeSet<String>,
    reputations: f64,
}

/// Lists the skills that are on offer, with their contracts and prices.
#[utoipa::path(
    get, path = "/workers/catalog", tag = "workers",
    responses(
        (status = 200, description = "the skills", body = ref("#/components/schemas/SkillCatalog")),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn catalog(State(state): State<Arc<ApiState>>, _caller: Caller) -> Answer {
    let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
    for worker in state.runtime.workers() {
        for skill in &worker.skills {
            let price = Some(worker.cost(&skill.name)).filter(|price| price.is_finite());
            let offer = offers.entry(skill.name.clone()).or_insert_with(|| Offer {
                contract: skill.clone(),
                base_price: None,
                providers: 0,
                types: BTreeSet::new(),
                reputations: 0.0,
            });
            offer.base_price = match (offer.base_price, price) {
                (Some(known), Some(price)) => Some(known.min(price)),
                (known, price) => known.or(price),
            };
            offer.providers += 1;
            offer.types.insert(worker.worker_type.clone());
            offer.reputations += worker.reputation;
        }
    }
    let view = |(name, offer): (String, Offer)| -> Result<(String, Value), ApiError> {
        let mut contract = answers::value_of(&offer.contract)?;
        contract["base_price"] = json!(offer.base_price);
        let average = offer.reputations / f64::from(offer.providers);
        let row = json!({
            "contract": contract,
            "providers_count": offer.providers,
            "worker_types": offer.types,
            "average_reputation": (average * 10_000.0).round() / 10_000.0,
        });
        Ok((name, row))
    };
    let rows = offers
        .into_iter()
        .map(view)
        .collect::<Result<crate::domain::Object, _>>()?;
    Ok(answers::ok(&Value::Object(rows)))
}

/// Counts the client's jobs by status, the queued tasks and the workers.
#[utoipa::path(
    get, path = "/dashboard", tag = "workers",
    responses(
        (status = 200, description = "the counts", body = ref("#/components/schemas/Dashboard")),
        (status = 401, description = "unauthorized"),
    ),
)]
pub async fn dashboard(State(state): State<Arc<ApiState>>, caller: Caller) -> Answer {
    let mut jobs = crate::domain::Object::new();
    for (status, count) in state.runtime.counts(Some(&caller.0.id)).await? {
        jobs.insert(status.as_str().to_owned(), json!(count));
    }
    jobs.insert("queued".to_owned(), json!(state.runtime.queue_depth()));
    let workers = state.runtime.workers();
    let mut by_status: BTreeMap<&str, u32> = BTreeMap::new();
    for worker in &workers {
        *by_status.entry(worker.status.as_str()).or_default() += 1;
    }
    Ok(answers::ok(&json!({
        "jobs": jobs,
        "workers": {"total": workers.len(), "by_status": by_status},
    })))
}

/// Reads the workers' tokens anew; what is gone from the file is refused from then on.
#[utoipa::path(
    post, path = "/admin/reload-workers", tag = "workers",
    responses(
        (status = 200, description = "read anew", body = ref("#/components/schemas/WorkersReloaded")),
        (status = 400, description = "invalid_request: no file is configured, or it cannot be read"),
        (status = 401, description = "unauthorized"),
        (status = 403, description = "forbidden: for operators only"),
    ),
)]
pub async fn reload(State(state): State<Arc<ApiState>>, caller: Caller) -> Answer {
    if !caller.0.admin {
        return Err(ApiError::new(
            Code::Forbidden,
            "Forbidden: for operators only",
        ));
    }
    let tokens = Arc::clone(&state.worker_tokens);
    let reloaded = tokio::task::spawn_blocking(move || tokens.reload()).await;
    match reloaded {
        Ok(Ok(true)) => Ok(answers::ok(&json!({"status": "worker_configs_reloaded"}))),
        Ok(Ok(false)) => Err(ApiError::invalid("no workers file is configured")),
        Ok(Err(reason)) => Err(ApiError::invalid(format!(
            "the workers file is not good: {reason}"
        ))),
        Err(error) => Err(ApiError::internal(&error)),
    }
}
