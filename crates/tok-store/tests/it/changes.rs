//! What a token suffers besides rotation: retries under a key, counted uses, changes by hand.

use tok_model::audit::Actor;
use tok_model::decide::Need;
use tok_model::id::TokenId;
use tok_model::token::{Owner, TokenState};
use tok_store::StoreError;
use tok_store::tokens::{self, Claim, Counted, Key};

use crate::world::{World, at, permit, personal, server};

fn key(caller: &str, key: &str, request: u8) -> Key {
    Key { caller: caller.to_owned(), key: key.to_owned(), request: vec![[request; 32]] }
}

#[test]
fn a_key_is_fresh_or_retried_or_says_why_not() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let make = |key: &Key, now: i64| {
        let permit = permit(&caller, Need::Mint(personal(ann, "repo:read", None)), at(now));
        let (_, row) = world.draft(&permit, "keyed");
        world.change(|tx| {
            let claim = tokens::claim(tx, key, "ann", at(now))?;
            match claim {
                Claim::Fresh | Claim::Retry(_) => {
                    tokens::create_under_key(tx, &permit, row, key).map(|made| (claim, Some(made)))
                }
                other => Ok((other, None)),
            }
        })
    };
    let (claim, first) = make(&key("user:ann", "k", 1), 0).unwrap();
    let first = first.unwrap();
    assert!(first.first_use_due);
    assert_eq!(claim, Claim::Fresh);
    let (claim, second) = make(&key("user:ann", "k", 1), 1).unwrap();
    let second = second.unwrap();
    assert!(matches!(claim, Claim::Retry(replaced) if replaced.id == first.id));
    assert_eq!(make(&key("user:ann", "k", 2), 2).unwrap().0, Claim::OtherRequest);
    assert_eq!(make(&key("user:bob", "k", 2), 2).unwrap().0, Claim::Fresh, "keys are each caller's own");
    // A request that was hashed under an earlier pepper is the same request.
    let both = Key { request: vec![[9; 32], [1; 32]], ..key("user:ann", "k", 1) };
    assert!(matches!(make(&both, 3).unwrap().0, Claim::Retry(replaced) if replaced.id == second.id));
    let used = make(&both, 4).unwrap().1.unwrap();
    world.store.write(|tx| tokens::first_use(tx, &used, &Actor::daemon(), at(5))).unwrap();
    assert_eq!(make(&both, 6).unwrap().0, Claim::Used(used.shown_prefix.clone()));
    world.change(|tx| tokens::revoke(tx, &server(at(7)), used.id, None)).unwrap();
    assert_eq!(make(&both, 8).unwrap().0, Claim::Ended(used.shown_prefix));
    // A day after the last retry it is anybody's again.
    assert_eq!(make(&key("user:ann", "k", 7), 24 * 3600 + 3).unwrap().0, Claim::OtherRequest);
    assert_eq!(make(&key("user:ann", "k", 7), 24 * 3600 + 4).unwrap().0, Claim::Fresh);
}

#[test]
fn uses_are_counted_to_the_last_one_which_ends_the_token_and_what_was_made_through_it() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "repo:read,token:write", None), 0);
    let child = world.mint(&world.holder(made.digest), personal(ann, "repo:read", None), 0);
    let changes = permit(&world.local(ann), Need::ChangeTokens { owner: Owner::User(ann) }, at(1));
    let mut shape = tokens::Shape::of(&made.token);
    shape.reach.max_uses = Some(3);
    let limited = world.change(|tx| tokens::modify(tx, &changes, made.token.id, 1, &shape, None)).unwrap().token;
    let actor = world.holder(made.digest).actor();
    let outcomes: Vec<Counted> = std::thread::scope(|scope| {
        let count = || world.store.write(|tx| tokens::count_use(tx, &limited, &actor, at(2))).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Counted::LetIn).count(), 3);
    let now = world.holder(made.digest).token().unwrap().clone();
    let used_up = TokenState::Revoked { at: at(2), by: "ann".to_owned(), reason: Some("used up".to_owned()) };
    assert_eq!((now.state, now.use_limit.unwrap().so_far), (used_up, 3));
    assert!(matches!(world.holder(child.digest).token().unwrap().state, TokenState::Revoked { .. }));
}

#[test]
fn a_change_narrows_freely_and_widens_by_its_own_permit_only() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "repo:read", Some(100)), 0).token;
    let changes = |now| permit(&world.local(ann), Need::ChangeTokens { owner: Owner::User(ann) }, at(now));
    let change = |version, shape: &tokens::Shape, wider: Option<&tok_model::decide::Permit>| {
        world.change(|tx| tokens::modify(tx, &changes(1), made.id, version, shape, wider))
    };
    let mut shape = tokens::Shape::of(&made);
    shape.reach.expires_at = Some(at(50));
    assert_eq!(change(1, &shape, None).unwrap().token.version, 2);
    let late = change(1, &shape, None).unwrap_err();
    assert!(matches!(&late, StoreError::Conflict { what } if what.contains("version is 2")), "{late}");
    shape.reach.expires_at = Some(at(60));
    assert!(matches!(change(2, &shape, None), Err(StoreError::Permit(_))));
    let other = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read", Some(70))), at(1));
    assert!(matches!(change(2, &shape, Some(&other)), Err(StoreError::Permit(_))), "a permit for something else");
    let exactly = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read", Some(60))), at(1));
    assert_eq!(change(2, &shape, Some(&exactly)).unwrap().token.expires_at, Some(at(60)));
    let nobodys: TokenId = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    let missing = world.change(|tx| tokens::modify(tx, &changes(1), nobodys, 1, &shape, None));
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}
