//! Rotation against a model of it: whatever happens in whatever order, the database stands as a few lines of Rust say.

use proptest::prelude::*;
use tok_model::decide::Need;
use tok_model::id::UserId;
use tok_model::kind::Permission;
use tok_model::token::{Owner, Standing, Token, TokenState};
use tok_store::StoreError;
use tok_store::tokens::{self, FirstUse};

use crate::world::{Made, World, at, git, permit, personal, server};

/// Something that happens, to the token of this number (of those there are).
#[derive(Debug, Clone)]
enum Act {
    /// It is given a successor, with a grace of so many seconds.
    Rotate(usize, i64),
    /// Its text is presented.
    Present(usize),
    /// A token is made through it.
    Mint(usize),
    /// Somebody ends it.
    Revoke(usize),
    /// Time passes.
    Wait(i64),
}

fn any_act() -> impl Strategy<Value = Act> {
    let which = 0_usize..12;
    prop_oneof![
        3 => (which.clone(), prop_oneof![Just(0), 1_i64..60]).prop_map(|(which, grace)| Act::Rotate(which, grace)),
        5 => which.clone().prop_map(Act::Present),
        2 => which.clone().prop_map(Act::Mint),
        1 => which.prop_map(Act::Revoke),
        2 => (1_i64..40).prop_map(Act::Wait),
    ]
}

/// What the model knows of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    family: usize,
    parent: Option<usize>,
    /// When it ends by itself.
    ends: Option<i64>,
    revoked: bool,
    /// Its successor, and until when it works beside that.
    rotated: Option<(usize, i64)>,
    predecessor: Option<usize>,
    used: bool,
}

impl Known {
    /// When it ends by itself, if it does.
    fn end(&self) -> Option<i64> {
        [self.ends, self.rotated.map(|(_, grace)| grace)].into_iter().flatten().min()
    }

    fn works(&self, now: i64) -> bool {
        !self.revoked && self.ends.is_none_or(|end| end > now) && self.rotated.is_none_or(|(_, grace)| grace > now)
    }
}

#[derive(Default)]
struct Model(Vec<Known>);

impl Model {
    /// What was made through a token ends with it, unless it ran out before: that stays what it is, and nobody's to change.
    fn end_line(&mut self, of: usize, itself: bool, now: i64) {
        if itself {
            self.0[of].revoked = true;
        }
        let children: Vec<usize> =
            (0..self.0.len()).filter(|child| self.0[*child].parent == Some(of) && !self.0[*child].revoked).collect();
        for child in children {
            self.end_line(child, self.0[child].ends.is_none_or(|end| end > now), now);
        }
    }

    fn clamp_line(&mut self, of: usize, latest: i64) {
        let children: Vec<usize> =
            (0..self.0.len()).filter(|child| self.0[*child].parent == Some(of) && !self.0[*child].revoked).collect();
        for child in children {
            self.0[child].ends = Some(self.0[child].ends.map_or(latest, |end| end.min(latest)));
            self.clamp_line(child, latest);
        }
    }

    /// `true`: let in.
    fn present(&mut self, which: usize, now: i64) -> bool {
        let token = self.0[which].clone();
        if !token.revoked && token.rotated.is_some_and(|(_, grace)| grace <= now) {
            for other in (0..self.0.len()).filter(|other| self.0[*other].family == token.family).collect::<Vec<_>>() {
                if !self.0[other].revoked {
                    self.end_line(other, true, now);
                }
            }
            return false;
        }
        if !token.works(now) {
            return false;
        }
        if !token.used {
            self.0[which].used = true;
            let mut before = token.predecessor;
            while let Some(old) = before {
                if let Some((successor, grace)) = self.0[old].rotated
                    && grace > now
                    && !self.0[old].revoked
                {
                    self.0[old].rotated = Some((successor, now));
                    self.end_line(old, false, now);
                }
                before = self.0[old].predecessor;
            }
        }
        true
    }
}

/// The store's side of the same history.
struct Real<'w> {
    world: &'w World,
    ann: UserId,
    made: Vec<Made>,
}

