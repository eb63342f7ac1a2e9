//! Ends by selection and by one row, and what one act ended coming back.

use std::thread;

use chrono::TimeDelta;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::kind::{Permission, TokenKind};
use tok_model::page::PageSize;
use tok_model::secret::Digest;
use tok_model::token::{Owner, Reference, Standing, Token, TokenState};
use tok_store::StoreError;
use tok_store::tokens::{
    CutOff, EndedMany, Filter, Restored, Selection, by_digests, clamp, count_live, create, cut_off, end_idle, find,
    list, purge_git, restore, revoke, revoke_selected, selected,
};
use uuid::Uuid;

use crate::world::{World, at, git, permit, personal, rng, root, server, session, workspace_token};

pub(crate) fn ends(world: &World, user: UserId, now: i64) -> Permit {
    permit(&world.local(user), Need::EndTokens { owner: Owner::User(user) }, at(now))
}

pub fn act() -> Uuid {
    TokenId::random(&mut rng()).as_uuid()
}

pub(crate) fn seen(world: &World, id: TokenId) -> Token {
    world.store.read(|tx| find(tx, &server(at(0)), &Reference::Id(id))).unwrap().pop().unwrap()
}

pub(crate) fn lives(world: &World, id: TokenId, now: i64) -> bool {
    seen(world, id).standing(at(now)) == Standing::Active
}

pub(crate) fn cut(world: &World, permit: &Permit, owner: Owner, before: Timestamp, reason: &str) -> CutOff {
    world.change(|tx| cut_off(tx, permit, owner, before, Some(reason), act())).unwrap()
}

pub(crate) fn back(world: &World, permit: &Permit, id: TokenId) -> Result<Restored, StoreError> {
    world.change(|tx| restore(tx, permit, id))
}

pub(crate) fn end_those(world: &World, permit: &Permit, selection: &Selection) -> EndedMany {
    world.change(|tx| revoke_selected(tx, permit, selection, Some("swept"), act())).unwrap()
}

