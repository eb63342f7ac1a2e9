//! `tok` as scripts meet it: what is on stdout, what on stderr, and the exit code.

use serde_json::Value;
use tok_tests::normalise::invented_token;

use crate::cli::{acme, json};

fn error(complaint: &str) -> Value {
    let all: Value = serde_json::from_str(complaint).unwrap_or_else(|why| panic!("{why}: {complaint}"));
    all["error"].clone()
}

#[test]
fn json_is_whole_and_alone() {
    let environment = acme();
    let made = environment.tok(&["token", "create", "CI", "--output", "json"]).acting_as("alice").ok();
    assert_eq!(made.complaint(), "");
    let made = made.json();
    let list = environment.tok(&["token", "list"]).variable("TOK_OUTPUT", "json").acting_as("alice").ok();
    assert_eq!(list.complaint(), "");
    assert_eq!(list.json()["tokens"][0]["id"], made["token"]["id"]);
    assert_eq!(list.json()["next_cursor"], Value::Null);
}

#[test]
fn a_list_says_how_to_go_on_and_that_goes_on() {
    let environment = acme();
    let tokens: Vec<String> = (0..3).map(|_| environment.token("alice", &[])).collect();
    let first = environment.tok(&["--as", "alice", "token", "ls", "--limit", "2", "--state", "active"]).ok();
    assert!(first.text().starts_with("Personal Access Tokens (2, more follow)\n"), "{}", first.describe());
    let complaint = first.complaint();
    let next = complaint.trim_end().strip_prefix("More: tok ").unwrap_or_else(|| panic!("{complaint}"));
    assert!(next.starts_with("--as alice token list --limit 2 --state active --cursor "), "{next}");
    let arguments: Vec<&str> = next.split(' ').collect();
    let second = environment.tok(&arguments).ok();
    assert!(second.text().contains(&tokens[0][..11]) && !second.text().contains(&tokens[1][..11]));
    assert_eq!(second.complaint(), "");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let environment = acme();
    environment.execute(
        "INSERT INTO users (id, name, manager, created_at)
         SELECT gen_random_uuid(), 'person-' || n, false, now() FROM generate_series(1, 2000) AS n",
    );
    let script = r#"set -o pipefail; { "$0" user list --limit 1000 --output json; echo "$?" >&2; } | head -n 1"#;
    let tok = environment.tok(&[]);
    let run = environment.call("bash").arguments(["-c", script]).argument(tok.program()).ok();
    assert_eq!((run.text().lines().count(), run.complaint().as_str()), (1, "0\n"), "{}", run.describe());
}

#[test]
fn a_token_that_nobody_received_is_reported_with_what_to_do() {
    let environment = acme();
    let tok = environment.tok(&[]);
    let script = r#""$0" --as alice token create CI > /dev/full"#;
    let run = environment.call("sh").arguments(["-c", script]).argument(tok.program()).fails(1);
    let made = &json(environment.tok(&["--as", "alice", "token", "list"]))["tokens"][0];
    let revoke = format!("tok --as alice token revoke --force {}", made["id"].as_str().unwrap());
    run.says(&[&revoke]);
    let arguments: Vec<&str> = revoke.split(' ').skip(1).collect();
    environment.tok(&arguments).ok();
}

