//! How long tokens live and rest is policy, for each kind, and holds for those that exist, too.

use tok_tests::environment::Environment;
use tok_tests::wait;

use crate::authority::READ;
use crate::authority::asked;
use crate::cli::json;

const GIT: &str = "[git]\ncreate_on_push = true\n";

fn start(environment: &Environment, policy: &str) {
    environment.start_with(&environment.serve_recipe(&format!("store = \"embedded\"\n{GIT}{policy}")));
}

fn days(environment: &Environment, name: &str) -> i64 {
    environment.count(&format!(
        "SELECT round(extract(epoch FROM expires_at - created_at) / 86400)::bigint AS count FROM tokens WHERE name = '{name}'"
    ))
}

#[test]
fn each_kind_has_its_default_and_its_maximum() {
    let environment = Environment::new();
    start(
        &environment,
        "[tokens]\ndefault_lifetime = \"60d\"\nmax_lifetime = \"90d\"\n[tokens.repo]\ndefault_lifetime = \"7d\"\nmax_lifetime = \"30d\"\n",
    );
    environment.users(&["ann"]).workspace("acme", &[("ann", "maintainer")]);
    let create = |name: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "create", name]).arguments(arguments.iter().copied());
        call.acting_as("ann").run()
    };
    let repo = ["--kind", "repo", "--repo", "acme/app", "--permission", "read"];
    create("personal", &[]).expect_code(0);
    create("repo", &repo).expect_code(0);
    assert_eq!((days(&environment, "personal"), days(&environment, "repo")), (60, 7));
    create("long", &["--expires", "90d"]).expect_code(0);
    create("longer", &["--expires", "91d"])
        .expect_code(2)
        .says(&["personal tokens live for 90d at most", "--expires 90d"]);
    create("for ever", &["--expires", "never"]).expect_code(2).says(&["90d"]);
    let narrow = [&repo[..], &["--expires", "31d"]].concat();
    create("longer", &narrow).expect_code(2).says(&["repo tokens live for 30d at most"]);
}

#[test]
fn a_lower_maximum_and_rest_end_what_exists() {
    let environment = Environment::new();
    start(&environment, "");
    environment.users(&["ann"]).workspace("acme", &[("ann", "writer")]);
    environment.tok(&["git", "setup", &environment.url()]).ok();
    environment.pushed("ann", "acme/app");
    let create = |name: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "create", name]).arguments(arguments.iter().copied());
        call.acting_as("ann").ok().line().to_owned()
    };
    let (young, old, resting) = (create("young", &["--expires", "never"]), create("old", &[]), create("resting", &[]));
    let status = |text: &str| asked(&environment, "acme/app", READ, text).status;
    assert_eq!([&young, &old, &resting].map(|text| status(text)), [200; 3]);
    environment.stop();

    // As if it had been so for long. The daemon is down, and its database, too: the rows change after the next start.
    start(&environment, "[tokens]\nidle_lifetime = \"90d\"\n");
    environment.execute(
        "UPDATE tokens SET created_at = created_at - interval '100 days' WHERE name IN ('resting', 'old');
         DELETE FROM last_uses;
         INSERT INTO last_uses (token_id, at) SELECT id, now() FROM tokens WHERE name = 'old'",
    );
    // Not swept out yet, and refused all the same: at once, by the decision itself.
    let refused = asked(&environment, "acme/app", READ, &resting);
    assert_eq!(refused.status, 401);
    // That it was presented is written down, and wakes nothing up.
    wait::until_true("the refusal is in the trail", || {
        environment.count("SELECT count(*) FROM audit WHERE action = 'token.use' AND outcome = 'refused'") > 0
    });
    assert_eq!([&resting, &young, &old].map(|text| status(text)), [401, 200, 200]);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE name = 'resting' AND revoked_at IS NOT NULL"), 0);
    let explained = environment.tok(&["token", "explain", &resting[..11], "--output", "json"]).run().json();
    assert_eq!(explained["rule"], "idle", "{explained}");
    environment.stop();

    start(&environment, "[tokens]\nidle_lifetime = \"90d\"\nmax_lifetime = \"95d\"\n");
    let record = |text: &str| {
        let shown = json(environment.tok(&["token", "show", &text[..11]]));
        shown.get("token").unwrap_or(&shown).clone()
    };
    let ended = record(&resting);
    let (by, why) = (&ended["revoked_by"], &ended["revoke_reason"]);
    assert!(ended["state"] == "revoked" || ended["state"] == "expired", "{ended}");
    assert!(by == "tokd" && why == "not used for 90d" || ended["state"] == "expired", "{ended}");
    assert_eq!(record(&old)["state"], "expired", "older than any token may get");
    assert_eq!([&young, &old].map(|text| status(text)), [200, 401]);
    assert_eq!(days(&environment, "young"), 95);
    let trail = environment.rows("SELECT actor_name, detail FROM audit WHERE action = 'token.policy'");
    assert!(!trail.is_empty() && trail.iter().all(|line| line["actor_name"] == "tokd"), "{trail:?}");
    // A local login is no token that could get old or rest: nobody holds its text.
    environment.execute("UPDATE tokens SET created_at = created_at - interval '200 days' WHERE local_uid IS NOT NULL");
    environment.stop();
    start(&environment, "[tokens.session]\nidle_lifetime = \"1d\"\nmax_lifetime = \"1d\"\n");
    assert_eq!(
        environment.count(
            "SELECT count(*) FROM tokens WHERE local_uid IS NOT NULL AND expires_at IS NULL AND revoked_at IS NULL"
        ),
        1
    );
    // What the policy shortened stays so when it is loosened.
    assert_eq!(days(&environment, "young"), 95);
}
