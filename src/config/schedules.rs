//! `schedules.toml`: when which job starts. The original's calendar fields become cron
//! expressions, so that one rule decides every slot.

use std::path::Path;

use super::Problems;
use super::document::{Table, kind, parse_tables};
use super::value::check_time_zone;
use crate::base::Timestamp;
use crate::base::ids::is_identifier;
use crate::domain::schedule::{CatchUp, Schedule, Timetable};

/// How far back missed slots are looked for when a schedule does not say, in seconds.
const CATCH_UP_WINDOW_SECONDS: u64 = 3600;

/// The longest window, in seconds: idempotency keys make doubles impossible only while they are
/// known, which is a day unless set otherwise.
const CATCH_UP_WINDOW_SECONDS_MAX: u64 = 30 * 86_400;

const KNOWN: &[&str] = &[
    "blueprint",
    "input_data",
    "initial_data",
    "enabled",
    "interval_seconds",
    "daily_at",
    "time",
    "weekly_days",
    "monthly_dates",
    "cron",
    "time_zone",
    "jitter_seconds",
    "catch_up",
    "catch_up_window_seconds",
    "dispatch_timeout",
    "result_timeout",
    "security",
    "metadata",
];

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads the file's text; entries with `enabled = false` are checked and left out.
pub fn parse(file: &Path, text: &str, zone: &str, problems: &mut Problems) -> Vec<Schedule> {
    let mut schedules = Vec::new();
    for table in parse_tables(file, text, problems) {
        table.check_names(KNOWN, true, problems);
        let enabled = table.flag("enabled", problems).unwrap_or(true);
        let schedule = schedule(&table, zone, problems);
        if enabled {
            schedules.extend(schedule);
        }
    }
    schedules
}

fn schedule(table: &Table, zone: &str, problems: &mut Problems) -> Option<Schedule> {
    let blueprint = blueprint(table, problems);
    let timetable = timetable(table, zone, problems);
    let day = 86_400;
    let schedule = Schedule {
        name: table.name.clone(),
        blueprint: blueprint.unwrap_or_default(),
        input_data: input(table, problems),
        timetable: timetable?,
        jitter_seconds: table
            .integer("jitter_seconds", 0, day, problems)
            .unwrap_or(0),
        catch_up: catch_up(table, problems),
        catch_up_window_seconds: table
            .integer(
                "catch_up_window_seconds",
                1,
                CATCH_UP_WINDOW_SECONDS_MAX,
                problems,
            )
            .unwrap_or(CATCH_UP_WINDOW_SECONDS),
        dispatch_timeout_seconds: table.integer("dispatch_timeout", 1, 30 * day, problems),
        result_timeout_seconds: table.integer("result_timeout", 1, 30 * day, problems),
        security: table.object("security", problems),
        metadata: table.object("metadata", problems),
    };
    // From the epoch on, so that the check does not depend on the day on which it is made.
    if schedule.next_slot(Timestamp(0)).is_none() {
        table.complain(
            "",
            "never comes due: there is no such day or time",
            problems,
        );
        return None;
    }
    (!schedule.blueprint.is_empty()).then_some(schedule)
}

fn blueprint(table: &Table, problems: &mut Problems) -> Option<String> {
    if table.get("blueprint").is_none() {
        table.complain(
            "blueprint",
            "missing: which blueprint is to be started?",
            problems,
        );
        return None;
    }
    let name = table.text("blueprint", problems)?;
    if is_identifier(&name) {
        return Some(name);
    }
    table.complain(
        "blueprint",
        &format!("`{name}` is not a blueprint's name"),
        problems,
    );
    None
}

/// The original reads `input_data` only, but its own example file says `initial_data`.
fn input(table: &Table, problems: &mut Problems) -> crate::domain::Object {
    let input = table.object("input_data", problems);
    let initial = table.object("initial_data", problems);
    if input.is_some() && initial.is_some() {
        table.complain(
            "initial_data",
            "the same as `input_data`: keep one of them",
            problems,
        );
    }
    input.or(initial).unwrap_or_default()
}

fn catch_up(table: &Table, problems: &mut Problems) -> CatchUp {
    match table.text("catch_up", problems).as_deref() {
        None => CatchUp::default(),
        Some("none") => CatchUp::None,
        Some("one") => CatchUp::One,
        Some("all") => CatchUp::All,
        Some(other) => {
            let message = format!("`{other}` is none of none, one, all");
            table.complain("catch_up", &message, problems);
            CatchUp::default()
        }
    }
}

