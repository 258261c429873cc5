//! What other processes on the same server do: a subscription, read into hints; and what they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::types::ConnectHandle;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::RedisSettings;
use super::address::builder;
use super::link::{Link, held, unavailable};
use super::teller::Teller;
use crate::base::{Entropy as _, JobId, SystemEntropy, TaskId};
use crate::store::{HINTS_MAX, Hint, StoreError};

/// How long what is left to tell may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The subscription, and the way out.
pub(super) struct Listener {
    teller: Arc<Teller>,
    sender: broadcast::Sender<Hint>,
    connection: Mutex<Option<ConnectHandle>>,
    reader: Mutex<JoinSet<()>>,
    telling: Mutex<JoinSet<()>>,
}

impl Listener {
    /// Subscribes, on a connection of its own.
    pub async fn start(settings: &RedisSettings, link: Arc<Link>) -> Result<Self, StoreError> {
        let subscribed = async {
            let client = builder(settings)?.build_subscriber_client()?;
            let connection = client.init().await?;
            let channel = format!("{}:hints", settings.prefix);
            client.subscribe(channel.as_str()).await?;
            Ok((client, connection, channel))
        };
        let (client, connection, channel) =
            subscribed.await.map_err(|error| unavailable(&error))?;
        let (sender, _) = broadcast::channel(HINTS_MAX);
        let origin = SystemEntropy.uuid().to_string();
        let mut reader = JoinSet::new();
        reader.spawn(read(client, origin.clone(), sender.clone()));
        let teller = Arc::new(Teller::new(link, channel, origin));
        let mut telling = JoinSet::new();
        telling.spawn(Arc::clone(&teller).run());
        Ok(Self {
            teller,
            sender,
            connection: Mutex::new(Some(connection)),
            reader: Mutex::new(reader),
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
        let mut reader = std::mem::take(&mut *held(&self.reader));
        reader.shutdown().await;
        let connection = held(&self.connection).take();
        if let Some(connection) = connection {
            connection.abort();
            // It says that it was aborted, or why it ended before; neither matters any more.
            drop(connection.await);
        }
    }
}

/// Reads what comes until the client is gone. Nobody may be listening, which is no error.
async fn read(client: SubscriberClient, origin: String, sender: broadcast::Sender<Hint>) {
    use broadcast::error::RecvError;
    let (mut messages, mut found) = (client.message_rx(), client.reconnect_rx());
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(message) => {
                    let text = message.value.as_string().unwrap_or_default();
                    for hint in hints(&text, &origin) {
                        drop(sender.send(hint));
                    }
                }
                Err(RecvError::Lagged(_)) => drop(sender.send(Hint::Missed)),
                Err(RecvError::Closed) => return,
            },
            server = found.recv() => {
                if matches!(server, Err(RecvError::Closed)) {
                    return;
                }
                if let Err(error) = client.resubscribe_all().await {
                    tracing::warn!(%error, "hints of other orchestrators are not heard");
                }
                drop(sender.send(Hint::Missed));
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
