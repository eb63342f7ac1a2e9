//! Users, workspaces and who is in them.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use tok_model::decide::{Need, OwnerNow, Permit, UserNow};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::kind::{Permission, Role};
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::{Owner, TokenState};
use tok_store::StoreError;
use tok_store::users::User;
use tok_store::workspaces::Workspace;
use tok_store::{tokens, users, workspaces};

use crate::endings::conflict;
use crate::world::{World, at, permit, personal, rng, root, server, session, workspace_token};

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn workspace(name: &str) -> WorkspaceName {
    name.parse().unwrap()
}

fn manages(name: &str) -> Permit {
    permit(&root(), Need::ManageWorkspace { workspace: workspace(name) }, at(1))
}

fn create(world: &World, name: &str) -> Result<User, StoreError> {
    let (id, own) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
    world.change(|tx| users::create(tx, &server(at(0)), id, own, &user(name), false))
}

fn found(world: &World, user: UserId) -> Option<UserNow> {
    world.store.read(|tx| users::now(tx, user)).unwrap()
}

fn roles(world: &World, user: UserId) -> BTreeMap<String, Role> {
    let memberships = found(world, user).unwrap().memberships;
    memberships.into_iter().map(|(name, membership)| (name.to_string(), membership.role)).collect()
}

#[track_caller]
fn missing<T: std::fmt::Debug>(outcome: Result<T, StoreError>, said: &str) {
    let error = outcome.unwrap_err();
    let StoreError::NotFound { what, .. } = &error else { panic!("{error}") };
    assert!(what.contains(said), "{what}");
}

#[test]
fn a_user_begins_with_a_workspace_of_their_own() {
    let world = World::new();
    let ann = create(&world, "Ann").unwrap();
    assert_eq!((ann.name.as_str(), ann.manager, ann.created_at, ann.disabled_at), ("Ann", false, at(0), None));
    assert_eq!(roles(&world, ann.id), [("Ann".to_owned(), Role::Maintainer)].into());
    let own = world.store.read(|tx| workspaces::by_name(tx, &workspace("Ann"))).unwrap().unwrap();
    assert_eq!((own.owner, own.members, own.created_at), (Some(user("Ann")), 1, at(0)));

    let profile = permit(&world.local(ann.id), Need::Profile { user: ann.id }, at(1));
    assert_eq!(world.store.read(|tx| users::show(tx, &profile, &user("ann"))).unwrap(), ann);
    assert_eq!(world.store.read(|tx| users::show(tx, &server(at(1)), &user("ANN"))).unwrap(), ann);
    missing(world.store.read(|tx| users::show(tx, &server(at(1)), &user("bob"))), "no user is named bob");
    assert!(found(&world, world.manager("root-like")).unwrap().manager);
    let counts = world.store.read(|tx| Ok((users::count(tx)?, workspaces::count(tx)?))).unwrap();
    assert_eq!(counts, (2, 2));
}

#[test]
fn names_that_differ_in_case_alone_are_the_same() {
    let world = World::new();
    let ann = create(&world, "Ann").unwrap().id;
    for name in ["Ann", "ann", "ANN"] {
        conflict(create(&world, name), "user of that name exists");
        assert_eq!(world.store.read(|tx| users::now_by_name(tx, &user(name))).unwrap().unwrap().id, ann);
    }
    create(&world, "anna").unwrap();
    let make = |name: &str, owner: Option<&UserName>| {
        let id = WorkspaceId::random(&mut rng());
        world.change(|tx| workspaces::create(tx, &server(at(0)), id, &workspace(name), owner))
    };
    make("acme", None).unwrap();
    for name in ["ACME", "ann"] {
        conflict(make(name, None), "workspace of that name exists");
    }
    // Nothing of what failed stays: neither the user without their workspace, nor the other way round.
    conflict(create(&world, "Acme"), "workspace of that name exists");
    assert!(world.store.read(|tx| users::now_by_name(tx, &user("acme"))).unwrap().is_none());
    missing(make("lonely", Some(&user("nobody"))), "no user is named nobody");
    assert!(world.store.read(|tx| workspaces::by_name(tx, &workspace("lonely"))).unwrap().is_none());
    // A workspace is a path of its repositories, and paths have a case.
    assert!(world.store.read(|tx| workspaces::by_name(tx, &workspace("Acme"))).unwrap().is_none());
}