impl Real<'_> {
    fn current(&self, which: usize) -> Token {
        self.world.holder(self.made[which].digest).token().unwrap().clone()
    }

    /// What the daemon does when a token is presented.
    fn present(&self, which: usize, now: i64) -> bool {
        let caller = self.world.holder(self.made[which].digest);
        let token = caller.token().unwrap().clone();
        if matches!(&token.state, TokenState::Rotated { grace_ends_at, .. } if *grace_ends_at <= at(now)) {
            self.world.store.write(|tx| tokens::reuse(tx, &token, &caller.actor(), at(now))).unwrap();
            return false;
        }
        if tok_model::decide::decide(&caller, Need::Identity, at(now)).is_err() {
            return false;
        }
        if token.first_use_due {
            let noted = self.world.store.write(|tx| tokens::first_use(tx, &token, &caller.actor(), at(now))).unwrap();
            assert_eq!(noted, FirstUse::Noted);
        }
        true
    }

    fn rotate(&mut self, which: usize, grace: i64, now: i64) -> bool {
        let old = self.current(which);
        let request = tok_model::decide::MintRequest {
            owner: old.owner,
            grant: old.grant.clone(),
            expires_at: None,
            allow_from: Vec::new(),
        };
        let permit = permit(&self.world.local(self.ann), Need::Mint(request), at(now));
        let (text, row) = self.world.draft(&permit, "successor");
        let tokens::StoredSecret::Digest { digest, .. } = row.secret else {
            unreachable!("a draft is of a minted token")
        };
        match self.world.change(|tx| tokens::rotate(tx, &permit, (old.id, old.version), row, at(now + grace), None)) {
            Ok(rotated) => {
                self.made.push(Made { text, digest, token: rotated.token });
                true
            }
            Err(StoreError::Conflict { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_database_stands_as_the_model_says(acts in proptest::collection::vec(any_act(), 1..30)) {
        let world = World::new();
        let ann = world.user("ann");
        let mut real = Real { world: &world, ann, made: Vec::new() };
        let mut model = Model::default();
        let fresh = |family| Known {
            family, parent: None, ends: None, revoked: false, rotated: None, predecessor: None, used: true,
        };
        for family in 0..2 {
            real.made.push(world.mint(&world.local(ann), personal(ann, "repo:read,token:write", None), 0));
            model.0.push(fresh(family));
        }
        let (mut now, mut families) = (1, 2);
        for act in acts {
            match act {
                Act::Wait(seconds) => now += seconds,
                Act::Present(which) => {
                    let which = which % real.made.len();
                    prop_assert_eq!(real.present(which, now), model.present(which, now), "{:?} at {}", which, now);
                }
                Act::Rotate(which, grace) => {
                    let which = which % real.made.len();
                    let old = model.0[which].clone();
                    let may = !old.revoked && old.rotated.is_none() && old.ends.is_none_or(|end| end > now);
                    prop_assert_eq!(real.rotate(which, grace, now), may);
                    if may {
                        let successor = model.0.len();
                        let ends = old.parent.and_then(|parent| model.0[parent].end());
                        model.0.push(Known {
                            ends,
                            parent: old.parent, predecessor: Some(which), used: false, ..fresh(old.family)
                        });
                        model.0[which].rotated = Some((successor, now + grace));
                        if grace == 0 { model.end_line(which, false, now) } else { model.clamp_line(which, now + grace) }
                    }
                }
                Act::Mint(which) => {
                    let which = which % real.made.len();
                    let parent = real.current(which);
                    let ends = parent.ends_at().map(|end| (end - at(0)).num_seconds());
                    let maker = world.holder(real.made[which].digest);
                    let request = personal(ann, "repo:read,token:write", ends);
                    let allowed = tok_model::decide::decide(&maker, Need::Mint(request), at(now));
                    prop_assert_eq!(allowed.is_ok(), model.0[which].works(now));
                    if let Ok(permit) = allowed {
                        real.made.push(world.make(&permit, "child"));
                        model.0.push(Known { parent: Some(which), ends, ..fresh(families) });
                        families += 1;
                    }
                }
                Act::Revoke(which) => {
                    let which = which % real.made.len();
                    let id = real.made[which].token.id;
                    let ended = world.change(|tx| tokens::revoke(tx, &server(at(now)), id, None));
                    prop_assert_eq!(ended.is_ok(), !model.0[which].revoked);
                    model.end_line(which, true, now);
                }
            }
            for (which, known) in model.0.iter().enumerate() {
                let caller = world.holder(real.made[which].digest);
                let (token, stands) = (caller.token().unwrap(), tok_model::decide::decide(&caller, Need::Identity, at(now)));
                prop_assert_eq!(stands.is_ok(), known.works(now), "{} at {}: {:?} {:?}", which, now, token, known);
                prop_assert_eq!(matches!(token.state, TokenState::Revoked { .. }), known.revoked);
                prop_assert_eq!(!token.first_use_due, known.used);
            }
        }
    }
}

#[test]
fn an_alarm_ends_what_lives_at_any_remove_and_what_had_run_out_stays_so() {
    let world = World::new();
    let ann = world.user("ann");
    let request = |ends| personal(ann, "repo:read,token:write", ends);
    let first = world.mint(&world.local(ann), request(None), 0);
    let child = world.mint(&world.holder(first.digest), request(None), 1);
    let grandchild = world.mint(&world.holder(child.digest), request(None), 1);
    let mut real = Real { world: &world, ann, made: vec![first, child, grandchild] };
    // The child's successor and the grandchild end when the first's grace does, and that is over when the child is presented.
    assert!(real.rotate(0, 1, 1) && real.rotate(1, 1, 1));
    assert!(!real.present(1, 2));
    let standing = |real: &Real<'_>, now| {
        (0..real.made.len()).map(|which| real.current(which).standing(at(now))).collect::<Vec<_>>()
    };
    let (active, revoked, expired) = (Standing::Active, Standing::Revoked, Standing::Expired);
    assert_eq!(standing(&real, 2), [revoked, revoked, expired, active, revoked], "the last is of the child's family");
}

#[test]
fn nobody_prolongs_what_had_run_out_when_the_token_it_was_made_through_ended() {
    let world = World::new();
    let ann = world.user("ann");
    let request = |ends| personal(ann, "repo:read,token:write", ends);
    let first = world.mint(&world.local(ann), request(None), 0);
    let child = world.mint(&world.holder(first.digest), request(Some(10)), 0);
    world.change(|tx| tokens::revoke(tx, &server(at(11)), first.token.id, None)).unwrap();
    let mut real = Real { world: &world, ann, made: vec![first, child] };
    let child = real.current(1);
    assert_eq!(child.standing(at(11)), Standing::Expired);
    // Whoever looked at the clock just before it ran out.
    let changes = permit(&world.local(ann), Need::ChangeTokens { owner: Owner::User(ann) }, at(9));
    let wider = permit(&world.local(ann), Need::Mint(request(Some(90))), at(9));
    let mut shape = tokens::Shape::of(&child);
    shape.reach.expires_at = Some(at(90));
    let late = world.change(|tx| tokens::modify(tx, &changes, child.id, child.version, &shape, Some(&wider)));
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    assert!(!real.rotate(1, 60, 9));
    assert_eq!(real.current(1), child);
}

#[test]
fn what_successors_of_children_made_ends_with_the_first_and_with_the_alarm() {
    for alarm in [false, true] {
        let world = World::new();
        let ann = world.user("ann");
        let request = || personal(ann, "repo:read,token:write", None);
        let first = world.mint(&world.local(ann), request(), 0);
        let mut real = Real { world: &world, ann, made: vec![first] };
        assert!(real.rotate(0, 60, 1) && real.present(1, 2), "the first has given up its place");
        let child = world.mint(&world.holder(real.made[1].digest), request(), 3);
        real.made.push(child);
        assert!(real.rotate(2, 0, 4) && real.present(3, 5));
        let grandchild = world.mint(&world.holder(real.made[3].digest), request(), 6);
        let git = world.mint(&world.holder(grandchild.digest), git(ann, "ann/app", Permission::Read, 600), 6);
        real.made.extend([grandchild, git]);
        assert_eq!(real.current(3).parent, Some(real.made[1].token.id), "a successor keeps the parent");
        if alarm {
            assert!(!real.present(0, 7));
        } else {
            let id = real.made[1].token.id;
            world.change(|tx| tokens::revoke(tx, &server(at(7)), id, None)).unwrap();
        }
        let ended: Vec<bool> =
            (0..6).map(|which| matches!(real.current(which).state, TokenState::Revoked { .. })).collect();
        assert_eq!(ended, [alarm, true, true, true, true, true]);
    }
}

#[test]
fn a_token_that_is_being_made_through_one_that_is_given_up_ends_with_it() {
    let world = World::new();
    let ann = world.user("ann");
    let old = world.mint(&world.local(ann), personal(ann, "repo:read,token:write", None), 0);
    let making = permit(&world.holder(old.digest), Need::Mint(personal(ann, "repo:read", None)), at(1));
    // This has run out by then, and is not ended once more.
    world.mint(&world.holder(old.digest), git(ann, "ann/app", Permission::Read, 1), 0);
    let successor = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read,token:write", None)), at(2));
    let rotate = || {
        let (_, row) = world.draft(&successor, "successor");
        world.change(|tx| tokens::rotate(tx, &successor, (old.token.id, 1), row, at(2), None))
    };
    let (made, rotated) = std::thread::scope(|scope| {
        let mut rotating = None;
        let made = world.change(|tx| {
            let made = tokens::create(tx, &making, world.draft(&making, "just in time").1)?;
            rotating = Some(scope.spawn(rotate));
            world.until_waiting(1);
            Ok(made)
        });
        (made.unwrap(), rotating.unwrap().join().unwrap().unwrap())
    });
    assert_eq!(rotated.ended, [(made.id, made.shown_prefix)]);
}

#[test]
fn what_comes_back_does_not_outlive_what_was_given_up_meanwhile() {
    let world = World::new();
    let ann = world.user("ann");
    for (grace, end) in [(0, None), (30, Some(at(32)))] {
        let old = world.mint(&world.local(ann), personal(ann, "repo:read,token:write", None), 0);
        let child = world.mint(&world.holder(old.digest), personal(ann, "repo:read,token:write", None), 0);
        let grandchild = world.mint(&world.holder(child.digest), personal(ann, "repo:read", None), 0);
        let mut real = Real { world: &world, ann, made: vec![old, child, grandchild] };
        let id = real.made[1].token.id;
        world.change(|tx| tokens::revoke(tx, &server(at(1)), id, None)).unwrap();
        assert!(real.rotate(0, grace, 2));
        let back = world.change(|tx| tokens::restore(tx, &server(at(3)), id));
        let Some(end) = end else {
            assert!(matches!(back, Err(StoreError::Conflict { .. })), "{back:?}");
            continue;
        };
        assert_eq!(back.unwrap().count, 2);
        assert_eq!([1, 2].map(|which| real.current(which).expires_at), [Some(end), Some(end)]);
    }
}
