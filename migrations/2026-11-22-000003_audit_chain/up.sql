-- The audit trail in months, and chained: nobody who lacks the pepper can change, add, move or take out a line unnoticed.

ALTER TABLE audit RENAME TO audit_before;
ALTER TABLE audit_before
    DROP CONSTRAINT audit_pkey, DROP CONSTRAINT audit_outcome_check, DROP CONSTRAINT audit_times_check;
DROP INDEX audit_order, audit_token, audit_actor_token, audit_parent, audit_actor_user, audit_subject, audit_repo;

-- Not an identity column: those of partitioned tables came with PostgreSQL 17.
CREATE SEQUENCE audit_line AS bigint;

-- No foreign keys: what happened stays, whatever becomes of those it happened to.
CREATE TABLE audit (
    id              bigint      NOT NULL DEFAULT nextval('audit_line'),
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
    times           integer     NOT NULL CHECK (times > 0),
    -- Who really acted, when they acted as somebody else.
    acted_by        text,
    -- The run of the daemon that wrote it, and its how manieth line it is there.
    chain           uuid        NOT NULL,
    number          bigint      NOT NULL,
    -- The transaction that wrote it: what is below every running transaction's is all there and stays so.
    xact            bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    -- HMAC of all the columns above but the ID. Lines from before there were chains have none, and a chain of zeros.
    mac             bytea       CHECK (octet_length(mac) = 32),
    CONSTRAINT audit_whole CHECK (mac IS NOT NULL OR chain = '00000000-0000-0000-0000-000000000000'),
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
ALTER SEQUENCE audit_line OWNED BY audit.id;

-- For lines of months that have no partition of their own yet, or never get one.
CREATE TABLE audit_default PARTITION OF audit DEFAULT;

CREATE INDEX audit_token ON audit (token_id, at, id) WHERE token_id IS NOT NULL;
CREATE INDEX audit_actor_token ON audit (actor_token_id, at, id) WHERE actor_token_id IS NOT NULL;
CREATE INDEX audit_parent ON audit (parent_id, at, id) WHERE parent_id IS NOT NULL;
CREATE INDEX audit_actor_user ON audit (actor_user_id, at, id) WHERE actor_user_id IS NOT NULL;
CREATE INDEX audit_subject ON audit (subject_user_id, at, id) WHERE subject_user_id IS NOT NULL;
CREATE INDEX audit_repo ON audit (repo, at, id) WHERE repo IS NOT NULL;
-- For those who seal and verify a chain, and for those who follow the trail.
CREATE INDEX audit_chain ON audit (chain, xact, id);
CREATE INDEX audit_written ON audit (xact, id);

-- Makes the partition of the month in which a moment lies, with the lines of it that were written without one. True if
-- it was not there.
CREATE FUNCTION audit_month(moment timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    begins timestamptz := date_trunc('month', moment, 'UTC');
    ends   timestamptz := (begins AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    name   text        := 'audit_' || to_char(begins AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Of two daemons that start together, one makes it and the other finds it.
    PERFORM pg_advisory_xact_lock(8387435, 2);
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE audit_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE audit INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('WITH moved AS (DELETE FROM audit_default WHERE at >= %L AND at < %L RETURNING *)
                    INSERT INTO %I SELECT * FROM moved', begins, ends, name);
    EXECUTE format('ALTER TABLE audit ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    RETURN true;
END
$$;

INSERT INTO audit (id, at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id, address, agent, token_id,
                   token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command, detail, times,
                   chain, number, xact)
SELECT id, at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id, address, agent, token_id,
       token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command, detail, times,
       '00000000-0000-0000-0000-000000000000', id, 0
FROM audit_before;
SELECT setval('audit_line', greatest((SELECT max(id) FROM audit), 1), EXISTS (SELECT FROM audit));
SELECT audit_month(month.begins) FROM (SELECT DISTINCT date_trunc('month', at, 'UTC') FROM audit) AS month (begins);
DROP TABLE audit_before;

-- What holds the lines of a chain together. Each seal is an HMAC over the one before it and over lines in the order
-- (xact, id), from behind the last seal's last line to its own last line, all of one month.
CREATE TABLE audit_seals (
    chain     uuid        NOT NULL,
    number    bigint      NOT NULL CHECK (number >= 0),
    -- open: begins the chain, and content names the last seals of older ones. lines: seals lines.
    -- prune: content is the month before which lines may be gone.
    kind      text        NOT NULL CHECK (kind IN ('open', 'lines', 'prune')),
    pepper_id smallint    NOT NULL,
    -- The cluster whose transactions xact counts. Lines that came from another with a dump are all there are.
    cluster   text        NOT NULL,
    upto_xact bigint      NOT NULL,
    upto_line   bigint      NOT NULL,
    -- As in 2026-11; empty if it seals no lines.
    month     text        NOT NULL,
    lines     bigint      NOT NULL CHECK (lines >= 0),
    first_at  timestamptz,
    last_at   timestamptz,
    -- Hash of the lines, so that a seal can be checked when retention has dropped them.
    digest    bytea       NOT NULL CHECK (octet_length(digest) = 32),
    content   text        NOT NULL,
    sealed_at timestamptz NOT NULL,
    previous  bytea       NOT NULL CHECK (octet_length(previous) = 32),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (chain, number),
    CONSTRAINT audit_seals_opened CHECK ((number = 0) = (kind = 'open')),
    CONSTRAINT audit_seals_lines_whole CHECK (
        (kind = 'lines') = (lines > 0) AND (lines > 0) = (first_at IS NOT NULL) AND (lines > 0) = (last_at IS NOT NULL)
        AND (lines > 0) = (month <> ''))
);
CREATE INDEX audit_seals_open ON audit_seals (sealed_at) WHERE number = 0;
CREATE INDEX audit_seals_prune ON audit_seals (content) WHERE kind = 'prune';
