//! Look-ups answered by one query, and tokens made with one commit: what is asked together is kept apart.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::seq::SliceRandom;
use tok_model::audit::{Action, AuditEvent};
use tok_model::decide::{Need, OwnerNow};
use tok_model::id::TokenId;
use tok_model::kind::Permission;
use tok_model::secret::Digest;
use tok_model::token::Owner;
use tok_store::StoreError;
use tok_store::tokens::{Mint, NewToken, look_up, revoke};

use crate::world::{Made, World, at, git, permit, personal, rng, session, workspace_token};

/// A git token of ann's, through this parent.
fn mint(world: &World, user: tok_model::id::UserId, parent: Option<TokenId>, now: i64) -> (Digest, Mint) {
    let request = match parent {
        Some(_) => git(user, "ann/app", Permission::Read, 600),
        None => personal(user, "repo:read", None),
    };
    let permit = permit(&world.local(user), Need::Mint(request), at(now));
    let (_, row) = world.draft(&permit, "made together");
    let event = AuditEvent::done(Action::TokenMint, permit.actor().clone()).token(row.id, &row.shown_prefix);
    (row.digest, Mint { permit, new: NewToken { parent, ..row }, event })
}

#[test]
fn a_lookup_of_many_says_of_each_what_it_would_say_alone() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    let (by_ann, by_bob) = (world.local(ann), world.local(bob));
    let mut made: Vec<Made> = Vec::new();
    for number in 0..4 {
        made.push(world.mint(&by_ann, personal(ann, "repo:read", None), number));
        made.push(world.mint(&by_bob, personal(bob, "repo:read", None), number));
        made.push(world.mint(&by_ann, workspace_token(acme, "acme", Permission::Read), number));
    }
    // One row that no version understands, one that not even the driver can read, and one owner with an odd role.
    world.sql(&format!(
        "ALTER TABLE tokens DROP CONSTRAINT tokens_kind_check;
         UPDATE tokens SET kind = 'agent' WHERE id = '{}'",
        made[0].token.id
    ));
    world.sql(&format!(
        "ALTER TABLE members DROP CONSTRAINT members_role_check;
         UPDATE members SET role = 'auditor' WHERE user_id = '{bob}'"
    ));
    let mut asked: Vec<Digest> = made.iter().map(|made| made.digest).collect();
    asked.extend((0..6).map(|number| Digest::from_bytes([number; 32])));
    asked.extend_from_within(..6);
    for _ in 0..30 {
        asked.shuffle(&mut rng());
        let some = &asked[..rng().random_range(1..=asked.len())];
        let together = world.store.read(|tx| look_up(tx, some)).unwrap();
        for digest in some {
            let alone = world.store.read(|tx| look_up(tx, &[*digest])).unwrap().remove(digest);
            match (together.get(digest), alone) {
                (None, None) => {}
                (Some(Ok(together)), Some(Ok(alone))) => {
                    assert_eq!(together.token, alone.token);
                    assert_eq!(format!("{:?}", together.owner), format!("{:?}", alone.owner));
                    let maker = made.iter().find(|made| made.digest == *digest).unwrap();
                    assert_eq!(together.token.id, maker.token.id);
                }
                (Some(Err(together)), Some(Err(alone))) => {
                    assert_eq!(together.to_string(), alone.to_string());
                    assert!(matches!(together, StoreError::Corrupt { .. }), "{together}");
                }
                (together, alone) => panic!("{together:?} is not {alone:?}"),
            }
        }
        // Nothing that nobody asked for.
        let wanted: BTreeSet<&[u8; 32]> = some.iter().map(Digest::as_bytes).collect();
        assert!(together.keys().all(|digest| wanted.contains(digest.as_bytes())));
    }
    let found = world.store.read(|tx| look_up(tx, &asked)).unwrap();
    let failed = found.values().filter(|found| found.is_err()).count();
    assert_eq!((found.len(), failed), (12, 5), "ann's odd token, and bob's four");
    let of_acme = found[&made[2].digest].as_ref().unwrap();
    assert!(matches!(&of_acme.owner, OwnerNow::Workspace { id, disabled_maker: None, .. } if *id == acme));
}

#[test]
fn tokens_made_together_are_made_or_refused_each_for_itself() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let live: Vec<TokenId> = (0..3).map(|_| world.mint(&caller, session(ann), 0).token.id).collect();
    let dead: Vec<TokenId> = (0..3).map(|_| world.mint(&caller, session(ann), 0).token.id).collect();
    for id in &dead {
        let permit = permit(&caller, Need::EndTokens { owner: Owner::User(ann) }, at(1));
        world.change(|tx| revoke(tx, &permit, *id, None)).unwrap();
    }
    for round in 0..12 {
        let count: usize = rng().random_range(1..=100);
        let mints: Vec<(Digest, Mint)> = (0..count)
            .map(|_| {
                let parent = match rng().random_range(0..4) {
                    0 => None,
                    1 => Some(dead[rng().random_range(0..3)]),
                    _ => Some(live[rng().random_range(0..3)]),
                };
                mint(&world, ann, parent, 2 + round)
            })
            .collect();
        let counted = || {
            let lines = "SELECT count(*) AS number FROM audit WHERE action = 'token.mint'";
            (world.count("SELECT count(*) AS number FROM tokens"), world.count(lines))
        };
        let before = counted();
        let outcomes = world.store.mint_together(&mints.iter().map(|(_, mint)| mint).collect::<Vec<_>>()).unwrap();
        assert_eq!(outcomes.len(), count);
        let mut made = 0;
        for ((digest, mint), outcome) in mints.iter().zip(outcomes) {
            let found = world.store.read(|tx| look_up(tx, &[*digest])).unwrap().remove(digest);
            if mint.new.parent.is_some_and(|parent| dead.contains(&parent)) {
                assert!(matches!(&outcome, Err(StoreError::Conflict { what }) if what.contains("just been revoked")));
                assert!(found.is_none());
            } else {
                let token = outcome.unwrap();
                assert_eq!(token, *found.unwrap().unwrap().token);
                assert_eq!((token.id, token.owner_name.as_str()), (mint.new.id, "ann"));
                let lines = format!("SELECT count(*) AS number FROM audit WHERE token_id = '{}'", token.id);
                assert_eq!(world.count(&lines), 1);
                made += 1;
            }
        }
        let after = counted();
        assert_eq!((after.0 - before.0, after.1 - before.1), (made, made));
    }
}

#[test]
fn what_cannot_be_made_undoes_all_that_was_to_be_made_with_it() {
    let world = World::new();
    let ann = world.user("ann");
    let (digest, good) = mint(&world, ann, None, 1);
    let (_, mut twin) = mint(&world, ann, None, 1);
    twin.new.digest = digest;
    let before = world.count("SELECT count(*) AS number FROM audit");
    let outcome = world.store.mint_together(&[&good, &twin]);
    assert!(matches!(&outcome, Err(StoreError::Conflict { .. })), "{outcome:?}");
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), 0);
    assert_eq!(world.count("SELECT count(*) AS number FROM audit"), before);
    // Each by itself: the first is made, the second is not, and a second try of the first is the same token.
    let first = world.store.mint(&good).unwrap();
    world.store.mint(&twin).unwrap_err();
    assert_eq!(world.store.mint(&good).unwrap(), first);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), 1);
}
