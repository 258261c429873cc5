//! The loop on virtual time: tokio's paused clock drives sleeps and the wall clock alike.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::domain::Object;
use crate::domain::schedule::{CatchUp, Timetable};

const START: i64 = 1_800_000_000_000;

/// A wall clock that follows tokio's paused one, and can be stepped.
struct VirtualClock {
    origin: tokio::time::Instant,
    step_ms: std::sync::atomic::AtomicI64,
}

impl VirtualClock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: tokio::time::Instant::now(),
            step_ms: 0.into(),
        })
    }

    fn step(&self, ms: i64) {
        self.step_ms
            .fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let step = self.step_ms.load(std::sync::atomic::Ordering::SeqCst);
        Timestamp(START + step).after(self.origin.elapsed())
    }
}

fn schedule(catch_up: CatchUp) -> Schedule {
    Schedule {
        name: "minutely".to_owned(),
        blueprint: "b".to_owned(),
        input_data: Object::new(),
        timetable: Timetable::Interval { seconds: 60 },
        jitter_seconds: 0,
        catch_up,
        catch_up_window_seconds: 600,
        dispatch_timeout_seconds: None,
        result_timeout_seconds: None,
        security: None,
        metadata: None,
    }
}

/// What was fired: slot and when.
type Fired = Arc<Mutex<Vec<(i64, i64)>>>;

/// Runs schedulers side by side for a while; each try is answered by `answer`, counted from 0.
async fn fired_in(
    minutes: u64,
    schedule: Schedule,
    clock: Arc<VirtualClock>,
    answer: impl Fn(usize) -> Result<String, FireError> + Clone + Send + Sync + 'static,
) -> Vec<(i64, i64)> {
    let fired: Fired = Fired::default();
    let stop = CancellationToken::new();
    let record = Arc::clone(&fired);
    let wall = Arc::clone(&clock);
    let fire = move |_: Arc<Schedule>, slot: Timestamp| {
        let mut all = record.lock().expect("no panic while held");
        let answered = answer(all.len());
        all.push(((slot.0 - START) / 1000, (wall.now().0 - START) / 1000));
        std::future::ready(answered)
    };
    let running = run_schedules(
        vec![schedule],
        clock,
        fire,
        Arc::new(Unwatched),
        stop.clone(),
    );
    tokio::select! {
        () = running => panic!("the loop ended by itself"),
        () = tokio::time::sleep(Duration::from_secs(minutes * 60 + 30)) => stop.cancel(),
    }
    let all = fired.lock().expect("no panic while held");
    all.clone()
}

#[tokio::test(start_paused = true)]
async fn slots_fire_on_time_and_never_early() {
    let fired = fired_in(3, schedule(CatchUp::None), VirtualClock::new(), |_| {
        Ok("job".to_owned())
    })
    .await;
    assert_eq!(fired, [(0, 0), (60, 60), (120, 120), (180, 180)]);
}

#[tokio::test(start_paused = true)]
async fn a_start_catches_up_within_the_window() {
    let clock = VirtualClock::new();
    clock.step(40_000);
    let one = fired_in(1, schedule(CatchUp::One), Arc::clone(&clock), |_| {
        Ok("job".to_owned())
    })
    .await;
    assert_eq!(one.first(), Some(&(0, 40)), "the last missed slot");
    let clock = VirtualClock::new();
    clock.step(40_000);
    let all = fired_in(0, schedule(CatchUp::All), clock, |_| Ok("job".to_owned())).await;
    let slots: Vec<i64> = all.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(
        slots,
        [-540, -480, -420, -360, -300, -240, -180, -120, -60, 0, 60]
    );
}

#[tokio::test(start_paused = true)]
async fn without_catch_up_a_start_fires_nothing_from_before_it() {
    let clock = VirtualClock::new();
    clock.step(5_000);
    let fired = fired_in(1, schedule(CatchUp::None), clock, |_| Ok("job".to_owned())).await;
    assert_eq!(fired, [(60, 60)]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_slot_is_tried_again_and_then_given_up() {
    let later = |tries| {
        if tries < 3 {
            Err(FireError::Later("down".to_owned()))
        } else {
            Ok("job".to_owned())
        }
    };
    let fired = fired_in(1, schedule(CatchUp::None), VirtualClock::new(), later).await;
    assert_eq!(fired, [(0, 0), (0, 1), (0, 3), (0, 7), (60, 60)]);
    let never = |_| Err(FireError::Never("no such blueprint".to_owned()));
    let fired = fired_in(1, schedule(CatchUp::None), VirtualClock::new(), never).await;
    assert_eq!(fired, [(0, 0), (60, 60)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_fires_no_slot_twice() {
    let clock = VirtualClock::new();
    let stepped = Arc::clone(&clock);
    let back = move |tries: usize| {
        if tries == 2 {
            stepped.step(-90_000);
        }
        Ok("job".to_owned())
    };
    let fired = fired_in(5, schedule(CatchUp::One), clock, back).await;
    let slots: Vec<i64> = fired.iter().map(|(slot, _)| *slot).collect();
    let distinct: BTreeSet<i64> = slots.iter().copied().collect();
    assert_eq!(slots.len(), distinct.len(), "{slots:?}");
    assert!(slots.contains(&180), "{slots:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_follows_the_policy() {
    let clock = VirtualClock::new();
    let stepped = Arc::clone(&clock);
    let forward = move |tries: usize| {
        if tries == 1 {
            stepped.step(5 * 60_000 - 20_000);
        }
        Ok("job".to_owned())
    };
    let fired = fired_in(2, schedule(CatchUp::One), clock, forward).await;
    let slots: Vec<i64> = fired.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, [0, 60, 300, 360, 420]);
}

/// Told to stop between two tries of a slot: the next start finds the slot again.
#[tokio::test(start_paused = true)]
async fn a_slot_that_meets_a_shutdown_is_fired_by_the_next_start() {
    let clock = VirtualClock::new();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let refuse = move |_: Arc<Schedule>, _: Timestamp| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        stopping.cancel();
        std::future::ready(Err(FireError::Later("shutting down".to_owned())))
    };
    let wall: Arc<dyn Clock> = clock.clone();
    let started = clock.now();
    run_schedules(
        vec![schedule(CatchUp::One)],
        wall,
        refuse,
        Arc::new(Unwatched),
        stop,
    )
    .await;
    assert_eq!(clock.now(), started, "a stop waits for no pause");
    assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 1);
    let fired = fired_in(0, schedule(CatchUp::One), clock, |_| Ok("job".to_owned())).await;
    assert_eq!(fired, [(0, 0)]);
}
