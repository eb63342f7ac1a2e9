DROP TABLE idempotency;
ALTER TABLE workspaces
    DROP COLUMN cutoff_before, DROP COLUMN cutoff_at, DROP COLUMN cutoff_by, DROP COLUMN cutoff_reason;
ALTER TABLE users
    DROP COLUMN password_hash,
    DROP COLUMN cutoff_before, DROP COLUMN cutoff_at, DROP COLUMN cutoff_by, DROP COLUMN cutoff_reason;
-- An older tokd knows no token without a digest.
DELETE FROM tokens WHERE digest IS NULL;
ALTER TABLE tokens
    DROP COLUMN secret_hash, DROP COLUMN imported_from, DROP COLUMN labels, DROP COLUMN max_uses, DROP COLUMN uses,
    DROP COLUMN predecessor_id, DROP COLUMN rotated_at, DROP COLUMN rotated_by, DROP COLUMN grace_ends_at,
    DROP COLUMN successor_id, DROP COLUMN revoke_act, DROP COLUMN last_used_agent, DROP COLUMN last_used_repo,
    DROP COLUMN version, DROP COLUMN modified_at,
    ALTER COLUMN digest SET NOT NULL,
    ALTER COLUMN pepper_id SET NOT NULL;
