//! Tokens are ended: once, with all that were made through them, whatever else happens at that moment.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use diesel::connection::SimpleConnection;
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::kind::{Permission, Role};
use tok_model::token::{Owner, Token, TokenState};
use tok_store::StoreError;
use tok_store::audit::Use;
use tok_store::tokens::{Revoked, create, find, revoke};

use crate::world::{World, at, git, permit, personal, server, session, workspace_token};

fn ends(world: &World, user: UserId, now: i64) -> Permit {
    permit(&world.local(user), Need::EndTokens { owner: Owner::User(user) }, at(now))
}

fn end(world: &World, permit: &Permit, id: TokenId, reason: Option<&str>) -> Result<Revoked, StoreError> {
    world.change(|tx| revoke(tx, permit, id, reason))
}

fn now(world: &World, id: TokenId) -> Token {
    let reference = tok_model::token::Reference::Id(id);
    world.store.read(|tx| find(tx, &server(at(0)), &reference)).unwrap().pop().unwrap()
}

#[test]
fn a_token_ends_with_all_that_were_made_through_it() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let login = world.mint(&caller, session(ann), 0);
    let other = world.mint(&caller, session(ann), 0);
    let child = world.mint(&world.holder(login.digest), personal(ann, "repo:write", None), 1);
    let fetch = world.mint(&world.holder(login.digest), git(ann, "ann/app", Permission::Read, 600), 2);
    let push = world.mint(&world.holder(child.digest), git(ann, "ann/app", Permission::Write, 600), 2);
    let sibling = world.mint(&world.holder(other.digest), git(ann, "ann/app", Permission::Read, 600), 2);

    let done = end(&world, &ends(&world, ann, 5), login.token.id, Some("laptop lost")).unwrap();
    let revoked = TokenState::Revoked { at: at(5), by: "ann".to_owned(), reason: Some("laptop lost".to_owned()) };
    assert_eq!(done.token.state, revoked);
    let line: BTreeSet<(TokenId, String)> =
        [&child, &fetch, &push].map(|made| (made.token.id, made.token.shown_prefix.clone())).into();
    assert_eq!(done.descendants.iter().cloned().collect::<BTreeSet<_>>(), line);
    assert_eq!(done.descendants.len(), 3);
    for made in [&login, &child, &fetch, &push] {
        assert_eq!(now(&world, made.token.id).state, revoked);
    }
    for made in [&other, &sibling] {
        assert_eq!(now(&world, made.token.id).state, TokenState::Live);
    }

    let events = done.events(&ends(&world, ann, 5), Some("laptop lost"));
    let told: Vec<_> = events.as_slice().iter().map(|event| (event.token, event.detail.as_str())).collect();
    assert_eq!(told[0], (Some(login.token.id), "laptop lost"));
    assert_eq!(told.len(), 4);
    assert!(told[1..].iter().all(|(_, detail)| detail.contains(&login.token.shown_prefix)), "{told:?}");
}

#[test]
fn what_was_ended_stays_as_it_was_ended() {
    let world = World::new();
    let ann = world.user("ann");
    let login = world.mint(&world.local(ann), session(ann), 0);
    let child = world.mint(&world.holder(login.digest), git(ann, "ann/app", Permission::Read, 600), 0);
    end(&world, &ends(&world, ann, 5), child.token.id, Some("first")).unwrap();
    let first = now(&world, child.token.id).state;

    let error = end(&world, &server(at(6)), child.token.id, Some("second")).unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { what } if what.contains("revoked already")), "{error}");
    assert_eq!(now(&world, child.token.id).state, first);

    let done = end(&world, &server(at(7)), login.token.id, None).unwrap();
    assert_eq!(done.descendants, [], "it had ended before");
    assert_eq!(now(&world, child.token.id).state, first);
    let TokenState::Revoked { by, reason, .. } = done.token.state else { panic!("revoked") };
    assert_eq!((by.as_str(), reason), ("unix:uid=0", None));
}

#[test]
fn somebody_elses_token_looks_like_none() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Writer);
    let bobs = world.mint(&world.local(bob), personal(bob, "repo:read", None), 0).token.id;
    let acmes = world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Read), 0).token.id;
    let none: TokenId = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    for id in [bobs, acmes, none] {
        let error = end(&world, &ends(&world, ann, 1), id, None).unwrap_err();
        let StoreError::NotFound { what, .. } = error else { panic!("{error}") };
        assert_eq!(what, format!("no token of yours has the ID {id}"));
    }
    for id in [bobs, acmes] {
        assert_eq!(now(&world, id).state, TokenState::Live);
    }
    // Their maintainer and a manager may.
    let maintains = permit(&world.local(ann), Need::EndTokens { owner: Owner::Workspace(acme) }, at(2));
    end(&world, &maintains, acmes, None).unwrap();
    end(&world, &server(at(2)), bobs, None).unwrap();
}

