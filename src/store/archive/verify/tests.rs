//! Every way to change a chain is found, and the first link that suffers from it is named.

use serde_json::json;

use super::*;
use crate::base::{Secret, Timestamp};
use crate::domain::{EventKind, Object};
use crate::store::EventText;
use crate::store::archive::chain::{Days, Linked, Linker};

const NOW: Timestamp = Timestamp(1_795_422_000_000);
const DAY_MS: u64 = 86_400_000;

fn hasher() -> Hasher {
    Hasher::new(&Secret::new("salt"))
}

fn job(n: u8) -> JobId {
    JobId::from_parts(NOW, [n; 10])
}

fn event(job: JobId, revision: u64, day: u64) -> Event {
    let mut details = Object::new();
    details.insert("z".to_owned(), json!({"ratio": 0.1, "b": null, "a": "é"}));
    details.insert("a".to_owned(), json!(1.0));
    Event {
        event_id: Event::derive_id(job, revision, 0),
        job_id: job,
        client: "acme".into(),
        revision,
        index: 0,
        at: NOW.after_ms(day * DAY_MS + revision),
        kind: EventKind::Log,
        state: "start".to_owned(),
        previous_state: None,
        next_state: None,
        worker_id: None,
        task_id: None,
        attempt: None,
        duration_ms: None,
        details,
    }
}

fn record(linked: &Linked<'_>) -> Record {
    Record {
        event: serde_json::from_str(linked.event.as_str()).expect("JSON"),
        job_number: linked.job.number,
        day: linked.day,
        day_number: linked.on_day.number,
        previous_in_job: linked.previous_in_job,
        previous_in_day: linked.previous_in_day,
        day_before: linked.day_before,
        hash: linked.job.hash,
    }
}

/// Two jobs over two days, in the order of days.
fn history() -> Vec<Record> {
    linked(&[
        (1, 1, 0),
        (2, 1, 0),
        (1, 2, 0),
        (1, 3, 1),
        (2, 2, 1),
        (1, 4, 1),
    ])
}

/// Events of these jobs, revisions and days, that came in this order, in the order of days.
fn linked(events: &[(u8, u64, u64)]) -> Vec<Record> {
    let mut linker = Linker::new(hasher(), std::collections::BTreeMap::new(), Days::default());
    let mut records: Vec<Record> = events
        .iter()
        .map(|(n, revision, day)| EventText::of(&event(job(*n), *revision, *day)))
        .map(|event| record(&linker.link(&event)))
        .collect();
    records.sort_by_key(|one| (one.day, one.day_number));
    records
}

/// The day so many days after the first.
fn day(days: i32) -> Day {
    Day(Day::of(NOW).0 + days)
}

/// Goes through whole days from one on, with what they go on from.
fn verify_days(from: Option<Day>, records: &[Record], kept_from: Option<Day>) -> Option<String> {
    let mut verifier = Verifier::new(hasher(), Scope::Days, kept_from).linking_days(from);
    let checked = records.iter().try_for_each(|one| verifier.check(one));
    checked.err().map(|broken| broken.to_string())
}

fn verify(scope: Scope, records: &[Record], kept_from: Option<Day>) -> Result<u64, Broken> {
    let mut verifier = Verifier::new(hasher(), scope, kept_from);
    records.iter().try_for_each(|one| verifier.check(one))?;
    Ok(verifier.count())
}

fn of_job(records: &[Record], id: JobId) -> Vec<Record> {
    let is_of = |one: &&Record| one.event["job_id"] == json!(id);
    records.iter().filter(is_of).cloned().collect()
}

/// Where a change is found: the numbers in the job and on the day.
fn found(scope: Scope, records: &[Record]) -> (u64, u64) {
    let broken = verify(scope, records, None).expect_err("it has been changed");
    (broken.job_number, broken.day_number)
}

#[test]
fn an_untouched_history_holds() {
    let all = history();
    assert_eq!(verify(Scope::Days, &all, None), Ok(6));
    let one = of_job(&all, job(1));
    assert_eq!(verify(Scope::Job(job(1)), &one, None), Ok(4));
    // Written out and read again, by other hands.
    let text = serde_json::to_string(&all).expect("writes");
    let mut again: Vec<Record> = serde_json::from_str(&text).expect("reads");
    for one in &mut again {
        one.event.sort_all_objects();
    }
    assert_eq!(verify(Scope::Days, &again, None), Ok(6));
}

#[test]
fn a_change_is_found_where_it_was_made() {
    let all = history();
    let mut changed = all.clone();
    changed[2].event["state"] = json!("other");
    assert_eq!(found(Scope::Days, &changed), (2, 3));
    assert_eq!(found(Scope::Job(job(1)), &of_job(&changed, job(1))), (2, 3));
    let mut added = all.clone();
    added[2].event["note"] = json!("put in");
    assert_eq!(found(Scope::Days, &added), (2, 3));
    let mut moved = all.clone();
    moved[2].day_number = 9;
    assert_eq!(found(Scope::Days, &moved).0, 2);
}