#[track_caller]
pub(crate) fn conflict<T: std::fmt::Debug>(outcome: Result<T, StoreError>, words: &str) {
    let Err(StoreError::Conflict { what } | StoreError::Taken { what, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(what.contains(words), "{what}");
}

#[test]
fn a_selection_means_what_fits_everything_said_and_what_was_made_through_it() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    let caller = world.local(ann);
    let mint = |request, second| permit(&caller, Need::Mint(request), at(second));
    let labelled = |second: i64, labels: &[&str]| {
        let labels = labels.iter().map(|label| label.parse().unwrap()).collect();
        world.make_as(&mint(personal(ann, "all", None), second), "t", |row| row.labels = labels)
    };
    let (ci, old, plain) = (labelled(10, &["ci", "x"]), labelled(1, &["ci"]), labelled(10, &[]));
    let of_bob = world.mint(&world.local(bob), personal(bob, "all", None), 10);
    let for_acme = world.make(&mint(workspace_token(acme, "acme", Permission::Write), 10), "w");
    let child = world.mint(&world.holder(ci.digest), personal(ann, "all", None), 11);
    let fetch = world.mint(&world.holder(child.digest), git(ann, "ann/app", Permission::Read, 600), 12);
    world.sql(&format!(
        "INSERT INTO last_uses (token_id, at) VALUES ('{}', now()), ('{}', now())",
        ci.token.id, plain.token.id
    ));

    let mine = ends(&world, ann, 20);
    let meant =
        |permit: &Permit, selection: Selection| world.store.read(|tx| selected(tx, permit, &selection)).unwrap().count;
    let any = Selection::default;
    assert_eq!(meant(&mine, Selection { label: Some("ci".parse().unwrap()), ..any() }), 4, "with child and fetch");
    let early = Selection { label: Some("ci".parse().unwrap()), minted_before: Some(at(5)), ..any() };
    assert_eq!(meant(&mine, early), 1);
    assert_eq!(meant(&mine, Selection { kind: Some(TokenKind::Git), ..any() }), 1);
    assert_eq!(meant(&mine, Selection { never_used: true, ..any() }), 3, "old, child, and fetch");
    assert_eq!(meant(&mine, Selection { parent: Some(child.token.id), ..any() }), 2);
    let in_tree = Selection { parent: Some(ci.token.id), kind: Some(TokenKind::Git), ..any() };
    assert_eq!(meant(&mine, in_tree), 1);
    assert_eq!(meant(&server(at(20)), any()), 7);
    assert_eq!(meant(&server(at(20)), Selection { owner: Some(Owner::User(bob)), ..any() }), 1);
    // Others' are out of reach, whatever is said.
    assert_eq!(meant(&mine, Selection { owner: Some(Owner::User(bob)), ..any() }), 0);
    let foreign = Selection { parent: Some(of_bob.token.id), ..any() };
    assert!(matches!(world.store.read(|tx| selected(tx, &mine, &foreign)), Err(StoreError::NotFound { .. })));
    let maintains = permit(&caller, Need::EndTokens { owner: Owner::Workspace(acme) }, at(20));
    assert_eq!(meant(&maintains, any()), 1);
    let sees = permit(&caller, Need::SeeTokens { owner: Owner::User(ann) }, at(20));
    assert!(matches!(world.store.read(|tx| selected(tx, &sees, &any())), Err(StoreError::Permit(_))));

    let done = end_those(&world, &mine, &Selection { label: Some("ci".parse().unwrap()), ..any() });
    assert_eq!((done.count, done.sample.len()), (4, 4));
    assert!(done.sample.iter().all(|token| matches!(&token.state, TokenState::Revoked { by, reason, .. }
        if by == "ann" && reason.as_deref() == Some("swept"))));
    for made in [&ci, &old, &child, &fetch] {
        assert!(!lives(&world, made.token.id, 20));
    }
    for made in [&plain, &of_bob, &for_acme] {
        assert!(lives(&world, made.token.id, 20));
    }
    assert_eq!(end_those(&world, &mine, &Selection { label: Some("ci".parse().unwrap()), ..any() }).count, 0);
    // One act, however it is pointed at.
    assert_eq!(back(&world, &ends(&world, ann, 30), fetch.token.id).unwrap().count, 4);
    assert!(lives(&world, ci.token.id, 30));
}

#[test]
fn a_cut_off_is_one_row_and_every_reader_sees_it() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let old: Vec<_> = (0..20).map(|second| world.mint(&caller, personal(ann, "all", None), second)).collect();
    let login =
        world.make_as(&permit(&caller, Need::Mint(session(ann)), at(5)), "login", |row| row.local_uid = Some(7));
    let gone = world.mint(&caller, personal(ann, "all", Some(50)), 6);
    let ended_before = world.mint(&caller, personal(ann, "all", None), 6);
    world.change(|tx| revoke(tx, &ends(&world, ann, 90), ended_before.token.id, Some("first"))).unwrap();
    let young = world.mint(&caller, personal(ann, "all", None), 60);
    // Made later, but through one of the old ones: at any remove.
    let child = world.mint(&world.holder(old[0].digest), personal(ann, "all", None), 61);
    let fetch = world.mint(&world.holder(child.digest), git(ann, "ann/app", Permission::Read, 700), 62);

    let by_root = server(at(100));
    let owner = Owner::User(ann);
    let done = cut(&world, &by_root, owner, at(60), "laptop stolen");
    // 20, the login, the child and what was fetched through it.
    assert!(done.moved);
    assert_eq!(done.many.count, 23);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE revoked_at IS NOT NULL"), 1 + 3, "few rows");
    let ended = |id: TokenId| {
        let TokenState::Revoked { at, by, reason } = seen(&world, id).state else { panic!("live") };
        (at, by, reason.unwrap_or_default())
    };
    for id in old.iter().chain([&login, &child, &fetch]).map(|made| made.token.id) {
        assert_eq!(ended(id), (at(100), "unix:uid=0".to_owned(), "laptop stolen".to_owned()));
    }
    assert_eq!(ended(ended_before.token.id).2, "first");
    assert_eq!(seen(&world, gone.token.id).standing(at(100)), Standing::Expired, "it had run out by then");
    assert!(lives(&world, young.token.id, 100));
    let digests: Vec<Digest> = old.iter().map(|made| made.digest).collect();
    let presented = world.store.read(|tx| by_digests(tx, &digests)).unwrap();
    assert!(presented.iter().all(|(_, token, _)| matches!(token.state, TokenState::Revoked { .. })));

    // Lists and counts go by it.
    let sees = permit(&world.local(ann), Need::SeeTokens { owner }, at(101));
    let listed = |standing| {
        let filter = Filter { standing: Some(standing), ..Filter::default() };
        world.store.read(|tx| list(tx, &sees, &filter, PageSize::default(), None)).unwrap().0.len()
    };
    assert_eq!([Standing::Active, Standing::Revoked, Standing::Expired].map(listed), [1, 23, 1], "without git tokens");
    assert_eq!(world.store.read(|tx| count_live(tx, &server(at(101)))).unwrap(), 1);
    assert_eq!(world.store.read(|tx| selected(tx, &server(at(101)), &Selection::default())).unwrap().count, 1);
    // Nothing is made through what it ended, and a new login is opened in the place of the old.
    let late = permit(&caller, Need::Mint(git(ann, "ann/app", Permission::Read, 700)), at(101));
    let through = |parent: TokenId| {
        world.change(|tx| {
            let mut row = world.draft(&late, "late").1;
            row.parent = Some(parent);
            create(tx, &late, row)
        })
    };
    conflict(through(old[3].token.id), "revoked");
    conflict(
        world.store.mint(&world.asked(
            permit(&caller, Need::Mint(git(ann, "ann/app", Permission::Read, 700)), at(101)),
            Some(old[3].token.id),
        )),
        "revoked",
    );
    through(young.token.id).unwrap();
    assert_eq!(world.change(|tx| tok_store::tokens::local_session(tx, owner, 7)).unwrap(), None);
    world.make_as(&permit(&caller, Need::Mint(session(ann)), at(102)), "login", |row| row.local_uid = Some(7));
    // To revoke one of them singly changes nothing of it.
    conflict(world.change(|tx| revoke(tx, &server(at(103)), old[1].token.id, Some("again"))), "revoked already");

    // It never moves back, and a later one leaves what the first did as it was.
    assert!(!cut(&world, &server(at(110)), owner, at(60), "same").moved);
    assert!(!cut(&world, &server(at(110)), owner, at(10), "earlier").moved);
    let second = cut(&world, &server(at(120)), owner, at(120), "all of it");
    assert_eq!(second.many.count, 3, "the young one, what was minted through it, and the new login");
    assert_eq!(ended(old[2].token.id).2, "laptop stolen");
    assert_eq!(ended(young.token.id).2, "all of it");

    // Undone in the order of last to first.
    conflict(back(&world, &server(at(130)), old[2].token.id), "later cut-off");
    assert_eq!(back(&world, &server(at(130)), young.token.id).unwrap().count, 3);
    assert_eq!(ended(old[2].token.id).2, "laptop stolen");
    // All but the login, whose place is taken, and those that were ended otherwise.
    assert_eq!(back(&world, &server(at(131)), old[2].token.id).unwrap().count, 22);
    assert!(old.iter().all(|made| lives(&world, made.token.id, 131)));
    assert!(lives(&world, fetch.token.id, 131) && !lives(&world, login.token.id, 131));
    assert_eq!(ended(ended_before.token.id).2, "first");
}

