ALTER TABLE device_logins DROP COLUMN approved_through;