fn timetable(table: &Table, zone: &str, problems: &mut Problems) -> Option<Timetable> {
    let zone = match table.text("time_zone", problems) {
        Some(zone) => match check_time_zone(&zone) {
            Ok(()) => zone,
            Err(message) => {
                table.complain("time_zone", &message, problems);
                return None;
            }
        },
        None => zone.to_owned(),
    };
    let calendar = ["daily_at", "time", "weekly_days", "monthly_dates"];
    let has = |key: &str| table.get(key).is_some();
    let interval = match table
        .get("interval_seconds")
        .map(|node| node.value.as_i64())
    {
        None | Some(Some(0)) => None,
        Some(_) => Some(table.integer("interval_seconds", 1, 366 * 86_400, problems)?),
    };
    if has("cron") && (interval.is_some() || calendar.into_iter().any(has)) {
        let message = "together with another timetable: keep `cron`, `interval_seconds` or the calendar fields";
        table.complain("cron", message, problems);
        return None;
    }
    if let Some(seconds) = interval {
        // As in the original: the interval wins over calendar fields.
        return Some(Timetable::Interval { seconds });
    }
    let expression = match table.text("cron", problems) {
        Some(expression) => Some(expression),
        None if has("cron") => None,
        None => calendar_expression(table, problems),
    }?;
    let timetable = Timetable::Cron {
        expression,
        time_zone: zone,
    };
    if let Err(message) = timetable.check() {
        table.complain("cron", &message, problems);
        return None;
    }
    Some(timetable)
}

fn calendar_expression(table: &Table, problems: &mut Problems) -> Option<String> {
    if let Some(text) = table.text("daily_at", problems) {
        let (hour, minute) = time_of_day(table, "daily_at", &text, problems)?;
        return Some(format!("{minute} {hour} * * *"));
    }
    let Some(text) = table.text("time", problems) else {
        let message = "no timetable: give `cron`, `interval_seconds`, `daily_at`, or `time` with `weekly_days` or `monthly_dates`";
        table.complain("", message, problems);
        return None;
    };
    let (hour, minute) = time_of_day(table, "time", &text, problems)?;
    let before = problems.all().len();
    let days = weekly_days(table, problems);
    let dates = monthly_dates(table, problems);
    if days.is_empty() && dates.is_empty() {
        // Days that are all bad have been told of already.
        if problems.all().len() == before {
            let message =
                "needs `weekly_days` or `monthly_dates` beside it; for every day use `daily_at`";
            table.complain("time", message, problems);
        }
        return None;
    }
    let list = |items: Vec<String>| {
        if items.is_empty() {
            "*".to_owned()
        } else {
            items.join(",")
        }
    };
    Some(format!("{minute} {hour} {} * {}", list(dates), list(days)))
}

fn time_of_day(table: &Table, key: &str, text: &str, problems: &mut Problems) -> Option<(u8, u8)> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let digits =
            |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(hour) || minute.len() != 2 || !digits(minute) {
            return None;
        }
        let (hour, minute) = (hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?);
        (hour < 24 && minute < 60).then_some((hour, minute))
    });
    if parsed.is_none() {
        table.complain(
            key,
            &format!("`{text}` is not a time of day such as 03:30"),
            problems,
        );
    }
    parsed
}

fn weekly_days(table: &Table, problems: &mut Problems) -> Vec<String> {
    let mut days = Vec::new();
    for item in list(table, "weekly_days", problems) {
        let number = item.as_str().and_then(|day| {
            DAYS.iter()
                .position(|known| known.eq_ignore_ascii_case(day))
        });
        if let Some(number) = number {
            days.push(number.to_string());
        } else {
            let message = format!("{item} is none of mon, tue, wed, thu, fri, sat, sun");
            table.complain("weekly_days", &message, problems);
        }
    }
    days
}

fn monthly_dates(table: &Table, problems: &mut Problems) -> Vec<String> {
    let mut dates = Vec::new();
    for item in list(table, "monthly_dates", problems) {
        if let Some(date @ 1..=31) = item.as_u64() {
            dates.push(date.to_string());
        } else {
            let message = format!("{item} is not a day of a month, expected 1 to 31");
            table.complain("monthly_dates", &message, problems);
        }
    }
    dates
}

fn list(table: &Table, key: &str, problems: &mut Problems) -> Vec<serde_json::Value> {
    match table.get(key).map(|node| &node.value) {
        None => Vec::new(),
        Some(serde_json::Value::Array(items)) => items.clone(),
        Some(other) => {
            table.complain(
                key,
                &format!("expected an array, seen {}", kind(other)),
                problems,
            );
            Vec::new()
        }
    }
}
