-- Cut-offs are undone as the acts that they are, and lists of tokens find their pages without reading what they leave out.

ALTER TABLE users ADD COLUMN cutoff_act uuid;
ALTER TABLE workspaces ADD COLUMN cutoff_act uuid;

-- Every fetch leaves a git token behind, which lists and people leave alone once it ended. None of these has one, so
-- minting costs no more than before.
CREATE INDEX tokens_kept_order ON tokens (created_at DESC, id DESC) WHERE kind <> 'git';
CREATE INDEX tokens_kept_user ON tokens (user_id, created_at DESC, id DESC) WHERE kind <> 'git';
CREATE INDEX tokens_kept_workspace ON tokens (workspace_id, created_at DESC, id DESC) WHERE kind <> 'git';
CREATE INDEX tokens_kept_revoked ON tokens (created_at DESC, id DESC) WHERE kind <> 'git' AND revoked_at IS NOT NULL;
CREATE INDEX tokens_kept_ends ON tokens (expires_at) WHERE kind <> 'git' AND revoked_at IS NULL;
CREATE INDEX tokens_kept_name ON tokens (name) WHERE kind <> 'git';
