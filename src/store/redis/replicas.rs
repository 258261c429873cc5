//! Writing that counts only once replicas have it.

use fred::error::Error;
use fred::interfaces::ClientInterface as _;
use fred::types::{ClusterHash, CustomCommand, Value};

use super::Code;
use super::line::Wire;
use super::link::{Link, Repeat, Sent, place_of};
use super::records::text;
use super::trouble::told;
use crate::store::StoreError;

/// How long a replica that keeps up may say nothing, in seconds. Source: `min-replicas-max-lag`.
const LAG_MAX: u64 = 10;

impl Link {
    /// Runs a script that is not repeated, and waits until so many replicas have what it wrote.
    pub async fn run_replicated(
        &self,
        code: &Code,
        partition: u8,
        arguments: Vec<Value>,
        count: u32,
    ) -> Result<Value, StoreError> {
        let prefix = self.partition(partition);
        let place = place_of(prefix.as_bytes());
        let wire = self.next();
        let script = Sent {
            code,
            prefix,
            arguments,
        };
        let sent = self.send_script(&wire, script, Repeat::Never);
        self.replicated(&wire, place, count, sent).await
    }

    /// Tells whether each server has so many replicas that keep up. It is no proof, as waiting for them would
    /// be; but that would hold up all that comes over the same connection.
    pub async fn has_replicas(&self, count: u32) -> Result<(), StoreError> {
        for said in self.ask_each(&[("INFO", &["replication"])]).await? {
            let Some(said) = said.into_iter().flatten().next().and_then(text) else {
                continue;
            };
            let have = keeping_up(&said);
            if have < count as usize {
                return Err(StoreError::Unavailable(format!(
                    "Redis: {have} of the {count} replicas that must have each commit keep up"
                )));
            }
        }
        Ok(())
    }

    /// Waits for a call's answer, and until so many replicas have what it wrote.
    async fn replicated(
        &self,
        wire: &Wire,
        place: ClusterHash,
        count: u32,
        sent: impl Future<Output = Result<Value, Error>>,
    ) -> Result<Value, StoreError> {
        // A server waits for what came over the same connection, and of one that was lost in between knows
        // nothing: each has a number.
        let connections = wire.client.connection_ids();
        let answer = sent.await.map_err(|error| told(&error))?;
        let patience = (self.settings.command_timeout / 2).as_millis();
        let asked = vec![count.to_string().into(), patience.to_string().into()];
        let wait = CustomCommand::new_static("WAIT", place, true);
        let waited = self.send(wire, wait, asked, Repeat::Never).await;
        match waited.map_err(|error| told(&error))? {
            _ if wire.client.connection_ids() != connections => {
                Err(StoreError::Unavailable(format!(
                    "Redis: the connection was lost before {count} replicas had what was written"
                )))
            }
            Value::Integer(have) if have >= i64::from(count) => Ok(answer),
            Value::Integer(have) => Err(StoreError::Unavailable(format!(
                "Redis: {have} of the {count} replicas that must have it have what was written"
            ))),
            other => Err(StoreError::Corrupt(format!(
                "Redis: WAIT is answered {other:?}"
            ))),
        }
    }
}

/// Counts the replicas that keep up in what a server says of replication.
fn keeping_up(said: &str) -> usize {
    let has_kept_up = |line: &&str| {
        let Some((name, facts)) = line.trim().split_once(':') else {
            return false;
        };
        let is_replica = name
            .strip_prefix("slave")
            .is_some_and(|number| number.parse::<u32>().is_ok());
        let fact = |wanted: &str| {
            let mut facts = facts.split(',').filter_map(|fact| fact.split_once('='));
            facts
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value)
        };
        let lag = fact("lag").and_then(|lag| lag.parse::<u64>().ok());
        is_replica && fact("state") == Some("online") && lag.is_some_and(|lag| lag <= LAG_MAX)
    };
    said.lines().filter(has_kept_up).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_keep_up_are_counted() {
        let said = "# Replication\r\nrole:master\r\nconnected_slaves:4\r\n\
            slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1\r\n\
            slave1:ip=10.0.0.3,port=6379,state=online,offset=14,lag=11\r\n\
            slave2:ip=10.0.0.4,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
            slave10:ip=10.0.0.5,port=6379,state=online,offset=14,lag=10\r\n\
            slave_read_only:1\r\n";
        assert_eq!(keeping_up(said), 2);
        assert_eq!(keeping_up("role:master\r\nconnected_slaves:0\r\n"), 0);
    }
}
