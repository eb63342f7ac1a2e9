-- The first use of some tokens is written down before it is answered: of a successor, whose first use ends the grace of
-- the token whose place it takes, and of what was made under an idempotency key, where a retry replaces only what nobody
-- has used.
ALTER TABLE tokens ADD COLUMN first_use_due boolean NOT NULL DEFAULT false;

-- The successor of a token with a chosen secret takes over its name at once.
DROP INDEX tokens_login;
CREATE UNIQUE INDEX tokens_login ON tokens (lower(name))
    WHERE secret_hash IS NOT NULL AND revoked_at IS NULL AND rotated_at IS NULL;
