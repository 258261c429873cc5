//! `scheduler`: fires schedules through the HTTP API. Several may run at once, and any may be
//! killed: a slot's idempotency key lets at most one job come of it (I8).

pub mod core;
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::context::{Context, SettingsArgs};
use super::exit::{Exit, Failure, RoleResult};
use super::printer::{Output, Table};
use super::probes::{ProbeArgs, Probes};
use super::remote::{Remote, RemoteArgs, encoded};
use super::submit;
use super::traces::{Asking, Tracing, service};
use crate::base::{Clock, Timestamp};
use crate::domain::Object;
use crate::domain::schedule::{Schedule, Timetable};
use crate::observe::Traces;
use core::FireError;
use standing::Standing;

/// What `scheduler` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika scheduler --schedules config/schedules.toml --token user_token_vip
  avtomatika scheduler --schedules config/schedules.toml --list 5

An orchestrator fires the schedules of its own settings itself; run this role where it shall not
(EMBEDDED_SCHEDULER=false). Jobs belong to the token's client.")]
pub struct Args {
    /// Print the next N slots of each schedule and exit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub list: Option<u32>,
    /// Where it tells how it does.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Runs the role.
pub async fn run(args: Args, context: &Context) -> RoleResult {
    let configuration = args.settings.load(context)?;
    let schedules = configuration.schedules;
    if schedules.is_empty() {
        return Err(Failure::new(Exit::Invalid, "there is no schedule")
            .hint("name a file by --schedules or SCHEDULES_CONFIG_PATH"));
    }
    if let Some(count) = args.list {
        list(&schedules, context.clock.now(), count as usize, context);
        return Ok(Exit::Ok);
    }
    let standing = Arc::new(Standing::new(schedules.len(), context));
    let tracing = Tracing::start(
        configuration.settings.traces.as_ref(),
        &service("avtomatika-scheduler"),
        standing.metrics.spans(),
    )
    .map_err(|error| Failure::new(Exit::Invalid, format!("{error:#}")))?;
    let remote = Arc::new(Door {
        traces: tracing.traces.clone(),
        remote: Remote::new(&args.remote)?,
        clock: Arc::clone(&context.clock),
        paths: Mutex::default(),
    });
    let probes = args.probes.listen().await?;
    tracing::info!(schedules = schedules.len(), "scheduler started");
    let fire = move |schedule: Arc<Schedule>, slot: Timestamp| {
        let remote = Arc::clone(&remote);
        async move { remote.fire(&schedule, slot).await }
    };
    let clock = Arc::clone(&context.clock);
    let watch = Arc::clone(&standing) as _;
    let firing = core::run_schedules(schedules, clock, fire, watch, context.stop.clone());
    Probes::beside(probes, standing, firing).await;
    tracing.finish().await;
    tracing::info!("scheduler stopped");
    Ok(Exit::Ok)
}

/// How long an endpoint is taken for known: a blueprint that is changed may give its path to
/// another one.
const PATH_KNOWN_FOR: Duration = Duration::from_mins(1);

/// The orchestrator with what is known of its endpoints.
struct Door {
    traces: Traces,
    remote: Remote,
    clock: Arc<dyn Clock>,
    paths: Mutex<Paths>,
}

/// Blueprints' paths, and when each was looked up.
#[derive(Default)]
struct Paths(BTreeMap<String, (String, Timestamp)>);

impl Paths {
    fn get(&self, blueprint: &str, now: Timestamp) -> Option<String> {
        let (path, at) = self.0.get(blueprint)?;
        let is_fresh = now >= *at && now.since(*at) < PATH_KNOWN_FOR;
        is_fresh.then(|| path.clone())
    }
}

impl Door {
    async fn fire(&self, schedule: &Schedule, slot: Timestamp) -> Result<String, FireError> {
        let mut trace = Asking::begin(&self.traces, self.clock.as_ref(), None);
        let fired = self.ask(schedule, slot, &mut trace).await;
        let failed = fired.as_ref().err().map(|_| "not_fired");
        trace.ended(format!("schedule {}", schedule.name), failed);
        fired
    }

