//! Every constraint refuses what it is there for, under its own name: rows that no code of ours would write.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use diesel::sql_types::Text;

use crate::world::{World, lines};

/// One good row of each table and each kind of token, each as close to its limits as is allowed.
const GOOD: &str = "
    INSERT INTO users (id, name, manager, created_at) VALUES
        ('00000000-0000-4000-8000-000000000001', 'ann', false, now()),
        ('00000000-0000-4000-8000-000000000002', 'A2345678901234567890123456789012345.-_9', false, now());
    INSERT INTO workspaces (id, name, owner_id, created_at) VALUES
        ('00000000-0000-4000-8000-000000000011', 'ann', '00000000-0000-4000-8000-000000000001', now()),
        ('00000000-0000-4000-8000-000000000012', 'acme', NULL, now());
    INSERT INTO members (workspace_id, user_id, role, added_at) VALUES
        ('00000000-0000-4000-8000-000000000011', '00000000-0000-4000-8000-000000000001', 'maintainer', now());

    CREATE FUNCTION pg_temp.put(number int, kind text, owner text) RETURNS void LANGUAGE sql AS $$
        INSERT INTO tokens (id, digest, pepper_id, kind, name, description, shown_prefix, user_id, workspace_id,
                            scopes, permission, within_workspace, repos, parent_id, family_id, allow_from, created_at,
                            created_by_user_id, created_by_name, created_from, expires_at)
        VALUES (('00000000-0000-4000-8000-0000000000' || number)::uuid, sha256(kind::bytea), 1, kind, kind, '', '',
                CASE owner WHEN 'ann' THEN '00000000-0000-4000-8000-000000000001'::uuid END,
                CASE owner WHEN 'acme' THEN '00000000-0000-4000-8000-000000000012'::uuid END,
                CASE kind WHEN 'personal' THEN '{}'::text[] END,
                CASE WHEN kind IN ('workspace', 'repo', 'git') THEN 'read' END,
                CASE WHEN kind IN ('workspace', 'repo', 'git') THEN 'acme' END,
                CASE WHEN kind IN ('repo', 'git') THEN '{app}'::text[] END,
                CASE kind WHEN 'git' THEN '00000000-0000-4000-8000-000000000024'::uuid END,
                gen_random_uuid(), '{}', '2027-01-01', '00000000-0000-4000-8000-000000000001', '', '',
                CASE kind WHEN 'git' THEN '2027-01-01 01:00'::timestamptz END)
    $$;
    SELECT pg_temp.put(21, 'personal', 'ann'), pg_temp.put(22, 'workspace', 'acme'), pg_temp.put(23, 'repo', 'acme'),
           pg_temp.put(24, 'session', 'ann'), pg_temp.put(25, 'git', 'ann');
    UPDATE tokens SET local_uid = 1000, routes = '{ann/*:r}' WHERE kind = 'session';
    UPDATE tokens SET digest = NULL, pepper_id = NULL, secret_hash = '$argon2id$', labels = '{ci}', max_uses = 2,
                      uses = 2, rotated_at = now(), rotated_by = 'ann', grace_ends_at = now(),
                      successor_id = '00000000-0000-4000-8000-000000000024' WHERE kind = 'personal';
    UPDATE tokens SET predecessor_id = '00000000-0000-4000-8000-000000000021' WHERE kind = 'session';
    INSERT INTO last_uses (token_id, at) VALUES ('00000000-0000-4000-8000-000000000021', now());
    INSERT INTO idempotency VALUES
        ('ann', repeat('k', 255), sha256(''), '00000000-0000-4000-8000-000000000021', now());
    INSERT INTO browser_sessions VALUES
        ('00000000-0000-4000-8000-000000000024', '00000000-0000-4000-8000-000000000001');
    UPDATE users SET cutoff_before = now(), cutoff_at = now(), cutoff_by = 'ann' WHERE name = 'ann';
    UPDATE workspaces SET cutoff_before = now(), cutoff_at = now(), cutoff_by = 'ann' WHERE name = 'acme';

    INSERT INTO device_logins VALUES
        ('00000000-0000-4000-8000-000000000041', sha256('device'), sha256('user'), '', '', NULL, NULL, 'approved',
         '00000000-0000-4000-8000-000000000001', now(), now(), now() + interval '10 minutes');
    INSERT INTO trusts VALUES
        ('00000000-0000-4000-8000-000000000051', 'app', 'github', 'https://issuer', 'tok', '{sub=a}', '{RS256}', NULL,
         '00000000-0000-4000-8000-000000000012', '{app}', 'write', 3600, 86400, 'token', false, now(), 'ann', NULL, 0);
    INSERT INTO trust_pins VALUES
        ('00000000-0000-4000-8000-000000000051', 'repository', 'acme/app', 'repository_id', '1', now());
    INSERT INTO trust_uses VALUES
        (sha256(''), '00000000-0000-4000-8000-000000000051', '00000000-0000-4000-8000-000000000025', now());

    INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, mac)
        VALUES (now(), '', 'done', '', '', 1, '00000000-0000-4000-8000-000000000031', 1, sha256(''));
    UPDATE audit_seals SET pepper_id = 1;";

