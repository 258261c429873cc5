//! What other processes on the same server do: a subscription, read into hints; and what they are told.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{EventInterface as _, PubsubInterface as _};
use fred::types::Message;
use fred::types::config::Server;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address::builder;
use super::line::{Connection, known};
use super::link::{Link, held};
use super::teller::Teller;
use super::trouble::unavailable;
use super::{OPEN_AGAIN_FIRST, OPEN_AGAIN_LAST, RedisSettings};
use crate::base::{Entropy as _, JobId, SystemEntropy, TaskId};
use crate::store::{HINTS_MAX, Hint, StoreError};

/// How long what is left to tell may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The subscription, and the way out.
pub(super) struct Listener {
    teller: Arc<Teller>,
    sender: broadcast::Sender<Hint>,
    listening: Mutex<JoinSet<Infallible>>,
    telling: Mutex<JoinSet<()>>,
}

impl Listener {
    /// Subscribes, on a connection of its own.
    pub async fn start(settings: &RedisSettings, link: Arc<Link>) -> Result<Self, StoreError> {
        let channel = settings.channel().map_err(|error| unavailable(&error))?;
        let subscription = Subscription::make(settings, &channel, Vec::new()).await;
        let subscription = subscription.map_err(|error| unavailable(&error))?;
        let (sender, _) = broadcast::channel(HINTS_MAX);
        let origin = SystemEntropy.uuid().to_string();
        let teller = Arc::new(Teller::new(link, channel.clone(), origin));
        let mut telling = JoinSet::new();
        telling.spawn(Arc::clone(&teller).run());
        let ear = Ear {
            settings: settings.clone(),
            channel,
            teller: Arc::clone(&teller),
            sender: sender.clone(),
        };
        let mut listening = JoinSet::new();
        listening.spawn(ear.listen(subscription));
        Ok(Self {
            teller,
            sender,
            listening: Mutex::new(listening),
            telling: Mutex::new(telling),
        })
    }

    /// Returns the way to tell others.
    pub fn teller(&self) -> &Teller {
        &self.teller
    }

    /// Returns the hints from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.sender.subscribe()
    }

    /// Tells what is left, and ends the subscription.
    pub async fn close(&self) {
        self.teller.stop();
        let mut telling = std::mem::take(&mut *held(&self.telling));
        // Others find by looking what they are not told.
        drop(tokio::time::timeout(LAST_WORDS, telling.join_next()).await);
        telling.shutdown().await;
        let mut listening = std::mem::take(&mut *held(&self.listening));
        listening.shutdown().await;
    }
}

/// A subscription on a connection of its own, which ends with it.
struct Subscription {
    client: SubscriberClient,
    connection: Connection,
    messages: broadcast::Receiver<Message>,
    /// The connection was lost, and made again.
    found: broadcast::Receiver<Server>,
}

impl Subscription {
    async fn make(
        settings: &RedisSettings,
        channel: &str,
        known: Vec<Server>,
    ) -> Result<Self, Error> {
        let client = builder(settings, known)?.build_subscriber_client()?;
        let connection = Connection::make(&client).await?;
        let (messages, found) = (client.message_rx(), client.reconnect_rx());
        client.subscribe(channel).await?;
        Ok(Self {
            client,
            connection,
            messages,
            found,
        })
    }
}

/// Who listens.
struct Ear {
    settings: RedisSettings,
    channel: String,
    teller: Arc<Teller>,
    sender: broadcast::Sender<Hint>,
}

impl Ear {
    /// Listens for ever, on another connection when nothing is heard over one any more.
    async fn listen(self, mut subscription: Subscription) -> Infallible {
        loop {
            let (sign, signs) = watch::channel(());
            tokio::select! {
                () = self.read(&mut subscription, &sign) => {}
                () = self.is_deaf(signs) => {}
            }
            let known = known(&subscription.client);
            subscription.connection.end().await;
            subscription = self.subscribe_again(known).await;
            tracing::info!(
                "Redis was subscribed to anew: what this orchestrator told did not come back"
            );
            drop(self.sender.send(Hint::Missed));
        }
    }

    async fn subscribe_again(&self, known: Vec<Server>) -> Subscription {
        let mut pause = OPEN_AGAIN_FIRST;
        loop {
            match Subscription::make(&self.settings, &self.channel, known.clone()).await {
                Ok(subscription) => return subscription,
                Err(error) => {
                    tracing::debug!(%error, "hints of other orchestrators are not heard");
                    sleep(pause).await;
                    pause = (pause * 2).min(OPEN_AGAIN_LAST);
                }
            }
        }
    }

