-- Whose identity tokens of CI systems are exchanged for git tokens, and for which.
CREATE TABLE trusts (
    id               uuid        PRIMARY KEY,
    name             text        NOT NULL,
    system           text        NOT NULL,
    issuer           text        NOT NULL,
    audience         text        NOT NULL,
    -- Each `name=pattern`.
    claims           text[]      NOT NULL CHECK (cardinality(claims) > 0 AND array_position(claims, NULL) IS NULL),
    algorithms       text[]      NOT NULL CHECK (cardinality(algorithms) > 0 AND array_position(algorithms, NULL) IS NULL),
    -- Certificates in PEM that are trusted for this issuer beside the machine's.
    ca               text,
    workspace_id     uuid        NOT NULL REFERENCES workspaces (id),
    -- Patterns of the names of its repositories.
    repos            text[]      NOT NULL CHECK (cardinality(repos) > 0 AND array_position(repos, NULL) IS NULL),
    permission       text        NOT NULL CHECK (permission IN ('read', 'write')),
    lifetime_seconds bigint      NOT NULL CHECK (lifetime_seconds BETWEEN 60 AND 3600),
    max_age_seconds  bigint      NOT NULL CHECK (max_age_seconds BETWEEN 60 AND 86400),
    once             text        NOT NULL CHECK (once IN ('token', 'repository')),
    recycled_names   boolean     NOT NULL,
    created_at       timestamptz NOT NULL,
    created_by_name  text        NOT NULL,
    last_used_at     timestamptz,
    uses             bigint      NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX trusts_name ON trusts (lower(name));
CREATE INDEX trusts_issuer ON trusts (issuer);
CREATE INDEX trusts_workspace ON trusts (workspace_id);

-- Which ID a name had when a rule first let it in: whoever has the name later and not the ID is somebody else.
CREATE TABLE trust_pins (
    trust_id  uuid        NOT NULL REFERENCES trusts (id),
    claim     text        NOT NULL,
    name      text        NOT NULL,
    id_claim  text        NOT NULL,
    pinned    text        NOT NULL,
    pinned_at timestamptz NOT NULL,
    PRIMARY KEY (trust_id, claim, name)
);

-- Identity tokens that were exchanged: none is good twice. A row stays until neither the identity token nor what it was
-- exchanged for is good any more, also when its rule is gone.
CREATE TABLE trust_uses (
    digest   bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    trust_id uuid        NOT NULL,
    token_id uuid        NOT NULL,
    until    timestamptz NOT NULL
);
CREATE INDEX trust_uses_trust ON trust_uses (trust_id);
CREATE INDEX trust_uses_until ON trust_uses (until);

-- What is minted under a rule acts for its workspace, and is made through no other token.
ALTER TABLE tokens
    DROP CONSTRAINT tokens_git,
    ADD CONSTRAINT tokens_git CHECK (
        kind <> 'git' OR (coalesce(cardinality(repos), 0) = 1 AND (parent_id IS NOT NULL OR workspace_id IS NOT NULL)
                          AND expires_at IS NOT NULL AND expires_at <= created_at + interval '1 hour'));
