-- The foundation: workspaces and who may enter, bots and integrations, and the runtime data of the
-- Cloud dialect. One text for both engines: TEXT, BIGINT, booleans as 0 and 1, instants as
-- milliseconds since the epoch, JSON as text. `{clustered}` keeps a table in the order of its
-- primary key where the engine can.

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    display_name TEXT,
    profile_picture TEXT,
    preferences TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE workspaces (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    handle TEXT UNIQUE,
    owner_id TEXT NOT NULL,
    is_public BIGINT NOT NULL,
    details TEXT NOT NULL,
    preferences TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX workspaces_public ON workspaces (is_public, created_at, id);

CREATE TABLE members (
    workspace_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, account_id)
) {clustered};
CREATE INDEX members_account ON members (account_id, workspace_id);

-- Personal access tokens, bot keys and integration keys: only a hash of the secret.
CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    account_id TEXT,
    bot_id TEXT,
    integration_id TEXT,
    note TEXT NOT NULL,
    created_at BIGINT NOT NULL
) {clustered};
CREATE INDEX tokens_account ON tokens (account_id, created_at, id);
CREATE INDEX tokens_bot ON tokens (bot_id, created_at, id);
CREATE INDEX tokens_integration ON tokens (integration_id, created_at, id);

-- `body` holds the definitions as the admin API shows them; `secrets` and `code` never leave.
-- `scan_until`: while a scan in order of last change is under way, positions left are remembered.
CREATE TABLE bots (
    id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    dev BIGINT NOT NULL,
    blocked BIGINT NOT NULL,
    tags TEXT NOT NULL,
    url TEXT,
    signing_secret TEXT NOT NULL,
    body TEXT NOT NULL,
    secrets TEXT NOT NULL,
    scan_until BIGINT NOT NULL,
    created_by TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deployed_at BIGINT
);
CREATE INDEX bots_created ON bots (workspace_id, dev, created_at, id);
CREATE INDEX bots_updated ON bots (workspace_id, dev, updated_at, id);

CREATE TABLE bot_code (
    bot_id TEXT PRIMARY KEY,
    code TEXT NOT NULL
);

CREATE TABLE integrations (
    id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    dev BIGINT NOT NULL,
    visibility TEXT NOT NULL,
    url TEXT,
    signing_secret TEXT NOT NULL,
    body TEXT NOT NULL,
    secrets TEXT NOT NULL,
    code TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX integrations_version ON integrations (workspace_id, name, version) WHERE dev = 0;
CREATE INDEX integrations_created ON integrations (workspace_id, created_at, id);
CREATE INDEX integrations_name ON integrations (name, version);

-- An integration installed in a bot under an alias. The alias owns users, conversations, tags.
CREATE TABLE instances (
    bot_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL UNIQUE,
    enabled BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, alias)
) {clustered};
CREATE INDEX instances_integration ON instances (integration_id, bot_id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT,
    picture_url TEXT,
    tags TEXT NOT NULL,
    properties TEXT,
    attributes TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX users_created ON users (bot_id, created_at, id);
CREATE INDEX users_owner ON users (bot_id, owner, created_at, id);
CREATE INDEX users_updated ON users (bot_id, updated_at, id);

-- `last_at` is the conversation's clock: the instant of its latest message or feed entry. Every
-- new one takes a later instant, so instants order a conversation without ties.
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    channel TEXT NOT NULL,
    tags TEXT NOT NULL,
    properties TEXT,
    current_task_id TEXT,
    current_workflow_id TEXT,
    message_count BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) {roomy};
CREATE INDEX conversations_created ON conversations (bot_id, created_at, id);
CREATE INDEX conversations_owner ON conversations (bot_id, owner, created_at, id);
CREATE INDEX conversations_channel ON conversations (bot_id, channel, created_at, id);

-- Conversations in the order of last change. A table, not an index: each message changes a
-- conversation's row, and PostgreSQL would write all indexes of a row whose indexed columns change.
CREATE TABLE conversation_order (
    bot_id TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    conversation_id TEXT NOT NULL,
    PRIMARY KEY (bot_id, updated_at, conversation_id)
) {clustered};

-- `active` is 0 for somebody who left, or only wrote.
CREATE TABLE participants (
    conversation_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    bot_id TEXT NOT NULL,
    active BIGINT NOT NULL,
    conversation_created_at BIGINT NOT NULL,
    user_created_at BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) {clustered};
CREATE INDEX participants_user ON participants (user_id, conversation_created_at, conversation_id);
CREATE INDEX participants_listed ON participants (conversation_id, user_created_at, user_id);

-- `announced`: the message is its own `message_created` event, under the same ULID. The event is
-- pending while its outbox row is there and processed afterwards; any other end has a row in
-- `events`. Not clustered: rows are appended to a heap, so that messages of many conversations at
-- once change few pages.
CREATE TABLE messages (
    conversation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    id TEXT NOT NULL,
    bot_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    direction TEXT NOT NULL,
    user_id TEXT NOT NULL,
    origin TEXT,
    tags TEXT NOT NULL,
    announced BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, created_at, id)
);
CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE INDEX messages_bot ON messages (bot_id, created_at, id);

