//! Look-ups answered by one query, and tokens made with one commit: what is asked together is kept apart.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use rand::RngExt;
use rand::seq::SliceRandom;
use tok_model::decide::{MintRequest, Need, OwnerNow};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::kind::{Permission, Role};
use tok_model::secret::Digest;
use tok_model::token::Owner;
use tok_store::StoreError;
use tok_store::tokens::{Mint, Shape, StoredSecret, cut_off, look_up, modify, revoke};

use crate::audit_chain::{faults, intact};
use crate::endings::act;
use crate::world::{
    Made, World, at, every_kind_of_grant, git, permit, personal, rng, root, server, session, workspace_token,
};

/// A git token of ann's through this parent, or a personal one through none.
fn mint(world: &World, user: tok_model::id::UserId, parent: Option<TokenId>, now: i64) -> (Digest, Mint) {
    let request = match parent {
        Some(_) => git(user, "ann/app", Permission::Read, 600),
        None => personal(user, "repo:read", None),
    };
    let mint = world.asked(permit(&world.local(user), Need::Mint(request), at(now)), parent);
    (digest(&mint), mint)
}

fn digest(mint: &Mint) -> Digest {
    match mint.new.secret {
        StoredSecret::Digest { digest, .. } => digest,
        StoredSecret::Hash(_) => panic!("a secret that has a digest"),
    }
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
fn what_is_made_together_with_others_is_what_it_would_be_alone() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let caller = world.local(ann);
    let parent = world.mint(&caller, session(ann), 0).token.id;
    let mut together = Vec::new();
    for (owner, grant) in every_kind_of_grant(Owner::User(ann), Owner::Workspace(acme)) {
        let allow_from: Vec<_> = ["192.0.2.0/24", "2001:db8::/32"].iter().map(|block| block.parse().unwrap()).collect();
        for (expires_at, allow_from) in [(Some(at(600)), allow_from), (None, Vec::new())] {
            if matches!(grant, Grant::Git { .. }) && expires_at.is_none() {
                continue;
            }
            let request = MintRequest { owner, grant: grant.clone(), expires_at, allow_from };
            let said = expires_at.is_some();
            let through = (said || matches!(grant, Grant::Git { .. })).then_some(parent);
            let two = [0, 1].map(|_| {
                let mut mint = world.asked(permit(&caller, Need::Mint(request.clone()), at(7)), through);
                if said {
                    "one\nof \"two\", {lines} \\ ✓".clone_into(&mut mint.new.description);
                    mint.new.labels = ["ci", "team:web"].map(|label| label.parse().unwrap()).into();
                    mint.new.max_uses = Some(3);
                    mint.new.imported_from = Some("wit");
                }
                mint
            });
            let [alone, other] = two;
            world.store.mint(&alone).unwrap();
            together.push(other);
        }
    }
    let made = world.store.mint_together(&together.iter().collect::<Vec<_>>()).unwrap();
    for (mint, token) in together.iter().zip(made) {
        let digest = digest(mint);
        assert_eq!(
            token.unwrap(),
            *world.store.read(|tx| look_up(tx, &[digest])).unwrap()[&digest].as_ref().unwrap().token
        );
    }
    // But for its ID and its secret each is the row that was made alone.
    let kinds = "SELECT count(*) AS number FROM (SELECT DISTINCT to_jsonb(tokens) - ARRAY['id', 'digest', 'family_id', \
                 'shown_prefix'] FROM tokens WHERE name = 'asked for') AS kinds";
    let rows = "SELECT count(*) AS number FROM tokens WHERE name = 'asked for'";
    let count = i64::try_from(together.len()).unwrap();
    assert_eq!((world.count(kinds), world.count(rows)), (count, 2 * count));
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
    let (_, good) = mint(&world, ann, None, 1);
    let (_, mut twin) = mint(&world, ann, None, 1);
    twin.new.secret = good.new.secret.clone();
    let before = world.count("SELECT count(*) AS number FROM audit");
    let outcome = world.store.mint_together(&[&good, &twin]);
    assert!(matches!(&outcome, Err(StoreError::Taken { field: "secret", .. })), "{outcome:?}");
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), 0);
    assert_eq!(world.count("SELECT count(*) AS number FROM audit"), before);
    // Each by itself: the first is made, the second is not, and a second try of the first is the same token.
    let first = world.store.mint(&good).unwrap();
    world.store.mint(&twin).unwrap_err();
    assert_eq!(world.store.mint(&good).unwrap(), first);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), 1);
}

