//! The helper, byte for byte, as every git there is talks to it.

use tok_tests::environment::Environment;
use tok_tests::helper::Answer;
use tok_tests::http::Request;
use tok_tests::normalise::normalise;

/// alice writes, bob reads, and there is a repository.
pub(crate) fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "writer"), ("bob", "reader")]);
    environment
}

/// The raw bytes that git gets.
#[track_caller]
pub(crate) fn said(environment: &Environment, user: &str, input: &str) -> String {
    let call = environment.helper().acting_as(user).argument("get").input(input.to_owned() + "\n").shows_secret().ok();
    assert_eq!(call.complaint(), "", "{input:?}");
    call.text().to_owned()
}

/// What an old git says: no capabilities, no challenge.
pub(crate) fn old(environment: &Environment, path: &str) -> String {
    format!("protocol=http\nhost={}\npath={path}\n", environment.host())
}

#[test]
fn a_new_git_gets_a_bearer_token_that_nobody_else_keeps() {
    let environment = acme();
    let lines = said(&environment, "alice", &environment.challenged("acme/app", "write"));
    assert_eq!(
        normalise(&lines, &[]),
        "capability[]=authtype\ncapability[]=state\nusername=alice\nauthtype=Bearer\ncredential=[token]\nephemeral=1\n\
         password_expiry_utc=[number]\nstate[]=tok:1.[id]\ncontinue=1\n"
    );
}

#[test]
fn an_old_git_gets_a_user_name_a_password_and_its_end() {
    let environment = acme();
    let expected = "username=alice\npassword=[token]\npassword_expiry_utc=[number]\n";
    assert_eq!(normalise(&said(&environment, "alice", &old(&environment, "acme/app.git")), &[]), expected);
    let challenged =
        environment.challenged("acme/app", "read").replace("capability[]=authtype\ncapability[]=state\n", "");
    assert_eq!(normalise(&said(&environment, "alice", &challenged), &[]), expected);
}

#[test]
fn each_capability_counts_for_itself() {
    let environment = acme();
    let whole = environment.challenged("acme/app", "read");
    let only_authtype = said(&environment, "alice", &whole.replace("capability[]=state\n", ""));
    assert_eq!(
        normalise(&only_authtype, &[]),
        "capability[]=authtype\nusername=alice\nauthtype=Bearer\ncredential=[token]\nephemeral=1\npassword_expiry_utc=[number]\n"
    );
    let only_state = said(&environment, "alice", &whole.replace("capability[]=authtype\n", ""));
    assert_eq!(
        normalise(&only_state, &[]),
        "capability[]=state\nusername=alice\npassword=[token]\npassword_expiry_utc=[number]\nstate[]=tok:1.[id]\ncontinue=1\n"
    );
}

#[test]
fn an_answer_has_a_minute_left_and_fifteen_at_most() {
    let environment = acme();
    let answer = environment
        .conversation()
        .get(&environment.challenged("acme/app", "read").replace("path=", "username=alice\npath="));
    let end: i64 = answer.value("password_expiry_utc").unwrap().parse().unwrap();
    let left = environment.count(&format!("SELECT {end} - extract(epoch FROM now())::bigint AS count"));
    assert!((60..=900).contains(&left), "{left} s");
    let stored = environment
        .count("SELECT floor(extract(epoch FROM expires_at))::bigint AS count FROM tokens WHERE kind = 'git'");
    assert_eq!(stored, end);
}

