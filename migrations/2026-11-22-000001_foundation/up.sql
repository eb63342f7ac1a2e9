-- Users, workspaces, members, tokens and the audit trail.
-- Expand, move, contract: an older tokd must be able to run beside a newer schema for one release.

CREATE TABLE peppers (
    id            smallint    PRIMARY KEY,
    -- HMAC of a fixed text under the pepper: recognises the file, tells nothing of the key.
    fingerprint   bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    registered_at timestamptz NOT NULL
);

CREATE TABLE users (
    id          uuid        PRIMARY KEY,
    name        text        NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$' AND length(name) <= 39),
    manager     boolean     NOT NULL,
    created_at  timestamptz NOT NULL,
    disabled_at timestamptz,
    -- A deleted user's row stays, so that tokens and the trail still say who it was; the name is free again.
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX users_name ON users (lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE workspaces (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$' AND length(name) <= 39),
    -- Always a maintainer of it. Nobody, if the user was deleted or never was.
    owner_id   uuid        REFERENCES users (id),
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX workspaces_name ON workspaces (lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE members (
    workspace_id uuid        NOT NULL REFERENCES workspaces (id),
    user_id      uuid        NOT NULL REFERENCES users (id),
    role         text        NOT NULL CHECK (role IN ('reader', 'writer', 'maintainer')),
    added_at     timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE tokens (
    id                      uuid        PRIMARY KEY,
    -- HMAC-SHA-256 of the token's text under the pepper; the text itself is nowhere.
    digest                  bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    pepper_id               smallint    NOT NULL REFERENCES peppers (id),
    kind                    text        NOT NULL CHECK (kind IN ('personal', 'workspace', 'repo', 'session', 'git')),
    name                    text        NOT NULL,
    description             text        NOT NULL,
    shown_prefix            text        NOT NULL,
    user_id                 uuid        REFERENCES users (id),
    workspace_id            uuid        REFERENCES workspaces (id),
    scopes                  text[]      CHECK (array_position(scopes, NULL) IS NULL),
    routes                  text[]      CHECK (array_position(routes, NULL) IS NULL),
    permission              text        CHECK (permission IN ('read', 'write')),
    -- The workspace and the repositories that a workspace, repo or git token is confined to.
    within_workspace        text,
    repos                   text[]      CHECK (array_position(repos, NULL) IS NULL),
    parent_id               uuid        REFERENCES tokens (id),
    family_id               uuid        NOT NULL,
    allow_from              text[]      NOT NULL CHECK (array_position(allow_from, NULL) IS NULL),
    -- The local user ID whose login a session is, for sessions that the local socket opened.
    local_uid               bigint,
    created_at              timestamptz NOT NULL,
    created_by_user_id      uuid        REFERENCES users (id),
    created_by_name         text        NOT NULL,
    created_by_token_prefix text,
    created_from            text        NOT NULL,
    created_agent           text,
    expires_at              timestamptz,
    revoked_at              timestamptz,
    revoked_by              text,
    revoke_reason           text,
    last_used_at            timestamptz,
    last_used_ip            text,
    CONSTRAINT tokens_one_owner CHECK ((user_id IS NULL) <> (workspace_id IS NULL)),
    -- A CHECK lets pass what it cannot decide, so each of these says what must not be NULL.
    CONSTRAINT tokens_revoked_whole CHECK (
        (revoked_at IS NULL) = (revoked_by IS NULL) AND (revoke_reason IS NULL OR revoked_at IS NOT NULL)),
    CONSTRAINT tokens_ends_after_start CHECK (expires_at > created_at),
    CONSTRAINT tokens_personal CHECK (kind <> 'personal' OR (user_id IS NOT NULL AND scopes IS NOT NULL)),
    CONSTRAINT tokens_confined CHECK (
        kind NOT IN ('workspace', 'repo', 'git') OR (permission IS NOT NULL AND within_workspace IS NOT NULL)),
    CONSTRAINT tokens_repo CHECK (kind <> 'repo' OR coalesce(cardinality(repos), 0) > 0),
    CONSTRAINT tokens_git CHECK (
        kind <> 'git' OR (coalesce(cardinality(repos), 0) = 1 AND parent_id IS NOT NULL
                          AND expires_at IS NOT NULL AND expires_at <= created_at + interval '1 hour'))
);
CREATE INDEX tokens_order ON tokens (created_at DESC, id DESC);
CREATE INDEX tokens_user ON tokens (user_id, created_at DESC, id DESC);
CREATE INDEX tokens_workspace ON tokens (workspace_id, created_at DESC, id DESC);
CREATE INDEX tokens_parent ON tokens (parent_id);
CREATE INDEX tokens_shown_prefix ON tokens (shown_prefix text_pattern_ops);
CREATE UNIQUE INDEX tokens_local_login ON tokens (user_id, local_uid) WHERE local_uid IS NOT NULL AND revoked_at IS NULL;

-- No foreign keys: what happened stays, whatever becomes of those it happened to.
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
    -- Uses that are alike in everything else and close in time share a line.
    times           integer     NOT NULL CHECK (times > 0)
);
CREATE INDEX audit_order ON audit (at, id);
CREATE INDEX audit_token ON audit (token_id, at, id) WHERE token_id IS NOT NULL;
CREATE INDEX audit_actor_token ON audit (actor_token_id, at, id) WHERE actor_token_id IS NOT NULL;
CREATE INDEX audit_parent ON audit (parent_id, at, id) WHERE parent_id IS NOT NULL;
CREATE INDEX audit_actor_user ON audit (actor_user_id, at, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX audit_subject ON audit (subject_user_id, at, id) WHERE subject_user_id IS NOT NULL;
CREATE INDEX audit_repo ON audit (repo, at, id) WHERE repo IS NOT NULL;