#[test]
fn of_two_that_revoke_at_once_one_does() {
    let world = World::new();
    let ann = world.user("ann");
    for round in 0..10 {
        let id = world.mint(&world.local(ann), session(ann), 0).token.id;
        let together = Barrier::new(2);
        let permits = [ends(&world, ann, 1), server(at(2))];
        let outcomes: Vec<_> = thread::scope(|scope| {
            let race = |permit| {
                let (world, together) = (&world, &together);
                scope.spawn(move || {
                    together.wait();
                    end(world, permit, id, None)
                })
            };
            permits.each_ref().map(race).into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<&Token> = outcomes.iter().flatten().map(|done| &done.token).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(*winners[0], now(&world, id), "who won is who is written down");
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(StoreError::Conflict { .. }))));
    }
}

#[test]
fn whoever_waited_for_the_winner_changes_nothing() {
    let world = World::new();
    let ann = world.user("ann");
    let id = world.mint(&world.local(ann), session(ann), 0).token.id;
    let slower = thread::scope(|scope| {
        let mut slower = None;
        world
            .change(|tx| {
                revoke(tx, &ends(&world, ann, 1), id, Some("mine"))?;
                slower = Some(scope.spawn(|| end(&world, &server(at(2)), id, Some("too late"))));
                world.until_waiting(1);
                Ok(())
            })
            .unwrap();
        slower.unwrap().join().unwrap()
    });
    assert!(matches!(slower, Err(StoreError::Conflict { .. })), "{slower:?}");
    assert!(matches!(now(&world, id).state, TokenState::Revoked { by, .. } if by == "ann"));
}

#[test]
fn nothing_is_made_through_a_token_that_was_just_ended() {
    let world = World::new();
    let ann = world.user("ann");
    let login = world.mint(&world.local(ann), session(ann), 0);
    // Decided while the login was good; then it is revoked; then the token would be written.
    let late = permit(&world.holder(login.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(1));
    end(&world, &ends(&world, ann, 2), login.token.id, None).unwrap();
    let (_, row) = world.draft(&late, "late");
    let error = world.change(|tx| create(tx, &late, row)).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
}

#[test]
fn nothing_is_made_through_a_token_that_is_being_ended() {
    let world = World::new();
    let ann = world.user("ann");
    let login = world.mint(&world.local(ann), session(ann), 0);
    let permit = permit(&world.holder(login.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(1));
    let late = thread::scope(|scope| {
        let mut maker = None;
        world
            .change(|tx| {
                revoke(tx, &ends(&world, ann, 2), login.token.id, None)?;
                maker = Some(scope.spawn(|| world.change(|tx| create(tx, &permit, world.draft(&permit, "late").1))));
                world.until_waiting(1);
                Ok(())
            })
            .unwrap();
        maker.unwrap().join().unwrap()
    });
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE revoked_at IS NULL"), 0);
}

#[test]
fn a_token_that_is_being_made_ends_with_what_it_is_made_through() {
    let world = World::new();
    let ann = world.user("ann");
    let login = world.mint(&world.local(ann), session(ann), 0);
    let permit = permit(&world.holder(login.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(1));
    let (made, ended) = thread::scope(|scope| {
        let mut revoker = None;
        let made = world.change(|tx| {
            let made = create(tx, &permit, world.draft(&permit, "just in time").1)?;
            revoker = Some(scope.spawn(|| end(&world, &ends(&world, ann, 2), login.token.id, None)));
            world.until_waiting(1);
            Ok(made)
        });
        (made.unwrap(), revoker.unwrap().join().unwrap().unwrap())
    });
    assert_eq!(ended.descendants, [(made.id, made.shown_prefix)]);
    assert!(matches!(now(&world, made.id).state, TokenState::Revoked { .. }));
}

#[test]
fn uses_are_written_without_waiting_for_whoever_ends_the_same_tokens() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let id = |last: u8| TokenId::from_uuid(uuid::Uuid::from_u128(u128::from(last)));
    let (child, parent) = (id(1), id(2));
    let login = permit(&caller, Need::Mint(session(ann)), at(0));
    let parents = world.make_as(&login, "login", |row| row.id = parent);
    let fetch = permit(&world.holder(parents.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(0));
    world.make_as(&fetch, "fetch", |row| row.id = child);

    let uses: Vec<Use> = [child, parent]
        .map(|token| {
            let event = AuditEvent::done(Action::TokenUse, Actor::daemon()).token(token, "");
            Use { at: at(5), times: 1, event }
        })
        .into();
    let mut blocker = world.raw();
    blocker.batch_execute(&format!("BEGIN; SELECT FROM tokens WHERE id = '{child}' FOR UPDATE")).unwrap();
    thread::scope(|scope| {
        let revoker = scope.spawn(|| end(&world, &ends(&world, ann, 6), parent, None));
        world.until_waiting(1);
        // While one of the tokens is held by somebody, and its parent by who waits for that one.
        world.store.write(|tx| tok_store::audit::record_uses(tx, &uses)).unwrap();
        assert_eq!(world.count("SELECT count(*) AS number FROM last_uses"), 2);
        blocker.batch_execute("COMMIT").unwrap();
        assert_eq!(revoker.join().unwrap().unwrap().descendants.len(), 1);
    });
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE revoked_at IS NOT NULL"), 2);
}