/// What must refuse which statement.
const BAD: &[(&str, &str)] = &[
    ("peppers_pkey", "INSERT INTO peppers SELECT id, sha256('other'), registered_at FROM peppers"),
    ("peppers_fingerprint_check", "UPDATE peppers SET fingerprint = substr(fingerprint, 2)"),
    ("peppers_fingerprint_check", "UPDATE peppers SET fingerprint = fingerprint || '\\x00'"),
    ("users_pkey", "INSERT INTO users SELECT id, 'other', manager, created_at FROM users"),
    ("users_name", "INSERT INTO users SELECT gen_random_uuid(), 'ANN', manager, created_at FROM users LIMIT 1"),
    ("users_name_check", "UPDATE users SET name = '' WHERE name = 'ann'"),
    ("users_name_check", "UPDATE users SET name = '-ann' WHERE name = 'ann'"),
    ("users_name_check", "UPDATE users SET name = 'an/n' WHERE name = 'ann'"),
    ("users_name_check", "UPDATE users SET name = E'ann\\n' WHERE name = 'ann'"),
    ("users_name_check", "UPDATE users SET name = 'änn' WHERE name = 'ann'"),
    ("users_name_check", "UPDATE users SET name = repeat('a', 40) WHERE name = 'ann'"),
    ("workspaces_pkey", "INSERT INTO workspaces SELECT id, 'other', owner_id, created_at FROM workspaces"),
    ("workspaces_name", "UPDATE workspaces SET name = 'Ann' WHERE name = 'acme'"),
    ("workspaces_name_check", "UPDATE workspaces SET name = '../acme' WHERE name = 'acme'"),
    ("workspaces_name_check", "UPDATE workspaces SET name = repeat('a', 40) WHERE name = 'acme'"),
    ("members_pkey", "INSERT INTO members SELECT * FROM members"),
    ("members_role_check", "UPDATE members SET role = 'owner'"),
    ("members_role_check", "UPDATE members SET role = 'Maintainer'"),
    ("browser_sessions_pkey", "INSERT INTO browser_sessions SELECT * FROM browser_sessions"),
    ("last_uses_pkey", "INSERT INTO last_uses SELECT * FROM last_uses"),
    ("tokens_pkey", "UPDATE tokens SET id = (SELECT id FROM tokens WHERE kind = 'repo') WHERE kind = 'workspace'"),
    ("tokens_digest_key", "UPDATE tokens SET digest = sha256('repo') WHERE kind = 'workspace'"),
    ("tokens_digest_check", "UPDATE tokens SET digest = substr(digest, 2) WHERE kind = 'repo'"),
    ("tokens_digest_check", "UPDATE tokens SET digest = digest || '\\x00' WHERE kind = 'repo'"),
    ("tokens_kind_check", "UPDATE tokens SET kind = 'agent' WHERE kind = 'session'"),
    ("tokens_kind_check", "UPDATE tokens SET kind = 'Session' WHERE kind = 'session'"),
    ("tokens_scopes_check", "UPDATE tokens SET scopes = '{repo:read,NULL}' WHERE kind = 'personal'"),
    ("tokens_routes_check", "UPDATE tokens SET routes = '{NULL}' WHERE kind = 'personal'"),
    ("tokens_repos_check", "UPDATE tokens SET repos = '{app,NULL}' WHERE kind = 'repo'"),
    ("tokens_allow_from_check", "UPDATE tokens SET allow_from = '{NULL}' WHERE kind = 'personal'"),
    ("tokens_permission_check", "UPDATE tokens SET permission = 'admin' WHERE kind = 'workspace'"),
    ("tokens_one_owner", "UPDATE tokens SET user_id = created_by_user_id WHERE kind = 'workspace'"),
    ("tokens_one_owner", "UPDATE tokens SET workspace_id = NULL WHERE kind = 'workspace'"),
    ("tokens_revoked_whole", "UPDATE tokens SET revoked_at = now() WHERE kind = 'personal'"),
    ("tokens_revoked_whole", "UPDATE tokens SET revoked_by = 'ann' WHERE kind = 'personal'"),
    ("tokens_revoked_whole", "UPDATE tokens SET revoke_reason = 'lost' WHERE kind = 'personal'"),
    ("tokens_ends_after_start", "UPDATE tokens SET expires_at = created_at WHERE kind = 'personal'"),
    ("tokens_ends_after_start", "UPDATE tokens SET expires_at = created_at - interval '1 second' WHERE kind = 'git'"),
    ("tokens_personal", "UPDATE tokens SET scopes = NULL WHERE kind = 'personal'"),
    (
        "tokens_personal",
        "UPDATE tokens SET user_id = NULL, workspace_id = '00000000-0000-4000-8000-000000000012' WHERE kind = 'personal'",
    ),
    ("tokens_confined", "UPDATE tokens SET permission = NULL WHERE kind = 'workspace'"),
    ("tokens_confined", "UPDATE tokens SET within_workspace = NULL WHERE kind = 'repo'"),
    ("tokens_confined", "UPDATE tokens SET permission = NULL WHERE kind = 'git'"),
    ("tokens_repo", "UPDATE tokens SET repos = '{}' WHERE kind = 'repo'"),
    ("tokens_repo", "UPDATE tokens SET repos = NULL WHERE kind = 'repo'"),
    ("tokens_git", "UPDATE tokens SET parent_id = NULL WHERE kind = 'git'"),
    ("tokens_git", "UPDATE tokens SET repos = '{app,lib}' WHERE kind = 'git'"),
    ("tokens_git", "UPDATE tokens SET repos = '{}' WHERE kind = 'git'"),
    ("tokens_git", "UPDATE tokens SET repos = NULL WHERE kind = 'git'"),
    ("tokens_git", "UPDATE tokens SET expires_at = expires_at + interval '1 microsecond' WHERE kind = 'git'"),
    ("tokens_git", "UPDATE tokens SET expires_at = NULL WHERE kind = 'git'"),
    ("tokens_local_login", "UPDATE tokens SET local_uid = 1000 WHERE kind = 'personal'"),
    (
        "tokens_login",
        "UPDATE tokens SET digest = NULL, pepper_id = NULL, secret_hash = 'x', name = 'same' WHERE kind IN ('repo', 'workspace')",
    ),
    ("tokens_one_secret", "UPDATE tokens SET secret_hash = NULL WHERE kind = 'personal'"),
    ("tokens_one_secret", "UPDATE tokens SET secret_hash = 'x' WHERE kind = 'repo'"),
    ("tokens_peppered", "UPDATE tokens SET pepper_id = 1 WHERE kind = 'personal'"),
    ("tokens_peppered", "UPDATE tokens SET pepper_id = NULL WHERE kind = 'repo'"),
    ("tokens_labels_check", "UPDATE tokens SET labels = '{NULL}' WHERE kind = 'personal'"),
    ("tokens_max_uses_check", "UPDATE tokens SET max_uses = 0, uses = 0 WHERE kind = 'personal'"),
    ("tokens_uses_check", "UPDATE tokens SET uses = -1 WHERE kind = 'personal'"),
    ("tokens_uses", "UPDATE tokens SET uses = 3 WHERE kind = 'personal'"),
    ("tokens_rotated_whole", "UPDATE tokens SET rotated_at = NULL WHERE kind = 'personal'"),
    ("tokens_rotated_whole", "UPDATE tokens SET rotated_by = NULL WHERE kind = 'personal'"),
    ("tokens_rotated_whole", "UPDATE tokens SET grace_ends_at = NULL WHERE kind = 'personal'"),
    ("tokens_rotated_whole", "UPDATE tokens SET successor_id = NULL WHERE kind = 'personal'"),
    ("tokens_undoable", "UPDATE tokens SET revoke_act = gen_random_uuid() WHERE kind = 'personal'"),
    ("users_cutoff_whole", "UPDATE users SET cutoff_before = NULL WHERE name = 'ann'"),
    ("users_cutoff_whole", "UPDATE users SET cutoff_by = NULL WHERE name = 'ann'"),
    ("workspaces_cutoff_whole", "UPDATE workspaces SET cutoff_at = NULL WHERE name = 'acme'"),
    (
        "idempotency_pkey",
        "INSERT INTO idempotency SELECT caller, key, sha256('other'), token_id, created_at FROM idempotency",
    ),
    ("idempotency_key_check", "UPDATE idempotency SET key = ''"),
    ("idempotency_key_check", "UPDATE idempotency SET key = key || 'k'"),
    ("idempotency_request_check", "UPDATE idempotency SET request = substr(request, 2)"),
    (
        "device_logins_pkey",
        "INSERT INTO device_logins SELECT id, sha256('1'), sha256('2'), machine, client, address, agent, state, user_id, decided_at, created_at, expires_at FROM device_logins",
    ),
    (
        "device_logins_device_digest_key",
        "INSERT INTO device_logins SELECT gen_random_uuid(), device_digest, sha256('2'), machine, client, address, agent, state, user_id, decided_at, created_at, expires_at FROM device_logins",
    ),
    (
        "device_logins_user_digest_key",
        "INSERT INTO device_logins SELECT gen_random_uuid(), sha256('1'), user_digest, machine, client, address, agent, state, user_id, decided_at, created_at, expires_at FROM device_logins",
    ),
    ("device_logins_device_digest_check", "UPDATE device_logins SET device_digest = substr(device_digest, 2)"),
    ("device_logins_user_digest_check", "UPDATE device_logins SET user_digest = substr(user_digest, 2)"),
    ("device_logins_state_check", "UPDATE device_logins SET state = 'perhaps'"),
    ("device_logins_check", "UPDATE device_logins SET expires_at = created_at"),
    ("device_logins_check1", "UPDATE device_logins SET user_id = NULL"),
    ("device_logins_check2", "UPDATE device_logins SET decided_at = NULL"),
    ("trusts_pkey", "INSERT INTO trusts SELECT * FROM trusts"),
    (
        "trusts_name",
        "INSERT INTO trusts SELECT gen_random_uuid(), 'APP', system, issuer, audience, claims, algorithms, ca, workspace_id, repos, permission, lifetime_seconds, max_age_seconds, once, recycled_names, created_at, created_by_name FROM trusts",
    ),
    ("trusts_claims_check", "UPDATE trusts SET claims = '{}'"),
    ("trusts_claims_check", "UPDATE trusts SET claims = '{NULL}'"),
    ("trusts_algorithms_check", "UPDATE trusts SET algorithms = '{}'"),
    ("trusts_repos_check", "UPDATE trusts SET repos = '{}'"),
    ("trusts_permission_check", "UPDATE trusts SET permission = 'admin'"),
    ("trusts_lifetime_seconds_check", "UPDATE trusts SET lifetime_seconds = 3601"),
    ("trusts_lifetime_seconds_check", "UPDATE trusts SET lifetime_seconds = 59"),
    ("trusts_max_age_seconds_check", "UPDATE trusts SET max_age_seconds = 86401"),
    ("trusts_once_check", "UPDATE trusts SET once = 'never'"),
    ("trust_pins_pkey", "INSERT INTO trust_pins SELECT * FROM trust_pins"),
    ("trust_uses_pkey", "INSERT INTO trust_uses SELECT * FROM trust_uses"),
    ("trust_uses_digest_check", "UPDATE trust_uses SET digest = substr(digest, 2)"),
    ("audit_pkey", "INSERT INTO audit SELECT * FROM audit"),
    ("audit_outcome_check", "UPDATE audit SET outcome = 'maybe'"),
    ("audit_times_check", "UPDATE audit SET times = 0"),
    ("audit_mac_check", "UPDATE audit SET mac = substr(mac, 2)"),
    ("audit_whole", "UPDATE audit SET mac = NULL"),
    ("audit_seals_pkey", "INSERT INTO audit_seals SELECT * FROM audit_seals"),
    ("audit_seals_number_check", "UPDATE audit_seals SET number = -1, kind = 'prune'"),
    ("audit_seals_kind_check", "UPDATE audit_seals SET kind = 'close', number = 1"),
    ("audit_seals_lines_check", "UPDATE audit_seals SET lines = -1"),
    ("audit_seals_digest_check", "UPDATE audit_seals SET digest = substr(digest, 2)"),
    ("audit_seals_previous_check", "UPDATE audit_seals SET previous = substr(previous, 2)"),
    ("audit_seals_hash_check", "UPDATE audit_seals SET hash = substr(hash, 2)"),
    ("audit_seals_opened", "UPDATE audit_seals SET number = 1"),
    ("audit_seals_opened", "UPDATE audit_seals SET kind = 'prune'"),
    ("audit_seals_lines_whole", "UPDATE audit_seals SET lines = 1"),
    ("audit_seals_lines_whole", "UPDATE audit_seals SET month = '2026-11'"),
    ("audit_seals_lines_whole", "UPDATE audit_seals SET number = 1, kind = 'lines'"),
];

