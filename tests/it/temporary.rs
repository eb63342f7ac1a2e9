//! Temporary tokens: how a server gets its first manager, and what stays of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::READ;

const STRONG: &str = "violet-tractor-97-moon";

fn told(environment: &Environment, action: &str) -> Vec<String> {
    let rows =
        environment.rows(&format!("SELECT actor_name, detail FROM audit WHERE action = '{action}' ORDER BY at, id"));
    rows.iter()
        .map(|row| format!("{}: {}", row["actor_name"].as_str().unwrap(), row["detail"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_well_known_one_manages_this_server_until_it_stops() {
    let environment = Environment::new();
    environment.start_with(&environment.recipe().arguments(&["--token", "root:root-secret"]));
    let tok = |arguments: &[&str]| environment.tok(arguments).variable("TOK_TOKEN", "root:root-secret");
    let whoami = tok(&["whoami", "--output", "json"]).ok().json();
    assert_eq!(
        (whoami["via"].as_str(), whoami["manager"].as_bool(), whoami["user"].is_null()),
        (Some("temporary token root"), Some(true), true)
    );
    tok(&["user", "create", "ann"]).ok();
    tok(&["workspace", "create", "acme"]).ok();
    tok(&["workspace", "member", "add", "acme", "ann", "--role", "writer"]).ok();
    // It is nobody, so it makes no token for itself, but for others.
    tok(&["token", "create", "mine"]).run().says(&["acts for a user, and you are none here", "--as"]);
    let made = tok(&["token", "create", "CI"]).acting_as("ann").ok().line().to_owned();
    assert_eq!(environment.send(&Request::refs("ann/app", READ).bearer(&made)).status, 404);
    tok(&["whoami"]).acting_as("nobody-here").fails(5);
    // Acting as somebody it has no more than they.
    tok(&["user", "list"]).acting_as("ann").fails(4);
    // Over HTTP as well, as Basic and not as Bearer.
    let status = |request: Request| environment.send(&request).status;
    assert_eq!(
        status(Request::refs("acme/app", READ).basic("root", "root-secret")),
        404,
        "there is no such repository"
    );
    for wrong in [
        Request::refs("acme/app", READ).basic("root", "root-secreT"),
        Request::refs("acme/app", READ).basic("Root", "root-secret"),
        Request::refs("acme/app", READ).bearer("root:root-secret"),
        Request::refs("acme/app", READ).bearer("root-secret"),
    ] {
        assert_eq!(status(wrong), 401);
    }
    assert!(environment.log().contains("The temporary token"), "{}", environment.log());
    assert!(environment.log().contains("can be guessed"), "{}", environment.log());
    environment.stop();

    environment.start();
    environment.tok(&["whoami"]).variable("TOK_TOKEN", "root:root-secret").fails(3);
    assert!(
        told(&environment, "server.setup").contains(&"tokd: temporary token root accepted until restart".to_owned())
    );
    let made_by = told(&environment, "user.create");
    assert!(made_by.iter().any(|line| line.starts_with("temporary token root:")), "{made_by:?}");
    let made_as = told(&environment, "token.create");
    assert!(made_as.iter().any(|line| line.starts_with("ann by temporary token root:")), "{made_as:?}");
    let uses = told(&environment, "token.use");
    assert!(uses.iter().any(|line| line.starts_with("temporary token root:")), "{uses:?}");
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE name = 'root'"), 0);
}

#[test]
fn a_file_keeps_it_from_other_users_and_what_is_weak_stops_the_start() {
    let environment = Environment::new();
    let file = environment.canaries().exempt().join("first-manager");
    fs::write(&file, format!("ops:{STRONG}\n")).unwrap();
    environment.canaries().register("a temporary token", STRONG);
    let path = file.to_str().unwrap();
    let recipe = || environment.recipe().arguments(&["--token-file", path]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    recipe().run().because(&["others may read it", "chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    environment.start_with(&recipe());
    let whoami =
        environment.tok(&["whoami", "--output", "json"]).variable("TOK_TOKEN", format!("ops:{STRONG}")).ok().json();
    assert_eq!(whoami["via"], "temporary token ops");
    environment.stop();

    for (pair, says) in [
        ("root:secret", "fewer than 8 characters"),
        ("operator:operator", "its name and nothing else"),
        ("root:password", "among the first that are tried"),
        ("boot:password1234", "among the first that are tried"),
        ("root", "not name:secret"),
    ] {
        let refused = environment.recipe().arguments(&["--token", pair]).run();
        refused.because(&[says]);
        assert_eq!(refused.status.code(), Some(2), "{}", refused.said);
    }
}

#[test]
fn what_others_can_reach_takes_a_strong_one() {
    let environment = Environment::new();
    let weak =
        |configuration: &str| environment.serve_recipe(configuration).arguments(&["--token", "root:root-secret"]);
    weak("[server]\nbehind_proxy = true\n").run().because(&["can be guessed, and others can reach this server"]);
    weak("[server]\npublic_url = \"https://git.example.com\"\n").run().because(&["others can reach this server"]);
    // Without a subcommand it serves, as Reposilite does.
    let mut recipe = weak("");
    let config =
        recipe.arguments.iter().position(|word| word == "--config").map(|at| recipe.arguments[at + 1].clone()).unwrap();
    recipe.arguments = vec!["--token".to_owned(), "root:root-secret".to_owned()];
    environment.start_with(&recipe.variable("TOKD_CONFIG", config));
    let whoami = environment.tok(&["whoami", "--output", "json"]).variable("TOK_TOKEN", "root:root-secret").ok().json();
    assert_eq!(whoami["via"], "temporary token root");
    environment.stop();
}
