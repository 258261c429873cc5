//! Slots as data: intervals, calendars, both changes of the clock, catch-up, jitter.

use super::*;
use crate::domain::Object;

fn schedule(timetable: Timetable) -> Schedule {
    Schedule {
        name: "nightly".to_owned(),
        blueprint: "report".to_owned(),
        input_data: Object::new(),
        timetable,
        jitter_seconds: 0,
        catch_up: CatchUp::One,
        catch_up_window_seconds: 3600,
        dispatch_timeout_seconds: None,
        result_timeout_seconds: None,
        security: None,
        metadata: None,
    }
}

fn cron(expression: &str, zone: &str) -> Schedule {
    schedule(Timetable::Cron {
        expression: expression.to_owned(),
        time_zone: zone.to_owned(),
    })
}

fn every(seconds: u64) -> Schedule {
    schedule(Timetable::Interval { seconds })
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("RFC 3339")
}

#[test]
fn intervals_count_from_the_epoch() {
    let schedule = every(60);
    assert_eq!(schedule.next_slot(Timestamp(0)), Some(Timestamp(60_000)));
    assert_eq!(
        schedule.next_slot(Timestamp(59_999)),
        Some(Timestamp(60_000))
    );
    assert_eq!(
        schedule.next_slot(Timestamp(60_000)),
        Some(Timestamp(120_000))
    );
    assert_eq!(schedule.next_slot(Timestamp(-1)), Some(Timestamp(0)));
}

/// Each case: expression, zone, after, the next slots. Zones that change in both hemispheres, by an
/// hour and by half an hour, and at midnight.
const CLOCK_CHANGES: [(&str, &str, &str, &[&str]); 9] = [
    // Forward in Berlin: 02:30 does not exist on the 29th and fires right after the gap.
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        &[
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ],
    ),
    // Back in Berlin: 02:30 exists twice on the 25th and fires once.
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ),
    // Every quarter of an hour goes on through the doubled hour.
    (
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        &[
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
        ],
    ),
    (
        "30 2 * * *",
        "America/New_York",
        "2026-03-08T00:00:00Z",
        &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
    ),
    (
        "30 1 * * *",
        "America/New_York",
        "2026-10-31T12:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    ),
    // Half an hour: Lord Howe goes from 02:00 to 02:30 in October and back in April.
    (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    ),
    (
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    ),
    // A gap at midnight: Santiago skips 00:00 to 01:00.
    (
        "0 0 * * *",
        "America/Santiago",
        "2026-09-05T12:00:00Z",
        &["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"],
    ),
    // No change at all.
    (
        "30 2 * * *",
        "Asia/Kolkata",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T21:00:00Z", "2026-03-29T21:00:00Z"],
    ),
];

#[test]
fn changes_of_the_clock_are_defined() {
    for (expression, zone, after, expected) in CLOCK_CHANGES {
        let schedule = cron(expression, zone);
        let mut slots = Vec::new();
        let mut last = at(after);
        for _ in expected {
            last = schedule.next_slot(last).expect("a next slot");
            slots.push(last);
        }
        let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
        assert_eq!(slots, expected, "{expression} {zone} after {after}");
    }
}

#[test]
fn looking_back_finds_what_looking_ahead_found() {
    for (expression, zone) in [
        ("30 2 * * *", "Europe/Berlin"),
        ("*/20 * * * *", "America/New_York"),
        ("15 2 * * *", "Australia/Lord_Howe"),
        ("0 0 * * *", "America/Santiago"),
        ("0 12 1,15 * 1", "UTC"),
    ] {
        let compiled = cron(expression, zone)
            .timetable
            .compile()
            .expect("compiles");
        for (from, to) in [
            ("2026-03-07T00:00:00Z", "2026-04-06T00:00:00Z"),
            ("2026-09-01T00:00:00Z", "2026-11-03T00:00:00Z"),
        ] {
            let (from, to) = (at(from), at(to));
            let ahead: Vec<Timestamp> =
                std::iter::successors(compiled.next(from), |slot| compiled.next(*slot))
                    .take_while(|slot| *slot <= to)
                    .collect();
            let mut back: Vec<Timestamp> = std::iter::successors(compiled.last(to), |slot| {
                compiled.last(Timestamp(slot.0 - 1))
            })
            .take_while(|slot| *slot > from)
            .collect();
            back.reverse();
            assert_eq!(ahead, back, "{expression} {zone}");
        }
    }
}

#[test]
fn days_that_never_come_have_no_slot() {
    assert_eq!(cron("0 0 30 2 *", "UTC").next_slot(Timestamp(0)), None);
    assert!(cron("61 * * * *", "UTC").timetable.check().is_err());
    assert!(cron("* * * * *", "Mars/Olympus").timetable.check().is_err());
    assert!(every(0).timetable.check().is_err());
}