#[test]
fn the_challenge_chooses_between_reading_and_writing_and_nothing_more() {
    let environment = acme();
    let permission = |lines: &str| {
        let answer = environment.get(&lines.replace("path=", "username=alice\npath="));
        let token = answer.token().to_owned();
        let prefix = &token[..11];
        environment.rows(&format!("SELECT permission FROM tokens WHERE shown_prefix = '{prefix}'"))[0]["permission"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(permission(&environment.challenged("acme/app", "read")), "read");
    assert_eq!(permission(&environment.challenged("acme/app", "write")), "write");
    assert_eq!(permission(&old(&environment, "acme/app.git")), "read", "without a challenge, the least");
    assert_eq!(permission(&environment.challenged("acme/app", "admin")), "read", "more than there is, is nothing");
    let foreign = environment.challenged("acme/app", "write").replace("realm=\"tok\"", "realm=\"other\"");
    assert_eq!(permission(&foreign), "read", "another server's challenge");
    let elsewhere =
        environment.challenged("acme/app", "write").replace("resource=\"acme/app\"", "resource=\"acme/other\"");
    assert_eq!(permission(&elsewhere), "read", "a challenge for another repository");
}

#[test]
fn a_challenge_never_widens_what_a_user_may() {
    let environment = acme();
    let before = environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'");
    let asked = environment
        .helper()
        .acting_as("bob")
        .argument("get")
        .input(environment.challenged("acme/app", "write") + "\n")
        .ok();
    assert_eq!(asked.text(), "quit=1\n");
    asked.says(&["tok: bob has the role reader in acme", "push"]);
    assert_eq!(asked.complaint().lines().count(), 1, "{}", asked.describe());
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), before);
}

#[test]
fn a_repository_has_one_token_however_its_address_is_written() {
    let environment = acme();
    let first = environment.git_token("alice", "acme/app", "read");
    for path in
        ["acme/app.git", "acme/app", "/acme/app.git", "acme/app.git/", "acme/app.git/info/lfs", "acme/app/info/lfs"]
    {
        let answer = environment.get(&format!("{}username=alice\n", old(&environment, path)));
        assert_eq!(answer.token(), first, "{path}");
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), 1);
}

#[test]
fn a_second_try_gets_another_token_and_a_third_a_final_no() {
    let environment = acme();
    let lines = environment.challenged("acme/app", "read").replace("path=", "username=alice\npath=");
    let mut conversation = environment.conversation();
    let first = conversation.get(&lines);
    let refused = lines.replace("resource=\"acme/app\"", "resource=\"acme/app\", error=\"invalid_token\"");
    let second = conversation.get(&refused);
    assert_eq!((first.value("continue"), second.value("continue")), (Some("1"), None));
    assert_ne!(first.token(), second.token());
    let third = conversation.get(&refused);
    assert_eq!(third.lines, [("quit".to_owned(), "1".to_owned())]);
    assert!(third.complaint.contains("acme/app") && third.complaint.contains("tok audit"), "{third:?}");
    // Whoever comes next starts anew, with the good token.
    assert_eq!(environment.get(&lines).token(), second.token());
}

#[test]
fn erase_drops_the_kept_token_that_matches_and_revokes_nothing() {
    let environment = acme();
    let lines = environment.challenged("acme/app", "read").replace("path=", "username=alice\npath=");
    let first = environment.get(&lines).token().to_owned();
    let erase = |credential: &str| {
        let input = format!("{lines}authtype=Bearer\ncredential={credential}\n\n");
        assert_eq!(environment.helper().argument("erase").input(input).ok().text(), "");
    };
    erase(&tok_tests::normalise::invented_token());
    erase("something-else");
    assert_eq!(environment.get(&lines).token(), first, "another credential is none of ours to forget");
    erase(&first);
    assert_ne!(environment.get(&lines).token(), first);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NOT NULL"), 0);
    assert_eq!(
        environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&first)).status,
        404,
        "it still says who it is"
    );
}

#[test]
fn storing_our_own_answer_costs_nothing_and_a_strangers_is_not_kept() {
    let environment = acme();
    let lines = environment.challenged("acme/app", "read").replace("path=", "username=alice\npath=");
    let token = environment.get(&lines).token().to_owned();
    let before = environment.count("SELECT count(*) FROM audit");
    // With a socket that nobody answers at, so nothing can have been asked.
    let own = environment.helper().variable("TOK_SOCKET", "/nonexistent").argument("store");
    let own = own.input(format!("{lines}authtype=Bearer\ncredential={token}\nstate[]=tok:1.x\n\n")).ok();
    assert_eq!((own.text(), own.complaint().as_str()), ("", ""));
    let foreign = format!("protocol=https\nhost=github.com\nusername=me\npassword={}\n", "a-long-foreign-password");
    environment.canaries().register("a foreign password", "a-long-foreign-password");
    assert_eq!(environment.helper().argument("store").input(foreign.clone() + "\n").ok().text(), "");
    assert_eq!(environment.get("protocol=https\nhost=github.com\n"), Answer::default());
    assert_eq!(environment.count("SELECT count(*) FROM audit"), before);
}

