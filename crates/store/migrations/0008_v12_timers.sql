-- When the timer looks at a conversation, at the latest when its dialog has waited long enough. Most turns
-- only put that off: they leave `look_at` as it is, and the timer finds out when it looks. So the index, which
-- every turn would write to otherwise, changes once in a while.
ALTER TABLE v12_conversations ADD COLUMN look_at BIGINT;
UPDATE v12_conversations SET look_at = context_expires_at;
DROP INDEX v12_conversations_due;
CREATE INDEX v12_conversations_look ON v12_conversations (look_at) WHERE look_at IS NOT NULL;