#[test]
fn a_disabled_user_keeps_everything_and_may_do_nothing() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "repo:read", None), 0);
    let set = |enabled, now| world.change(|tx| users::set_enabled(tx, &server(at(now)), &user("Ann"), enabled));
    assert_eq!(set(false, 5).unwrap().0.disabled_at, Some(at(5)));
    conflict(set(false, 6), "disabled already");
    assert_eq!(world.store.read(|tx| users::list(tx, &server(at(6)))).unwrap()[0].disabled_at, Some(at(5)));
    assert!(!found(&world, ann).unwrap().enabled);
    assert!(tok_model::decide::decide(&world.holder(made.digest), Need::Identity, at(6)).is_err());
    assert_eq!(set(true, 7).unwrap().0.disabled_at, None);
    conflict(set(true, 8), "enabled already");
    assert!(tok_model::decide::decide(&world.holder(made.digest), Need::Identity, at(8)).is_ok());
    missing(world.change(|tx| users::set_enabled(tx, &server(at(9)), &user("bob"), true)), "bob");
}

#[test]
fn of_two_that_disable_a_user_at_once_one_does() {
    let world = World::new();
    world.user("ann");
    let slower = thread::scope(|scope| {
        let disable = |now| world.change(|tx| users::set_enabled(tx, &server(at(now)), &user("ann"), false));
        let mut slower = None;
        world
            .change(|tx| {
                users::set_enabled(tx, &server(at(1)), &user("ann"), false)?;
                slower = Some(scope.spawn(move || disable(2)));
                world.until_waiting(1);
                Ok(())
            })
            .unwrap();
        slower.unwrap().join().unwrap()
    });
    conflict(slower, "somebody else changed the user");
    assert_eq!(world.store.read(|tx| users::list(tx, &server(at(3)))).unwrap()[0].disabled_at, Some(at(1)));
}

#[test]
fn a_deleted_user_is_gone_with_their_tokens_and_their_row_stays() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.workspace("acme", "bob");
    world.member("acme", "ann", Role::Writer);
    world.member("ann", "bob", Role::Reader);
    let login = world.mint(&world.local(ann), session(ann), 0);
    let pat = world.mint(&world.holder(login.digest), personal(ann, "repo:read", None), 0);
    let bobs = world.mint(&world.local(bob), session(bob), 0);
    let ended = permit(&world.local(ann), Need::EndTokens { owner: Owner::User(ann) }, at(1));
    world.change(|tx| tokens::revoke(tx, &ended, pat.token.id, Some("before"))).unwrap();

    let (gone, ended) = world.change(|tx| users::delete(tx, &server(at(5)), &user("ANN"))).unwrap();
    assert_eq!((gone.id, ended), (ann, 1), "one token was live");
    assert_eq!(found(&world, ann), None);
    assert_eq!(world.store.read(|tx| users::now_by_name(tx, &user("ann"))).unwrap(), None);
    missing(world.change(|tx| users::delete(tx, &server(at(6)), &user("ann"))), "no user is named ann");
    let reasons = "SELECT count(*) AS number FROM tokens WHERE revoke_reason IN ('before', 'the user ann was deleted')";
    assert_eq!(world.count(reasons), 2);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE revoked_at IS NULL"), 1);
    assert!(tok_model::decide::decide(&world.holder(bobs.digest), Need::Identity, at(6)).is_ok());
    assert_eq!(world.count(&format!("SELECT count(*) AS number FROM members WHERE user_id = '{ann}'")), 0);
    assert_eq!(world.count(&format!("SELECT count(*) AS number FROM users WHERE id = '{ann}'")), 1);
    // Tokens still say whose they were.
    let reference = tok_model::token::Reference::Id(pat.token.id);
    let kept = world.store.read(|tx| tokens::find(tx, &server(at(6)), &reference)).unwrap();
    assert_eq!(kept[0].owner_name, "ann");
    // The workspace stays for its other members, and is nobody's.
    let left = world.store.read(|tx| workspaces::by_name(tx, &workspace("ann"))).unwrap().unwrap();
    assert_eq!((left.owner, left.members), (None, 1));
    assert_eq!(roles(&world, bob)["ann"], Role::Reader);
}