/// A month of the trail has the constraints of the trail, under names of its own.
fn of_the_whole_trail(constraint: &str) -> String {
    match constraint.strip_prefix("audit_default_").or_else(|| constraint.strip_prefix("audit_2027_01_")) {
        Some(rest) => format!("audit_{rest}"),
        None => constraint.to_owned(),
    }
}

/// A database with the good rows, and the connection that made them.
fn world() -> (World, PgConnection) {
    let world = World::new();
    let mut connection = world.raw();
    connection.batch_execute(GOOD).unwrap();
    (world, connection)
}

type Refused = (DatabaseErrorKind, Box<dyn DatabaseErrorInformation + Send + Sync>);

/// How the database refuses a statement; `None` if it does not.
fn attempt(connection: &mut PgConnection, statement: &str) -> Option<Refused> {
    match diesel::sql_query(statement).execute(connection) {
        Err(Error::DatabaseError(kind, information)) => Some((kind, information)),
        Err(other) => panic!("{statement}: {other}"),
        Ok(_) => None,
    }
}

/// The same for a statement that must be refused.
fn refused(connection: &mut PgConnection, statement: &str) -> Refused {
    attempt(connection, statement).unwrap_or_else(|| panic!("nothing refused this: {statement}"))
}

#[test]
fn what_no_code_of_ours_writes_is_refused_by_the_constraint_for_it() {
    let (_world, mut connection) = world();
    let mut accepted = Vec::new();
    for (constraint, statement) in BAD {
        // Tried and undone, so that what is accepted by mistake does not change what the next case meets.
        connection.batch_execute("BEGIN").unwrap();
        match attempt(&mut connection, statement) {
            Some((_, information)) => {
                let name = information.constraint_name().map(of_the_whole_trail);
                assert_eq!(name.as_deref(), Some(*constraint), "{statement}: {}", information.message());
            }
            None => accepted.push(statement),
        }
        connection.batch_execute("ROLLBACK").unwrap();
    }
    assert!(accepted.is_empty(), "nothing refused these: {accepted:#?}");
}