#[test]
fn a_workspaces_cut_off_takes_what_was_made_through_it_for_others_too() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let personals = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let theirs = world.mint(&world.holder(personals.digest), workspace_token(acme, "acme", Permission::Write), 1);
    let maintains = permit(&world.local(ann), Need::EndTokens { owner: Owner::Workspace(acme) }, at(10));
    let elsewhere = world.change(|tx| cut_off(tx, &maintains, Owner::User(ann), at(5), None, act()));
    assert!(matches!(elsewhere, Err(StoreError::Permit(_))));
    let future = world.change(|tx| cut_off(tx, &maintains, Owner::Workspace(acme), at(11), None, act()));
    assert!(matches!(future, Err(StoreError::Permit(_))));
    assert_eq!(cut(&world, &maintains, Owner::Workspace(acme), at(10), "w").many.count, 1);
    assert!(!lives(&world, theirs.token.id, 10) && lives(&world, personals.token.id, 10));
    assert_eq!(back(&world, &permit(&root(), Need::Server, at(11)), theirs.token.id).unwrap().count, 1);
    // The user's takes the workspace's token that was made through theirs.
    assert_eq!(cut(&world, &ends(&world, ann, 12), Owner::User(ann), at(12), "u").many.count, 2);
    assert!(!lives(&world, theirs.token.id, 12));
}

