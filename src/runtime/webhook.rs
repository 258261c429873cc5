//! Webhooks: signed by the Standard Webhooks rules, retried with back-off for a day, then kept as
//! dead letters.

use std::time::Duration;

use async_trait::async_trait;

use super::Inner;
use crate::base::{ClientId, Secret, crypto};
use crate::domain::Webhook;
use crate::observe::trace::{Span, asking};
use crate::protocol::webhook as standard;
use crate::store::Delivery;

/// Between tries, in seconds; the last one repeats until the time for retries is over.
const BACKOFF_SECONDS: [u64; 8] = [5, 30, 120, 300, 900, 1800, 3600, 7200];
/// Share by which a delay is spread either way, so that a receiver that comes back is not met by
/// everything at once.
const JITTER: f64 = 0.1;

/// One try at a webhook, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where to.
    pub url: String,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON; the same bytes for every try.
    pub body: Vec<u8>,
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SendFailure {
    /// No later try can succeed: the address is one that webhooks may not reach.
    pub is_final: bool,
    /// For the delivery log. Names no secret.
    pub reason: String,
}

/// The way out for webhooks. Every call has a timeout of its own, well under a minute.
#[async_trait]
pub trait WebhookSender: Send + Sync + 'static {
    /// Sends; any 2xx is success.
    async fn send(&self, request: WebhookRequest) -> Result<(), SendFailure>;
}

/// Each client's signing secret.
pub trait WebhookSecrets: Send + Sync + 'static {
    /// Returns the secret; none and the client's webhooks go out unsigned.
    fn secret(&self, client: &ClientId) -> Option<Secret>;
}

impl Inner {
    pub(super) async fn send_webhook(&self, webhook: &Webhook, attempts: u32) -> Delivery {
        let now = self.ports.clock.now();
        let body = serde_json::to_vec(&webhook.body).expect("a JSON value serialises");
        let id = webhook.id.to_string();
        let mut headers = vec![
            (standard::HEADER_ID, id.clone()),
            (standard::HEADER_TIMESTAMP, now.as_secs().to_string()),
        ];
        if let Some(secret) = self.ports.secrets.secret(&webhook.client) {
            let signature = standard::sign(&secret, &id, now.as_secs(), &body);
            headers.push((standard::HEADER_SIGNATURE, signature));
        }
        let (place, carried) = self.ports.traces.webhook(webhook);
        let traced = place.map(|place| (place, self.lap()));
        headers.extend(carried);
        let request = WebhookRequest {
            url: webhook.url.clone(),
            headers,
            body,
        };
        let sent = self.ports.webhooks.send(request).await;
        if let Some((place, lap)) = traced {
            let span = Span::ended(format!("webhook {}", webhook.event), place, &lap)
                .state_of(&webhook.tracing_context)
                .with("avtomatika.job.id", webhook.job_id.to_string())
                .with("avtomatika.webhook.id", id.clone())
                .with("http.request.resend_count", i64::from(attempts));
            let span = asking(span, "POST", &webhook.url);
            self.ports.traces.record(match &sent {
                Ok(()) => span,
                Err(_) => span.failed("not_delivered"),
            });
        }
        let Err(failure) = sent else {
            return Delivery::Delivered;
        };
        let delay = delay(&id, attempts);
        let at = self.ports.clock.now().after(delay);
        let over = at > webhook.created_at.after_ms(self.settings.webhook_retry_ms);
        if failure.is_final || over {
            tracing::warn!(job.id = %webhook.job_id, event = %webhook.event, reason = %failure, "webhook given up");
            return Delivery::Dead {
                reason: failure.reason,
            };
        }
        Delivery::Retry {
            at,
            reason: failure.reason,
        }
    }
}

/// Returns the pause after a failed try; the id decides how it is spread.
fn delay(id: &str, attempts: u32) -> Duration {
    let index = (attempts as usize).min(BACKOFF_SECONDS.len() - 1);
    let spread = crypto::share(&[id.as_bytes(), &attempts.to_be_bytes()]) * 2.0 - 1.0;
    Duration::from_secs(BACKOFF_SECONDS[index]).mul_f64(1.0 + JITTER * spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_near_their_plan() {
        for (attempts, seconds) in [(0, 5.0), (1, 30.0), (7, 7200.0), (99, 7200.0)] {
            let seen = delay("a", attempts).as_secs_f64();
            assert!((seen / seconds - 1.0).abs() <= JITTER, "{attempts}: {seen}");
            assert_eq!(delay("a", attempts), delay("a", attempts));
        }
    }
}
