//! What comes back after it was ended: for whom, how long, and what never does.

use tok_model::decide::{MintRequest, Need, OwnerNow, Permit};
use tok_model::grant::Grant;
use tok_model::id::{TokenId, UserId};
use tok_model::kind::{Permission, Role};
use tok_model::token::{Owner, TokenState};
use tok_store::StoreError;
use tok_store::tokens::{count_live, create, revoke};

use crate::endings::{back, conflict, cut, ends, lives};
use crate::world::{World, at, permit, personal, root, server, workspace_token};

#[test]
fn a_cut_off_that_is_undone_brings_nothing_back_whose_maker_ended_meanwhile() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let mine = [0, 1].map(|_| world.mint(&world.local(ann), personal(ann, "all", None), 0));
    let theirs = mine
        .each_ref()
        .map(|token| world.mint(&world.holder(token.digest), workspace_token(acme, "acme", Permission::Write), 1));
    let git_of = |token: &crate::world::Made| {
        let grant = Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Read };
        let request =
            MintRequest { grant, expires_at: Some(at(600)), ..workspace_token(acme, "acme", Permission::Read) };
        world.mint(&world.holder(token.digest), request, 2)
    };
    let git_tokens = theirs.each_ref().map(git_of);
    let maintains = permit(&world.local(ann), Need::EndTokens { owner: Owner::Workspace(acme) }, at(10));
    assert_eq!(cut(&world, &maintains, Owner::Workspace(acme), at(10), "w").many.count, 4);
    world.change(|tx| revoke(tx, &ends(&world, ann, 11), mine[0].token.id, None)).unwrap();
    conflict(back(&world, &server(at(12)), theirs[0].token.id), "rests on");
    assert_eq!(back(&world, &server(at(12)), theirs[1].token.id).unwrap().count, 2);
    let live = |made: &[crate::world::Made; 2]| made.each_ref().map(|made| lives(&world, made.token.id, 13));
    assert_eq!((live(&theirs), live(&git_tokens)), ([false, true], [false, true]));
}

#[test]
fn what_somebody_ended_comes_back_for_a_quarter_of_an_hour_and_nothing_else_does() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let caller = world.local(ann);
    let parent = world.mint(&caller, personal(ann, "all", None), 0);
    let child = world.mint(&world.holder(parent.digest), personal(ann, "all", None), 1);
    let revoke_by = |permit: &Permit, id| world.change(|tx| revoke(tx, permit, id, None)).unwrap();

    conflict(back(&world, &ends(&world, ann, 2), parent.token.id), "not revoked");
    revoke_by(&ends(&world, ann, 10), child.token.id);
    revoke_by(&ends(&world, ann, 20), parent.token.id);
    // What it was made through is gone.
    conflict(back(&world, &ends(&world, ann, 30), child.token.id), "rests on");
    let restored = back(&world, &ends(&world, ann, 30), parent.token.id).unwrap();
    assert_eq!((restored.count, restored.token.state), (1, TokenState::Live));
    assert!(!lives(&world, child.token.id, 30), "another act ended it");
    assert_eq!(back(&world, &ends(&world, ann, 31), child.token.id).unwrap().count, 1);
    // Again, with the child; the same token's second act is another one.
    revoke_by(&ends(&world, ann, 40), parent.token.id);
    assert!(matches!(back(&world, &ends(&world, bob, 41), parent.token.id), Err(StoreError::NotFound { .. })));
    conflict(back(&world, &ends(&world, ann, 40 + 900), parent.token.id), "15 minutes");
    assert_eq!(back(&world, &ends(&world, ann, 40 + 899), parent.token.id).unwrap().count, 2);
    // What a manager ended its owner cannot bring back; they can.
    revoke_by(&server(at(50)), parent.token.id);
    conflict(back(&world, &ends(&world, ann, 51), parent.token.id), "a manager");
    assert_eq!(back(&world, &server(at(51)), parent.token.id).unwrap().count, 2);
    let sees = permit(&caller, Need::SeeTokens { owner: Owner::User(ann) }, at(52));
    assert!(matches!(back(&world, &sees, parent.token.id), Err(StoreError::Permit(_))));

    // Deletion, and what nobody's act ended.
    let bobs = world.mint(&world.local(bob), personal(bob, "all", None), 0);
    world.change(|tx| tok_store::users::delete(tx, &server(at(60)), &"bob".parse().unwrap())).unwrap();
    conflict(back(&world, &server(at(61)), bobs.token.id), "the user bob was deleted");
}

#[test]
fn a_workspaces_token_does_not_come_back_for_a_maker_who_was_shown_out() {
    let world = World::new();
    let (_ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Maintainer);
    let made = world.mint(&world.local(bob), workspace_token(acme, "acme", Permission::Write), 0);
    world.change(|tx| revoke(tx, &server(at(1)), made.token.id, None)).unwrap();
    world.member("acme", "bob", Role::Writer);
    conflict(back(&world, &server(at(2)), made.token.id), "maintainer");
    world.member("acme", "bob", Role::Maintainer);
    assert_eq!(back(&world, &server(at(3)), made.token.id).unwrap().count, 1);
    // Nor is one written that was decided before.
    let late = permit(&world.local(bob), Need::Mint(workspace_token(acme, "acme", Permission::Write)), at(4));
    let change = permit(&root(), Need::ManageWorkspace { workspace: "acme".parse().unwrap() }, at(5));
    world.change(|tx| tok_store::workspaces::remove_member(tx, &change, &"bob".parse().unwrap())).unwrap();
    conflict(world.change(|tx| create(tx, &late, world.draft(&late, "late").1)), "no maintainer");
    assert_eq!(world.store.read(|tx| count_live(tx, &server(at(6)))).unwrap(), 0);
}

