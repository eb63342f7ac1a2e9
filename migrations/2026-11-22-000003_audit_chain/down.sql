DROP TABLE audit_seals;
DROP FUNCTION audit_month;
ALTER TABLE audit RENAME TO audit_after;
ALTER TABLE audit_after RENAME CONSTRAINT audit_pkey TO audit_after_pkey;
DROP INDEX audit_token, audit_actor_token, audit_parent, audit_actor_user, audit_subject, audit_repo;
CREATE TABLE audit (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL,
    action          text        NOT NULL,
    outcome         text        NOT NULL CHECK (outcome IN ('done', 'refused')),
    actor_user_id   uuid,
    actor_name      text        NOT NULL,
    actor_uid       bigint,
    actor_token_id  uuid,
    address         text,
    agent           text,
    token_id        uuid,
    token_prefix    text,
    parent_id       uuid,
    subject_user_id uuid,
    subject_name    text,
    workspace       text,
    repo            text,
    command         text,
    detail          text        NOT NULL,
    times           integer     NOT NULL CHECK (times > 0)
);
INSERT INTO audit OVERRIDING SYSTEM VALUE
SELECT id, at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id, address, agent, token_id,
       token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command, detail, times
FROM audit_after;
SELECT setval('audit_id_seq', greatest((SELECT max(id) FROM audit), 1), EXISTS (SELECT FROM audit));
DROP TABLE audit_after;
CREATE INDEX audit_order ON audit (at, id);
CREATE INDEX audit_token ON audit (token_id, at, id) WHERE token_id IS NOT NULL;
CREATE INDEX audit_actor_token ON audit (actor_token_id, at, id) WHERE actor_token_id IS NOT NULL;
CREATE INDEX audit_parent ON audit (parent_id, at, id) WHERE parent_id IS NOT NULL;
CREATE INDEX audit_actor_user ON audit (actor_user_id, at, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX audit_subject ON audit (subject_user_id, at, id) WHERE subject_user_id IS NOT NULL;
CREATE INDEX audit_repo ON audit (repo, at, id) WHERE repo IS NOT NULL;
