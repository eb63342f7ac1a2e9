-- Who ended something, by ID. The names beside these are for people: two can have the same, and an address is nobody.
ALTER TABLE tokens ADD COLUMN revoked_by_user_id uuid;
ALTER TABLE tokens ADD COLUMN revoked_by_token_id uuid;
ALTER TABLE users ADD COLUMN cutoff_by_user_id uuid;
ALTER TABLE users ADD COLUMN cutoff_by_token_id uuid;
ALTER TABLE workspaces ADD COLUMN cutoff_by_user_id uuid;
ALTER TABLE workspaces ADD COLUMN cutoff_by_token_id uuid;
