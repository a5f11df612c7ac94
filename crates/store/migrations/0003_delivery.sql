-- Deliveries: who hears of what, attempts, dead letters, leases, and events that recur.

-- `hears`: which events are delivered to the bot. NULL for none (it can't be called, or is blocked),
-- `*` for all, or a JSON list of the types that it subscribed to. `flow`: it is made of flows that run
-- here.
ALTER TABLE bots ADD COLUMN hears TEXT;
ALTER TABLE bots ADD COLUMN flow BIGINT NOT NULL DEFAULT 0;
UPDATE bots SET hears = '*' WHERE blocked = 0 AND (url IS NOT NULL OR EXISTS (SELECT 1 FROM bot_code c WHERE c.bot_id = bots.id));

-- What was recorded while nothing was delivered stays undelivered. `messages.announced` is 2 for a
-- message whose event was ignored.
UPDATE messages SET announced = 2 WHERE announced = 1 AND EXISTS (SELECT 1 FROM outbox o WHERE o.bot_id = messages.bot_id AND o.id = 'evt' || substr(messages.id, 4));
UPDATE events SET status = 'ignored' WHERE status = 'pending';
DELETE FROM outbox;

-- `kind` is one of those in `outbox.rs`; `body` what can't be read again when it is delivered.
ALTER TABLE outbox ADD COLUMN body TEXT;

-- One row for each call that was made.
CREATE TABLE delivery_attempts (
    bot_id TEXT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    status BIGINT,
    outcome TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (bot_id, id, at, attempt)
) {clustered};
CREATE INDEX delivery_attempts_age ON delivery_attempts (at);

-- What was given up, as it was in the outbox.
CREATE TABLE dead_letters (
    bot_id TEXT NOT NULL,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    body TEXT,
    reason TEXT NOT NULL,
    failed_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, id)
) {clustered};
CREATE INDEX dead_letters_age ON dead_letters (failed_at);

-- Which of several processes on this database delivers for a bot.
CREATE TABLE delivery_leases (
    bot_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX delivery_leases_owner ON delivery_leases (owner);

-- `event_id` is the event of the latest tick.
CREATE TABLE recurring_events (
    bot_id TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    event_id TEXT,
    failed_attempts BIGINT NOT NULL,
    last_failure_reason TEXT,
    PRIMARY KEY (bot_id, name)
) {clustered};
CREATE INDEX recurring_events_due ON recurring_events (due_at);

-- `unacknowledged` counts deliveries in a row that the bot didn't acknowledge, `continued` those it did.
ALTER TABLE workflows ADD COLUMN unacknowledged BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workflows ADD COLUMN continued BIGINT NOT NULL DEFAULT 0;
CREATE INDEX workflows_event ON workflows (event_id) WHERE status = 'in_progress';
