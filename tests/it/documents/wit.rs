//! wit: the examples of its documentation, with our names.

use super::*;

#[test]
fn wit_tokens_are_created_with_the_options_of_its_examples() {
    let environment = acme();
    for (command, scopes, lives) in [
        (r#"tok token create "My Token""#, json!(["repo:read", "repo:write"]), Some(180)),
        (r#"tok token create "CI Token" --expires 30"#, json!(["repo:read", "repo:write"]), Some(30)),
        (r#"tok token create "Read Only" --scopes repo:read"#, json!(["repo:read"]), Some(180)),
        (
            r#"tok token create "Full Access" --scopes repo:read,repo:write,repo:admin"#,
            json!(["repo:read", "repo:write", "repo:admin"]),
            Some(180),
        ),
        (r#"tok token create "Deploy Key" -e 90 -s repo:read"#, json!(["repo:read"]), Some(90)),
        (r#"tok token create "Monitor" -s repo:read,user:read"#, json!(["repo:read", "user:read"]), Some(180)),
        (
            r#"tok token create "Admin Tool" -s repo:read,repo:write,repo:admin,user:read,user:write"#,
            json!(["repo:read", "repo:write", "repo:admin", "user:read", "user:write"]),
            Some(180),
        ),
        (r#"tok token create "Deploy" -e 7 -s repo:read"#, json!(["repo:read"]), Some(7)),
        // wit's own default is said aloud here.
        (r#"tok token create "Local" --expires never"#, json!(["repo:read", "repo:write"]), None),
    ] {
        let record = made(&environment, command);
        assert_eq!(record["token"]["scopes"], scopes, "{command}");
        match lives {
            Some(lives) => assert_eq!(days(&record), lives, "{command}"),
            None => assert_eq!(record["token"]["expires_at"], Value::Null),
        }
    }
}

#[test]
fn wit_a_terminal_shows_what_its_example_shows() {
    let environment = acme();
    let command = r#"tok token create "CI Token" --expires 30"#;
    let text = shown(terminal(&environment, "alice", command).shows_secret());
    reads(
        &text,
        &[
            "Created personal access token",
            "",
            "Token:",
            "",
            "  tokpat_",
            "",
            "Make sure to copy your token now.",
            "You will not be able to see it again!",
            "",
            "Name:    CI Token",
            "Scopes:  repo:read, repo:write",
            "Expires: 20",
            "",
            "Use this token in the Authorization header:",
            "  Authorization: Bearer tokpat_",
        ],
    );
    let tokens = tokens_in(text.as_bytes());
    assert!(tokens.len() == 2 && tokens[0] == tokens[1], "the same token, twice");
    // It is good for just that.
    let reply = environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&tokens[0]));
    assert_ne!(reply.status, 401);
}

#[test]
fn wit_lists_read_like_its_example() {
    let environment = with_app();
    let make = |arguments: &[&str]| environment.tok(&["token", "create"]).arguments(arguments.iter().copied());
    let local = make(&["Local Development", "-s", "repo:read,user:read", "-e", "never"]).acting_as("alice").ok();
    make(&["Old Deploy Key", "-s", "repo:read", "-e", "1d"]).acting_as("alice").ok();
    make(&["CI Token", "-e", "30"]).acting_as("alice").ok();
    environment.execute(
        "UPDATE tokens SET created_at = now() - interval '9 days', expires_at = now() - interval '5 days' WHERE name = 'Old Deploy Key'",
    );
    environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(local.line()));
    tok_tests::wait::until_true("the use is written", || {
        environment
            .count("SELECT count(*) AS count FROM last_uses JOIN tokens ON id = token_id WHERE name LIKE 'Local%'")
            == 1
    });
    for command in ["tok token list", "tok token ls"] {
        let text = shown(terminal(&environment, "alice", command));
        reads(
            &text,
            &[
                "Personal Access Tokens (3)",
                "",
                "tokpat_",
                "  ID: ",
                "  Never used  •  Expires: 20",
                "",
                "tokpat_",
                "  ID: ",
                "  Last used: just now  •  Expires: Never",
                "",
                "tokpat_",
                "  ID: ",
                "  Never used  •  Expired: 20",
            ],
        );
        for words in
            ["…  CI Token", "…  [EXPIRED] Old Deploy Key", "…  Local Development", "Scopes: repo:read, user:read"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

#[test]
fn wit_tokens_are_revoked_by_id_by_its_beginning_and_by_the_tokens() {
    let environment = acme();
    for (verb, reference) in [("revoke", "id"), ("delete", "beginning"), ("rm", "token")] {
        let made = made(&environment, r#"tok token create "CI Token""#);
        let id = made["token"]["id"].as_str().unwrap();
        let prefix = made["token"]["token_prefix"].as_str().unwrap();
        let reference = match reference {
            "id" => id,
            "beginning" => &id[..8],
            _ => prefix,
        };
        // Nobody says yes, and nothing happens; on a terminal that is asked.
        let asked = terminal(&environment, "alice", &format!("tok token {verb} {reference}")).input("n\n").fails(1);
        assert!(asked.text().contains("Revoke personal access token \"CI Token\""), "{}", asked.describe());
        let text = shown(terminal(&environment, "alice", &format!("tok token {verb} {reference}")).input("y\n"));
        assert!(text.contains(&format!("Revoked token: CI Token\n  {prefix}…\n")), "{text}");
        assert!(text.contains("tok token restore"), "and how to undo it: {text}");
        let state = json(environment.tok(&["token", "show", id]).acting_as("alice"))["state"].clone();
        assert_eq!(state, "revoked", "{verb}");
    }
}

#[test]
fn wit_scopes_have_its_words() {
    let environment = acme();
    let text = shown(terminal(&environment, "alice", "tok token scopes"));
    let expected = "\
Available Token Scopes

repo:read
  Clone and pull repositories

repo:write
  Push to repositories

repo:admin
  Manage repository settings, collaborators, and deletion

user:read
  Read your profile information

user:write
  Update your profile
";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn wit_a_token_stands_in_the_environment_in_a_header_and_as_gits_password() {
    let environment = with_app();
    let token = environment.token("alice", &["-e", "90", "-s", "repo:read,repo:write,user:read,token:read"]);
    let script = r#"
        if [ -z "$TOK_TOKEN" ]; then echo "Error: TOK_TOKEN not set"; exit 1; fi
        tok whoami --output json | jq -r .user
    "#;
    let call = environment.call("bash").arguments(["-ec", script]);
    assert_eq!(call.clone().variable("TOK_TOKEN", token.clone()).ok().line(), "alice");
    assert!(call.fails(1).text().starts_with("Error"));
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&token)).status, 200);
    let clone = environment.work("by-password");
    let url = environment.repository("acme/app");
    let clone_call = environment.git(environment.root(), &["clone", "--quiet", &url, clone.to_str().unwrap()]);
    clone_call
        .untraced()
        .with_password(&environment.url(), "alice@example.com", &token, environment.canaries().exempt())
        .ok();
    assert!(clone.join("README").is_file());
    // Rotation by hand, as its workflow has it: a new one, then away with the old.
    let new = made(&environment, r#"tok token create "CI Token v2" -e 30 -s repo:read,repo:write"#);
    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("alice").ok();
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&token)).status, 401);
    let new = new["secret"].as_str().unwrap();
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(new)).status, 200);
}
