//! Bad input: each error has its code and its exit code, names the field, and says what to do next. And odd input: names
//! that would break a lesser table, stored and shown intact.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use tok_tests::environment::Environment;
use tok_tests::http::exchange;
use tok_tests::normalise::without_tokens;

use crate::cli::{acme, json};

/// Arguments, what stdin says, exit code, code, field, and a word of the message or the hint.
type Case = (&'static [&'static str], &'static str, i32, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    // What the command line itself refuses.
    (&["token"], "", 2, "usage", "", "rotate"),
    (&["token", "crate", "CI"], "", 2, "usage", "", "create"),
    (&["token", "create"], "", 2, "usage", "name", "tok token create --help"),
    (&["token", "create", "CI", "extra"], "", 2, "usage", "extra", "extra"),
    (&["token", "create", "CI", "--expire", "30"], "", 2, "usage", "expire", "--expires"),
    (&["token", "create", "CI", "--kind", "gold"], "", 2, "usage", "kind", "gold"),
    (&["token", "create", "CI", "--permission", "admin"], "", 2, "usage", "permission", "admin"),
    (&["token", "create", "CI", "--max-uses", "many"], "", 2, "usage", "max_uses", "many"),
    (&["token", "create", "CI", "--max-uses", "-1"], "", 2, "usage", "", "-1"),
    (&["token", "create", "CI", "--secret", "x"], "", 2, "usage", "secret", "--secret-stdin"),
    (
        &["token", "create", "CI", "--secret-stdin", "--secret-file", "x"],
        "",
        2,
        "usage",
        "secret_stdin",
        "cannot be used",
    ),
    (&["token", "create", "CI", "--secret-file", "/nonexistent"], "", 2, "usage", "", "/nonexistent"),
    (&["token", "create", "CI", "--secret-stdin"], "", 2, "usage", "", "stdin is empty"),
    (&["token", "list", "--limit", "0"], "", 2, "usage", "limit", "1.."),
    (&["token", "list", "--limit", "x"], "", 2, "usage", "limit", "x"),
    (&["token", "list", "--state", "dead"], "", 2, "usage", "state", "active"),
    (&["token", "list", "--expiring", "soon"], "", 2, "usage", "expiring", "14d"),
    (&["token", "list", "--user", "../x"], "", 2, "usage", "user", "../x"),
    (&["token", "list", "--user", "alice", "--all-users"], "", 2, "usage", "user", "--all-users"),
    (&["token", "list", "--label", "a b"], "", 2, "usage", "label", "a b"),
    (&["token", "revoke"], "", 2, "usage", "token", "tok token revoke --help"),
    (&["token", "revoke", "--minted-before", "soon"], "", 2, "usage", "minted_before", "2h"),
    (&["token", "revoke", "--kind", "gold"], "", 2, "usage", "kind", "gold"),
    (&["token", "revoke", "--parent", "!"], "", 5, "not_found", "", "tok token list"),
    (&["token", "revoke", "--user", "alice", "--workspace", "acme"], "", 2, "usage", "user", "--workspace"),
    (&["token", "revoke", "--stdin", "--force"], "", 2, "usage", "", "stdin is empty"),
    (&["token", "modify", "1b4e28ba"], "", 2, "usage", "", "--name"),
    (&["token", "modify", "1b4e28ba", "--if-version", "0", "--name", "x"], "", 2, "usage", "if_version", "1.."),
    (&["token", "rename", "1b4e28ba"], "", 2, "usage", "new_name", "tok token rename --help"),
    (&["token", "explain", "--push"], "", 2, "usage", "repo", "--repo"),
    (&["token", "explain", "--repo", "app"], "", 2, "usage", "repo", "app"),
    (&["token", "explain", "--repo", "acme/app", "--push", "--admin"], "", 2, "usage", "push", "--admin"),
    (&["token", "explain", "--repo", "acme/app", "--from", "here"], "", 2, "usage", "from", "here"),
    (&["token", "explain", "--repo", "acme/app", "--at", "soon"], "", 2, "usage", "at", "2h"),
    (&["token", "import", "--format", "gitea"], "", 2, "usage", "format", "reposilite"),
    (&["token", "import"], "", 2, "usage", "format", "tok token import --help"),
    (&["token", "import", "--format", "wit", "--file", "/nonexistent"], "", 2, "usage", "file", "/nonexistent"),
    (&["token", "check"], "", 2, "usage", "", "tok token check < file"),
    (&["user", "create", ".."], "", 2, "usage", "name", "starts with"),
    (&["user", "create", "n", "--password", "x"], "", 2, "usage", "password", "--password"),
    (&["user", "passwd", "alice", "--force"], "", 2, "usage", "remove", "--remove"),
    (&["user", "passwd", "alice"], "a\nb\nc\n", 2, "usage", "password", "more than two lines"),
    (&["workspace", "member", "add", "acme", "bob", "--role", "boss"], "", 2, "usage", "role", "boss"),
    (&["git", "setup", "ftp://example.com"], "", 2, "usage", "", "https"),
    (&["completions", "tcsh"], "", 2, "usage", "shell", "tcsh"),
    (&["--as", "../x", "whoami"], "", 2, "usage", "", "--as"),
    (&["--output", "xml", "whoami"], "", 2, "usage", "output", "xml"),
    (&["audit", "--since", "soon"], "", 2, "usage", "since", "2h"),
    // An option that is given and empty was nearly always a variable that was not set.
    (&["--as", "", "whoami"], "", 2, "usage", "as", "not set"),
    (&["whoami", "--server", ""], "", 2, "usage", "server", "not set"),
    (&["whoami", "--profile="], "", 2, "usage", "profile", "not set"),
    (&["audit", "--token", ""], "", 2, "usage", "token", "not set"),
    (&["token", "create", "CI", "--allow-cidr", ""], "", 2, "usage", "allow_cidr", "not set"),
    (&["token", "create", "CI", "--route", ""], "", 2, "usage", "route", "not set"),
    (&["audit", "--since", "1h", "--until", "2h"], "", 2, "invalid_argument", "until", "`since`"),
    (&["audit", "--since", "2026-11-01", "--until", "2026-11-01"], "", 2, "invalid_argument", "until", "`since`"),
    // What the daemon refuses.
    (&["token", "create", "a\u{7}b"], "", 2, "invalid_argument", "name", "printable"),
    (&["token", "create", " "], "", 2, "invalid_argument", "name", "name"),
    (&["token", "create", "CI", "--expires", "soon"], "", 2, "invalid_argument", "expires", "never"),
    (&["token", "create", "CI", "--expires", "2020-01-01"], "", 2, "invalid_argument", "expires", "passed"),
    (&["token", "create", "CI", "--scopes", "repo:wrote"], "", 2, "invalid_argument", "scopes", "tok token scopes"),
    (&["token", "create", "CI", "--route", "acme"], "", 2, "invalid_argument", "routes", "acme/*:r"),
    (
        &["token", "create", "CI", "--allow-cidr", "10.0.0.1/8"],
        "",
        2,
        "invalid_argument",
        "allow_cidrs",
        "192.0.2.0/24",
    ),
    (&["token", "create", "CI", "--label", "a b"], "", 2, "invalid_argument", "labels", "label"),
    (&["token", "create", "CI", "--repo", "acme/app"], "", 2, "invalid_argument", "repos", "--kind"),
    (&["token", "create", "CI", "--kind", "repo"], "", 2, "invalid_argument", "repos", "--repo acme/app"),
    (&["token", "create", "CI", "--kind", "workspace"], "", 2, "invalid_argument", "workspace", "workspace"),
    (&["token", "create", "CI", "--kind", "git"], "", 2, "invalid_argument", "kind", "personal"),
    (&["token", "create", "CI", "--idempotency-key", "a b"], "", 2, "invalid_argument", "idempotency_key", "UUID"),
    (&["token", "create", "CI", "--scopes", "manager"], "", 4, "forbidden", "", "manager"),
    (&["token", "list", "--cursor", "nonsense"], "", 2, "invalid_argument", "cursor", "cursor"),
    (&["token", "list", "--all-users"], "", 4, "forbidden", "", "ask a manager"),
    (&["token", "show", "!"], "", 5, "not_found", "", "tok token list"),
    (&["token", "show", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"], "", 5, "not_found", "", "tok token list"),
    (&["token", "revoke", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"], "", 5, "not_found", "", "tok token list"),
    (&["token", "rotate", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"], "", 5, "not_found", "", "tok token list"),
    (&["token", "rename", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427", "x"], "", 5, "not_found", "", "tok token list"),
    (&["token", "restore", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"], "", 5, "not_found", "", "tok token list"),
    (&["token", "explain", "1b4e28ba-2fa1-4d2e-883f-0016d3cca427"], "", 5, "not_found", "", "tok token list"),
    (&["token", "check"], "tokpat_nonsense", 2, "invalid_argument", "secret", "copy it again"),
    (&["token", "check"], "deploy:nobodys-secret-97", 5, "not_found", "secret", "name:secret"),
    (&["token", "check"], "wit_0123456789abcdef0123", 5, "not_found", "secret", "tokpat_"),
    (&["token", "revoke", "--stdin", "--force"], "deploy:nobodys-secret-97", 5, "not_found", "secret", "name:secret"),
    (&["token", "list", "--workspace", "nows"], "", 5, "not_found", "workspace", "tok workspace list"),
    (&["repo", "list", "--workspace", "nows"], "", 5, "not_found", "workspace", "tok workspace list"),
    (
        &["token", "create", "z", "--kind", "workspace", "--workspace", "nows"],
        "",
        5,
        "not_found",
        "workspace",
        "tok workspace list",
    ),
    (
        &["token", "create", "z", "--kind", "repo", "--repo", "nows/x"],
        "",
        5,
        "not_found",
        "repos",
        "tok workspace list",
    ),
    (&["token", "create", "--description", "a\u{7}b"], "", 2, "invalid_argument", "description", "is the name, too"),
    (&["user", "create", "eve"], "", 4, "forbidden", "", "ask a manager"),
    (&["--socket", "/nonexistent/tokd.sock", "whoami"], "", 6, "unavailable", "", "tokd dev"),
];

#[test]
fn every_error_has_its_code_its_field_and_the_next_step() {
    let environment = acme();
    let mut wrong = String::new();
    for (arguments, input, exit, code, field, word) in CASES {
        let run = environment.tok(arguments).acting_as("alice").input(*input).variable("TOK_OUTPUT", "json").run();
        let said: Value = serde_json::from_slice(&run.stderr).unwrap_or_else(|_| json!({}));
        let error = &said["error"];
        let text = format!("{} {}", error["message"].as_str().unwrap_or(""), error["hint"].as_str().unwrap_or(""));
        let right = run.code == Some(*exit)
            && error["code"] == *code
            && error["field"].as_str().unwrap_or("") == *field
            && text.contains(word)
            && error["hint"].as_str().is_some_and(|hint| !hint.is_empty())
            && run.stdout.is_empty();
        if !right {
            let _ = writeln!(wrong, "{arguments:?}: wanted {exit} {code} {field:?} {word:?}\n  {}", run.describe());
        }
        // The same for people: what, and what next.
        let run = environment.tok(arguments).acting_as("alice").input(*input).run();
        let complaint = run.complaint();
        if run.code != Some(*exit) || !complaint.starts_with("error: ") || !complaint.contains("\nhint: ") {
            let _ = writeln!(wrong, "{arguments:?} for people\n  {}", run.describe());
        }
    }
    assert!(CASES.len() >= 60);
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(environment.count("SELECT count(*) AS count FROM tokens"), 0, "nothing was made on the way");
}

#[test]
fn the_configuration_file_stands_below_flags_and_variables() {
    let environment = acme();
    let file = environment.path("home/.config/tok/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "output = \"json\"\n[token.create]\nexpires = 7\nscopes = [\"repo:read\"]\n").unwrap();
    let create = |arguments: &[&str]| {
        environment.tok(&["token", "create", "CI"]).arguments(arguments.iter().copied()).acting_as("alice")
    };
    let made = create(&[]).ok().json();
    assert_eq!(made["token"]["scopes"], json!(["repo:read"]));
    assert_eq!(
        environment
            .count("SELECT round(extract(epoch FROM expires_at - created_at) / 86400)::bigint AS count FROM tokens"),
        7
    );
    let variable = create(&[]).variable("TOK_SCOPES", "user:read").ok().json();
    assert_eq!(variable["token"]["scopes"], json!(["user:read"]));
    let flag = create(&["--scopes", "all"]).variable("TOK_SCOPES", "user:read").ok().json();
    assert_eq!(flag["token"]["scopes"], json!(["all"]));
    assert!(create(&["--output", "table"]).ok().line().starts_with("tokpat_"));
    // An empty variable is none.
    assert_eq!(create(&[]).variable("TOK_SCOPES", "").ok().json()["token"]["scopes"], json!(["repo:read"]));

    fs::write(&file, "[token.create]\nexpire = 7\n").unwrap();
    environment.tok(&["whoami"]).fails(2).says(&["config.toml", "token.create.expire", "expires", "man tok-config"]);
    environment.tok(&["--help"]).ok();
    fs::write(&file, "output = \"xml\"\n").unwrap();
    environment.tok(&["whoami"]).fails(2).says(&["config.toml", "output", "xml"]);
    fs::write(&file, "output = \n").unwrap();
    environment.tok(&["whoami"]).fails(2).says(&["config.toml", "line 1"]);
    // Another file, which has to be there.
    let other = environment.path("other.toml");
    let call = environment.tok(&["whoami"]).variable("TOK_CONFIG", other.clone());
    call.clone().fails(2).says(&["other.toml"]);
    fs::write(&other, format!("as = \"bob\"\noutput = \"json\"\nsocket = \"{}\"\n", environment.socket().display()))
        .unwrap();
    assert_eq!(call.clone().without("TOK_SOCKET").ok().json()["user"], "bob");
    assert_eq!(call.acting_as("alice").ok().json()["user"], "alice");
}

#[test]
fn a_variable_never_stands_against_a_flag() {
    let environment = acme();
    environment.token("alice", &[]);
    let list = |arguments: &[&str]| {
        environment.tok(&["token", "list"]).arguments(arguments.iter().copied()).variable("TOK_WORKSPACE", "acme")
    };
    assert_eq!(json(list(&[]))["tokens"], json!([]));
    assert_eq!(json(list(&["--user", "alice"]))["tokens"].as_array().unwrap().len(), 1);
    assert_eq!(json(list(&["--all-users"]))["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn what_a_manager_names_wrongly_says_where_to_look() {
    let environment = acme();
    for (arguments, code, word, field) in [
        (&["token", "list", "--user", "nobody"][..], 5, "tok user list", ""),
        (&["token", "list", "--workspace", "nows"], 5, "tok workspace list", ""),
        (&["repo", "list", "--workspace", "nows"], 5, "tok workspace list", ""),
        (&["user", "passwd", "nobody", "--remove", "--force"], 5, "tok user list", ""),
        (&["user", "show", "nobody"], 5, "tok user list", ""),
        (&["user", "disable", "nobody"], 5, "tok user list", ""),
        (&["user", "delete", "nobody", "--force"], 5, "tok user list", ""),
        (&["workspace", "delete", "nows", "--force"], 5, "tok workspace list", ""),
        (&["workspace", "member", "list", "nows"], 5, "tok workspace list", ""),
        (&["workspace", "member", "add", "nows", "alice"], 5, "tok workspace list", ""),
        (&["workspace", "member", "add", "acme", "nobody"], 5, "tok user list", ""),
        (&["workspace", "member", "remove", "acme", "nobody"], 5, "tok user list", ""),
        (&["trust", "show", "none"], 5, "tok trust list", ""),
        (&["user", "create", "alice"], 1, "exists", "name"),
        (&["workspace", "create", "acme"], 1, "exists", "name"),
    ] {
        let run = environment.tok(arguments).variable("TOK_OUTPUT", "json").fails(code);
        let said: Value = serde_json::from_slice(&run.stderr).unwrap();
        let error = &said["error"];
        assert!(format!("{} {}", error["message"], error["hint"]).contains(word), "{arguments:?}: {error}");
        assert!(field.is_empty() || error["field"] == field, "{arguments:?}: {error}");
    }
}

#[test]
fn a_variable_that_is_at_fault_is_named() {
    let environment = acme();
    let list = || environment.tok(&["token", "list"]);
    for variable in ["TOK_ALL_USERS", "TOK_NEVER_USED", "TOK_ALL", "TOK_QUIET", "TOK_NO_INPUT"] {
        list().variable(variable, "banana").fails(2).says(&["banana", "true or false", variable]);
        list().variable(variable, "off").ok();
    }
    list().variable("TOK_KIND", "gold").fails(2).says(&["gold", "TOK_KIND"]);
    let create = || environment.tok(&["token", "create", "CI"]).acting_as("alice");
    create().variable("TOK_WORKSPACE", "acme").fails(2).says(&["takes no workspace", "TOK_WORKSPACE says it"]);
    create().variable("TOK_REPO", "acme/app").fails(2).says(&["takes no repos", "TOK_REPO says it"]);
    let flag = create().arguments(["--workspace", "acme"]).variable("TOK_WORKSPACE", "acme").fails(2);
    assert!(!flag.complaint().contains("TOK_WORKSPACE"), "{}", flag.describe());
    assert_eq!(environment.count("SELECT count(*) AS count FROM tokens"), 0);
    // An empty one is not set.
    create().variable("TOK_WORKSPACE", "").variable("TOK_PROFILE", "").variable("TOK_SERVER", "").ok();
}

#[test]
fn each_option_of_create_and_list_has_its_variable() {
    let environment = acme();
    let secret = "violet-tractor-97-moon";
    environment.canaries().register("a chosen secret", secret);
    let create = environment.tok(&["token", "create", "deploy", "--output", "json"]).acting_as("alice");
    let made = create.variable("TOK_SECRET_STDIN", "1").input(format!("{secret}\n")).ok().json();
    assert_eq!(made["token"]["secret_form"], "chosen");
    environment.token("alice", &[]);
    let list = || environment.tok(&["token", "list", "--limit", "1"]).acting_as("alice");
    assert_eq!(json(list())["tokens"].as_array().unwrap().len(), 1);
    assert_eq!(json(list().variable("TOK_ALL", "true"))["tokens"].as_array().unwrap().len(), 2);
}

/// Makes tokens of these names, one request behind the other on one connection.
fn create_by_http(environment: &Environment, token: &str, names: &[String]) {
    let mut bytes = String::new();
    for (number, name) in names.iter().enumerate() {
        let body = json!({ "name": name, "description": name, "scopes": [] }).to_string();
        let close = if number + 1 == names.len() { "Connection: close\r\n" } else { "" };
        let _ = write!(
            bytes,
            "POST /v1/tokens HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{close}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            environment.address(),
            body.len()
        );
    }
    let answer = String::from_utf8_lossy(&exchange(environment.address(), bytes.as_bytes())).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 201").count(), names.len(), "{}", without_tokens(&answer));
}

/// How many names are stored and listed: some thousands, or as many as `TOK_TEST_NAMES` says.
fn how_many() -> usize {
    let said = std::env::var("TOK_TEST_NAMES").ok();
    said.map_or(3_000, |count| count.parse().expect("TOK_TEST_NAMES is a number"))
}

/// Names by the thousand, from a seed: pieces that break lesser programs, put together.
fn odd_names(count: usize) -> Vec<String> {
    const PIECES: &[&str] = &[
        "CI",
        "'",
        "\"",
        "\\",
        "`id`",
        "$(id)",
        "${HOME}",
        "%s%n",
        "%00",
        "&amp;",
        "<script>alert(1)</script>",
        "<b>",
        "-->",
        "'; DROP TABLE tokens; --",
        "\" OR 1=1",
        "../../etc/passwd",
        "null",
        "NaN",
        "true",
        "-1",
        "1e999",
        "0x10",
        "🚀",
        "👩‍👩‍👧",
        "é",
        "e\u{301}",
        "ñ",
        "ß",
        "İ",
        "ǅ",
        "漢字",
        "हिन्दी",
        "العربية",
        "שלום",
        "\u{a0}",
        "  ",
        "…",
        "•",
        "|",
        "—",
        "{}",
        "[]",
        "{{7*7}}",
        "#",
        "--force",
        "=",
        ";",
        "\u{fdfd}",
        "ﬃ",
        "Z͑ͫ̓",
        "\u{10ffff}",
        "\u{fffd}",
        ",",
        ":",
        "@",
        "a b",
        "tokpat_a1b2",
        "1b4e28ba",
        "C:\\",
        "\u{e000}",
        "𝕿",
        "½",
        "٣",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut names = Vec::with_capacity(count);
    while names.len() < count {
        let pieces = 1 + next(7);
        let mut name: String = (0..pieces).map(|_| PIECES[next(PIECES.len())]).collect();
        if next(50) == 0 {
            name = name.repeat(200).chars().take(200).collect();
            // Not in the middle of a family.
            while name.ends_with('\u{200d}') {
                name.pop();
            }
        }
        if !name.trim().is_empty() && name.chars().count() <= 200 {
            names.push(name);
        }
    }
    names
}

#[test]
fn odd_names_are_stored_and_shown_intact_and_harmless() {
    let environment = acme();
    let names = odd_names(how_many());
    // Some through the program itself: arguments, the wire, the store and back.
    let (by_program, by_http) = names.split_at(60);
    for name in by_program {
        let call = environment.tok(&["token", "create", &format!("--description={name}"), "--", name]);
        let made = call.acting_as("alice").variable("TOK_OUTPUT", "json").ok().json();
        assert_eq!(made["token"]["name"], *name);
        assert_eq!(made["token"]["description"], *name);
    }
    // The others through the other door: a process for each would take minutes.
    let token = environment.token("alice", &["--scopes", "all"]);
    std::thread::scope(|scope| {
        for share in by_http.chunks(by_http.len().div_ceil(4)) {
            let (environment, token) = (&environment, &token);
            scope.spawn(move || share.chunks(30).for_each(|some| create_by_http(environment, token, some)));
        }
    });
    let all =
        json(environment.tok(&["token", "list", "--state", "active", "--all", "--limit", "1000"]).acting_as("alice"));
    let mut listed: Vec<&str> =
        all["tokens"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = names.iter().map(String::as_str).chain(["a test's"]).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    let unlike = listed.iter().zip(&expected).find(|(listed, expected)| listed != expected);
    assert_eq!((listed.len(), unlike), (expected.len(), None), "what was stored is what comes back");
    let table =
        environment.tok(&["token", "list", "--state", "active", "--all", "--limit", "1000"]).acting_as("alice").ok();
    let raw: Vec<char> = table.text().chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert_eq!(raw, []);
    assert_eq!(
        table.text().lines().filter(|line| line.starts_with("tokpat_")).count(),
        names.len() + 1,
        "a name is on one line"
    );
}
