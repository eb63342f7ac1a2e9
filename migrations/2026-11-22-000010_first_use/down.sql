DROP INDEX tokens_login;
CREATE UNIQUE INDEX tokens_login ON tokens (lower(name)) WHERE secret_hash IS NOT NULL AND revoked_at IS NULL;
ALTER TABLE tokens DROP COLUMN first_use_due;