#[test]
fn a_new_user_never_comes_into_a_deleted_ones_workspace() {
    let world = World::new();
    let first = world.user("ann");
    world.change(|tx| users::delete(tx, &server(at(1)), &user("ann"))).unwrap();
    conflict(create(&world, "ann"), "workspace of that name exists");
    world.change(|tx| workspaces::delete(tx, &server(at(2)), &workspace("ann"))).unwrap();
    let second = create(&world, "Ann").unwrap().id;
    assert_ne!(second, first);
    assert_eq!(found(&world, first), None);
    assert_eq!(roles(&world, second), [("Ann".to_owned(), Role::Maintainer)].into());
}

#[test]
fn a_member_is_one_until_their_next_call() {
    let world = World::new();
    let (_, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    let add = |role| world.change(|tx| workspaces::add_member(tx, &manages("acme"), &user("Bob"), role));
    let remove = |name| world.change(|tx| workspaces::remove_member(tx, &manages("acme"), &user(name)));

    missing(remove("bob"), "bob is no member of acme");
    let workspaces::MemberChange { user: id, member, ended } = add(Role::Reader).unwrap();
    assert_eq!(ended, []);
    assert_eq!((id, member.user.as_str(), member.role, member.owner), (bob, "bob", Role::Reader, false));
    assert_eq!(found(&world, bob).unwrap().memberships[&workspace("acme")].workspace, acme);
    assert_eq!(add(Role::Writer).unwrap().member.role, Role::Writer);
    assert_eq!(roles(&world, bob)["acme"], Role::Writer);
    assert_eq!(world.count("SELECT count(*) AS number FROM members WHERE role = 'writer'"), 1);

    assert_eq!(remove("BOB").unwrap().member.role, Role::Writer);
    assert!(!roles(&world, bob).contains_key("acme"));
    missing(remove("bob"), "bob is no member of acme");
    missing(remove("nobody"), "no user is named nobody");
    missing(
        world.change(|tx| workspaces::add_member(tx, &manages("nothing"), &user("bob"), Role::Reader)),
        "no workspace is named nothing",
    );
}

#[test]
fn the_owner_stays_a_maintainer() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Maintainer);
    let add = |role| world.change(|tx| workspaces::add_member(tx, &manages("acme"), &user("ANN"), role));
    let remove = |name| world.change(|tx| workspaces::remove_member(tx, &manages("acme"), &user(name)));
    conflict(add(Role::Writer), "ann owns the workspace acme");
    conflict(add(Role::Reader), "stays its maintainer");
    conflict(remove("Ann"), "stays its maintainer");
    assert_eq!(add(Role::Maintainer).unwrap().member.role, Role::Maintainer);
    remove("bob").unwrap();
    assert_eq!(roles(&world, ann)["acme"], Role::Maintainer);
}

#[test]
fn whoever_is_no_maintainer_any_more_keeps_no_token_of_the_workspace() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Maintainer);
    let (by_ann, by_bob) = (world.local(ann), world.local(bob));
    let of_acme = || workspace_token(acme, "acme", Permission::Write);
    let kept = world.mint(&by_ann, of_acme(), 0).token.id;
    let through = world.mint(&by_bob, of_acme(), 0);

    // A disabled maker's tokens rest; nothing else changes about them.
    world.change(|tx| users::set_enabled(tx, &server(at(1)), &user("bob"), false)).unwrap();
    let holder = || world.holder(through.digest);
    assert!(matches!(holder().owner, OwnerNow::Workspace { disabled_maker: Some(name), .. } if name == user("bob")));
    world.change(|tx| users::set_enabled(tx, &server(at(2)), &user("bob"), true)).unwrap();
    assert!(matches!(holder().owner, OwnerNow::Workspace { disabled_maker: None, .. }));

    let demoted = world.change(|tx| workspaces::add_member(tx, &manages("acme"), &user("bob"), Role::Writer)).unwrap();
    assert_eq!(demoted.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [through.token.id]);
    assert!(matches!(holder().token().unwrap().state, TokenState::Revoked { .. }));

    world.member("acme", "bob", Role::Maintainer);
    let again = world.mint(&by_bob, of_acme(), 3).token.id;
    let removed = world.change(|tx| workspaces::remove_member(tx, &manages("acme"), &user("bob"))).unwrap();
    assert_eq!(removed.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [again]);

    world.member("acme", "bob", Role::Maintainer);
    world.mint(&by_bob, of_acme(), 4);
    let (_, ended) = world.change(|tx| users::delete(tx, &server(at(5)), &user("bob"))).unwrap();
    assert_eq!(ended, 1);
    let live = format!("SELECT count(*) AS number FROM tokens WHERE revoked_at IS NULL AND id = '{kept}'");
    assert_eq!(world.count(&live), 1);
}

