-- What bots are built from beside integrations, their versions, and links for others.

-- Interfaces and plugins are integrations' siblings: a row a version, `body` the definition.
CREATE TABLE interfaces (
    id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    visibility TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX interfaces_version ON interfaces (workspace_id, name, version);
CREATE INDEX interfaces_name ON interfaces (name, version);

CREATE TABLE plugins (
    id TEXT PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    visibility TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX plugins_version ON plugins (workspace_id, name, version);
CREATE INDEX plugins_name ON plugins (name, version);

-- `platform` is `node` or `browser`.
CREATE TABLE plugin_code (
    plugin_id TEXT NOT NULL,
    platform TEXT NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (plugin_id, platform)
);

-- Which integrations implement an interface, and which plugins need it.
CREATE TABLE interface_uses (
    user_id TEXT NOT NULL,
    interface_id TEXT NOT NULL,
    PRIMARY KEY (user_id, interface_id)
) {clustered};
CREATE INDEX interface_uses_interface ON interface_uses (interface_id, user_id);

-- A plugin installed in a bot under an alias.
CREATE TABLE bot_plugins (
    bot_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (bot_id, alias)
) {clustered};
CREATE INDEX bot_plugins_plugin ON bot_plugins (plugin_id, bot_id);

-- Definitions, code and configuration of a bot as they once were; `body` is all of it.
CREATE TABLE bot_versions (
    id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX bot_versions_bot ON bot_versions (bot_id, created_at, id);

-- A name for an instance that people can type; one an instance.
CREATE TABLE shareable_ids (
    shareable_id TEXT PRIMARY KEY,
    bot_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX shareable_ids_instance ON shareable_ids (bot_id, alias);

-- The signing secret before the last rotation, and until when it is still good.
ALTER TABLE bots ADD COLUMN old_signing_secret TEXT;
ALTER TABLE bots ADD COLUMN old_signing_secret_until BIGINT;
ALTER TABLE integrations ADD COLUMN old_signing_secret TEXT;
ALTER TABLE integrations ADD COLUMN old_signing_secret_until BIGINT;
