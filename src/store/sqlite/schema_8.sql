-- Version 8. Signals are not looked for among webhooks, of which many may wait for a receiver.

DROP INDEX outbox_due;
CREATE INDEX outbox_signals ON outbox (due_at, seq) WHERE due_at IS NOT NULL AND kind <> 'webhook';
CREATE INDEX outbox_webhooks ON outbox (due_at, seq) WHERE due_at IS NOT NULL AND kind = 'webhook';
