//! The database's floor: `pgbench`, which comes with PostgreSQL, on the cluster that tokd has, in a database of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tok_tests::environment::Environment;
use tok_tests::postgres;

/// Rows in pgbench's table of accounts, in hundred thousands.
const SCALE: &str = "10";
/// Client counts to choose the best of.
const CLIENTS: [u32; 6] = [2, 4, 8, 16, 32, 64];

/// Tokens in a database with tok's schema, of which some are looked up.
const TOKENS: u32 = 200_000;
/// What one statement carries: as many as wait in tokd when 64 clients ask.
const TOGETHER: u32 = 64;
/// Clients that work with tok's schema: one for each processor is as fast as more.
const TOGETHER_CLIENTS: u32 = 2;

/// pgbench's own tables, ready to be measured on, and tok's.
pub(crate) struct Floor {
    url: String,
    insert: PathBuf,
    tok: String,
    mint: PathBuf,
    verify: PathBuf,
}

/// One user, and their tokens, whose digests can be made up again from their numbers.
const FILL: &str = "
    INSERT INTO users (id, name, manager, created_at) VALUES (gen_random_uuid(), 'ann', false, now());
    INSERT INTO tokens (id, digest, pepper_id, kind, name, description, shown_prefix, user_id, scopes, family_id, allow_from,
                        created_at, created_by_name, created_from, expires_at)
    SELECT made.id, sha256(number::text::bytea), 1, 'personal', 'bench', '', 'tokpat_' || left(made.id::text, 4), users.id,
           '{all}', made.id, '{}', clock_timestamp(), 'ann', '127.0.0.1', now() + interval '30 days'
    FROM users, (SELECT gen_random_uuid() AS id, number FROM generate_series(1, TOKENS) AS number) AS made";

/// As many tokens as one statement of tokd's makes (without colons in texts: to pgbench they begin a variable), each with its line of the trail.
const MINT: &str = "
    WITH new AS (
        INSERT INTO tokens (id, digest, pepper_id, kind, name, description, shown_prefix, user_id, scopes, family_id,
                            allow_from, created_at, created_by_name, created_from, expires_at)
        SELECT made.id, sha256(made.id::text::bytea), 1, 'personal', 'bench', '', 'tokpat_' || left(made.id::text, 4),
               users.id, '{all}', made.id, '{}', clock_timestamp(), 'ann', '127.0.0.1', now() + interval '30 days'
        FROM users, (SELECT gen_random_uuid() AS id FROM generate_series(1, TOGETHER)) AS made
        RETURNING id, user_id, shown_prefix)
    INSERT INTO audit (at, action, outcome, actor_user_id, actor_name, address, token_id, token_prefix, detail, times,
                       chain, number)
    SELECT clock_timestamp(), 'token.create', 'done', user_id, 'ann', '127.0.0.1', id, shown_prefix, '', 1,
           '00000000-0000-0000-0000-000000000000', 0
    FROM new;
";

/// As many tokens looked up as by one statement of tokd's, and their use written down.
const VERIFY: &str = "
    \\set from random(1, TOKENS - TOGETHER)
    SELECT tokens.*, users.name FROM tokens JOIN users ON users.id = tokens.user_id
    WHERE digest = ANY (ARRAY(SELECT sha256(number::text::bytea) FROM generate_series(:from::int, :from::int + TOGETHER - 1) AS number));
    WITH used AS (
        SELECT id, user_id, shown_prefix FROM tokens
        WHERE digest = ANY (ARRAY(SELECT sha256(number::text::bytea)
                                  FROM generate_series(:from::int, :from::int + TOGETHER - 1) AS number))),
    last AS (
        INSERT INTO last_uses AS last (token_id, at, address, repo)
        SELECT id, clock_timestamp(), '127.0.0.1', 'acme/app' FROM used
        ON CONFLICT (token_id) DO UPDATE SET at = excluded.at WHERE last.at < excluded.at - interval '60 seconds')
    INSERT INTO audit (at, action, outcome, actor_user_id, actor_name, actor_token_id, address, token_id, token_prefix,
                       repo, command, detail, times, chain, number)
    SELECT clock_timestamp(), 'token.use', 'done', user_id, 'ann', id, '127.0.0.1', id, shown_prefix, 'acme/app',
           'upload-pack', '', 1, '00000000-0000-0000-0000-000000000000', 0
    FROM used;