#[test]
fn no_constraint_is_without_a_case() {
    let (_world, mut connection) = world();
    let every = "SELECT conname AS line FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                 WHERE c.relnamespace = 'public'::regnamespace AND k.contype IN ('c', 'u', 'p', 'x')
                   AND NOT c.relispartition
                   AND c.relname <> '__diesel_schema_migrations'
                 UNION SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 JOIN pg_class t ON t.oid = i.indrelid
                 WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace AND NOT t.relispartition
                   AND t.relname <> '__diesel_schema_migrations'";
    let every: BTreeSet<String> = lines(&mut connection, every).into_iter().collect();
    let tried: BTreeSet<String> = BAD.iter().map(|(constraint, _)| (*constraint).to_owned()).collect();
    assert_eq!(every, tried);
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    constraint_name: String,
}

#[test]
fn what_refers_to_nothing_is_refused() {
    let (_world, mut connection) = world();
    let references = "SELECT c.relname::text AS table_name, a.attname::text AS column_name,
                             k.conname::text AS constraint_name
                      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
                      WHERE k.contype = 'f'";
    let references: Vec<Column> = diesel::sql_query(references).load(&mut connection).unwrap();
    assert!(references.len() >= 8);
    for Column { table_name: table, column_name: column, constraint_name: constraint } in references {
        let nobody = if column == "pepper_id" { "32000" } else { "gen_random_uuid()" };
        let statement = format!("UPDATE {table} SET {column} = {nobody} WHERE {column} IS NOT NULL");
        let (kind, information) = refused(&mut connection, &statement);
        assert!(matches!(kind, DatabaseErrorKind::ForeignKeyViolation), "{statement}: {}", information.message());
        assert_eq!(information.constraint_name(), Some(constraint.as_str()), "{statement}");
    }
}