#[test]
fn a_deleted_workspace_is_gone_with_its_tokens() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let caller = world.local(ann);
    for permission in [Permission::Read, Permission::Write] {
        world.mint(&caller, workspace_token(acme, "acme", permission), 0);
    }
    let kept = world.mint(&caller, session(ann), 0);
    let (gone, ended) = world.change(|tx| workspaces::delete(tx, &server(at(1)), &workspace("acme"))).unwrap();
    assert_eq!((gone.id, ended), (acme, 2));
    assert!(!roles(&world, ann).contains_key("acme"));
    assert!(world.store.read(|tx| workspaces::by_name(tx, &workspace("acme"))).unwrap().is_none());
    missing(world.change(|tx| workspaces::delete(tx, &server(at(2)), &workspace("acme"))), "no workspace");
    assert!(tok_model::decide::decide(&world.holder(kept.digest), Need::Identity, at(2)).is_ok());
    // Somebody who was being added at that moment is a member of nothing.
    world.sql(&format!("INSERT INTO members VALUES ('{acme}', '{ann}', 'writer', now())"));
    assert!(!roles(&world, ann).contains_key("acme"));
    assert_ne!(world.workspace("Acme", "ann"), acme, "the name is free again");
}

#[test]
fn lists_are_by_name_and_of_what_exists() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.user("gone");
    world.workspace("zoo", "bob");
    world.workspace("acme", "bob");
    world.workspace("old", "bob");
    world.member("zoo", "ann", Role::Writer);
    world.change(|tx| users::delete(tx, &server(at(1)), &user("gone"))).unwrap();
    world.change(|tx| workspaces::delete(tx, &server(at(1)), &workspace("old"))).unwrap();

    let all = world.store.read(|tx| users::list(tx, &server(at(2)))).unwrap();
    assert_eq!(all.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["ann", "bob"]);
    let names = |found: Vec<Workspace>| found.iter().map(|found| found.name.to_string()).collect::<Vec<_>>();
    let all = world.store.read(|tx| workspaces::list(tx, &server(at(2)))).unwrap();
    assert_eq!(names(all), ["acme", "ann", "bob", "gone", "zoo"]);
    let profile = |who| permit(&world.local(who), Need::Profile { user: who }, at(2));
    assert_eq!(names(world.store.read(|tx| workspaces::list_of(tx, &profile(ann))).unwrap()), ["ann", "zoo"]);
    assert_eq!(names(world.store.read(|tx| workspaces::list_of(tx, &profile(bob))).unwrap()), ["acme", "bob", "zoo"]);

    let sees = permit(&world.local(ann), Need::SeeWorkspace { workspace: workspace("zoo") }, at(2));
    let members = world.store.read(|tx| workspaces::list_members(tx, &sees)).unwrap();
    let members: Vec<_> = members.iter().map(|m| (m.user.as_str(), m.role, m.owner)).collect();
    assert_eq!(members, [("ann", Role::Writer, false), ("bob", Role::Maintainer, true)]);
}

#[test]
fn of_two_with_the_same_name_at_once_one_is_made() {
    let world = World::new();
    let together = Barrier::new(2);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let race = |name| {
            let (world, together) = (&world, &together);
            scope.spawn(move || {
                together.wait();
                create(world, name)
            })
        };
        ["ann", "Ann"].map(race).into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        conflict(outcome, "user of that name exists");
    }
    assert_eq!(world.store.read(users::count).unwrap(), 1);
}