#[test]
fn a_name_that_was_taken_meanwhile_is_a_conflict() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let other = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let chosen = |id: TokenId| {
        world.sql(&format!("UPDATE tokens SET digest = NULL, pepper_id = NULL, secret_hash = 'x' WHERE id = '{id}'"));
    };
    chosen(made.token.id);
    world.change(|tx| revoke(tx, &ends(&world, ann, 1), made.token.id, None)).unwrap();
    chosen(other.token.id);
    conflict(back(&world, &ends(&world, ann, 2), made.token.id), "has that name");
    // A cut-off frees the names of what it ended.
    cut(&world, &server(at(3)), Owner::User(ann), at(3), "x");
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE secret_hash <> '' AND revoked_at IS NULL"), 0);
}

#[test]
fn whose_act_it_was_is_told_by_ids_and_never_by_names() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let held = |token: &crate::world::Made, by: Option<UserId>, now: i64| {
        let mut holder = world.holder(token.digest);
        holder.owner = by.map_or(OwnerNow::Nobody, |user| world.local(user).owner);
        permit(&holder, Need::EndHeld, at(now))
    };
    let revoke_by = |permit: &Permit, id| world.change(|tx| revoke(tx, permit, id, None)).unwrap();

    // Somebody who held it, known or not: its owner brings it back.
    for by in [None, Some(bob)] {
        let token = world.mint(&world.local(ann), personal(ann, "all", None), 0);
        let child = world.mint(&world.holder(token.digest), personal(ann, "all", None), 1);
        revoke_by(&held(&token, by, 10), token.token.id);
        assert!(matches!(back(&world, &ends(&world, bob, 11), token.token.id), Err(StoreError::NotFound { .. })));
        assert_eq!(back(&world, &ends(&world, ann, 12), child.token.id).unwrap().count, 2);
        assert!(lives(&world, token.token.id, 13) && lives(&world, child.token.id, 13));
    }

    // The server ended it: that it was from the same place makes it nobody else's act.
    let token = world.mint(&world.local(ann), personal(ann, "all", None), 20);
    revoke_by(&server(at(21)), token.token.id);
    world.sql("UPDATE tokens SET revoked_by = 'ann' WHERE revoked_at IS NOT NULL");
    conflict(back(&world, &ends(&world, ann, 22), token.token.id), "only they or a manager");
    assert_eq!(back(&world, &server(at(23)), token.token.id).unwrap().count, 1);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE revoked_by_user_id IS NOT NULL"), 0);

    // One maintainer's act is not the other's, and what a workspace's own token ended is its maintainers' to bring back.
    let acme = world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Maintainer);
    let of_acme = |user, now| permit(&world.local(user), Need::EndTokens { owner: Owner::Workspace(acme) }, at(now));
    let robot = world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Write), 30);
    let other = world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Read), 31);
    revoke_by(&of_acme(ann, 32), other.token.id);
    world.sql("UPDATE tokens SET revoked_by = 'bob' WHERE revoked_at IS NOT NULL");
    conflict(back(&world, &of_acme(bob, 33), other.token.id), "only they or a manager");
    assert_eq!(back(&world, &of_acme(ann, 34), other.token.id).unwrap().count, 1);
    let by_robot = permit(&world.holder(robot.digest), Need::EndTokens { owner: Owner::Workspace(acme) }, at(35));
    revoke_by(&by_robot, other.token.id);
    assert_eq!(back(&world, &of_acme(bob, 36), other.token.id).unwrap().count, 1);

    // The same for a cut-off, also after a later one has written it down.
    let cut_by = |permit: &Permit, before| cut(&world, permit, Owner::Workspace(acme), at(before), "x");
    let before = cut_by(&of_acme(ann, 40), 32);
    assert!(before.moved);
    conflict(back(&world, &of_acme(bob, 41), other.token.id), "only they or a manager");
    assert_eq!(back(&world, &of_acme(ann, 42), other.token.id).unwrap().count, 2);
}

#[test]
fn a_git_token_does_not_come_back_after_what_it_was_made_through_was_narrowed() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let through = world.holder(parent.digest);
    let fetch = world.mint(&through, crate::world::git(ann, "ann/app", Permission::Write, 900), 1);
    let other = world.mint(&through, crate::world::git(ann, "ann/lib", Permission::Write, 900), 1);
    let revoked = |id, second| world.change(|tx| revoke(tx, &ends(&world, ann, second), id, None)).unwrap();
    // Nothing was changed: it comes back.
    revoked(other.token.id, 2);
    assert_eq!(back(&world, &ends(&world, ann, 3), other.token.id).unwrap().count, 1);
    revoked(fetch.token.id, 4);
    let mut narrow = tok_store::tokens::Shape::of(&parent.token);
    narrow.reach.grant = Grant::Personal { scopes: "repo:read".parse().unwrap(), routes: None };
    let change = permit(&world.local(ann), Need::ChangeTokens { owner: Owner::User(ann) }, at(5));
    world.change(|tx| tok_store::tokens::modify(tx, &change, parent.token.id, 1, &narrow, None)).unwrap();
    conflict(back(&world, &ends(&world, ann, 6), fetch.token.id), "rests on");
    assert!(!lives(&world, fetch.token.id, 6));
}