#[test]
fn a_token_that_nobody_could_receive_is_not_made() {
    let environment = acme();
    let old = environment.token("alice", &[]);
    let program = environment.tok(&[]);
    let shell = |redirection: &str, words: &str| {
        let script = format!(r#""$0" --as alice {words} {redirection}"#);
        environment.call("sh").arguments(["-c", &script]).argument(program.program())
    };
    let rotate = format!("token rotate {}", &old[..11]);
    for redirection in [">&-", "1</dev/null"] {
        for words in ["token create CI", "token create CI --output json", rotate.as_str()] {
            shell(redirection, words).fails(1).says(&["stdout is closed", "nothing was made"]);
        }
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens"), 1, "nothing was made, and nothing replaced");
    // Whoever throws the text away says so.
    shell("> /dev/null", "token create thrown").ok();
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NULL"), 2);
}

#[test]
fn an_ambiguous_reference_says_how_many_it_does_not_list() {
    let environment = acme();
    for _ in 0..12 {
        environment.tok(&["token", "create", "same", "--quiet"]).acting_as("alice").ok();
    }
    let said = environment.tok(&["token", "revoke", "same", "--force"]).acting_as("alice").fails(5);
    said.says(&["error: 10 tokens match, and 2 more; nothing was changed"]);
    let said = environment.tok(&["token", "show", "same", "--output", "json"]).acting_as("alice").fails(5);
    let error = error(&said.complaint());
    assert!(error["message"].as_str().unwrap().contains("and 2 more"), "{error}");
    assert_eq!(error["matches"].as_array().unwrap().len(), 10);
}

#[test]
fn two_references_to_one_token_revoke_it_once_and_a_trial_revokes_nothing() {
    let environment = acme();
    let text = environment.token("alice", &["--scopes", "repo:read,token:write"]);
    environment
        .tok(&["token", "create", "minted by it", "--scopes", "repo:read"])
        .variable("TOK_TOKEN", text.clone())
        .ok();
    let id = json(environment.tok(&["token", "show", &text[..11]]))["id"].as_str().unwrap().to_owned();

    let trial = environment.tok(&["token", "revoke", &id, "--dry-run"]).ok();
    assert_eq!(trial.complaint(), "");
    assert!(trial.text().starts_with("Would revoke token: a test's\n"), "{}", trial.text());
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"), 0);

    let revoked =
        environment.tok(&["token", "rm", "--force", &id[..13], &text[..11], "--reason", "left on a bus"]).ok();
    let expected = format!("Revoked token: a test's\n  {}…  with 1 live token minted by it\n", &text[..11]);
    assert!(revoked.text().starts_with(&expected), "{}", revoked.text());
    assert_eq!(revoked.text().matches("Revoked token").count(), 1);
    let lines = "SELECT count(*) FROM audit WHERE action = 'token.revoke' AND outcome = 'done'";
    assert_eq!(environment.count(lines), 2, "it and the one that it minted, each once");
}

#[test]
fn an_ambiguous_reference_among_others_lists_its_matches_and_changes_nothing() {
    let environment = acme();
    let tokens = [environment.token("alice", &[]), environment.token("alice", &[])];
    let revoke = ["token", "revoke", "--force", &tokens[0][..11], "tokpat_"];
    let said = environment.tok(&revoke).fails(5);
    assert_eq!(said.text(), "");
    said.says(&["error: more than one", &tokens[0][..11], &tokens[1][..11], "\nhint: `tok token list`"]);
    let said = environment.tok(&revoke).variable("TOK_OUTPUT", "json").fails(5);
    assert_eq!(error(&said.complaint())["matches"].as_array().unwrap().len(), 2);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"), 0);
}

#[test]
fn each_failure_has_a_code_a_word_and_a_next_step_in_both_forms() {
    let environment = acme();
    let narrow = environment.token("alice", &["--scopes", "user:read"]);
    for (arguments, token, code, word) in [
        (&["token", "show", "ffff"][..], None, 5, "not_found"),
        (&["token", "list"], Some(narrow), 4, "forbidden"),
        (&["token", "list"], Some(invented_token()), 3, "unauthenticated"),
        (&["user", "create", "alice"], None, 1, "conflict"),
        (&["token", "create"], None, 2, "usage"),
        (&["token", "list", "--kind", "gold"], None, 2, "usage"),
        (&["token", "check"], None, 2, "usage"),
        (&["status", "--socket", "/nowhere/tokd.sock"], None, 6, "unavailable"),
    ] {
        let call = |more: &[&str]| {
            let call = environment.tok(arguments).arguments(more.iter().copied());
            token.iter().fold(call, |call, text| call.variable("TOK_TOKEN", text.clone())).fails(code)
        };
        let said = call(&["--output", "json"]);
        let error = error(&said.complaint());
        assert_eq!((said.text(), error["code"].as_str()), ("", Some(word)), "{arguments:?}: {error}");
        assert!(error["message"].is_string() && error["hint"].is_string(), "{arguments:?}: {error}");
        let said = call(&[]).complaint();
        assert!(said.starts_with("error: ") && said.contains("\nhint: "), "{arguments:?}: {said}");
    }
}

#[test]
fn check_reads_stdin_and_answers_with_its_exit_code() {
    let environment = acme();
    let [works, expired] = [environment.token("alice", &[]), environment.token("alice", &[])];
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day'
         WHERE shown_prefix = '{}'",
        &expired[..11]
    ));
    for (text, code, verdict) in [(&works, 0, "the token works"), (&expired, 1, "the token expired at ")] {
        let check = environment.tok(&["token", "check"]).input(format!("{text}\n")).run().expect_code(code);
        assert!(check.text().starts_with(&format!("Verdict:   {verdict}")), "{}", check.describe());
        assert!(!check.text().contains(text.as_str()));
    }
    for arguments in [&["token", "check"][..], &["token", "revoke", "--stdin", "--force"]] {
        let unknown = environment.tok(arguments).input(invented_token()).fails(5);
        unknown.says(&["error: ", "\nhint: compare it with where it was copied from"]);
        // A name with its secret, another system's secret, or whatever else: nobody's here.
        for text in ["deploy:a-secret-of-nobodys", "wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0", "whatever"] {
            let nobodys = environment.tok(arguments).input(text).fails(5);
            nobodys.says(&["nothing here goes by this text", "\nhint: tok's own begin with tokpat_"]);
            assert!(!nobodys.complaint().contains(text), "{}", nobodys.describe());
        }
        environment.tok(arguments).input(&works[..20]).fails(2).says(&["copy it again"]);
    }
}

#[test]
fn git_is_set_up_for_the_socket_in_use_and_unset_again() {
    let environment = acme();
    let file = environment.home().join(".gitconfig");
    let before = std::fs::read_to_string(&file).unwrap();
    let url = environment.url();
    environment.tok(&["git", "unset", &url]).ok();
    let own = std::fs::read_to_string(&file).unwrap();
    assert!(before.starts_with(&own) && before.len() > own.len(), "{before}\n---\n{own}");

    let trial = environment.tok(&["git", "setup", &url, "--dry-run"]).ok();
    assert!(trial.text().contains("this would be run"), "{}", trial.describe());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), own);

    environment.tok(&["git", "setup", &url]).ok();
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written, before);
    let helpers: Vec<&str> = written.lines().filter(|line| line.trim_start().starts_with("helper =")).collect();
    let [nobody_before_us, ours] = helpers[..] else { panic!("{written}") };
    assert_eq!(nobody_before_us.trim(), "helper =");
    assert!(ours.ends_with(&format!("tok --socket {}", environment.socket().display())), "{ours}");
    assert!(written.contains("useHttpPath = true"), "{written}");

    let again = json(environment.tok(&["git", "setup", &url]));
    // However many servers there are, the shape is one.
    let again = &again["servers"][0];
    assert_eq!((&again["changed"], again["url"].as_str()), (&Value::Bool(false), Some(url.as_str())));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}
