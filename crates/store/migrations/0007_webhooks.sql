-- Webhooks: URLs that operators subscribe to what happens in a bot.

-- Who of a bot's subscriptions wants what: a JSON list of pairs of an id and a list of types. No row, no
-- subscription that is enabled. A table, because every message asks: a table that is empty costs nothing.
CREATE TABLE webhook_bots (
    bot_id TEXT PRIMARY KEY,
    hooks TEXT NOT NULL
) {clustered};

-- `secret` and `previous_secret` are encrypted; the latter also signs until `previous_until`.
-- `failing_since`: nothing but failures since.
CREATE TABLE webhook_subscriptions (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    url TEXT NOT NULL,
    types TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    disabled_reason TEXT,
    secret TEXT NOT NULL,
    previous_secret TEXT,
    previous_until BIGINT,
    failing_since BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhook_subscriptions_bot ON webhook_subscriptions (bot_id, created_at, id);

-- What is to be sent, and what was: written in the transaction of what it is about. `due_at` is NULL when
-- nothing more is to be done; while a process sends it (`claimed`), when that process's lease lapses.
-- `tries` counts attempts since the beginning or the last replay. `subject` is the message or user that it
-- is about; `position` the instant of a message that is handed over by it.
CREATE TABLE webhook_messages (
    id TEXT PRIMARY KEY,
    subscription_id TEXT NOT NULL,
    bot_id TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting',
    attempts BIGINT NOT NULL DEFAULT 0,
    tries BIGINT NOT NULL DEFAULT 0,
    replays BIGINT NOT NULL DEFAULT 0,
    claimed BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT,
    conversation_id TEXT,
    subject TEXT,
    position BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhook_messages_due ON webhook_messages (subscription_id, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_messages_claimed ON webhook_messages (id) WHERE claimed = 1;
CREATE INDEX webhook_messages_listed ON webhook_messages (subscription_id, created_at, id);
CREATE INDEX webhook_messages_bot ON webhook_messages (bot_id);
CREATE INDEX webhook_messages_conversation ON webhook_messages (conversation_id, position) WHERE conversation_id IS NOT NULL;
CREATE INDEX webhook_messages_subject ON webhook_messages (subject) WHERE subject IS NOT NULL;
CREATE INDEX webhook_messages_age ON webhook_messages (created_at);

-- One row for each request that was made. `status` is NULL if there was no answer.
CREATE TABLE webhook_attempts (
    message_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    subscription_id TEXT NOT NULL,
    duration_ms BIGINT NOT NULL,
    status BIGINT,
    error TEXT,
    response TEXT NOT NULL,
    PRIMARY KEY (message_id, attempt, at)
);
CREATE INDEX webhook_attempts_listed ON webhook_attempts (subscription_id, at, message_id);
