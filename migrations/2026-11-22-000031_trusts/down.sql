DELETE FROM tokens WHERE kind = 'git' AND parent_id IS NULL;
ALTER TABLE tokens
    DROP CONSTRAINT tokens_git,
    ADD CONSTRAINT tokens_git CHECK (
        kind <> 'git' OR (coalesce(cardinality(repos), 0) = 1 AND parent_id IS NOT NULL
                          AND expires_at IS NOT NULL AND expires_at <= created_at + interval '1 hour'));
DROP TABLE trust_uses;
DROP TABLE trust_pins;
DROP TABLE trusts;
