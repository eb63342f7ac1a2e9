DROP TABLE audit;
DROP TABLE tokens;
DROP TABLE members;
DROP TABLE workspaces;
DROP TABLE users;
DROP TABLE peppers;