#[test]
fn a_mint_that_postgresql_undoes_for_the_sake_of_another_is_tried_once_more() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), session(ann), 0).token.id;
    let (_, mint) = mint(&world, ann, Some(parent), 1);
    let mut other = world.raw();
    // The other one never looks for a circle: so it is the mint that finds it, and is undone.
    let token = format!("SET deadlock_timeout = '60s'; BEGIN; SELECT 1 FROM tokens WHERE id = '{parent}' FOR UPDATE");
    other.batch_execute(&token).unwrap();
    let made = thread::scope(|scope| {
        let maker = scope.spawn(|| world.store.mint(&mint));
        // It has its owner, and wants the token that the other one has.
        world.until_waiting(1);
        other.batch_execute(&format!("SELECT 1 FROM users WHERE id = '{ann}' FOR UPDATE; COMMIT")).unwrap();
        maker.join().unwrap()
    });
    assert_eq!(made.unwrap().id, mint.new.id);
    let undone = "SELECT deadlocks AS number FROM pg_stat_database WHERE datname = current_database()";
    let begin = Instant::now();
    while world.count(undone) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing was undone: the test shows nothing");
        thread::yield_now();
    }
    let lines = format!("SELECT count(*) AS number FROM audit WHERE token_id = '{}'", mint.new.id);
    assert_eq!(world.count(&lines), 1);
}

/// Whether these are made, or what is said: of all of them together, then of each alone, by a store that knows nothing of
/// what was made before.
fn outcomes(world: &World, mints: &[Mint]) -> Vec<Option<String>> {
    let said = |outcome: Result<_, StoreError>| match outcome {
        Ok(_) => None,
        Err(StoreError::Conflict { what }) => Some(what),
        Err(error) => panic!("{error}"),
    };
    let together = world.store.mint_together(&mints.iter().collect::<Vec<_>>()).unwrap();
    let together: Vec<Option<String>> = together.into_iter().map(said).collect();
    // A second try of what was made finds it; what was refused is refused for the same reason.
    let alone: Vec<Option<String>> = mints.iter().map(|mint| said(world.store.mint(mint))).collect();
    assert_eq!(together, alone);
    for (mint, refused) in mints.iter().zip(&together) {
        let there = world.count(&format!("SELECT count(*) AS number FROM tokens WHERE id = '{}'", mint.new.id));
        let lines = world.count(&format!("SELECT count(*) AS number FROM audit WHERE token_id = '{}'", mint.new.id));
        assert_eq!((there, lines), if refused.is_none() { (1, 1) } else { (0, 0) });
    }
    together
}

#[test]
fn nothing_is_made_together_through_what_a_cut_off_ended() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    let (by_ann, by_bob) = (world.local(ann), world.local(bob));
    let cut = world.mint(&by_ann, personal(ann, "all", None), 0);
    let cut_with_acme = world.mint(&by_ann, workspace_token(acme, "acme", Permission::Write), 0);
    let kept = world.mint(&by_bob, personal(bob, "all", None), 0);
    // Decided before, as by a daemon that does not know yet.
    let holders = [&cut, &kept].map(|made| world.holder(made.digest));
    let of_acme = world.holder(cut_with_acme.digest);
    world.change(|tx| cut_off(tx, &server(at(5)), Owner::User(ann), at(5), None, act())).unwrap();
    world.change(|tx| cut_off(tx, &server(at(5)), Owner::Workspace(acme), at(5), None, act())).unwrap();
    let young = world.mint(&world.local(ann), personal(ann, "all", None), 6);
    let for_git = |caller, user, parent| {
        world.asked(permit(caller, Need::Mint(git(user, "ann/app", Permission::Read, 600)), at(7)), Some(parent))
    };
    let plain = |caller, user, parent| {
        world.asked(permit(caller, Need::Mint(personal(user, "repo:read", None)), at(7)), Some(parent))
    };
    let bobs_git = world
        .asked(permit(&holders[1], Need::Mint(git(bob, "bob/app", Permission::Read, 600)), at(7)), Some(kept.token.id));
    let acmes_git = MintRequest { owner: Owner::Workspace(acme), ..git(ann, "acme/app", Permission::Read, 600) };
    let acmes_git = world.asked(permit(&of_acme, Need::Mint(acmes_git), at(7)), Some(cut_with_acme.token.id));
    let mints = [
        for_git(&holders[0], ann, cut.token.id),
        plain(&holders[0], ann, cut.token.id),
        acmes_git,
        bobs_git,
        plain(&holders[1], bob, kept.token.id),
        for_git(&world.holder(young.digest), ann, young.token.id),
        plain(&world.holder(young.digest), ann, young.token.id),
    ];
    let refused: Vec<bool> = outcomes(&world, &mints)
        .into_iter()
        .map(|said| said.inspect(|said| assert!(said.contains("just been revoked"), "{said}")).is_some())
        .collect();
    assert_eq!(refused, [true, true, true, false, false, false, false]);
}

#[test]
fn nothing_is_made_together_that_outlives_the_grace_of_what_it_is_made_through() {
    let world = World::new();
    let ann = world.user("ann");
    let old = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let holder = world.holder(old.digest);
    let asked = |request| world.asked(permit(&holder, Need::Mint(request), at(1)), Some(old.token.id));
    let mints = [
        asked(git(ann, "ann/app", Permission::Read, 100)),
        asked(git(ann, "ann/app", Permission::Read, 101)),
        asked(personal(ann, "repo:read", Some(100))),
        asked(personal(ann, "repo:read", Some(101))),
        asked(personal(ann, "repo:read", None)),
    ];
    // Given up for a successor since that was decided, with a grace that ends at the hundredth second.
    let successor = world.mint(&world.local(ann), personal(ann, "all", None), 2).token.id;
    world.sql(&format!(
        "UPDATE tokens SET rotated_at = created_at, rotated_by = 'ann', grace_ends_at = '{}', successor_id = '{successor}' \
         WHERE id = '{}'",
        at(100).to_rfc3339(),
        old.token.id
    ));
    let refused: Vec<bool> = outcomes(&world, &mints).iter().map(Option::is_some).collect();
    assert_eq!(refused, [false, true, false, true, true]);
}

