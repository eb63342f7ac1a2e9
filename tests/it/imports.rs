//! Secrets of other systems: brought in by value or by hash, they go on working as they are.

use serde_json::Value;
use tok_tests::call::Finished;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::{READ, WRITE, acme};

const WIT: &str = "wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0";
const GITHOSTED: &str = "gr_0a1b2c3d4e5f6a7b8c9d";
const WICK: &str = "wick_pat_00112233445566778899aabbccddeeff";
/// printf %s of [`WICK`] | sha256sum
const WICK_SHA256: &str = "5f761daec23358439902e58aa25c5179c6f988b93f482fe3637653c7500726a5";
/// "hunter2-hunter2" as `htpasswd -nbB` writes it.
const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfOJMx7nQ9xDmrKxUumJvgQj/gsyjft4OO";

fn import(environment: &Environment, format: &str, content: &str, more: &[&str]) -> Finished {
    environment
        .tok(&["token", "import", "--format", format, "--output", "json"])
        .arguments(more.iter().copied())
        .input(content.to_owned())
        .run()
}

fn counts(report: &Value) -> (u64, u64, u64) {
    let count = |name: &str| report[name].as_u64().unwrap();
    (count("imported"), count("skipped"), count("refused"))
}

fn verdict(environment: &Environment, request: &Request) -> u16 {
    environment.send(request).status
}

