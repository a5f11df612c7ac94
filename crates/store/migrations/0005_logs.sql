-- What code wrote and what the platform says about it, and the tokens of hosted code.

-- `owner` is a bot or an integration version. `id` orders the lines of one instant.
CREATE TABLE logs (
    owner TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    user_id TEXT,
    conversation_id TEXT,
    workflow_id TEXT,
    PRIMARY KEY (owner, at, id)
) {clustered};
CREATE INDEX logs_age ON logs (at);

-- A process of hosted code has a token of its own, which ends with it. `holder` is the server that runs
-- it; should that be killed, the token ends at `until`.
CREATE TABLE hosted_tokens (
    token_id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
) {clustered};
CREATE INDEX hosted_tokens_holder ON hosted_tokens (holder);
CREATE INDEX hosted_tokens_until ON hosted_tokens (until);
