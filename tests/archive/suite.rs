//! What every archive has to do.

use std::sync::Arc;

use avtomatika::base::JobId;
use avtomatika::domain::{Event, Job, JobStatus};
use avtomatika::store::archive::{JobSearch, Links, words};
use avtomatika::store::{Archive, JobQuery};

use crate::fixtures::*;
use crate::links::verify_days;

type Tested = Arc<dyn Archive>;

pub async fn keeps_events_once_and_in_order(archive: Tested) {
    let first = job(1, 0);
    let second = ended(&first, JobStatus::Finished, 9);
    let lines = [
        event(&first, 0, 1),
        event(&first, 1, 1),
        event(&second, 0, 9),
    ];
    let late = event(&first, 1 << 31, 20);
    let append = async |events: Vec<_>, job: &Job| {
        let appended = archive.append(batch(events, vec![job.clone()])).await;
        appended.expect("appends");
    };
    append(lines[..2].to_vec(), &first).await;
    append(lines.to_vec(), &second).await;
    append(vec![late.clone()], &second).await;
    append(
        vec![late.clone(), lines[0].clone(), lines[2].clone()],
        &second,
    )
    .await;
    let all = [lines[0].clone(), lines[1].clone(), late, lines[2].clone()];
    let read = |after, limit| archive.by_job(first.id, after, limit);
    assert_eq!(read(None, 10).await.expect("reads"), all);
    assert_eq!(read(None, 2).await.expect("reads"), all[..2]);
    assert_eq!(read(Some((1, 0)), 10).await.expect("reads"), all[1..]);
    assert_eq!(read(Some((2, 0)), 10).await.expect("reads"), []);
    assert_eq!(archive.by_job(id(2, 0), None, 9).await.expect("reads"), []);
    let linked = archive.links(Links::Job(first.id), 0, 10).await;
    assert_eq!(linked.expect("reads").len(), 4, "each has one place");
}

/// Events that come late take their places among those that came together before.
pub async fn reads_late_events_in_their_places(archive: Tested) {
    let at_revision = |revision: u64| Job {
        revision,
        ..job(1, 0)
    };
    let line = |revision: u64| event(&at_revision(revision), 0, 0);
    for revisions in [vec![1, 5, 9], vec![3, 7], vec![2, 4], vec![8], vec![6]] {
        let events = revisions.into_iter().map(line);
        let appended = archive.append(batch(events, vec![at_revision(9)])).await;
        appended.expect("appends");
    }
    let all: Vec<_> = (1..=9).map(line).collect();
    let id = all[0].job_id;
    for limit in 1..=10 {
        let mut read = Vec::new();
        loop {
            let after = read
                .last()
                .map(|event: &Event| (event.revision, event.index));
            let page = archive.by_job(id, after, limit).await.expect("reads");
            let is_last = page.len() < limit as usize;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, all, "by {limit}");
    }
    // All of them once more: nothing is new.
    let appended = archive
        .append(batch(all.clone(), vec![at_revision(9)]))
        .await;
    appended.expect("appends");
    let linked = archive.links(Links::Job(id), 0, 100).await.expect("reads");
    assert_eq!(linked.len(), 9);
    for after in 0..9 {
        let page = archive
            .links(Links::Job(id), after, 2)
            .await
            .expect("reads");
        let numbers: Vec<u64> = page.iter().map(|link| link.job_number).collect();
        assert_eq!(numbers, (after + 1..=9).take(2).collect::<Vec<_>>());
    }
}

