-- Making a token and presenting it for the first time cost what they write: fewer and smaller things.

-- The last use of each token that was used. Beside tokens and not in it: noted there it made a new version of a wide row,
-- and an entry of it in each of a dozen indexes, somewhere at random. No foreign key: it would lock the token's row, and
-- with it everybody who ends tokens; whoever removes tokens removes these.
CREATE TABLE last_uses (
    token_id uuid        PRIMARY KEY,
    at       timestamptz NOT NULL,
    address  text,
    agent    text,
    repo     text
    -- Room for the next use in the same page.
) WITH (fillfactor = 80);
INSERT INTO last_uses (token_id, at, address, agent, repo)
SELECT id, last_used_at, last_used_ip, last_used_agent, last_used_repo FROM tokens WHERE last_used_at IS NOT NULL;
ALTER TABLE tokens
    DROP COLUMN last_used_at, DROP COLUMN last_used_ip, DROP COLUMN last_used_agent, DROP COLUMN last_used_repo;

-- Most tokens have no workspace and no label, and are the first of their family: those need no entry.
DROP INDEX tokens_workspace, tokens_kept_workspace, tokens_labels, tokens_family;
CREATE INDEX tokens_workspace ON tokens (workspace_id, created_at DESC, id DESC) WHERE workspace_id IS NOT NULL;
CREATE INDEX tokens_kept_workspace ON tokens (workspace_id, created_at DESC, id DESC)
    WHERE kind <> 'git' AND workspace_id IS NOT NULL;
CREATE INDEX tokens_labels ON tokens USING gin (labels) WHERE labels <> '{}';
CREATE INDEX tokens_family ON tokens (family_id) WHERE family_id <> id;

-- Neither peppers nor users are ever deleted, only marked; a look at both for each new token cost as much as its row.
ALTER TABLE tokens DROP CONSTRAINT tokens_pepper_id_fkey, DROP CONSTRAINT tokens_created_by_user_id_fkey;

-- A line about a use names the same token twice.
DROP INDEX audit_actor_token;
CREATE INDEX audit_actor_token ON audit (actor_token_id, at, id) 
    WHERE actor_token_id IS NOT NULL AND actor_token_id IS DISTINCT FROM token_id;