/// Who changes an event and makes its hash anew is found out by the next one.
#[test]
fn a_change_with_a_new_hash_is_found_by_its_follower() {
    let mut all = history();
    all[2].event["state"] = json!("other");
    all[2].hash = hasher().expected(&all[2]);
    assert_eq!(
        found(Scope::Days, &all),
        (3, 1),
        "by its job, on the next day"
    );
    assert_eq!(found(Scope::Job(job(1)), &of_job(&all, job(1))), (3, 1));
    let mut first = history();
    first[0].event["state"] = json!("other");
    first[0].hash = hasher().expected(&first[0]);
    assert_eq!(found(Scope::Days, &first), (1, 2), "by its day");
}

#[test]
fn what_is_missing_is_found() {
    let mut all = history();
    all.remove(1);
    assert_eq!(found(Scope::Days, &all), (2, 3), "the day's second");
    let mut one = of_job(&history(), job(1));
    one.remove(0);
    assert_eq!(found(Scope::Job(job(1)), &one), (2, 3), "the job's first");
    let later = Day::of(NOW).next();
    assert_eq!(
        verify(Scope::Job(job(1)), &one, Some(later)),
        Ok(3),
        "it went with its time"
    );
    let day_before = Some(Day::of(NOW));
    assert!(verify(Scope::Job(job(1)), &one, day_before).is_err());
}

#[test]
fn what_is_there_twice_or_elsewhere_is_found() {
    let mut twice = history();
    let again = twice[1].clone();
    twice.insert(2, again);
    assert!(verify(Scope::Days, &twice, None).is_err());
    let mut swapped = history();
    swapped.swap(0, 1);
    assert!(verify(Scope::Days, &swapped, None).is_err());
    let foreign = of_job(&history(), job(2));
    let mut mixed = of_job(&history(), job(1));
    mixed.extend(foreign);
    assert!(verify(Scope::Job(job(1)), &mixed, None).is_err());
}

#[test]
fn another_salt_makes_other_hashes() {
    let mut verifier = Verifier::new(Hasher::new(&Secret::new("")), Scope::Days, None);
    let broken = verifier.check(&history()[0]).expect_err("another salt");
    assert!(broken.to_string().contains("AUDIT_SALT"), "{broken}");
}

/// The form that docs/operations.md describes, for whoever writes a checker of their own.
#[test]
fn the_hash_is_the_documented_one() {
    let one = &history()[0];
    let canonical = format!(
        r#"{{"at":{},"client":"acme","details":{{"a":1,"z":{{"a":"é","ratio":0.1}}}},"event_id":"{}","event_type":"log","index":0,"job_id":"{}","revision":1,"state":"start"}}"#,
        NOW.0 + 1,
        Event::derive_id(job(1), 1, 0),
        job(1),
    );
    let mut message = vec![0; 64];
    message.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    message.extend(canonical.as_bytes());
    let hash = crate::base::crypto::hmac_sha256(b"salt", &message);
    assert_eq!(one.hash, Hash(hash), "{}", one.event);
}

/// Likewise of an event that goes on from an earlier day: that day and the number on it are hashed, too.
#[test]
fn the_hash_of_a_days_first_event_is_the_documented_one() {
    let all = history();
    let one = &all[3];
    let canonical = format!(
        r#"{{"at":{},"client":"acme","details":{{"a":1,"z":{{"a":"é","ratio":0.1}}}},"event_id":"{}","event_type":"log","index":0,"job_id":"{}","revision":3,"state":"start"}}"#,
        NOW.0 + 86_400_003,
        Event::derive_id(job(1), 3, 0),
        job(1),
    );
    let mut message = [all[2].hash.0, all[2].hash.0].concat();
    message.extend([0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1]);
    // 2026-11-23 is day 20,780.
    message.extend([0, 0, 0, 0, 0, 0, 0x51, 0x2c, 0, 0, 0, 0, 0, 0, 0, 3]);
    message.extend(canonical.as_bytes());
    let hash = crate::base::crypto::hmac_sha256(b"salt", &message);
    assert_eq!(one.hash, Hash(hash), "{}", one.event);
    let line = serde_json::to_value(one).expect("writes");
    assert_eq!(
        line["day_before"],
        json!({"day": "2026-11-23", "number": 3})
    );
}

