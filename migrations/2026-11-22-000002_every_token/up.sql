-- Everything that a token can be and suffer: chosen and foreign secrets, rotation, labels, use limits, cut-offs, and the
-- passwords of users.

ALTER TABLE tokens
    -- A token has either a digest, by which it is found, or a slow hash of a chosen secret, found by the token's name.
    ALTER COLUMN digest DROP NOT NULL,
    ALTER COLUMN pepper_id DROP NOT NULL,
    -- PHC string (argon2id), or bcrypt's own form for what was imported by hash.
    ADD COLUMN secret_hash     text,
    -- Where an imported secret comes from, for people: its own text is of no form of ours.
    ADD COLUMN imported_from   text,
    ADD COLUMN labels          text[]      NOT NULL DEFAULT '{}' CHECK (array_position(labels, NULL) IS NULL),
    ADD COLUMN max_uses        bigint      CHECK (max_uses > 0),
    ADD COLUMN uses            bigint      NOT NULL DEFAULT 0 CHECK (uses >= 0),
    -- The token that this one takes the place of.
    ADD COLUMN predecessor_id  uuid        REFERENCES tokens (id),
    -- Set when a successor was made. The token works until grace_ends_at, which the successor's first use brings forward.
    ADD COLUMN rotated_at      timestamptz,
    ADD COLUMN rotated_by      text,
    ADD COLUMN grace_ends_at   timestamptz,
    ADD COLUMN successor_id    uuid        REFERENCES tokens (id),
    -- Tokens that ended by one act, which can be undone as one. NULL: not to be undone.
    ADD COLUMN revoke_act      uuid,
    ADD COLUMN last_used_agent text,
    ADD COLUMN last_used_repo  text,
    -- Grows with each change that somebody made; the entity tag of RFC 9110 section 8.8.3.
    ADD COLUMN version         integer     NOT NULL DEFAULT 1,
    ADD COLUMN modified_at     timestamptz,
    ADD CONSTRAINT tokens_one_secret CHECK ((digest IS NULL) <> (secret_hash IS NULL)),
    ADD CONSTRAINT tokens_peppered CHECK ((digest IS NULL) = (pepper_id IS NULL)),
    ADD CONSTRAINT tokens_uses CHECK (max_uses IS NULL OR uses <= max_uses),
    ADD CONSTRAINT tokens_rotated_whole CHECK (
        (rotated_at IS NULL) = (grace_ends_at IS NULL) AND (rotated_at IS NULL) = (rotated_by IS NULL)
        AND (rotated_at IS NULL) = (successor_id IS NULL)),
    ADD CONSTRAINT tokens_undoable CHECK (revoke_act IS NULL OR revoked_at IS NOT NULL);

-- A chosen secret is presented with the token's name, so no two live ones share a name.
CREATE UNIQUE INDEX tokens_login ON tokens (lower(name)) WHERE secret_hash IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX tokens_predecessor ON tokens (predecessor_id) WHERE predecessor_id IS NOT NULL;
CREATE INDEX tokens_successor ON tokens (successor_id) WHERE successor_id IS NOT NULL;
CREATE INDEX tokens_family ON tokens (family_id);
CREATE INDEX tokens_labels ON tokens USING gin (labels);
CREATE INDEX tokens_revoke_act ON tokens (revoke_act) WHERE revoke_act IS NOT NULL;

-- A cut-off ends all tokens of an owner that were made before a moment, however many they are, by this one row.
ALTER TABLE users
    ADD COLUMN password_hash text,
    ADD COLUMN cutoff_before timestamptz,
    ADD COLUMN cutoff_at     timestamptz,
    ADD COLUMN cutoff_by     text,
    ADD COLUMN cutoff_reason text,
    ADD CONSTRAINT users_cutoff_whole CHECK (
        (cutoff_before IS NULL) = (cutoff_at IS NULL) AND (cutoff_before IS NULL) = (cutoff_by IS NULL));
ALTER TABLE workspaces
    ADD COLUMN cutoff_before timestamptz,
    ADD COLUMN cutoff_at     timestamptz,
    ADD COLUMN cutoff_by     text,
    ADD COLUMN cutoff_reason text,
    ADD CONSTRAINT workspaces_cutoff_whole CHECK (
        (cutoff_before IS NULL) = (cutoff_at IS NULL) AND (cutoff_before IS NULL) = (cutoff_by IS NULL));

-- What was made under an idempotency key, so that a retry after a lost reply leaves exactly one live token.
CREATE TABLE idempotency (
    -- Who asked: the user's, workspace's or token's ID, or the local user ID, as text.
    caller     text        NOT NULL,
    key        text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    -- SHA-256 of what was asked for: the same key with another request is a mistake.
    request    bytea       NOT NULL CHECK (octet_length(request) = 32),
    token_id   uuid        NOT NULL REFERENCES tokens (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_token ON idempotency (token_id);
CREATE INDEX idempotency_created ON idempotency (created_at);
