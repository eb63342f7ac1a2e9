//! Rows that this version cannot understand, as a later version or a hand in the database might leave them: refused by
//! name, never guessed at.

use tok_model::decide::Need;
use tok_model::id::TokenId;
use tok_model::kind::{Permission, Role};
use tok_model::page::PageSize;
use tok_model::token::{Owner, Reference};
use tok_store::StoreError;
use tok_store::tokens::{Filter, by_digests, find, list, local_session};

use crate::world::{World, at, git, permit, personal, server, session, workspace_token};

/// Takes the constraints away that a later version would have widened.
const WIDER: &str = "
    ALTER TABLE tokens DROP CONSTRAINT tokens_kind_check;
    ALTER TABLE tokens DROP CONSTRAINT tokens_permission_check;
    ALTER TABLE tokens DROP CONSTRAINT tokens_confined;
    ALTER TABLE tokens DROP CONSTRAINT tokens_git;
    ALTER TABLE tokens DROP CONSTRAINT tokens_personal;
    ALTER TABLE tokens DROP CONSTRAINT tokens_one_owner;
    ALTER TABLE tokens DROP CONSTRAINT tokens_revoked_whole;
    ALTER TABLE members DROP CONSTRAINT members_role_check;
    ALTER TABLE users DROP CONSTRAINT users_name_check;
    ALTER TABLE workspaces DROP CONSTRAINT workspaces_name_check;";

#[track_caller]
fn names<T: std::fmt::Debug>(outcome: Result<T, StoreError>, row: (&str, &str), said: &str) {
    let error = outcome.unwrap_err();
    let StoreError::Corrupt { table, id, why } = &error else { panic!("{error}") };
    assert_eq!((*table, id.as_str()), row, "{error}");
    assert!(why.contains(said), "{why}");
}

#[test]
fn a_token_that_cannot_be_understood_is_no_token() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let caller = world.local(ann);
    let pat = world.mint(&caller, personal(ann, "repo:read", None), 0);
    let parent = pat.token.id;
    let of_workspace = world.mint(&caller, workspace_token(acme, "acme", Permission::Read), 0);
    let fetch = permit(&caller, Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(0));
    let fetch = world.make_as(&fetch, "fetch", |row| row.parent = Some(parent));
    world.sql(WIDER);
    let cases = [
        (&pat, "scopes = '{repo:read,repo:fly}'", "unknown scope \"repo:fly\""),
        (&pat, "scopes = '{REPO:READ}'", "unknown scope"),
        (&pat, "routes = '{acme/**}'", ""),
        (&pat, "routes = '{}'", ""),
        (&pat, "kind = 'agent'", "unknown token kind \"agent\""),
        (&pat, "kind = 'workspace'", "names no workspace"),
        (&pat, "kind = 'git', within_workspace = 'ann', expires_at = '2100-01-01'", "one repository"),
        (&pat, "allow_from = '{192.0.2.1/8}'", "address block"),
        (&pat, "user_id = NULL", "no owner"),
        (&pat, "workspace_id = '{acme}'", "or two"),
        (&pat, "revoked_at = now()", "half revoked"),
        (&pat, "revoked_by = 'ann'", "half revoked"),
        (&of_workspace, "permission = 'admin'", "unknown permission \"admin\""),
        (&of_workspace, "permission = NULL", "no permission"),
        (&of_workspace, "within_workspace = '../acme'", "workspace name"),
        (&of_workspace, "within_workspace = NULL", "names no workspace"),
        (&fetch, "repos = '{app,lib}'", "one repository"),
        (&fetch, "repos = '{.git}'", "repository name"),
    ];
    for (made, change, said) in cases {
        let id = made.token.id;
        let kept = "CREATE TABLE kept AS SELECT * FROM tokens; UPDATE tokens SET";
        let change = change.replace("{acme}", &acme.to_string());
        world.sql(&format!("{kept} {change} WHERE id = '{id}'"));
        let text = id.to_string();
        let row = ("tokens", text.as_str());
        names(world.store.read(|tx| by_digests(tx, &[made.digest])), row, said);
        // Whoever looks sees that it is there, and why it is good for nothing; and everything beside it.
        let found = world.store.read(|tx| find(tx, &server(at(1)), &Reference::Id(id))).unwrap();
        let all = |tx: &mut tok_store::ReadTx<'_>| {
            list(tx, &server(at(1)), &Filter::default(), PageSize::default(), None).map(|(tokens, _)| tokens)
        };
        let listed = world.store.read(all).unwrap();
        assert_eq!(listed.iter().filter(|token| token.unreadable.is_none()).count(), 2, "{change}");
        for token in [found.first(), listed.iter().find(|token| token.id == id)] {
            let why = token.and_then(|token| token.unreadable.as_deref()).unwrap();
            assert!(why.contains(said), "{why}");
        }
        world.sql(
            "TRUNCATE tokens, idempotency, browser_sessions; INSERT INTO tokens SELECT * FROM kept; DROP TABLE kept",
        );
        world.store.read(|tx| by_digests(tx, &[made.digest])).unwrap();
    }
}

