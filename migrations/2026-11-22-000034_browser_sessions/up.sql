-- Sessions that a browser was given when somebody signed in to the console. They and no others open its pages and let
-- devices in, and a new password ends them; what a machine's login was given goes on. In a table of their own, for tokens
-- are many and these are few.
CREATE TABLE browser_sessions (
    token_id uuid PRIMARY KEY REFERENCES tokens (id),
    user_id  uuid NOT NULL REFERENCES users (id)
);
CREATE INDEX browser_sessions_user ON browser_sessions (user_id);