#[test]
fn random_secrets_work_as_they_did_by_value_and_by_hash() {
    let environment = acme();
    for secret in [WIT, GITHOSTED, WICK] {
        environment.canaries().register("a foreign secret", secret);
    }
    let refs = |service: &str| Request::refs("acme/app", service);
    // Nothing foreign is here yet, so nothing is asked about it.
    assert_eq!(verdict(&environment, &refs(READ).bearer(WIT)), 401);
    let wit = format!(r#"[{{"name":"CI","token":"{WIT}","scopes":["repo:read"],"expires":"2099-04-15"}}]"#);
    let dry = import(&environment, "wit", &wit, &["--user", "will", "--dry-run"]).expect_code(0).json();
    assert_eq!(counts(&dry), (1, 0, 0));
    assert!(dry["lines"][0]["token_id"].is_null(), "{dry}");
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE imported_from IS NOT NULL"), 0);
    let wet = import(&environment, "wit", &wit, &["--user", "will", "--label", "from=wit"]).expect_code(0).json();
    assert_eq!(counts(&wet), (1, 0, 0));
    assert_eq!(dry["lines"][0]["detail"], wet["lines"][0]["detail"]);
    for how in [
        refs(READ).bearer(WIT),
        refs(READ).basic("anybody", WIT),
        refs(READ).basic(WIT, ""),
        refs(READ).basic(WIT, "x-oauth-basic"),
    ] {
        assert_eq!(verdict(&environment, &how), 200);
    }
    assert_eq!(verdict(&environment, &refs(WRITE).bearer(WIT)), 403);
    assert_eq!(verdict(&environment, &refs(READ).bearer(&WIT.replace('a', "b"))), 401);
    let again = import(&environment, "wit", &wit, &["--user", "will"]).expect_code(0).json();
    assert_eq!(counts(&again), (0, 1, 0));
    assert_eq!(again["lines"][0]["token_id"], wet["lines"][0]["token_id"]);

    let githosted = format!(
        r#"[{{"name":"ci-deploy","kind":"repo","permission":"read","repoAllowlist":["app"],"token":"{GITHOSTED}"}}]"#
    );
    let homeless = import(&environment, "githosted", &githosted, &[]).expect_code(1).json();
    assert!(homeless["lines"][0]["detail"].as_str().unwrap().contains("--workspace"), "{homeless}");
    import(&environment, "githosted", &githosted, &["--workspace", "acme"]).expect_code(0);
    assert_eq!(verdict(&environment, &refs(READ).bearer(GITHOSTED)), 200);
    assert_eq!(verdict(&environment, &refs(WRITE).bearer(GITHOSTED)), 403);

    let wick = format!("laptop\twill\t{WICK_SHA256}\nlost\tnobody-here\t{}\nhalf a line\n", "0".repeat(64));
    let report = import(&environment, "wick", &wick, &[]).expect_code(1).json();
    assert_eq!(counts(&report), (1, 0, 2), "{report}");
    assert_eq!(verdict(&environment, &refs(WRITE).bearer(WICK)), 200);

    // They are tokens like others: listed, pointed at by their beginning, ended at once, and not brought back.
    let listed = environment.tok(&["token", "list", "--output", "json"]).acting_as("will").ok().json();
    let forms: Vec<_> = listed["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["token_prefix"].as_str(), t["imported_from"].as_str(), t["secret_form"].as_str()))
        .collect();
    assert!(forms.contains(&(Some("wit_a1b2"), Some("wit"), Some("foreign"))), "{forms:?}");
    assert!(forms.contains(&(Some("wick_pat_"), Some("wick"), Some("foreign"))), "{forms:?}");
    environment.tok(&["token", "revoke", "wit_a1b2", "--force"]).acting_as("will").ok();
    assert_eq!(verdict(&environment, &refs(READ).bearer(WIT)), 401);
    let again = import(&environment, "wit", &wit, &["--user", "will"]).expect_code(0).json();
    assert_eq!(counts(&again), (0, 1, 0), "{again}");
    assert_eq!(verdict(&environment, &refs(READ).bearer(WIT)), 401);
    let trail =
        environment.rows("SELECT subject_name, detail FROM audit WHERE action = 'token.import' ORDER BY at, id");
    assert_eq!(trail.len(), 3, "{trail:?}");
    assert!(
        trail[0]["detail"].as_str().unwrap().starts_with("from wit: personal token of will, repo:read"),
        "{trail:?}"
    );
}

#[test]
fn a_password_file_goes_on_working_and_grows_stronger_with_use() {
    let environment = acme();
    environment.canaries().register("a password of a file", "hunter2-hunter2");
    let file = format!("will:{BCRYPT}\nrita:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy\n");
    let report = import(&environment, "htpasswd", &file, &["--scopes", "repo:read"]).expect_code(1).json();
    assert_eq!(counts(&report), (1, 0, 1), "{report}");
    assert!(report["lines"][1]["detail"].as_str().unwrap().contains("htpasswd -B"), "{report}");
    let hash = || {
        environment.rows("SELECT secret_hash FROM tokens WHERE name = 'will'")[0]["secret_hash"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(hash(), BCRYPT);
    let request = |password: &str| Request::refs("acme/app", READ).basic("will", password);
    assert_eq!(verdict(&environment, &request("hunter2-hunter3")), 401);
    assert_eq!(hash(), BCRYPT);
    assert_eq!(verdict(&environment, &request("hunter2-hunter2")), 200);
    assert!(hash().starts_with("$argon2id$"), "{}", hash());
    environment.stop();
    environment.start();
    assert_eq!(verdict(&environment, &request("hunter2-hunter2")), 200);
    // A second run finds it, whatever its hash is now.
    assert_eq!(counts(&import(&environment, "htpasswd", &file, &[]).json()), (0, 1, 1));
}

#[test]
fn reposilites_export_keeps_routes_and_managers() {
    let environment = acme();
    environment.tok(&["user", "create", "maggie", "--manager"]).ok();
    for secret in ["a-secret-of-reposilite", "another-of-reposilite"] {
        environment.canaries().register("a secret of Reposilite", secret);
    }
    let export = r#"[
        {"accessToken":{"identifier":{"type":"PERSISTENT","value":1},"name":"ci","secret":"a-secret-of-reposilite","createdAt":"2024-01-01","description":"of acme"},
         "permissions":[],"routes":[{"path":"/acme/app","permission":{"identifier":"route:read","shortcut":"r"}}]},
        {"identifier":{"type":"PERSISTENT","value":2},"name":"boss","secret":"another-of-reposilite","permissions":["MANAGER"],"routes":[]},
        {"name":"odd","secret":"x","colour":"red"}
    ]"#;
    // Who is no manager here gets no token that manages, nor one that reaches further than it did.
    for trial in [true, false] {
        let more = if trial { &["--user", "will", "--dry-run"][..] } else { &["--user", "will"] };
        let manages = export.replace("\"routes\":[]", "\"routes\":[{\"path\":\"/acme\",\"permission\":\"r\"}]");
        let report = import(&environment, "reposilite", &manages.replace("ci", "ci0"), more).expect_code(1).json();
        assert_eq!(counts(&report), (1, 0, 2), "{report}");
        assert!(report["lines"][1]["detail"].as_str().unwrap().contains("will is no manager here"), "{report}");
    }
    let report = import(&environment, "reposilite", export, &["--user", "maggie"]).expect_code(1).json();
    assert_eq!(counts(&report), (2, 0, 1), "{report}");
    assert!(report["lines"][2]["detail"].as_str().unwrap().contains("colour"), "{report}");
    let refs = |service: &str| Request::refs("acme/app", service).basic("ci", "a-secret-of-reposilite");
    assert_eq!((verdict(&environment, &refs(READ)), verdict(&environment, &refs(WRITE))), (200, 403));
    assert_eq!(counts(&import(&environment, "reposilite", export, &["--user", "maggie"]).json()), (0, 2, 1));
    // Nobody gives more than they have, nor to others.
    let fresh = export.replace("\"boss\"", "\"chief\"").replace("\"ci\"", "\"ci2\"");
    let by_mona = environment
        .tok(&["token", "import", "--format", "reposilite", "--output", "json"])
        .acting_as("mona")
        .input(fresh.clone());
    let report = by_mona.run().expect_code(1).json();
    assert_eq!(counts(&report), (1, 0, 2), "{report}");
    assert!(report["lines"][1]["detail"].as_str().unwrap().contains("mona is no manager"), "{report}");
    let for_will = environment
        .tok(&["token", "import", "--format", "reposilite", "--user", "will", "--output", "json"])
        .acting_as("mona")
        .input(fresh);
    let report = for_will.fails(1).json();
    // Not even whether there is such a token.
    for line in &report["lines"].as_array().unwrap()[..2] {
        assert!(line["detail"].as_str().unwrap().contains("only a manager"), "{report}");
    }
}

#[test]
fn what_can_be_guessed_is_no_random_secret() {
    let environment = acme();
    // printf '' | sha256sum, and of "password"
    let (nothing, word) = (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    );
    let short = "k9Xw2vQpL7mZr";
    environment.canaries().register("a short secret", short);
    let file = format!(
        r#"[{{"description":"a","secret":"password12345678"}},{{"description":"b","secret":"aaaaaaaaaaaaaaaa"}},
            {{"description":"c","hash":"{nothing}"}},{{"description":"d","hash":"{word}"}},
            {{"description":"short","secret":"{short}"}}]"#
    );
    let dry = import(&environment, "nitro", &file, &["--user", "will", "--dry-run"]).expect_code(1).json();
    let report = import(&environment, "nitro", &file, &["--user", "will"]).expect_code(1).json();
    assert_eq!((counts(&dry), counts(&report)), ((1, 0, 4), (1, 0, 4)), "{report}");
    let detail = |at: usize| report["lines"][at]["detail"].as_str().unwrap();
    for at in 0..4 {
        assert!(detail(at).contains("make a new token"), "{report}");
        assert!(!detail(at).contains("password12345678"), "{report}");
    }
    assert!(detail(4).contains("presented with its name"), "{report}");
    // What was too short to be found by itself is a chosen secret, with its name.
    let refs = Request::refs("acme/app", READ);
    assert_eq!(verdict(&environment, &refs.clone().basic("short", short)), 200);
    for alone in [refs.clone().bearer(short), refs.clone().basic("other", short), refs.bearer("password12345678")] {
        assert_eq!(verdict(&environment, &alone), 401);
    }
}

#[test]
fn what_is_no_such_file_is_said_at_once() {
    let environment = Environment::dev();
    for (format, content, says) in [
        ("wit", "neither\n", "neither JSON nor CSV"),
        ("nitro", "{\"a\":", "not JSON: line 1"),
        ("reposilite", "{}", "not a list of tokens"),
    ] {
        let refused = environment.tok(&["token", "import", "--format", format]).input(content).fails(2);
        refused.says(&[says, "docs/import.md"]);
    }
}