#[test]
fn capability_is_answered_and_what_is_unknown_is_ignored() {
    let environment = Environment::new();
    let capability = environment.helper().argument("capability").ok();
    assert_eq!(capability.text(), "version 0\ncapability authtype\ncapability state\n");
    for operation in ["fill", "approve", "get-all", ""] {
        let call = environment.helper().argument(operation).input("protocol=http\nhost=h\n\n").ok();
        assert_eq!((call.text(), call.complaint().as_str()), ("", ""), "{operation:?}");
    }
    let asked = environment.call("git").argument("--version").ok();
    assert!(asked.text().starts_with("git version"), "{}", asked.describe());
}

#[test]
fn unknown_keys_are_ignored() {
    let environment = acme();
    let lines = format!(
        "future=x\n{}username=alice\nnew[]=1\nnew[]=2\nas=bob\noperation=push\n",
        old(&environment, "acme/app.git")
    );
    let token = environment.get(&lines).token().to_owned();
    let row = &environment
        .rows("SELECT t.permission, u.name FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.kind = 'git'")[0];
    assert_eq!((row["name"].as_str(), row["permission"].as_str()), (Some("alice"), Some("read")));
    assert!(token.starts_with("tokgit_"));
}

#[test]
fn a_job_with_a_token_of_its_own_needs_no_socket_and_shows_it_to_one_server_only() {
    let environment = acme();
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    let helper = || {
        environment
            .helper()
            .variable("TOK_SOCKET", "/nonexistent")
            .variable("TOK_TOKEN", token.clone())
            .variable("TOK_SERVER", environment.url())
    };
    let new = helper().argument("get").input(environment.challenged("acme/app", "read") + "\n").shows_secret().ok();
    assert_eq!(
        normalise(new.text(), &[(&token, "[mine]")]),
        "capability[]=authtype\nusername=tok\nauthtype=Bearer\ncredential=[token]\nephemeral=1\n"
    );
    let old_git = helper().argument("get").input(old(&environment, "acme/app.git") + "\n").shows_secret().ok();
    assert_eq!(old_git.text(), format!("username=tok\npassword={token}\n"));

    for (protocol, host) in
        [("https", environment.host()), ("http", "127.0.0.1:1".to_owned()), ("https", "github.com".to_owned())]
    {
        let other =
            helper().argument("get").input(format!("protocol={protocol}\nhost={host}\npath=acme/app.git\n\n")).ok();
        assert_eq!(other.text(), "", "{protocol} {host}");
    }
    // A server is named, or the token is not used.
    let nowhere = helper().without("TOK_SERVER").argument("get").input(old(&environment, "acme/app.git") + "\n").ok();
    assert_eq!(nowhere.text(), "");
    nowhere.says(&["TOK_SERVER"]);
    // Nor is it sent in the clear to another machine.
    let clear = helper()
        .variable("TOK_SERVER", "http://git.example.com")
        .argument("get")
        .input("protocol=http\nhost=git.example.com\npath=a/b\n\n")
        .ok();
    assert_eq!(clear.text(), "");
    clear.says(&["in the clear"]);

    // And git works with it.
    let work = environment.pushed("alice", "acme/app");
    let git = |url: &str| {
        let git = environment.git(&work, &["ls-remote", url]).variable("TOK_TOKEN", token.clone());
        git.variable("TOK_SERVER", environment.url()).variable("TOK_SOCKET", "/nonexistent")
    };
    git(&environment.repository("acme/app")).ok();
}

#[test]
fn git_finds_the_helper_by_its_short_name() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    environment.tok(&["git", "unset", &environment.url()]).ok();
    let git = environment.git(&environment.work(""), &["ls-remote", &environment.repository("acme/app")]);
    let git = git
        .setting(&format!("credential.{}.helper", environment.url()), "tok")
        .setting("credential.useHttpPath", "true");
    assert_eq!(git.acting_as("alice").ok().helper_calls(), ["get", "store"]);
}
