-- Who may use a bot, what reviews came to, issues that code reports, and what members did.

-- Members below administrators use a bot that is `restricted` only if they are listed.
ALTER TABLE bots ADD COLUMN restricted BIGINT NOT NULL DEFAULT 0;
CREATE TABLE bot_allowlist (
    bot_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    PRIMARY KEY (bot_id, account_id)
) {clustered};
CREATE INDEX bot_allowlist_account ON bot_allowlist (account_id);

-- Whether the definition says that it was approved: lists look here.
ALTER TABLE integrations ADD COLUMN verified BIGINT NOT NULL DEFAULT 0;

-- Lines of code that report the same: `fingerprint` is a digest of what makes them so. `events_count`
-- is how many there were, of which the latest are in `issue_events`.
CREATE TABLE issues (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    code TEXT NOT NULL,
    category TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    grouped_data TEXT NOT NULL,
    events_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX issues_group ON issues (bot_id, fingerprint);
CREATE INDEX issues_listed ON issues (bot_id, created_at, id);
CREATE INDEX issues_seen ON issues (bot_id, last_seen_at, id);
CREATE INDEX issues_age ON issues (last_seen_at);

CREATE TABLE issue_events (
    issue_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (issue_id, at, id)
) {clustered};

-- What members of a workspace did to it and its bots.
CREATE TABLE audit_records (
    workspace_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_id TEXT,
    resource_name TEXT,
    value TEXT,
    PRIMARY KEY (workspace_id, at, id)
) {clustered};
CREATE INDEX audit_records_age ON audit_records (at);