#[test]
fn a_token_that_is_being_made_while_its_owner_is_cut_off_does_not_survive() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let mint = permit(&world.holder(parent.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(1));
    let mint = &mint;
    // It is written first: the cut-off waits for it, and finds it.
    thread::scope(|scope| {
        let (made, cutter) = world
            .change(|tx| {
                let made = create(tx, mint, world.draft(mint, "just in time").1)?;
                let cutter = scope.spawn(|| cut(&world, &server(at(2)), Owner::User(ann), at(1), "x"));
                world.until_waiting(1);
                Ok((made, cutter))
            })
            .unwrap();
        assert_eq!(cutter.join().unwrap().many.count, 2);
        assert!(!lives(&world, made.id, 2));
    });
    // The cut-off is first: whoever waits for it learns that the parent ended.
    let other = world.mint(&world.local(ann), personal(ann, "all", None), 3);
    let late = permit(&world.holder(other.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(4));
    let asked = permit(&world.holder(other.digest), Need::Mint(git(ann, "ann/app", Permission::Read, 600)), at(4));
    let asked = world.asked(asked, Some(other.token.id));
    thread::scope(|scope| {
        let makers = world
            .change(|tx| {
                cut_off(tx, &server(at(5)), Owner::User(ann), at(5), None, act())?;
                let creates =
                    scope.spawn(|| world.change(|tx| create(tx, &late, world.draft(&late, "late").1)).map(drop));
                let mints = scope.spawn(|| world.store.mint(&asked).map(drop));
                world.until_waiting(2);
                Ok([creates, mints])
            })
            .unwrap();
        for maker in makers {
            conflict(maker.join().unwrap(), "revoked");
        }
    });
    assert_eq!(world.store.read(|tx| count_live(tx, &server(at(6)))).unwrap(), 0);
}

#[test]
fn a_lower_maximum_shortens_lives_and_rest_ends_them() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let period = |text: &str| text.parse().unwrap();
    let (old, young) = (
        world.mint(&caller, personal(ann, "all", None), 0),
        world.mint(&caller, personal(ann, "all", None), 86_400 * 9),
    );
    let short = world.mint(&caller, personal(ann, "all", Some(86_400 * 11)), 86_400 * 9);
    let login = world.make_as(&permit(&caller, Need::Mint(session(ann)), at(0)), "l", |row| row.local_uid = Some(7));
    let now = at(86_400 * 10);
    assert_eq!(clamp(&world.store, TokenKind::Personal, period("5d"), now).unwrap().shortened, 2);
    assert_eq!(clamp(&world.store, TokenKind::Session, period("5d"), now).unwrap().shortened, 0, "a local login");
    assert_eq!(clamp(&world.store, TokenKind::Personal, period("5d"), at(86_400 * 11)).unwrap().shortened, 0);
    assert_eq!(seen(&world, old.token.id).expires_at, Some(now), "its time is over");
    assert_eq!(seen(&world, young.token.id).expires_at, Some(at(86_400 * 14)), "counted from when it was made");
    assert_eq!(seen(&world, short.token.id).expires_at, Some(at(86_400 * 11)));
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.policy'"), 1);

    // Rest: since it was made, or last used.
    let now = at(86_400 * 9 + 7200);
    world.sql(&format!(
        "INSERT INTO last_uses (token_id, at) VALUES ('{}', '{}')",
        young.token.id,
        now - TimeDelta::hours(1)
    ));
    assert_eq!(end_idle(&world.store, TokenKind::Session, period("1h"), now).unwrap(), 0, "a local login");
    assert_eq!(end_idle(&world.store, TokenKind::Personal, period("90m"), now).unwrap(), 2);
    let TokenState::Revoked { by, reason, .. } = seen(&world, short.token.id).state else { panic!("revoked") };
    assert_eq!((by.as_str(), reason.as_deref()), ("tokd", Some("not used for 1h30m")));
    assert!(lives(&world, young.token.id, 86_400 * 9 + 7200) && lives(&world, login.token.id, 86_400 * 9 + 7200));
    conflict(back(&world, &server(now), short.token.id), "cannot be restored");
    // The moment itself is the end.
    assert_eq!(end_idle(&world.store, TokenKind::Personal, period("1h"), now).unwrap(), 1);
}

