//! What every archive has to do with links: none missing, none double, also after old ones have gone.

use std::sync::Arc;
use std::time::Duration;

use avtomatika::base::Timestamp;
use avtomatika::domain::JobStatus;
use avtomatika::store::Archive;
use avtomatika::store::archive::Links;
use avtomatika::store::archive::chain::{Day, Record};
use avtomatika::store::archive::verify::{Broken, Scope, Verifier};

use crate::fixtures::*;
use crate::hasher;
use crate::suite::{all, find};

type Tested = Arc<dyn Archive>;

/// Reads all links of the chains, by pages.
pub async fn records(archive: &Tested, of: Links) -> Vec<Record> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = archive.links(of, after, 2).await.expect("reads");
        let Some(last) = page.last() else { return all };
        after = match of {
            Links::Job(_) => last.job_number,
            Links::Day(_) => last.day_number,
        };
        all.extend(page);
    }
}

/// Goes through all days.
pub async fn verify_days(archive: &Tested) -> Result<u64, Broken> {
    let kept_from = archive.kept_from().await.expect("reads");
    let mut verifier = Verifier::new(hasher(), Scope::Days, kept_from).linking_days(None);
    for (day, head) in archive.days().await.expect("reads") {
        for record in records(archive, Links::Day(day)).await {
            verifier.check(&record)?;
        }
        assert_eq!(verifier.day(), Some((day, head)), "the last link is told");
    }
    Ok(verifier.count())
}

pub async fn links_every_event(archive: Tested) {
    let (one, two) = (job(1, 0), job(2, 0));
    let over = ended(&one, JobStatus::Finished, DAY);
    let batches = [
        (
            vec![event(&one, 0, 1), event(&two, 0, 2), event(&one, 1, 3)],
            vec![&one, &two],
        ),
        (
            vec![event(&two, 0, 2), event(&over, 0, DAY)],
            vec![&over, &two],
        ),
        (vec![event(&two, 1 << 31, DAY + 5)], vec![&two]),
    ];
    for (events, jobs) in batches {
        let jobs = jobs.into_iter().cloned();
        archive.append(batch(events, jobs)).await.expect("appends");
    }
    assert_eq!(verify_days(&archive).await, Ok(5));
    let days = archive.days().await.expect("reads");
    let today = Day::of(NOW);
    let numbers: Vec<_> = days.iter().map(|(day, head)| (*day, head.number)).collect();
    assert_eq!(numbers, [(today, 3), (today.next(), 2)]);
    for (id, count) in [(one.id, 3), (two.id, 2)] {
        let links = records(&archive, Links::Job(id)).await;
        let mut verifier = Verifier::new(hasher(), Scope::Job(id), None);
        links
            .iter()
            .try_for_each(|one| verifier.check(one))
            .expect("holds");
        assert_eq!(verifier.count(), count);
        assert_eq!(verifier.job(id), archive.head(id).await.expect("reads"));
    }
    assert_eq!(archive.head(id(9, 0)).await.expect("reads"), None);
}

pub async fn forgets_what_is_too_old(archive: Tested) {
    let old = labelled(job(1, -90 * DAY), &[("team", "a")]);
    let gone = failed(&old, "TIMEOUT", "too slow", -90 * DAY + 5);
    let stays = job(2, -90 * DAY);
    let new = ended(&job(3, 0), JobStatus::Finished, 5);
    bring(&archive, &[old, stays.clone()]).await;
    bring_one(&archive, &gone).await;
    bring_one(&archive, &new).await;
    archive.upkeep(NOW, None).await.expect("keeps all");
    assert_eq!(find(&archive, all()).await.len(), 3);
    let month = Some(Duration::from_hours(24 * 30));
    archive.upkeep(NOW, month).await.expect("lets go");
    archive.upkeep(NOW, month).await.expect("has let go");
    assert_eq!(archive.by_job(gone.id, None, 9).await.expect("reads"), []);
    assert_eq!(
        archive.by_job(new.id, None, 9).await.expect("reads").len(),
        1
    );
    let left = find(&archive, all()).await;
    assert!(left.contains(&new.id));
    assert!(
        left.contains(&stays.id),
        "a job that has not ended is not forgotten"
    );
    let kept_from = archive.kept_from().await.expect("reads").expect("let go");
    assert!(kept_from > Day::of(at(-90 * DAY)) && kept_from <= Day::of(at(-30 * DAY)));
    assert_eq!(verify_days(&archive).await, Ok(1), "what is left holds");
    // It goes on where it was, and what it lost is known to be gone.
    let over = ended(&stays, JobStatus::Finished, 50);
    bring_one(&archive, &over).await;
    assert_eq!(verify_days(&archive).await, Ok(2));
    let links = records(&archive, Links::Job(stays.id)).await;
    assert_eq!(links.len(), 1);
    let mut verifier = Verifier::new(hasher(), Scope::Job(stays.id), Some(kept_from));
    verifier
        .check(&links[0])
        .expect("its first event went with its time");
    let far = Timestamp(NOW.0 + 400 * DAY);
    archive.upkeep(far, month).await.expect("lets go of all");
    assert!(find(&archive, all()).await.is_empty());
    assert_eq!(archive.job(new.id).await.expect("reads"), None);
}
