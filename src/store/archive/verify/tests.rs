//! Every way to change a chain is found, and the first link that suffers from it is named.

use serde_json::json;

use super::*;
use crate::base::{Secret, Timestamp};
use crate::domain::{EventKind, Object};
use crate::store::EventText;
use crate::store::archive::chain::{Linked, Linker};

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
        hash: linked.job.hash,
    }
}

/// Two jobs over two days, in the order of days.
fn history() -> Vec<Record> {
    let mut linker = Linker::new(
        hasher(),
        std::collections::BTreeMap::new(),
        std::collections::BTreeMap::new(),
    );
    [
        (1, 1, 0),
        (2, 1, 0),
        (1, 2, 0),
        (1, 3, 1),
        (2, 2, 1),
        (1, 4, 1),
    ]
    .into_iter()
    .map(|(n, revision, day)| record(&linker.link(&EventText::of(&event(job(n), revision, day)))))
    .collect()
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