#[test]
fn a_day_that_is_taken_out_is_missed_by_the_next() {
    let all = linked(&[(1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3)]);
    assert_eq!(verify_days(None, &all, None), None);
    let mut taken = all.clone();
    taken.remove(1);
    let problem = verify_days(None, &taken, None).expect("it is missed");
    assert!(
        problem.contains(&format!("(event 1 of {})", day(2))),
        "{problem}"
    );
    assert!(
        problem.contains(&format!("{}, a day that is missing", day(1))),
        "{problem}"
    );
    assert_eq!(
        verify_days(None, &taken, Some(day(2))),
        None,
        "it went with its time"
    );
    assert!(verify_days(None, &taken, Some(day(1))).is_some());
    // Whatever is told of where they begin: the first day is there.
    assert!(verify_days(Some(day(2)), &taken, None).is_some());
    for from in 1..3 {
        let rest = &all[2..];
        let missed = verify_days(Some(day(from)), rest, None).is_some();
        assert_eq!(missed, from == 1, "what lies before {from} is elsewhere");
    }
    assert_eq!(
        verify_days(None, &all[..3], None),
        None,
        "nothing names the last one"
    );
    // To go on from another, or from none, is to be changed.
    for change in [
        None,
        Some(DayBefore {
            day: day(0),
            number: 1,
        }),
    ] {
        let mut changed = taken.clone();
        changed[1].day_before = change;
        let problem = verify_days(None, &changed, None).expect("it is seen");
        assert!(problem.contains("has been changed"), "{problem}");
    }
}

/// A day goes on while later ones do, too, and begins after them.
#[test]
fn days_begin_and_go_on_in_any_order() {
    let all = linked(&[
        (1, 1, 5),
        (2, 1, 0),
        (3, 1, 3),
        (4, 1, 0),
        (5, 1, 2),
        (6, 1, 6),
        (7, 1, 2),
        (8, 1, 5),
    ]);
    assert_eq!(verify_days(None, &all, None), None);
    let named = all.iter().filter(|one| one.day_number == 1);
    let named: Vec<_> = named
        .map(|one| one.day_before.map(|before| (before.day, before.number)))
        .collect();
    let expected = [
        None,
        Some((day(0), 2)),
        Some((day(0), 1)),
        None,
        Some((day(5), 1)),
    ];
    assert_eq!(named, expected);
    // What came behind the event that is named can be cut off, that event cannot.
    let of_first = |number| {
        all.iter()
            .position(|one| (one.day, one.day_number) == (day(0), number))
    };
    let mut cut = all.clone();
    cut.remove(of_first(2).expect("is there"));
    let problem = verify_days(None, &cut, None).expect("the third day names it");
    assert!(
        problem.contains("event 2 of 2026-11-23 with the hash"),
        "{problem}"
    );
    assert!(problem.contains("which that day has not"), "{problem}");
}

/// Another history of a day, which holds by itself, is not the one that is named.
#[test]
fn another_day_in_its_place_is_seen() {
    let all = linked(&[(1, 1, 0), (2, 1, 0), (3, 1, 1)]);
    let mut other = linked(&[(4, 1, 0), (5, 1, 0), (6, 1, 0)]);
    assert_eq!(verify_days(None, &other, None), None);
    other.push(all[2].clone());
    let problem = verify_days(None, &other, None).expect("it is seen");
    assert!(problem.contains("which that day has not"), "{problem}");
    // In the one that is named the last is as good as any.
    let named = linked(&[(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 0)]);
    assert_eq!(verify_days(None, &named, None), None);
}

/// A job's own chain is that of its job alone, also where it has the first event of a day.
#[test]
fn a_job_asks_for_no_days() {
    let all = history();
    let one = of_job(&all, job(1));
    assert!(one.iter().any(|record| record.day_before.is_some()));
    let mut verifier = Verifier::new(hasher(), Scope::Job(job(1)), None).linking_days(None);
    let checked = one.iter().try_for_each(|record| verifier.check(record));
    assert_eq!(checked, Ok(()));
}

/// What a version before this has stored goes on from nothing, and a day that begins now from it.
#[test]
fn days_of_the_version_before_hold() {
    let mut linker = Linker::new(hasher(), BTreeMap::new(), Days::default());
    let events = [(1, 0), (2, 1), (3, 2)].map(|(n, day)| EventText::of(&event(job(n), 1, day)));
    let first = linker.link(&events[0]);
    let mut linker = Linker::new(hasher(), BTreeMap::new(), Days::default());
    let second = linker.link(&events[1]);
    let days = Days {
        heads: BTreeMap::new(),
        before: [(day(2), (day(1), second.on_day))].into(),
    };
    let third = Linker::new(hasher(), BTreeMap::new(), days).link(&events[2]);
    let all = [first, second, third].map(|linked| record(&linked));
    assert_eq!(verify_days(None, &all, None), None);
    assert_eq!(
        verify_days(None, &all[1..], None),
        None,
        "nothing names the first"
    );
    assert!(verify_days(None, &[all[0].clone(), all[2].clone()], None).is_some());
}
