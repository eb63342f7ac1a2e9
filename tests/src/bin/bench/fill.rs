//! Many tokens at once: what thousands of people would have made over years, inserted as copies of one that was made
//! properly.

use std::fs::{self, File};
use std::io::{BufWriter, Write};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use tok_model::kind::TokenKind;
use tok_model::secret::{Peppers, Plaintext};
use tok_tests::environment::Environment;

/// The users that tokens are spread over.
const USERS: usize = 100;

/// A personal token that a user made, with these scopes.
pub(crate) fn made(environment: &Environment, user: &str, scopes: &str) -> String {
    let call = environment.tok(&["token", "create", "a token of the bench", "--scopes", scopes, "--output", "json"]);
    call.acting_as(user).ok().json()["secret"].as_str().expect("a new token has a text").to_owned()
}

/// Makes a hundred users, writers of `acme`, in whose names [`known`] tokens are.
pub(crate) fn users(environment: &Environment) {
    environment.execute(&format!(
        "INSERT INTO users (id, name, manager, created_at)
         SELECT gen_random_uuid(), 'bench-' || n, false, now() FROM generate_series(1, {USERS}) AS n;
         INSERT INTO members (workspace_id, user_id, role, added_at)
         SELECT workspaces.id, users.id, 'writer', now() FROM users, workspaces
         WHERE users.name LIKE 'bench-%' AND workspaces.name = 'acme'"
    ));
}

/// Makes so many tokens whose texts are known, all like `model` (the text of a token), spread over the bench's users.
pub(crate) fn known(environment: &Environment, model: &str, count: usize) -> Vec<String> {
    let text = fs::read_to_string(environment.data().join("pepper")).expect("tokd has made its pepper");
    let peppers: Peppers = text.parse().expect("tokd reads it, too");
    let pepper = peppers.current();
    let path = environment.path("known.tsv");
    let mut file = BufWriter::new(File::create(&path).expect("the directory is ours"));
    let mut texts = Vec::with_capacity(count);
    for number in 0..count {
        let token = Plaintext::mint(TokenKind::Personal, &mut UnwrapErr(SysRng));
        let digest = hexadecimal(token.digest(pepper).as_bytes());
        writeln!(file, "{}\t\\\\x{digest}\t{}", number % USERS + 1, token.shown_prefix()).expect("there is room");
        texts.push(token.reveal().to_owned());
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error).expect("there is room");
    let path = path.to_str().expect("the path is text");
    environment.execute("CREATE UNLOGGED TABLE known (n int, digest bytea, shown_prefix text)");
    environment.execute(&format!("\\copy known FROM '{path}'"));
    copies(
        environment,
        model,
        "known AS source JOIN users ON users.name = 'bench-' || source.n",
        &[("digest", "source.digest"), ("shown_prefix", "source.shown_prefix"), ("user_id", "users.id")],
    );
    environment.execute("DROP TABLE known; ANALYZE");
    fs::remove_file(path).expect("it was there");
    texts
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Makes so many tokens of this user that nobody knows the texts of, all like `model`, a millisecond after one another.
pub(crate) fn unknown(environment: &Environment, model: &str, user: &str, count: usize) {
    copies(
        environment,
        model,
        &format!("generate_series(1, {count}) AS source JOIN users ON users.name = '{user}'"),
        &[
            ("digest", "sha256(('bench' || users.id || source)::bytea)"),
            ("user_id", "users.id"),
            ("created_at", "now() - source * interval '1 millisecond'"),
        ],
    );
    environment.execute("ANALYZE");
}

/// A row for each of `source`, like the one of `model` but for these columns.
fn copies(environment: &Environment, model: &str, source: &str, columns: &[(&str, &str)]) {
    let known = environment.rows(
        "SELECT column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = 'tokens' ORDER BY ordinal_position",
    );
    let own = [("id", "made.id"), ("family_id", "made.id")];
    let names: Vec<&str> = known.iter().map(|row| row["column_name"].as_str().expect("columns have names")).collect();
    let values = names.iter().map(|name| {
        let given = own.iter().chain(columns).find(|(column, _)| column == name);
        given.map_or_else(|| format!("model.{name}"), |(_, value)| (*value).to_owned())
    });
    // Earlier copies have its prefix, too, and may have ended since.
    let prefix = &model[..model.find('_').expect("texts have a prefix") + 5];
    environment.execute(&format!(
        "INSERT INTO tokens ({}) SELECT {}
         FROM (SELECT * FROM tokens WHERE shown_prefix = '{prefix}' AND parent_id IS NULL AND revoked_at IS NULL
               ORDER BY created_at DESC LIMIT 1) AS model,
              {source}, LATERAL (SELECT gen_random_uuid() AS id, source AS made_of) AS made",
        names.join(", "),
        values.collect::<Vec<_>>().join(", "),
    ));
}
