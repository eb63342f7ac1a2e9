DROP INDEX tokens_kept_name;
DROP INDEX tokens_kept_ends;
DROP INDEX tokens_kept_revoked;
DROP INDEX tokens_kept_workspace;
DROP INDEX tokens_kept_user;
DROP INDEX tokens_kept_order;
ALTER TABLE workspaces DROP COLUMN cutoff_act;
ALTER TABLE users DROP COLUMN cutoff_act;
