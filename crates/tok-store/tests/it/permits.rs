//! A permit is good for what was decided and for nothing else: every function that takes one is tried with every kind.

use std::collections::BTreeSet;

use tok_model::decide::{Caller, Need, Permit};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::kind::Role;
use tok_model::page::PageSize;
use tok_model::scope::RepoRight;
use tok_model::token::{Owner, Reference};
use tok_store::{StoreError, WriteTx, audit, tokens, users, workspaces};

use crate::world::{World, at, permit, personal, rng};

/// The kinds of need, each once.
const NEEDS: [&str; 11] = [
    "identity",
    "repository",
    "profile",
    "see tokens",
    "end tokens",
    "change tokens",
    "mint",
    "see workspace",
    "manage workspace",
    "audit",
    "server",
];

/// A function that takes a permit, and the needs that it takes it for.
type Taker<'f> = (&'f str, &'f [&'f str], Box<dyn Fn(&mut WriteTx<'_>, &Permit) -> Result<(), StoreError> + 'f>);

fn decided(caller: &Caller, ann: UserId, need: &str) -> Permit {
    let workspace = || "ann".parse().unwrap();
    let owner = Owner::User(ann);
    let need = match need {
        "identity" => Need::Identity,
        "repository" => Need::Repository { repo: "ann/app".parse().unwrap(), right: RepoRight::Admin },
        "profile" => Need::Profile { user: ann },
        "see tokens" => Need::SeeTokens { owner },
        "end tokens" => Need::EndTokens { owner },
        "change tokens" => Need::ChangeTokens { owner },
        "mint" => Need::Mint(personal(ann, "repo:read", None)),
        "see workspace" => Need::SeeWorkspace { workspace: workspace() },
        "manage workspace" => Need::ManageWorkspace { workspace: workspace() },
        "audit" => Need::OwnAudit,
        "server" => Need::Server,
        other => panic!("no need is called {other}"),
    };
    permit(caller, need, at(1))
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table: an entry for each function that takes a permit")]
fn a_permit_for_something_else_is_refused() {
    let world = World::new();
    let ann = world.manager("ann");
    world.user("bob");
    let caller = world.local(ann);
    let made = world.make(&decided(&caller, ann, "mint"), "ann's").token;
    let (token, shape) = (made.id, tokens::Shape::of(&made));
    let (ann_name, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
    let (new_user, new_workspace) = ("carol".parse().unwrap(), "acme".parse().unwrap());
    let workspace = "ann".parse().unwrap();
    let any_workspace = || WorkspaceId::random(&mut rng());
    let takers: Vec<Taker<'_>> = vec![
        (
            "users::create",
            &["server"],
            Box::new(|tx, permit| {
                users::create(tx, permit, UserId::random(&mut rng()), any_workspace(), &new_user, false).map(drop)
            }),
        ),
        ("users::list", &["server"], Box::new(|tx, permit| users::list(tx, permit).map(drop))),
        ("users::show", &["server", "profile"], Box::new(|tx, permit| users::show(tx, permit, &ann_name).map(drop))),
        ("users::show another", &["server"], Box::new(|tx, permit| users::show(tx, permit, &bob).map(drop))),
        (
            "users::set_enabled",
            &["server"],
            Box::new(|tx, permit| users::set_enabled(tx, permit, &bob, false).map(drop)),
        ),
        ("users::delete", &["server"], Box::new(|tx, permit| users::delete(tx, permit, &bob).map(drop))),
        (
            "workspaces::create",
            &["server"],
            Box::new(|tx, permit| workspaces::create(tx, permit, any_workspace(), &new_workspace, None).map(drop)),
        ),
        ("workspaces::list", &["server"], Box::new(|tx, permit| workspaces::list(tx, permit).map(drop))),
        ("workspaces::list_of", &["profile"], Box::new(|tx, permit| workspaces::list_of(tx, permit).map(drop))),
        (
            "workspaces::delete",
            &["server"],
            Box::new(|tx, permit| workspaces::delete(tx, permit, &workspace).map(drop)),
        ),
        (
            "workspaces::add_member",
            &["manage workspace"],
            Box::new(|tx, permit| workspaces::add_member(tx, permit, &bob, Role::Reader).map(drop)),
        ),
        (
            "workspaces::remove_member",
            &["manage workspace"],
            Box::new(|tx, permit| match workspaces::remove_member(tx, permit, &bob) {
                // He is none: asked and answered.
                Err(StoreError::NotFound { .. }) => Ok(()),
                other => other.map(drop),
            }),
        ),
        (
            "workspaces::list_members",
            &["see workspace", "manage workspace"],
            Box::new(|tx, permit| workspaces::list_members(tx, permit).map(drop)),
        ),
        (
            "tokens::create",
            &["mint"],
            Box::new(|tx, permit| {
                // The row is drawn up with a permit that is good for it: only the one passed along is tried.
                let (_, mut row) = world.draft(&decided(&caller, ann, "mint"), "another");
                row.parent = None;
                tokens::create(tx, permit, row).map(drop)
            }),
        ),
        (
            "tokens::modify",
            &["change tokens", "server"],
            Box::new(|tx, permit| {
                let named = tokens::Shape { name: "renamed".to_owned(), ..shape.clone() };
                tokens::modify(tx, permit, token, 1, &named, None).map(drop)
            }),
        ),
        (
            "tokens::modify further than it reached",
            &[],
            Box::new(|tx, permit| {
                let mut wide = shape.clone();
                wide.reach.grant = personal(ann, "repo:write", None).grant;
                let other = decided(&caller, ann, "mint");
                tokens::modify(tx, permit, token, 1, &wide, Some(&other)).map(drop)
            }),
        ),
        (
            "tokens::rotate",
            &["mint"],
            Box::new(|tx, permit| {
                let (_, row) = world.draft(&decided(&caller, ann, "mint"), "successor");
                tokens::rotate(tx, permit, (token, 1), row, at(1), None).map(drop)
            }),
        ),
        (
            "tokens::revoke",
            &["end tokens", "server"],
            Box::new(|tx, permit| tokens::revoke(tx, permit, token, None).map(drop)),
        ),
        (
            "tokens::list",
            &["see tokens", "end tokens", "change tokens", "server"],
            Box::new(|tx, permit| {
                tokens::list(tx, permit, &tokens::Filter::default(), PageSize::default(), None).map(drop)
            }),
        ),
        (
            "tokens::find",
            &["see tokens", "end tokens", "change tokens", "server"],
            Box::new(|tx, permit| tokens::find(tx, permit, &Reference::Id(token)).map(drop)),
        ),
        ("tokens::count_live", &["server"], Box::new(|tx, permit| tokens::count_live(tx, permit).map(drop))),
        (
            "tokens::count_live_by_user",
            &["server", "profile"],
            Box::new(|tx, permit| tokens::count_live_by_user(tx, permit, &[ann]).map(drop)),
        ),
        (
            "tokens::count_live_by_user another",
            &["server"],
            Box::new(|tx, permit| {
                let bob = users::now_by_name(tx, &bob)?.unwrap().id;
                tokens::count_live_by_user(tx, permit, &[ann, bob]).map(drop)
            }),
        ),
        (
            "audit::list",
            &["audit", "server"],
            Box::new(|tx, permit| audit::list(tx, permit, &audit::Filter::default(), 10).map(drop)),
        ),
    ];
    for (function, takes, call) in &takers {
        let mut taken = BTreeSet::new();
        for need in NEEDS {
            let permit = decided(&caller, ann, need);
            match world.attempt(|tx| call(tx, &permit)) {
                Ok(()) => drop(taken.insert(need)),
                Err(StoreError::Permit(_)) => {}
                Err(other) => panic!("{function} with a permit for {need}: {other}"),
            }
        }
        assert_eq!(taken, takes.iter().copied().collect(), "{function}");
    }
    // Nothing of all that was more than tried.
    assert_eq!(world.store.read(users::count).unwrap(), 2);
}

#[test]
fn a_manager_who_sees_anothers_profile_does_not_list_as_them() {
    let world = World::new();
    let (ann, bob) = (world.manager("ann"), world.user("bob"));
    let other = permit(&world.local(ann), Need::Profile { user: bob }, at(1));
    let outcome = world.store.read(|tx| workspaces::list_of(tx, &other));
    assert!(matches!(outcome, Err(StoreError::Permit(_))), "{outcome:?}");
}
