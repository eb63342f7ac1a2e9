-- The session by which somebody approved: what it let in and nobody has come for ends with it.
ALTER TABLE device_logins ADD COLUMN approved_through uuid;