#[test]
fn old_git_tokens_go_and_their_trail_stays() {
    let world = World::new();
    let ann = world.user("ann");
    let parent = world.mint(&world.local(ann), personal(ann, "all", Some(100)), 0);
    let fetch = world.mint(&world.holder(parent.digest), git(ann, "ann/app", Permission::Read, 90), 1);
    let kept = world.mint(&world.local(ann), personal(ann, "all", None), 86_400);
    world.mint(&world.holder(kept.digest), git(ann, "ann/app", Permission::Read, 86_400 * 2 + 10), 86_400 * 2);
    world.sql(&format!(
        "INSERT INTO idempotency VALUES ('x', 'k', decode(repeat('00', 32), 'hex'), '{}', now())",
        fetch.token.id
    ));
    world.sql("INSERT INTO last_uses (token_id, at) SELECT id, now() FROM tokens");
    let lines = world.count("SELECT count(*) AS number FROM audit");
    assert_eq!(purge_git(&world.store, TimeDelta::days(30), at(86_400 * 30)).unwrap(), 0);
    assert_eq!(purge_git(&world.store, TimeDelta::days(30), at(86_400 * 31)).unwrap(), 1);
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), 3, "what expired of other kinds stays");
    assert_eq!(world.count("SELECT count(*) AS number FROM idempotency"), 0);
    assert_eq!(world.count("SELECT count(*) AS number FROM last_uses"), 3);
    assert_eq!(world.count("SELECT count(*) AS number FROM audit"), lines + 1);
}

#[test]
fn a_hundred_generations_end_in_one_act() {
    let world = World::new();
    let ann = world.user("ann");
    let mut last = world.mint(&world.local(ann), personal(ann, "all", None), 0);
    let first = last.token.id;
    for second in 1..100 {
        last = world.mint(&world.holder(last.digest), personal(ann, "all", None), second);
    }
    let done = world.change(|tx| revoke(tx, &ends(&world, ann, 200), first, None)).unwrap();
    assert_eq!(done.descendants.len(), 99);
    assert!(!lives(&world, last.token.id, 200));
    assert_eq!(back(&world, &ends(&world, ann, 201), first).unwrap().count, 100);
}