    async fn ask(
        &self,
        schedule: &Schedule,
        slot: Timestamp,
        trace: &mut Asking<'_>,
    ) -> Result<String, FireError> {
        let path = self.path(&schedule.blueprint).await?;
        let key = schedule.slot_key(slot);
        trace.asks();
        let posted = self
            .remote
            .within(trace.traceparent.clone())
            .post_with_key(&path, &request(schedule, slot), &key)
            .await;
        let job = posted
            .as_ref()
            .ok()
            .and_then(|reply| reply.body["job_id"].as_str());
        trace.answered(self.remote.origin(), job);
        let reply = match posted {
            Ok(reply) => reply,
            Err(failure) => {
                // The endpoint may have moved: it is looked up anew for the next slot.
                if matches!(failure.status, Some(404 | 405)) {
                    self.paths.lock().await.0.remove(&schedule.blueprint);
                }
                return Err(judged(&failure));
            }
        };
        Ok(reply.body["job_id"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned())
    }

    async fn path(&self, blueprint: &str) -> Result<String, FireError> {
        let now = self.clock.now();
        if let Some(path) = self.paths.lock().await.get(blueprint, now) {
            return Ok(path);
        }
        let custom = self.remote.below(&format!("/jobs/{}", encoded(blueprint)));
        let path = match submit::endpoint(&self.remote, blueprint).await {
            Ok(path) => path,
            // The original has no list to ask; there the custom holds.
            Err(failure) if matches!(failure.status, Some(404 | 405)) => custom,
            Err(failure) => return Err(judged(&failure)),
        };
        self.paths
            .lock()
            .await
            .0
            .insert(blueprint.to_owned(), (path.clone(), now));
        Ok(path)
    }
}

/// Another try helps when the orchestrator is out of reach or asks for patience.
fn judged(failure: &Failure) -> FireError {
    let again = failure.exit == Exit::Unreachable || failure.status == Some(429);
    let message = failure.to_string();
    if again {
        FireError::Later(message)
    } else {
        FireError::Never(message)
    }
}

/// Makes the request for a slot's job; the same bytes for every try and every scheduler, as the
/// idempotency key asks.
fn request(schedule: &Schedule, slot: Timestamp) -> Value {
    let mut body = Map::new();
    body.insert(
        "initial_data".to_owned(),
        Value::Object(schedule.input_data.clone()),
    );
    body.insert(
        "metadata".to_owned(),
        Value::Object(job_metadata(schedule, slot)),
    );
    if let Some(security) = &schedule.security {
        body.insert("security".to_owned(), Value::Object(security.clone()));
    }
    for (name, seconds) in [
        ("dispatch_timeout", schedule.dispatch_timeout_seconds),
        ("result_timeout", schedule.result_timeout_seconds),
    ] {
        if let Some(seconds) = seconds {
            body.insert(name.to_owned(), Value::from(seconds));
        }
    }
    Value::Object(body)
}

/// Returns the metadata of a slot's job: the schedule's own, and where the job comes from.
#[must_use]
pub fn job_metadata(schedule: &Schedule, slot: Timestamp) -> Object {
    let mut metadata = schedule.metadata.clone().unwrap_or_default();
    metadata.insert(
        "source".to_owned(),
        Value::from(format!("scheduler:{}", schedule.name)),
    );
    metadata.insert("schedule_slot".to_owned(), Value::from(slot.to_rfc3339()));
    metadata
}

/// Prints the next slots of each schedule.
pub fn list(schedules: &[Schedule], now: Timestamp, count: usize, context: &Context) {
    let mut table = Table::new(&["SCHEDULE", "BLUEPRINT", "SLOT", "TIMETABLE"]);
    let mut items = Vec::new();
    for schedule in schedules {
        for slot in schedule.slots_between(now, Timestamp(i64::MAX), count) {
            let (zone, timetable) = described(&schedule.timetable);
            let local = local_time(slot, &zone);
            table.row(&[
                schedule.name.clone(),
                schedule.blueprint.clone(),
                local.clone(),
                timetable,
            ]);
            items.push(json!({
                "schedule": schedule.name,
                "blueprint": schedule.blueprint,
                "slot": slot.to_rfc3339(),
                "slot_local": local,
                "due_at": schedule.due_at(slot).to_rfc3339(),
                "idempotency_key": schedule.slot_key(slot),
            }));
        }
    }
    if items.is_empty() && context.printer.output() == Output::Text {
        context.printer.note("no schedule has a slot to come");
        return;
    }
    context.printer.list(&items, &table);
}

/// Returns a timetable's zone and its text.
#[must_use]
pub fn described(timetable: &Timetable) -> (String, String) {
    match timetable {
        Timetable::Interval { seconds } => ("UTC".to_owned(), format!("every {seconds} s")),
        Timetable::Cron {
            expression,
            time_zone,
        } => (time_zone.clone(), format!("{expression} ({time_zone})")),
    }
}

/// Writes a time in a zone, with the offset that holds then.
fn local_time(at: Timestamp, zone: &str) -> String {
    let zoned = jiff::Timestamp::from_millisecond(at.0)
        .and_then(|timestamp| timestamp.in_tz(zone))
        .map(|zoned| zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string());
    zoned.unwrap_or_else(|_| at.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::CatchUp;

    #[test]
    fn every_try_asks_for_the_same_job() {
        let schedule = Schedule {
            name: "nightly".to_owned(),
            blueprint: "report".to_owned(),
            input_data: Object::new(),
            timetable: Timetable::Interval { seconds: 60 },
            jitter_seconds: 0,
            catch_up: CatchUp::One,
            catch_up_window_seconds: 3600,
            dispatch_timeout_seconds: Some(5),
            result_timeout_seconds: None,
            security: None,
            metadata: Some(
                json!({"team": "ops"})
                    .as_object()
                    .cloned()
                    .expect("an object"),
            ),
        };
        let body = request(&schedule, Timestamp(60_000));
        assert_eq!(body, request(&schedule, Timestamp(60_000)));
        let expected = json!({
            "initial_data": {},
            "metadata": {"team": "ops", "source": "scheduler:nightly", "schedule_slot": "1970-01-01T00:01:00.000Z"},
            "dispatch_timeout": 5,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_path_is_looked_up_again_after_a_while() {
        let known = ("/jobs/report".to_owned(), Timestamp(120_000));
        let paths = Paths(BTreeMap::from([("report".to_owned(), known)]));
        assert!(paths.get("report", Timestamp(120_000)).is_some());
        assert!(paths.get("report", Timestamp(179_999)).is_some());
        assert_eq!(paths.get("report", Timestamp(180_000)), None);
        assert_eq!(
            paths.get("report", Timestamp(60_000)),
            None,
            "a clock set back"
        );
        assert_eq!(paths.get("other", Timestamp(120_000)), None);
    }

    #[test]
    fn an_orchestrator_that_stops_is_asked_again() {
        let answered = |exit, status| {
            let mut failure = Failure::new(exit, "answered");
            failure.status = status;
            matches!(judged(&failure), FireError::Later(_))
        };
        assert!(answered(Exit::Unreachable, Some(503)));
        assert!(answered(Exit::Unreachable, None));
        assert!(answered(Exit::Refused, Some(429)));
        assert!(!answered(Exit::Refused, Some(404)));
    }

    #[test]
    fn slots_are_shown_in_their_zone() {
        assert_eq!(
            local_time(Timestamp(0), "Asia/Kolkata"),
            "1970-01-01 05:30:00 +05:30"
        );
    }
}
