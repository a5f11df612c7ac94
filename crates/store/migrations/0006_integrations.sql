-- Calls of the code of integrations.

-- How far the code of an instance knows of it. `identifier` is what the outside world calls the
-- instance, unique among the instances of an integration's versions. `register_every` is how often
-- the code wants to be told again. `register_at` is when it is to be told next; while somebody is
-- telling it, when whoever does is given up.
ALTER TABLE instances ADD COLUMN status TEXT NOT NULL DEFAULT 'registered';
ALTER TABLE instances ADD COLUMN status_reason TEXT;
ALTER TABLE instances ADD COLUMN identifier TEXT;
ALTER TABLE instances ADD COLUMN sandbox_identifiers TEXT;
ALTER TABLE instances ADD COLUMN register_every TEXT;
ALTER TABLE instances ADD COLUMN register_at BIGINT;
UPDATE instances SET status = 'unregistered' WHERE enabled = 0;
CREATE INDEX instances_identifier ON instances (identifier) WHERE identifier IS NOT NULL;
CREATE INDEX instances_due ON instances (register_at) WHERE register_at IS NOT NULL;

-- Who is changing a bot and calls code meanwhile, where processes share the database.
CREATE TABLE bot_locks (
    bot_id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
) {clustered};

-- What bots had integrations do. `error` is NULL for those that succeeded.
CREATE TABLE action_runs (
    bot_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    input TEXT NOT NULL,
    input_truncated BIGINT NOT NULL,
    output TEXT,
    output_truncated BIGINT NOT NULL,
    error TEXT,
    cost TEXT,
    duration_ms BIGINT NOT NULL,
    PRIMARY KEY (bot_id, alias, at, id)
) {clustered};
CREATE INDEX action_runs_age ON action_runs (at);