pub async fn keeps_jobs_as_they_ended(archive: Tested) {
    let running = labelled(job(1, 0), &[("team", "a")]);
    bring_one(&archive, &running).await;
    assert_eq!(archive.job(running.id).await.expect("reads"), None);
    let over = failed(&running, "DISK_FULL", "no space left", 9);
    bring_one(&archive, &over).await;
    let kept = archive
        .job(running.id)
        .await
        .expect("reads")
        .expect("ended");
    assert_eq!(
        kept.security, None,
        "what only tasks needed does not go out"
    );
    let expected = Job {
        security: None,
        ..over.clone()
    };
    assert_eq!(kept, expected);
    // What is older than what is known changes nothing but the chain.
    let stale = archive
        .append(batch(vec![event(&running, 7, 30)], vec![running.clone()]))
        .await;
    stale.expect("appends");
    assert_eq!(archive.job(running.id).await.expect("reads"), Some(kept));
    assert_eq!(
        find(
            &archive,
            JobSearch {
                words: words::of("space"),
                ..all()
            }
        )
        .await,
        [over.id]
    );
    // Set going again it has not ended, and it is not found by what went wrong before.
    let again = Job {
        revision: over.revision + 1,
        status: JobStatus::WaitingForWorker,
        error: None,
        ended_at: None,
        updated_at: at(40),
        ..over.clone()
    };
    bring_one(&archive, &again).await;
    assert_eq!(archive.job(running.id).await.expect("reads"), None);
    assert!(
        find(
            &archive,
            JobSearch {
                words: words::of("space"),
                ..all()
            }
        )
        .await
        .is_empty()
    );
    let labels = with(|jobs| {
        jobs.labels.insert("team".to_owned(), "a".to_owned());
    });
    assert_eq!(find(&archive, labels).await, [over.id], "its labels stay");
}

pub fn all() -> JobSearch {
    with(|_| {})
}

/// Returns a search of the client `acme`, narrowed.
pub fn with(narrow: impl FnOnce(&mut JobQuery)) -> JobSearch {
    let mut jobs = JobQuery {
        client: Some("acme".into()),
        limit: 10,
        ..JobQuery::default()
    };
    narrow(&mut jobs);
    JobSearch {
        jobs,
        words: Vec::new(),
    }
}

pub async fn find(archive: &Tested, search: JobSearch) -> Vec<JobId> {
    let found = archive.search(search).await.expect("searches");
    found.jobs.into_iter().map(|job| job.id).collect()
}

type Narrow = Box<dyn FnOnce(&mut JobQuery)>;

fn label(name: &'static str, value: &'static str) -> Narrow {
    Box::new(move |jobs| {
        jobs.labels.insert(name.to_owned(), value.to_owned());
    })
}

/// Filters, and which of the jobs of [`searches`] fit.
fn filters() -> Vec<(&'static str, Narrow, Vec<usize>)> {
    let statuses =
        |statuses: Vec<JobStatus>| -> Narrow { Box::new(|jobs| jobs.statuses = statuses) };
    let two = vec![JobStatus::Failed, JobStatus::WaitingForWorker];
    let everything: Narrow = Box::new(|jobs| {
        label("team", "a")(jobs);
        label("env", "prod")(jobs);
        jobs.statuses = vec![JobStatus::Finished];
        jobs.blueprint = Some("render".to_owned());
        jobs.created_from = Some(at(0));
        jobs.created_to = Some(at(1));
    });
    vec![
        ("status", statuses(vec![JobStatus::Failed]), vec![1]),
        ("statuses", statuses(two), vec![3, 1]),
        ("one twice", statuses(vec![JobStatus::Failed; 2]), vec![1]),
        ("none", statuses(vec![JobStatus::Cancelled]), vec![]),
        (
            "blueprint",
            Box::new(|jobs| jobs.blueprint = Some("other".to_owned())),
            vec![2],
        ),
        ("label", label("team", "a"), vec![1, 0]),
        ("no such value", label("team", "c"), vec![]),
        (
            "from",
            Box::new(|jobs| jobs.created_from = Some(at(2_000))),
            vec![3, 2],
        ),
        (
            "to",
            Box::new(|jobs| jobs.created_to = Some(at(2_000))),
            vec![1, 0],
        ),
        ("all at once", everything, vec![0]),
        ("a bound", Box::new(|jobs| jobs.limit = 2), vec![3, 2]),
    ]
}

