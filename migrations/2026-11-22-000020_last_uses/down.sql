DROP INDEX audit_actor_token;
CREATE INDEX audit_actor_token ON audit (actor_token_id, at, id) WHERE actor_token_id IS NOT NULL;
ALTER TABLE tokens
    ADD CONSTRAINT tokens_pepper_id_fkey FOREIGN KEY (pepper_id) REFERENCES peppers (id),
    ADD CONSTRAINT tokens_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES users (id);
DROP INDEX tokens_workspace, tokens_kept_workspace, tokens_labels, tokens_family;
CREATE INDEX tokens_workspace ON tokens (workspace_id, created_at DESC, id DESC);
CREATE INDEX tokens_kept_workspace ON tokens (workspace_id, created_at DESC, id DESC) WHERE kind <> 'git';
CREATE INDEX tokens_labels ON tokens USING gin (labels);
CREATE INDEX tokens_family ON tokens (family_id);
ALTER TABLE tokens
    ADD COLUMN last_used_at    timestamptz,
    ADD COLUMN last_used_ip    text,
    ADD COLUMN last_used_agent text,
    ADD COLUMN last_used_repo  text;
UPDATE tokens SET last_used_at = last.at, last_used_ip = last.address, last_used_agent = last.agent,
                  last_used_repo = last.repo
FROM last_uses AS last WHERE last.token_id = tokens.id;
DROP TABLE last_uses;
