//! People and rivals: whoever else acts on a job, at the worst moment, through any orchestrator.

use std::sync::Arc;

use avtomatika::base::JobId;
use avtomatika::domain::JobStatus;
use avtomatika::engine::{ChildEnd, Input};
use avtomatika::runtime::Applied;
use serde_json::json;

use crate::blueprints::EVENT;
use crate::cluster::{Cluster, Line};
use crate::rng::Rng;
use crate::seen::{Seen, short};
use crate::world::World;

/// Acts on jobs while there is trouble.
pub async fn meddle(world: Arc<World>, cluster: Arc<Cluster>, mut rng: Rng) {
    loop {
        let pause = rng.within(200..=3_000);
        if !world.sleep(pause).await || world.is_calm() {
            return;
        }
        let (Some(line), Some(job)) = (cluster.any(&mut rng), world.some_job(&mut rng)) else {
            continue;
        };
        // Half of the acts are what people are asked for: decisions and events.
        if rng.chance(500) {
            decide(&line, job, &mut rng).await;
        } else if rng.chance(world.plan.meddling) {
            act(&line, job, &mut rng).await;
        }
    }
}

async fn decide(line: &Line, job: JobId, rng: &mut Rng) {
    let decision = *rng.pick(&["approved", "approved", "rejected", "again", "unheard-of"]);
    let Some(Ok(Some(asked))) = line.request(rng, line.runtime.job(job)).await else {
        return;
    };
    // Now and then a person answers what was asked some time ago.
    let visit = asked.visit - u64::from(rng.chance(200));
    let decided = Input::Decided {
        visit,
        decision: decision.to_owned(),
        metadata: None,
        security: None,
    };
    let came = Input::EventReceived {
        name: EVENT.to_owned(),
        payload: json!({ "from": "outside" }),
    };
    apply(line, job, decided, rng).await;
    apply(line, job, came, rng).await;
}

async fn act(line: &Line, job: JobId, rng: &mut Rng) {
    match rng.within(0..=5) {
        0 => {
            let reason = "somebody asked".to_owned();
            apply(line, job, Input::Cancel { reason }, rng).await;
        }
        1 | 2 => apply(line, job, Input::Retry, rng).await,
        3 => apply(line, job, Input::Woken, rng).await,
        4 => repeat_child_end(line, job, rng).await,
        _ => look(line, job, rng).await,
    }
}

async fn apply(line: &Line, job: JobId, input: Input, rng: &mut Rng) {
    let text = format!("{input:?} for job {}", short(&job));
    let answer = line.request(rng, line.runtime.apply(job, input)).await;
    let seen = match answer {
        Some(Err(error)) => Seen::Said {
            text: format!("{text}: {error}"),
        },
        Some(Ok(Applied::Ignored(_))) => return,
        Some(Ok(_)) => Seen::Note { text },
        None => Seen::Note {
            text: format!("{text}: no answer"),
        },
    };
    line.gate.world.note("people", seen);
}

/// Delivers a child's end once more, as a rival that has read the same message would.
async fn repeat_child_end(line: &Line, job: JobId, rng: &mut Rng) {
    let Some(Ok(Some(parent))) = line.request(rng, line.runtime.job(job)).await else {
        return;
    };
    let Some(child) = parent.child_job_id else {
        return;
    };
    let Some(Ok(Some(child))) = line.request(rng, line.runtime.job(child)).await else {
        return;
    };
    let Some(origin) = child
        .parent
        .filter(|_| child.status.is_terminal() && child.retries == 0)
    else {
        return;
    };
    let end = ChildEnd {
        child: child.id,
        visit: origin.visit,
        finished: child.status == JobStatus::Finished,
        final_state: child.state,
        result: child.result,
        error: child.error,
    };
    apply(line, parent.id, Input::ChildEnded(end), rng).await;
    line.gate.world.know(child.id);
}

/// Looks at a job in every way that there is. Nothing that is shown may hold a secret.
async fn look(line: &Line, job: JobId, rng: &mut Rng) {
    let explained = line.request(rng, line.runtime.explain(job)).await;
    let delivered = line.request(rng, line.runtime.deliveries(job, 20)).await;
    if let Some(Ok(Some(explanation))) = explained {
        let text = format!("{explanation:?}");
        line.gate.world.note("people", Seen::Said { text });
    }
    if let Some(Ok(deliveries)) = delivered {
        let text = format!("{deliveries:?}");
        line.gate.world.note("people", Seen::Said { text });
    }
}
