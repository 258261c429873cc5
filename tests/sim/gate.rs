//! The gate between one incarnation of an orchestrator and the world: every call goes through it,
//! and here calls are delayed, refused, cut off from their answer, or the last that it makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use avtomatika::store::StoreError;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::rng::Rng;
use crate::seen::Seen;
use crate::world::World;

/// One incarnation's way out.
pub struct Gate {
    /// Where it leads.
    pub world: Arc<World>,
    /// Whose it is: `n1.3`.
    pub name: String,
    rng: Mutex<Rng>,
    dead: CancellationToken,
    closed: AtomicBool,
}

/// What becomes of a call.
struct Fate {
    before_ms: u64,
    after_ms: u64,
    detached: bool,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Refused,
    AnswerLost,
    CrashBefore,
    CrashAfter,
}

impl Gate {
    /// Opens a gate.
    pub fn new(world: &Arc<World>, name: String, rng: Rng) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            name,
            rng: Mutex::new(rng),
            dead: CancellationToken::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// Ends the incarnation: no call of its will ever be answered again.
    pub fn crash(&self) {
        if !self.dead.is_cancelled() {
            self.note("crash");
            self.dead.cancel();
        }
    }

    /// Tells whether the incarnation is dead.
    pub fn is_dead(&self) -> bool {
        self.dead.is_cancelled()
    }

    /// Resolves when the incarnation is dead.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }

    /// Closes the gate from inside: the incarnation is on its way out.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Writes a line for the reader.
    pub fn note(&self, text: &str) {
        let text = text.to_owned();
        self.world.note(self.name.clone(), Seen::Note { text });
    }

    /// Writes down what was seen at this gate.
    pub fn see(&self, seen: Seen) {
        self.world.note(self.name.clone(), seen);
    }

    /// Draws from the gate's own chance.
    pub fn chance(&self, per_mille: u64) -> bool {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.chance(per_mille)
    }

    /// Sleeps, unless the incarnation dies first: then for ever.
    pub async fn wait(&self, ms: u64) {
        if ms == 0 && !self.dead.is_cancelled() {
            return;
        }
        tokio::select! {
            biased;
            () = self.dead.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(ms)) => return,
        }
        futures::future::pending::<()>().await;
    }

    /// Lets a call through, or not.
    pub async fn pass<T: Send + 'static>(
        &self,
        call: &'static str,
        operation: BoxFuture<'static, T>,
    ) -> Result<T, StoreError> {
        let fate = self.fate();
        self.wait(0).await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("closed".to_owned()));
        }
        match fate.end {
            End::Refused => {
                self.wait(fate.before_ms).await;
                self.note(&format!("{call} refused"));
                return Err(StoreError::Unavailable("refused".to_owned()));
            }
            End::CrashBefore => {
                self.note(&format!("{call} not reached"));
                self.crash();
                self.wait(0).await;
            }
            _ => {}
        }
        let result = if fate.detached {
            self.go_on_alone(fate.before_ms, operation).await
        } else {
            self.wait(fate.before_ms).await;
            operation.await
        };
        match fate.end {
            End::CrashAfter => {
                self.note(&format!("{call} done, unanswered"));
                self.crash();
                self.wait(0).await;
            }
            End::AnswerLost => {
                self.wait(fate.after_ms).await;
                self.note(&format!("{call} done, its answer lost"));
                return Err(StoreError::Unavailable("no answer".to_owned()));
            }
            _ => {}
        }
        self.wait(fate.after_ms).await;
        Ok(result)
    }

    /// The call has left the process: it goes on though the caller, or the process, is gone.
    async fn go_on_alone<T: Send + 'static>(
        &self,
        before_ms: u64,
        operation: BoxFuture<'static, T>,
    ) -> T {
        let (answer, answered) = oneshot::channel();
        self.world.background.spawn(async move {
            tokio::time::sleep(Duration::from_millis(before_ms)).await;
            // Nobody may be left to hear it.
            drop(answer.send(operation.await));
        });
        tokio::select! {
            biased;
            () = self.died() => {}
            Ok(answer) = answered => return answer,
        }
        futures::future::pending().await
    }

    fn fate(&self) -> Fate {
        let plan = &self.world.plan;
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        if self.world.is_calm() {
            return Fate {
                before_ms: rng.within(0..=3).saturating_sub(2),
                after_ms: 0,
                detached: false,
                end: End::Answered,
            };
        }
        let end = if rng.within(0..=9_999) < plan.crash {
            if rng.chance(500) {
                End::CrashBefore
            } else {
                End::CrashAfter
            }
        } else if rng.chance(plan.refuse) {
            End::Refused
        } else if rng.chance(plan.lose) {
            End::AnswerLost
        } else {
            End::Answered
        };
        let mut delay = || {
            if rng.chance(plan.slow) {
                rng.within(5..=4_000)
            } else {
                rng.within(0..=4).saturating_sub(2)
            }
        };
        Fate {
            before_ms: delay(),
            after_ms: delay(),
            detached: rng.chance(plan.detach),
            end,
        }
    }
}