CREATE TABLE scheduled_messages (
    id TEXT PRIMARY KEY,
    due_at BIGINT NOT NULL,
    bot_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    direction TEXT NOT NULL,
    origin TEXT,
    tags TEXT NOT NULL
);
CREATE INDEX scheduled_messages_due ON scheduled_messages (due_at, id);
CREATE INDEX scheduled_messages_conversation ON scheduled_messages (conversation_id, id);

-- Changes of a conversation other than new messages, at instants of its clock. Together with
-- `messages` this is the live feed.
CREATE TABLE feed (
    conversation_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (conversation_id, at)
) {clustered};
CREATE INDEX feed_age ON feed (at);

-- The index of tags: kind is `c`, `u`, `m`, `w` or `t`; keys are stored keys.
CREATE TABLE entity_tags (
    bot_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    entity_id TEXT NOT NULL,
    PRIMARY KEY (bot_id, kind, key, value, created_at, entity_id)
) {clustered};
CREATE INDEX entity_tags_entity ON entity_tags (entity_id);

-- Events that aren't an announced message. A `message_created` event among them (of a message
-- that was scheduled) keeps no payload: it is rendered from the message when read.
CREATE TABLE events (
    bot_id TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    payload TEXT,
    status TEXT NOT NULL,
    failure_reason TEXT,
    conversation_id TEXT,
    user_id TEXT,
    message_id TEXT,
    workflow_id TEXT,
    due_at BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, id)
) {clustered};
CREATE INDEX events_type ON events (bot_id, type, id);
CREATE INDEX events_status ON events (bot_id, status, id);
CREATE INDEX events_conversation ON events (conversation_id, id) WHERE conversation_id IS NOT NULL;
CREATE INDEX events_user ON events (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX events_message ON events (message_id, id) WHERE message_id IS NOT NULL;
CREATE INDEX events_workflow ON events (workflow_id, id) WHERE workflow_id IS NOT NULL;
CREATE INDEX events_due ON events (due_at, id) WHERE due_at IS NOT NULL;

-- What must be delivered, written with what it is about. `id` is the id of the event, or of the
-- message for an integration; `lane` is what keeps its order: a conversation, or the row itself.
CREATE TABLE outbox (
    bot_id TEXT NOT NULL,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, id)
) {clustered};

CREATE TABLE states (
    bot_id TEXT NOT NULL,
    type TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    payload TEXT NOT NULL,
    expiry BIGINT,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, type, scope_id, owner, name)
) {clustered};
CREATE INDEX states_listed ON states (bot_id, type, scope_id, owner, created_at, id);
CREATE INDEX states_due ON states (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE workflows (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    input TEXT NOT NULL,
    output TEXT NOT NULL,
    parent_workflow_id TEXT,
    conversation_id TEXT,
    user_id TEXT,
    event_id TEXT,
    failure_reason TEXT,
    tags TEXT NOT NULL,
    timeout_at BIGINT NOT NULL,
    completed_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX workflows_created ON workflows (bot_id, created_at, id);
CREATE INDEX workflows_name ON workflows (bot_id, name, created_at, id);
CREATE INDEX workflows_conversation ON workflows (conversation_id, created_at, id) WHERE conversation_id IS NOT NULL;
CREATE INDEX workflows_user ON workflows (user_id, created_at, id) WHERE user_id IS NOT NULL;
CREATE INDEX workflows_parent ON workflows (parent_workflow_id, created_at, id) WHERE parent_workflow_id IS NOT NULL;
CREATE INDEX workflows_due ON workflows (timeout_at) WHERE completed_at IS NULL;

CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    status TEXT NOT NULL,
    parent_task_id TEXT,
    conversation_id TEXT,
    user_id TEXT,
    failure_reason TEXT,
    tags TEXT NOT NULL,
    timeout_at BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX tasks_created ON tasks (bot_id, created_at, id);
CREATE INDEX tasks_conversation ON tasks (conversation_id, created_at, id) WHERE conversation_id IS NOT NULL;
CREATE INDEX tasks_due ON tasks (timeout_at) WHERE ended = 0;

CREATE TABLE analytics (
    bot_id TEXT NOT NULL,
    day TEXT NOT NULL,
    name TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (bot_id, day, name)
) {clustered};

-- Answers of POSTs that carried an Idempotency-Key.
CREATE TABLE idempotency (
    scope TEXT PRIMARY KEY,
    body_hash TEXT NOT NULL,
    status BIGINT NOT NULL,
    response TEXT NOT NULL,
    created_at BIGINT NOT NULL
) {clustered};
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Where an entity stood in the order of last change before it moved, kept while a scan in that
-- order is under way: [pos, until) is when it stood there.
CREATE TABLE past_positions (
    bot_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    pos BIGINT NOT NULL,
    id TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (bot_id, kind, pos, id, until)
) {clustered};
CREATE INDEX past_positions_age ON past_positions (until);
