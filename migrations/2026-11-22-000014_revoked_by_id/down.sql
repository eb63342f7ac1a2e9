ALTER TABLE workspaces DROP COLUMN cutoff_by_token_id;
ALTER TABLE workspaces DROP COLUMN cutoff_by_user_id;
ALTER TABLE users DROP COLUMN cutoff_by_token_id;
ALTER TABLE users DROP COLUMN cutoff_by_user_id;
ALTER TABLE tokens DROP COLUMN revoked_by_token_id;
ALTER TABLE tokens DROP COLUMN revoked_by_user_id;