";

impl Floor {
    /// Makes the database.
    pub(crate) fn new(environment: &Environment) -> Self {
        let own = postgres::embedded_url(environment.data());
        let url = own.replacen("@/tok?", "@/floor?", 1);
        assert_ne!(url, own, "the floor has a database of its own");
        postgres::psql(&own, "CREATE DATABASE floor");
        let insert = environment.path("insert.sql");
        let statement = "\\set delta random(-5000, 5000)\nINSERT INTO pgbench_history (tid, bid, aid, delta, mtime) \
                         VALUES (1, 1, 1, :delta, CURRENT_TIMESTAMP);\n";
        fs::write(&insert, statement).expect("the directory is ours");
        postgres::psql(&own, "CREATE DATABASE floor_of_tok");
        let tok = own.replacen("@/tok?", "@/floor_of_tok?", 1);
        tok_store::migrate(&tok).expect("an empty database takes tok's schema");
        postgres::psql(&tok, &numbered(FILL));
        postgres::psql(&tok, "VACUUM ANALYZE");
        let (mint, verify) = (environment.path("mint.sql"), environment.path("verify.sql"));
        for (path, script) in [(&mint, MINT), (&verify, VERIFY)] {
            // A command of pgbench's ends with its line, a statement with its semicolon.
            fs::write(path, numbered(script)).expect("the directory is ours");
        }
        let floor = Self { url, insert, tok, mint, verify };
        Self::pgbench(&floor.url, &["-i", "-q", "-s", SCALE]);
        floor
    }

    /// One-row selects in a second, prepared, by so many clients.
    pub(crate) fn selects(&self, clients: u32) -> f64 {
        self.measure(clients, &["-S"])
    }

    /// The client count at which there are the most selects.
    pub(crate) fn best_client_count(&self) -> u32 {
        let measured = CLIENTS.map(|clients| (clients, self.selects(clients)));
        let best = measured.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(CLIENTS[0], |(clients, _)| clients)
    }

    /// One-row inserts in a second, prepared and each committed, by so many clients.
    pub(crate) fn inserts(&self, clients: u32) -> f64 {
        self.measure(clients, &["-f", text(&self.insert)])
    }

    /// What tokd has PostgreSQL do for one mint, and nothing else, in a second: a token and its line, with all indexes and
    /// checks of both tables, many in a statement.
    pub(crate) fn mints(&self) -> f64 {
        f64::from(TOGETHER) * Self::measure_at(&self.tok, TOGETHER_CLIENTS, &["-f", text(&self.mint)])
    }

    /// The same of one verification: the look-up, the line of its use, the last use; many in a statement.
    pub(crate) fn verifications(&self) -> f64 {
        f64::from(TOGETHER) * Self::measure_at(&self.tok, TOGETHER_CLIENTS, &["-f", text(&self.verify)])
    }

    fn measure(&self, clients: u32, what: &[&str]) -> f64 {
        Self::measure_at(&self.url, clients, what)
    }

    fn measure_at(url: &str, clients: u32, what: &[&str]) -> f64 {
        let clients = clients.to_string();
        let common = ["-n", "-M", "prepared", "-T", "1", "-j", "2", "-c", &clients];
        let said = Self::pgbench(url, &[&common, what].concat());
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench said no rate: {said}"))
    }

    fn pgbench(url: &str, arguments: &[&str]) -> String {
        let output = Command::new(postgres::program("pgbench"))
            .args(arguments)
            .arg(url)
            .output()
            .expect("pgbench can be started: it is among PostgreSQL's programs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench {arguments:?}: {complaint}");
        String::from_utf8(output.stdout).expect("pgbench prints text")
    }
}

fn numbered(script: &str) -> String {
    script.replace("TOKENS", &TOKENS.to_string()).replace("TOGETHER", &TOGETHER.to_string())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}
