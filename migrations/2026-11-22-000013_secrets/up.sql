-- Everything that a presented name and secret could be, those in their grace included.
CREATE INDEX tokens_chosen ON tokens (lower(name)) WHERE secret_hash IS NOT NULL;
-- Whether there is anything foreign at all, asked before anything foreign is looked up.
CREATE INDEX tokens_foreign ON tokens (created_at) WHERE imported_from IS NOT NULL AND digest IS NOT NULL;