#[test]
fn what_nobody_needs_to_decide_may_be_odd() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "repo:read", None), 0);
    world.sql("INSERT INTO last_uses (token_id, at, address) SELECT id, now(), 'somewhere' FROM tokens");
    let found = world.store.read(|tx| by_digests(tx, &[made.digest])).unwrap();
    assert_eq!(found[0].1.last_use.as_ref().unwrap().address, None);
}

#[test]
fn a_role_that_cannot_be_understood_gives_no_authority() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Reader);
    let made = world.mint(&world.local(bob), personal(bob, "repo:read", None), 0);
    let sees = permit(&world.local(ann), Need::SeeWorkspace { workspace: "acme".parse().unwrap() }, at(1));
    let changes = permit(&world.local(ann), Need::ManageWorkspace { workspace: "acme".parse().unwrap() }, at(1));
    world.sql(WIDER);
    world.sql(&format!("UPDATE members SET role = 'auditor' WHERE user_id = '{bob}' AND role = 'reader'"));

    let text = bob.to_string();
    let (row, said) = (("members", text.as_str()), "unknown role \"auditor\"");
    names(world.store.read(|tx| tok_store::users::now(tx, bob)), row, said);
    names(world.store.read(|tx| by_digests(tx, &[made.digest])), row, said);
    names(world.store.read(|tx| tok_store::workspaces::list_members(tx, &sees)), row, said);
    let name = "bob".parse().unwrap();
    names(world.attempt(|tx| tok_store::workspaces::remove_member(tx, &changes, &name)), row, said);
    world.store.read(|tx| tok_store::users::now(tx, ann)).unwrap().unwrap();

    // It can be put right by giving a role that is known.
    world.change(|tx| tok_store::workspaces::add_member(tx, &changes, &name, Role::Writer)).unwrap();
    world.store.read(|tx| tok_store::users::now(tx, bob)).unwrap().unwrap();
}

#[test]
fn a_name_that_cannot_be_understood_is_nobodys() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let of_workspace = world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Read), 0);
    world.sql(WIDER);

    world.sql("UPDATE workspaces SET name = '..' WHERE name = 'acme'");
    let text = acme.to_string();
    let row = ("workspaces", text.as_str());
    names(world.store.read(|tx| tok_store::users::now(tx, ann)), row, "workspace name");
    names(world.store.read(|tx| by_digests(tx, &[of_workspace.digest])), row, "workspace name");
    names(world.store.read(|tx| tok_store::workspaces::list(tx, &server(at(1)))), row, "workspace name");

    world.sql("UPDATE workspaces SET name = 'acme' WHERE name = '..'; UPDATE users SET name = 'a/b'");
    let user = ann.to_string();
    names(world.store.read(|tx| tok_store::users::now(tx, ann)), ("users", user.as_str()), "user name");
    names(world.store.read(|tx| tok_store::users::list(tx, &server(at(1)))), ("users", user.as_str()), "user name");
    // Found by way of a workspace that it owns: that row is the one that can be named.
    let owned = world.store.read(|tx| tok_store::workspaces::by_name(tx, &"acme".parse().unwrap()));
    names(owned, row, "user name");
}

#[test]
fn a_session_that_cannot_be_understood_is_not_joined() {
    let world = World::new();
    let ann = world.user("ann");
    let permit = permit(&world.local(ann), Need::Mint(session(ann)), at(0));
    let made = world.make_as(&permit, "local login", |row| row.local_uid = Some(1000));
    world.sql(WIDER);
    world.sql("UPDATE tokens SET kind = 'agent'");
    let id = made.token.id.to_string();
    names(world.change(|tx| local_session(tx, Owner::User(ann), 1000)), ("tokens", id.as_str()), "agent");
    assert_ne!(made.token.id, TokenId::from_uuid(uuid::Uuid::nil()));
}