#[test]
fn nothing_is_made_together_for_a_workspace_by_whoever_was_put_out_of_it_nor_for_whom_is_gone() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let carol = world.user("carol");
    let (acme, gone) = (world.workspace("acme", "ann"), world.workspace("gone", "ann"));
    for workspace in ["acme", "gone"] {
        world.member(workspace, "bob", Role::Maintainer);
    }
    let asked = |user, request| world.asked(permit(&world.local(user), Need::Mint(request), at(1)), None);
    let of = |id, name| workspace_token(id, name, Permission::Write);
    let mints = [
        asked(ann, of(acme, "acme")),
        asked(bob, of(acme, "acme")),
        asked(ann, of(gone, "gone")),
        asked(bob, personal(bob, "repo:read", None)),
        asked(carol, personal(carol, "repo:read", None)),
    ];
    let manages = permit(&root(), Need::ManageWorkspace { workspace: "acme".parse().unwrap() }, at(2));
    world.change(|tx| tok_store::workspaces::remove_member(tx, &manages, &"bob".parse().unwrap())).unwrap();
    world.change(|tx| tok_store::workspaces::delete(tx, &server(at(2)), &"gone".parse().unwrap())).unwrap();
    world.change(|tx| tok_store::users::delete(tx, &server(at(3)), &"carol".parse().unwrap())).unwrap();
    let said = outcomes(&world, &mints);
    assert_eq!(said[0], None);
    assert!(said[1].as_ref().unwrap().contains("no maintainer"));
    assert!(said[2].as_ref().unwrap().contains("workspace that the token was to act for was just deleted"));
    assert_eq!(said[3], None);
    assert!(said[4].as_ref().unwrap().contains("user that the token was to act for was just deleted"));
}

#[test]
fn lines_of_tokens_made_together_are_numbered_and_chained_as_any() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), session(ann), 0).token.id;
    for count in [1, 2, 70, 128] {
        let mints: Vec<Mint> = (0..count).map(|_| mint(&world, ann, Some(parent), 1).1).collect();
        let made = world.store.mint_together(&mints.iter().collect::<Vec<_>>()).unwrap();
        assert!(made.iter().all(Result::is_ok));
        world.store.mint(&mint(&world, ann, Some(parent), 1).1).unwrap();
    }
    let numbers = "SELECT count(DISTINCT (chain, number)) AS number FROM audit WHERE action = 'token.mint' \
                   AND mac IS NOT NULL";
    assert_eq!(world.count(numbers), 1 + 2 + 70 + 128 + 4);
    world.store.seal(at(10)).unwrap();
    intact(&world.store);
    // And one of them that somebody changed is found.
    world.sql("UPDATE audit SET detail = 'x' WHERE id = (SELECT max(id) - 3 FROM audit WHERE action = 'token.mint')");
    assert_eq!(faults(&world.store).len(), 1);
}

#[test]
fn what_was_decided_before_its_parent_was_narrowed_is_not_made() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    // Decided on what the parent was; then it is narrowed, behind the back of whoever decided.
    let caller = world.holder(parent.digest);
    let asked = |request, version: Option<i32>| {
        let mint = world.asked(permit(&caller, Need::Mint(request), at(1)), Some(parent.token.id));
        Mint { new: tok_store::tokens::NewToken { parent_version: version, ..mint.new }, ..mint }
    };
    let for_git = |version| asked(git(ann, "ann/app", Permission::Write, 600), version);
    let personal_one = |version| asked(personal(ann, "all", None), version);
    let mut narrow = Shape::of(&parent.token);
    narrow.reach.grant = Grant::Personal { scopes: "repo:read".parse().unwrap(), routes: None };
    let change = permit(&world.local(ann), Need::ChangeTokens { owner: Owner::User(ann) }, at(2));
    world.change(|tx| modify(tx, &change, parent.token.id, 1, &narrow, None)).unwrap();
    let before = world.count("SELECT count(*) AS number FROM tokens");
    // Each way to make one: a git token by one statement, any other by a transaction, and several together.
    for stale in [for_git(Some(1)), personal_one(Some(1))] {
        assert!(matches!(world.store.mint(&stale), Err(StoreError::Conflict { .. })));
    }
    let (one, two) = (for_git(Some(1)), personal_one(Some(1)));
    let outcomes = world.store.mint_together(&[&one, &two]).unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Conflict { .. }))), "{outcomes:?}");
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), before);
    // On what it is now, it is made.
    world.store.mint(&for_git(Some(2))).unwrap();
    let (one, two) = (for_git(Some(2)), for_git(None));
    assert!(world.store.mint_together(&[&one, &two]).unwrap().iter().all(Result::is_ok));
}
