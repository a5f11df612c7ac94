//! Runs the turns of bots: one at a time in a conversation, conversations side by side.
