-- Bots that were made for Botpress v12: who may work on them, and what their conversations remember.
-- Their messages, users and conversations are those of the foundation.

-- Accounts of people who log in under `/api/v1/auth`. Of passwords only a hash; `salt` is empty
-- where the hash has its own. `is_super_admin` is set for the first account that was registered here.
CREATE TABLE v12_accounts (
    strategy TEXT NOT NULL,
    email TEXT NOT NULL,
    password TEXT NOT NULL,
    salt TEXT NOT NULL,
    token_version BIGINT NOT NULL,
    attributes TEXT NOT NULL,
    is_super_admin BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (strategy, email)
) {clustered};

-- Which workspace of the v12 installation an account belongs to, and as what.
CREATE TABLE v12_members (
    strategy TEXT NOT NULL,
    email TEXT NOT NULL,
    workspace TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (strategy, email, workspace)
) {clustered};

-- Attributes of users, shared by all bots.
CREATE TABLE v12_users (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (channel, user_id)
) {clustered};

-- A bot and a user of its API are one conversation. `session` is NULL while nothing is remembered.
-- `context_expires_at` is set while the dialog waits for the user. `delivered_at`: messages after
-- this instant of the conversation's clock haven't reached the user. `turns` counts. Not clustered, as
-- `v12_turns` isn't: SQLite keeps rows of this size whole in a heap, but not in the tree of a key, where
-- it would also read them whole to compare keys.
CREATE TABLE v12_conversations (
    bot_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    chat_user_id TEXT NOT NULL,
    context TEXT NOT NULL,
    temp TEXT NOT NULL,
    session TEXT,
    timeouts BIGINT NOT NULL,
    context_expires_at BIGINT,
    session_expires_at BIGINT,
    delivered_at BIGINT NOT NULL,
    turns BIGINT NOT NULL,
    PRIMARY KEY (bot_id, user_id)
);
CREATE UNIQUE INDEX v12_conversations_id ON v12_conversations (conversation_id);
CREATE INDEX v12_conversations_due ON v12_conversations (context_expires_at) WHERE context_expires_at IS NOT NULL;

-- Key-value stores of bots; `bot_id` is empty for the one that they share.
CREATE TABLE v12_kvs (
    bot_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (bot_id, key)
) {clustered};
CREATE INDEX v12_kvs_due ON v12_kvs (expires_at) WHERE expires_at IS NOT NULL;

-- The latest turns of each conversation: what happened and why. A turn takes the `slot` of the one that
-- is too old to be kept.
CREATE TABLE v12_turns (
    conversation_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    turn BIGINT NOT NULL,
    at BIGINT NOT NULL,
    trace TEXT NOT NULL,
    PRIMARY KEY (conversation_id, slot)
);