#[test]
fn slots_between_are_half_open_and_bounded() {
    let slots = every(60).slots_between(Timestamp(60_000), Timestamp(180_000), 10);
    assert_eq!(slots, [Timestamp(120_000), Timestamp(180_000)]);
    assert_eq!(
        every(60)
            .slots_between(Timestamp(0), Timestamp(600_000), 3)
            .len(),
        3
    );
}

type Missed = (&'static str, CatchUp, i64, i64, &'static [i64], bool);

/// Slots every minute, the last one dealt with was minute 10. Each case: name, policy, second since
/// which someone watches, now in seconds, minutes fired, whether any were skipped.
const MISSED: [Missed; 13] = [
    ("on time", CatchUp::None, 0, 661, &[11], false),
    ("not yet", CatchUp::All, 0, 659, &[], false),
    ("late, none", CatchUp::None, 0, 690, &[], true),
    ("late, one", CatchUp::One, 0, 690, &[11], false),
    ("three, none", CatchUp::None, 0, 810, &[], true),
    ("three, one", CatchUp::One, 0, 810, &[13], true),
    ("three, all", CatchUp::All, 0, 810, &[11, 12, 13], false),
    (
        "three, the last on time, none",
        CatchUp::None,
        0,
        780,
        &[13],
        true,
    ),
    (
        "three, the last on time, one",
        CatchUp::One,
        0,
        780,
        &[13],
        true,
    ),
    (
        "just before the start, none",
        CatchUp::None,
        661,
        662,
        &[],
        true,
    ),
    (
        "just before the start, one",
        CatchUp::One,
        661,
        662,
        &[11],
        false,
    ),
    (
        "some before the start, one",
        CatchUp::One,
        721,
        722,
        &[12],
        true,
    ),
    ("at the start, none", CatchUp::None, 660, 662, &[11], false),
];

#[test]
fn missed_slots_follow_the_policy() {
    for (name, catch_up, since, now, minutes, skipped) in MISSED {
        let since = Timestamp(since * 1000);
        let now = Timestamp(now * 1000);
        let schedule = Schedule {
            catch_up,
            ..every(60)
        };
        let due = schedule.due_slots(Timestamp(600_000), since, now);
        let expected: Vec<Timestamp> = minutes.iter().map(|m| Timestamp(m * 60_000)).collect();
        assert_eq!((due.fire, due.skipped), (expected, skipped), "{name}");
        let next = schedule.next_slot(due.handled_to).expect("a next slot");
        assert!(next > now, "{name}: the loop must not turn in place");
    }
}

#[test]
fn the_window_bounds_what_is_looked_for() {
    let day = Timestamp(86_400_000);
    let all = Schedule {
        catch_up: CatchUp::All,
        catch_up_window_seconds: 300,
        ..every(60)
    };
    let due = all.due_slots(Timestamp(0), Timestamp(0), day);
    assert_eq!(due.fire.len(), 5);
    assert!(due.skipped);
    assert_eq!(due.handled_to, day);
    let wide = Schedule {
        catch_up_window_seconds: 86_400,
        ..Schedule {
            catch_up: CatchUp::All,
            ..every(1)
        }
    };
    assert_eq!(
        wide.due_slots(Timestamp(0), Timestamp(0), day).fire.len(),
        CATCH_UP_SLOTS_MAX
    );
    // Nothing in the window, but something before it: the loop goes on after the window's start.
    let rare = Schedule {
        catch_up_window_seconds: 60,
        ..every(3600)
    };
    let due = rare.due_slots(Timestamp(0), Timestamp(0), Timestamp(3600 * 1000 + 120_000));
    assert_eq!((due.fire.len(), due.skipped), (0, true));
    assert_eq!(rare.next_slot(due.handled_to), Some(Timestamp(7_200_000)));
}

#[test]
fn jitter_is_the_same_for_everyone_and_never_early() {
    let schedule = Schedule {
        jitter_seconds: 30,
        ..every(60)
    };
    let mut spread = std::collections::BTreeSet::new();
    for minute in 1..200 {
        let slot = Timestamp(minute * 60_000);
        let due = schedule.due_at(slot);
        assert_eq!(due, schedule.clone().due_at(slot));
        assert!(due >= slot && due.0 < slot.0 + 30_000);
        spread.insert((due.0 - slot.0) / 1000);
        let before = Timestamp(due.0 - 1);
        let handled = Timestamp(slot.0 - 1);
        assert_eq!(
            schedule.due_slots(handled, Timestamp(0), before).fire,
            Vec::new()
        );
        assert_eq!(schedule.due_slots(handled, Timestamp(0), due).fire, [slot]);
    }
    assert!(spread.len() > 20, "{spread:?}");
}

#[test]
fn keys_name_schedule_and_slot() {
    assert_eq!(
        every(60).slot_key(Timestamp(60_000)),
        "schedule:nightly:60000"
    );
}
