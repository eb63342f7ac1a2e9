-- Logins that wait to be approved in a browser (RFC 8628). They live for ten minutes; what became of them is in the trail.
CREATE TABLE device_logins (
    id            uuid        PRIMARY KEY,
    -- HMACs under the pepper: of what the device keeps to itself, and of what its user types.
    device_digest bytea       NOT NULL UNIQUE CHECK (octet_length(device_digest) = 32),
    user_digest   bytea       NOT NULL UNIQUE CHECK (octet_length(user_digest) = 32),
    -- Who asks, for the person who approves: what it says of itself, and where it called from.
    machine       text        NOT NULL,
    client        text        NOT NULL,
    address       text,
    agent         text,
    state         text        NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'redeemed')),
    -- Whoever decided, and when.
    user_id       uuid        REFERENCES users (id),
    decided_at    timestamptz,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL CHECK (expires_at > created_at),
    CHECK ((state = 'pending') = (user_id IS NULL)),
    CHECK ((state = 'pending') = (decided_at IS NULL))
);
CREATE INDEX device_logins_end ON device_logins (expires_at);
CREATE INDEX device_logins_user ON device_logins (user_id);