    /// Waits until what this process says does not come back to it. A subscription says nothing itself:
    /// nobody else finds that its connection leads nowhere any more.
    async fn is_deaf(&self, mut signs: watch::Receiver<()>) {
        let patience = self.settings.command_timeout;
        loop {
            sleep(patience).await;
            if signs.has_changed().unwrap_or(true) {
                signs.mark_unchanged();
                continue;
            }
            // Where that fails nothing is known.
            if self.teller.tell_nothing().await.is_ok()
                && timeout(patience, signs.changed()).await.is_err()
            {
                return;
            }
        }
    }

    /// Reads what comes until the client is gone. Nobody may be listening, which is no error.
    async fn read(&self, subscription: &mut Subscription, sign: &watch::Sender<()>) {
        use broadcast::error::RecvError;
        loop {
            tokio::select! {
                message = subscription.messages.recv() => match message {
                    Ok(message) => {
                        sign.send_replace(());
                        let text = message.value.as_string().unwrap_or_default();
                        for hint in hints(&text, self.teller.origin()) {
                            drop(self.sender.send(hint));
                        }
                    }
                    Err(RecvError::Lagged(_)) => drop(self.sender.send(Hint::Missed)),
                    Err(RecvError::Closed) => return,
                },
                server = subscription.found.recv() => {
                    if matches!(server, Err(RecvError::Closed)) {
                        return;
                    }
                    if let Err(error) = subscription.client.resubscribe_all().await {
                        tracing::warn!(%error, "hints of other orchestrators are not heard");
                    }
                    drop(self.sender.send(Hint::Missed));
                }
            }
        }
    }
}

/// Reads a message: who says it, then a line for each thing; what is said behind a job is of its tasks.
/// What this process says itself it knows; what it cannot read, a newer one says, and it can do without.
fn hints(text: &str, own: &str) -> Vec<Hint> {
    let mut lines = text.lines();
    if lines.next() == Some(own) {
        return Vec::new();
    }
    let mut job: Option<JobId> = None;
    let hint = |line: &str| {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (what, rest.split_once(' ')) {
            ("j", None) => {
                job = rest.parse().ok();
                job.map(Hint::Changed)
            }
            ("f", _) => {
                let news = serde_json::from_str(rest).ok()?;
                Some(Hint::Fleet(Arc::new(news)))
            }
            ("q", None) => Some(Hint::Queued(TaskId::new(rest))),
            ("e", None) => Some(Hint::Ended(TaskId::new(rest))),
            ("x", Some((task, worker))) => Some(Hint::Stop {
                worker: worker.into(),
                task_id: task.into(),
                job_id: job?,
            }),
            ("l", None) => Some(Hint::Leased(TaskId::new(rest))),
            ("m", None) => Some(Hint::Missed),
            _ => None,
        }
    };
    lines.filter_map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FleetNews;

    #[test]
    fn messages_are_read_unless_they_are_ones_own() {
        let id = "01a2077d-9381-7001-8707-070707070707";
        let job: JobId = id.parse().expect("an id");
        let text = format!("other\nj {id}\nq task-1\ne task-2\nx task-3 w 1\nnews of tomorrow\nm");
        let stop = Hint::Stop {
            worker: "w 1".into(),
            task_id: "task-3".into(),
            job_id: job,
        };
        let expected = [
            Hint::Changed(job),
            Hint::Queued("task-1".into()),
            Hint::Ended("task-2".into()),
            stop,
            Hint::Missed,
        ];
        assert_eq!(hints(&text, "me"), expected);
        assert_eq!(hints(&text, "other"), []);
        assert_eq!(
            hints("other\nl task-1", "me"),
            [Hint::Leased("task-1".into())]
        );
        let news = FleetNews {
            waiting: vec![("w 1\n2".into(), 3)],
            rated: vec![("w".into(), 0.5)],
            whole: true,
            ..FleetNews::default()
        };
        let text = serde_json::to_string(&news).expect("JSON");
        assert_eq!(
            hints(&format!("other\nf {text}"), "me"),
            [Hint::Fleet(Arc::new(news))]
        );
        assert_eq!(hints("", "me"), []);
    }
}