pub async fn searches(archive: Tested) {
    let mut jobs = vec![
        labelled(
            ended(&job(1, 0), JobStatus::Finished, 5),
            &[("team", "a"), ("env", "prod")],
        ),
        labelled(
            failed(&job(2, 1_000), "BAD_INPUT", "no such file", 1_005),
            &[("team", "a")],
        ),
        labelled(
            ended(&job(3, 2_000), JobStatus::Finished, 2_005),
            &[("team", "b")],
        ),
        job(4, 3_000),
    ];
    "other".clone_into(&mut jobs[2].blueprint);
    let mut foreign = ended(&job(5, 4_000), JobStatus::Finished, 4_005);
    foreign.client.id = "rival".into();
    bring(&archive, &jobs).await;
    bring_one(&archive, &foreign).await;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let pick = |which: &[usize]| which.iter().map(|n| ids[*n]).collect::<Vec<_>>();
    assert_eq!(find(&archive, all()).await, pick(&[3, 2, 1, 0]));
    for (name, narrow, expected) in filters() {
        assert_eq!(
            find(&archive, with(narrow)).await,
            pick(&expected),
            "{name}"
        );
    }
    let rivals = with(|jobs| jobs.client = Some("rival".into()));
    assert_eq!(find(&archive, rivals).await, [foreign.id]);
    let everybody = find(&archive, with(|jobs| jobs.client = None)).await;
    assert_eq!(everybody.len(), 5);
    let found = archive.search(with(|jobs| jobs.limit = 1)).await;
    let summary = &found.expect("searches").jobs[0];
    assert_eq!(summary.status, JobStatus::WaitingForWorker);
    assert_eq!(summary.created_at, at(3_000));
}

pub async fn pages_without_gaps_while_jobs_come(archive: Tested) {
    let jobs: Vec<Job> = (0..20)
        .map(|n| ended(&job(n, i64::from(n) * 10), JobStatus::Finished, 1_000))
        .collect();
    bring(&archive, &jobs).await;
    let (mut seen, mut after) = (Vec::new(), None);
    for n in 0.. {
        let search = with(|jobs| {
            jobs.limit = 3;
            jobs.after = after;
            jobs.statuses = vec![JobStatus::Finished];
        });
        let page = find(&archive, search).await;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        seen.extend(page);
        // Newer ones come between two pages.
        let newer = ended(
            &job(100 + n, 5_000 + i64::from(n)),
            JobStatus::Finished,
            6_000,
        );
        bring_one(&archive, &newer).await;
    }
    let expected: Vec<JobId> = jobs.iter().rev().map(|job| job.id).collect();
    assert_eq!(seen, expected);
}

pub async fn finds_words_of_errors(archive: Tested) {
    let jobs = [
        failed(
            &job(1, 0),
            "DISK_FULL",
            "cannot write /var/lib/out.png: no space left",
            9,
        ),
        failed(&job(2, 1), "TIMEOUT", "no answer within 30s", 9),
        failed(&job(3, 2), "TIMEOUT", "Größe überschritten; no SPACE", 9),
    ];
    bring(&archive, &jobs).await;
    for (text, expected) in [
        ("space", vec![2, 0]),
        ("no", vec![2, 1, 0]),
        ("no space left", vec![0]),
        ("disk_full", vec![0]),
        ("timeout NO", vec![2, 1]),
        ("GRÖSSE", vec![]),
        ("größe", vec![2]),
        ("spac", vec![]),
    ] {
        let search = JobSearch {
            words: words::of(text),
            ..all()
        };
        let expected: Vec<JobId> = expected.iter().map(|n: &usize| jobs[*n].id).collect();
        assert_eq!(find(&archive, search).await, expected, "{text}");
    }
}

/// Databases refuse what JSON may hold; none of it may stop the way.
pub async fn takes_odd_texts(archive: Tested) {
    let odd = "nul \0, quote ' \" \\, line\nend, 日本, \u{1F980}, \u{FFFF}";
    let one = failed(&job(1, 0), "E\0", odd, 5);
    let one = labelled(one, &[("k\0", odd), ("long", &"x".repeat(5_000))]);
    let mut line = event(&one, 0, 5);
    line.details.insert(odd.to_owned(), odd.into());
    line.details
        .insert("big".to_owned(), serde_json::json!(1e300));
    let appended = archive
        .append(batch(vec![line.clone()], vec![one.clone()]))
        .await;
    appended.expect("appends");
    assert_eq!(
        archive.by_job(one.id, None, 9).await.expect("reads"),
        [line]
    );
    let kept = archive.job(one.id).await.expect("reads").expect("ended");
    assert_eq!(kept.error, one.error);
    let labels = with(|jobs| jobs.labels = one.labels.clone());
    assert_eq!(find(&archive, labels).await, [one.id]);
    assert_eq!(verify_days(&archive).await, Ok(1));
}
