//! On the local socket one is who the kernel says. Only root can start programs as somebody else, so only root runs
//! these; the rules themselves are tested without it in the model.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{Uid, User};
use tok_tests::binaries;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::helper::answer;
use tok_tests::http::Request;

/// A system user that is on every machine and is nobody's login.
const SYSTEM_USER: &str = "nobody";

/// Lets another system user into the environment, with binaries that they may run.
fn opened() -> Option<Environment> {
    if !Uid::effective().is_root() {
        return None;
    }
    let environment = Environment::dev();
    let shared = environment.path("bin");
    fs::create_dir(&shared).unwrap();
    for name in ["tok", "git-credential-tok"] {
        fs::copy(binaries::path(name), shared.join(name)).unwrap();
    }
    fs::set_permissions(environment.root(), Permissions::from_mode(0o711)).unwrap();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    Some(environment)
}

fn system_user(environment: &Environment) -> Call {
    let user = User::from_name(SYSTEM_USER).unwrap().unwrap();
    let identity = [format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".to_owned()];
    environment.call("setpriv").directory("/").arguments(identity).argument("--")
}

fn as_system_user(environment: &Environment, program: &str) -> Call {
    system_user(environment).argument(environment.path("bin").join(program))
}

fn tok(environment: &Environment, arguments: &[&str]) -> Call {
    as_system_user(environment, "tok").arguments(arguments.iter().copied())
}

#[test]
fn a_system_user_whom_tok_does_not_know_may_nothing() {
    let Some(environment) = opened() else { return };
    assert_ne!(tok(&environment, &["token", "create", "x"]).run().code, Some(0));
    for arguments in [&["whoami"][..], &["token", "list"], &["user", "list"], &["audit"]] {
        let refused = tok(&environment, arguments).fails(3);
        refused.says(&["no tok user has the name of this system user", "tok user create"]);
    }
    let helper = as_system_user(&environment, "git-credential-tok").argument("get");
    let helper = helper.input(environment.challenged("acme/app", "read") + "\n").ok();
    assert_eq!(helper.text(), "quit=1\n");
    assert_eq!(environment.count("SELECT count(*) FROM tokens"), 0);
}

#[test]
fn a_system_user_is_the_tok_user_of_that_name_and_no_manager() {
    let Some(environment) = opened() else { return };
    environment.pushed("alice", "acme/app");
    environment.users(&[SYSTEM_USER]);
    let who = tok(&environment, &["whoami", "--output", "json"]).ok().json();
    let uid = User::from_name(SYSTEM_USER).unwrap().unwrap().uid.as_raw();
    assert_eq!(
        (who["user"].as_str(), who["manager"].as_bool(), who["peer_uid"].as_u64()),
        (Some(SYSTEM_USER), Some(false), Some(uid.into()))
    );
    for arguments in [
        &["user", "list"][..],
        &["user", "create", "eve"],
        &["token", "list", "--all-users"],
        &["workspace", "member", "add", "acme", SYSTEM_USER],
        &["--as", "alice", "whoami"],
        &["--as", "root", "whoami"],
    ] {
        let refused = tok(&environment, arguments).run();
        assert!(matches!(refused.code, Some(4 | 5)), "{}", refused.describe());
    }
    assert!(
        tok(&environment, &["audit", "--output", "json"]).run().text().find("alice").is_none(),
        "others' doings are not theirs to see"
    );

    // The helper mints for them and for nobody else.
    let helper = |lines: &str, user: Option<&str>| {
        let call = as_system_user(&environment, "git-credential-tok")
            .argument("get")
            .input(lines.to_owned() + "\n")
            .shows_secret();
        match user {
            Some(user) => call.acting_as(user).ok(),
            None => call.ok(),
        }
    };
    let read = environment.challenged("acme/app", "read");
    helper(&read, None).says(&["not found, or you may not see it"]);
    for (lines, user) in [(read.clone(), Some("alice")), (read.replace("path=", "username=alice\npath="), None)] {
        let refused = helper(&lines, user);
        assert_eq!(refused.text(), "quit=1\n");
        refused.says(&["only a manager may act as alice"]);
    }
    environment.tok(&["workspace", "member", "add", "acme", SYSTEM_USER]).ok();
    let answered = helper(&read, None);
    let token = answer(&answered).token().to_owned();
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&token)).status, 200);
    let made = environment.rows(&format!("SELECT created_from FROM tokens WHERE shown_prefix = '{}'", &token[..11]));
    assert_eq!(made[0]["created_from"], format!("unix:uid={uid}"));
    helper(&environment.challenged("acme/app", "write"), None).says(&["has the role reader in acme"]);
    // root in their name has a login of its own, so that either can be ended alone.
    assert_ne!(environment.git_token(SYSTEM_USER, "acme/app", "read"), token);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'session' AND local_uid IS NOT NULL"), 3);
}

#[test]
fn nothing_of_the_daemon_is_open_to_other_system_users() {
    let Some(environment) = opened() else { return };
    for name in ["pepper", "lock", "pg", "git"] {
        let path = environment.data().join(name);
        let script = "if [ -d \"$1\" ]; then ls \"$1\"; else cat \"$1\"; fi";
        let looked = system_user(&environment).arguments(["sh", "-c", script, "sh"]).argument(path).run();
        assert_ne!(looked.code, Some(0), "{name}: {}", looked.describe());
    }
}

#[test]
fn root_administers_whatever_the_tok_user_of_its_name_is() {
    let Some(environment) = opened() else { return };
    environment.pushed("alice", "acme/app");
    environment.tok(&["user", "create", "maggie", "--manager"]).ok();
    let maggie = environment.token("maggie", &["--scopes", "all"]);
    environment.tok(&["user", "delete", "--force", "root"]).ok();
    let helper = || {
        let lines = environment.challenged("acme/app", "write") + "\n";
        environment.helper().argument("get").input(lines).shows_secret().ok()
    };
    helper().says(&["tok has no user for you", "//<user>@", "tok user create \"$(id -un)\" --manager"]);

    // Somebody else makes the user, and no manager.
    environment.tok(&["user", "create", "root"]).variable("TOK_TOKEN", &maggie).ok();
    let who = environment.tok(&["whoami", "--output", "json"]).ok().json();
    assert_eq!((who["user"].as_str(), who["manager"].as_bool()), (Some("root"), Some(true)));
    let create = ["token", "create", "ci", "--kind", "workspace", "--workspace", "acme", "--permission", "write"];
    environment.tok(&create).shows_secret().ok();
    for arguments in [
        &["workspace", "member", "list", "acme"][..],
        &["workspace", "member", "add", "acme", "maggie"],
        &["token", "list", "--workspace", "acme"],
        &["user", "create", "eve"],
    ] {
        environment.tok(arguments).ok();
    }
    assert!(environment.tok(&["repo", "list"]).ok().text().contains("acme/app"));

    // A git token acts for the user, who may not yet.
    let refused = helper();
    assert_eq!(refused.text(), "quit=1\n");
    refused.says(&["acts for the user root", "tok workspace member add acme root --role writer"]);
    environment.tok(&["workspace", "member", "add", "acme", "root", "--role", "writer"]).ok();
    assert!(!answer(&helper()).token().is_empty());

    environment.tok(&["user", "delete", "--force", "root"]).ok();
    let made = environment.tok(&["user", "create", "root"]).ok();
    assert!(made.text().contains("Created manager root"), "{}", made.describe());
    assert!(!answer(&helper()).token().is_empty());
    environment.tok(&["user", "create", "root", "--manager"]).fails(1).says(&["exists", "not changed afterwards"]);
}
