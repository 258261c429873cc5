//! The clients: each starts a job, waits until it is over, and goes on with the next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::plan::End;
use super::wire::{Created, Status};
use super::world::{StatusSeen, Unreadable, World};
use crate::net::Pipe;
use crate::roles::exit::Exit;

/// Where jobs count as over when acknowledged, every client still looks at each of so many jobs
/// before it goes on. So an orchestrator that answers first and works later cannot run further
/// behind its answers than this for each client.
const LOOK_EVERY: u64 = 16;

/// First and longest pause between two looks at a job.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Pause after a request for a job that brought none.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// When the next job is to start.
pub enum Starts {
    /// As soon as a client is free.
    Closed,
    /// When its time has come.
    Open(Queue),
}

/// Times that have come and were not served yet.
#[derive(Default)]
pub struct Queue {
    due: RefCell<VecDeque<Instant>>,
    more: Notify,
}

impl Queue {
    /// Adds a time.
    pub fn push(&self, due: Instant) {
        self.due.borrow_mut().push_back(due);
        self.more.notify_one();
    }

    /// Returns how many are waiting.
    pub fn len(&self) -> u64 {
        self.due.borrow().len() as u64
    }
}

impl Starts {
    /// Waits for the next start and returns the time from which the job's latency counts; nothing
    /// when no job may start any more.
    async fn next(&self, world: &World) -> Option<Instant> {
        let Self::Open(queue) = self else {
            return (!world.ending.is_cancelled()).then(Instant::now);
        };
        loop {
            if world.ending.is_cancelled() {
                return None;
            }
            if let Some(due) = queue.due.borrow_mut().pop_front() {
                return Some(due);
            }
            tokio::select! {
                () = queue.more.notified() => {}
                () = world.ending.cancelled() => return None,
            }
        }
    }
}

/// What one client needs.
struct Client {
    world: Rc<World>,
    pipe: Pipe,
    request: Vec<u8>,
    body: Vec<u8>,
}

/// Plays the client of a number until no job may start any more and its last one has ended.
pub async fn play(world: Rc<World>, starts: Rc<Starts>, number: u32) {
    let pipe = Pipe::new(world.wire.address(number));
    let mut client = Client {
        world,
        pipe,
        request: Vec::new(),
        body: Vec::new(),
    };
    // What was acknowledged but not looked at.
    let mut unseen = None;
    let mut round = 0_u64;
    while let Some(since) = starts.next(&client.world).await {
        let Some((number, counts)) = client.world.begin() else {
            break;
        };
        let Some(id) = client.create(number).await else {
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        if !client.world.acknowledged(number).await {
            continue;
        }
        round += 1;
        match client.world.end() {
            End::Acknowledged => {
                client.world.ended(since, counts);
                unseen = Some((number, id));
                if round.is_multiple_of(LOOK_EVERY) {
                    client.look(number, id).await;
                    unseen = None;
                }
            }
            End::Seen => {
                if client.look(number, id).await {
                    client.world.ended(since, counts);
                }
            }
        }
    }
    if let Some((number, id)) = unseen {
        client.look(number, id).await;
    }
}

impl Client {
    /// Asks for a job; nothing when there is none or it is not known whether there is one.
    async fn create(&mut self, number: u64) -> Option<Uuid> {
        let world = &self.world;
        world.wire.create(&mut self.request, &mut self.body, number);
        let answer = world.call("create", &mut self.pipe, &self.request).await?;
        let mut ledger = world.ledger.borrow_mut();
        if answer.status != 202 {
            ledger.refused(number);
            drop(ledger);
            world.error("create", StatusSeen(answer.status));
            world.judge("create", answer.status, answer.body);
            return None;
        }
        if let Ok(created) = serde_json::from_slice::<Created>(answer.body) {
            ledger.accepted(number, created.job_id);
            return Some(created.job_id);
        }
        drop(ledger);
        world.error("create", Unreadable);
        None
    }

    /// Looks at a job until it has ended; tells whether it was seen to.
    async fn look(&mut self, number: u64, id: Uuid) -> bool {
        let world = &self.world;
        let until = Instant::now() + world.plan.patience;
        look(
            world,
            &mut self.pipe,
            &mut self.request,
            (number, id, until),
        )
        .await
            == Some(true)
    }
}

/// Looks at a job until it has ended or the time is over. Tells whether it has; nothing when the
/// run was interrupted.
pub async fn look(
    world: &World,
    pipe: &mut Pipe,
    request: &mut Vec<u8>,
    (number, id, until): (u64, Uuid, Instant),
) -> Option<bool> {
    let mut pause = LOOK_PAUSE;
    world.wire.show(request, id);
    loop {
        if let Some(answer) = world.call("look", pipe, request).await {
            let status = match answer.status {
                200 => serde_json::from_slice::<Status<'_>>(answer.body).ok(),
                404 => {
                    world.ledger.borrow_mut().lost(number);
                    return Some(false);
                }
                other => {
                    world.error("look", StatusSeen(other));
                    world.judge("look", other, answer.body);
                    None
                }
            };
            // The exit codes know which statuses are final.
            if let Some(seen) = status
                && Exit::of_status(&seen.status).is_some()
            {
                world.ledger.borrow_mut().ended(number, &seen.status);
                return Some(true);
            }
        }
        if Instant::now() >= until {
            return Some(false);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = world.interrupted.cancelled() => return None,
        }
        pause = (pause * 2).min(LOOK_PAUSE_MAX);
    }
}