#[test]
fn what_must_be_there_cannot_be_left_out() {
    let (_world, mut connection) = world();
    let required = "SELECT table_name::text, column_name::text, ''::text AS constraint_name
                    FROM information_schema.columns
                    WHERE table_schema = 'public' AND is_nullable = 'NO' AND is_identity = 'NO'
                      AND table_name <> '__diesel_schema_migrations'
                      AND NOT (SELECT relispartition FROM pg_class WHERE oid = quote_ident(table_name)::regclass)";
    let required: Vec<Column> = diesel::sql_query(required).load(&mut connection).unwrap();
    assert!(required.len() >= 30);
    for Column { table_name: table, column_name: column, .. } in required {
        let statement = format!("UPDATE {table} SET {column} = NULL");
        let (kind, information) = refused(&mut connection, &statement);
        assert!(matches!(kind, DatabaseErrorKind::NotNullViolation), "{statement}: {}", information.message());
        assert_eq!(information.column_name(), Some(column.as_str()), "{statement}");
    }
}

#[test]
fn what_is_free_again_may_be_taken() {
    let (world, _connection) = world();
    // A deleted user's or workspace's name, and a revoked local login.
    world.sql(
        "UPDATE users SET deleted_at = now() WHERE name = 'ann';
         INSERT INTO users (id, name, manager, created_at) VALUES (gen_random_uuid(), 'Ann', false, now());
         UPDATE workspaces SET deleted_at = now() WHERE name = 'acme';
         UPDATE workspaces SET name = 'Acme' WHERE name = 'ann';
         UPDATE tokens SET revoked_at = now(), revoked_by = 'ann' WHERE kind = 'session';
         UPDATE tokens SET local_uid = 1000 WHERE kind = 'personal';",
    );
}
