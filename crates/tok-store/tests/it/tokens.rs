//! Tokens: made by a permit, looked up by digest, pointed at by people.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use chrono::TimeDelta;
use tok_model::audit::{Action, AuditEvent};
use tok_model::decide::{Bearer, MintRequest, Need, OwnerNow, decide};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::kind::{Permission, Role, TokenKind};
use tok_model::page::PageSize;
use tok_model::scope::RepoRight;
use tok_model::secret::PepperId;
use tok_model::token::{Owner, Reference, Standing, Token, TokenState};
use tok_store::StoreError;
use tok_store::tokens::{Filter, Mint, StoredSecret, by_digests, create, find, list, local_session, revoke};

use crate::world::{World, at, every_kind_of_grant, git, permit, personal, root, server, session, workspace_token};

fn names(tokens: &[Token]) -> Vec<&str> {
    tokens.iter().map(|token| token.name.as_str()).collect()
}

#[test]
fn a_token_is_what_its_permit_says_and_comes_back_the_same() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let caller = world.local(ann);
    let user = Owner::User(ann);
    let parent = world.mint(&caller, session(ann), 0).token;
    for (owner, grant) in every_kind_of_grant(user, Owner::Workspace(acme)) {
        let allow_from: Vec<_> = ["192.0.2.0/24", "2001:db8::/32"].iter().map(|block| block.parse().unwrap()).collect();
        let request = MintRequest { owner, grant: grant.clone(), expires_at: Some(at(600)), allow_from };
        // Finer than PostgreSQL keeps: what is returned is what was kept.
        let now = at(7) + TimeDelta::nanoseconds(1_234_567);
        let permit = permit(&caller, Need::Mint(request.clone()), now);
        let made = world.make_as(&permit, "CI of acme/app ✓", |row| {
            row.parent = Some(parent.id);
            "for the pipeline".clone_into(&mut row.description);
        });
        let token = &made.token;
        assert_eq!((&token.grant, token.owner, &token.allow_from), (&grant, owner, &request.allow_from));
        assert_eq!((token.created_at, token.expires_at), (at(7) + TimeDelta::microseconds(1_234), Some(at(600))));
        assert_eq!((token.name.as_str(), token.description.as_str()), ("CI of acme/app ✓", "for the pipeline"));
        assert_eq!((token.parent, token.family), (Some(parent.id), token.id));
        assert_eq!(token.owner_name, if owner == user { "ann" } else { "acme" });
        assert_eq!(token.shown_prefix, made.text.shown_prefix());
        assert_eq!((&token.state, &token.last_use), (&TokenState::Live, &None));
        let creator = &token.creator;
        assert_eq!((creator.user, creator.name.as_str(), creator.from.as_str()), (Some(ann), "ann", "unix:uid=1000"));
        assert_eq!((creator.agent.as_deref(), creator.token_prefix.as_deref()), (Some("git/2.47.3"), None));

        let found = world.store.read(|tx| by_digests(tx, &[made.digest])).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, &found[0].1), (made.digest, token));
    }
}

#[test]
fn the_trail_of_its_making_names_the_token_it_was_made_through() {
    let world = World::new();
    let ann = world.user("ann");
    let login = world.mint(&world.local(ann), session(ann), 0);
    let made = world.mint(&world.holder(login.digest), personal(ann, "repo:read", None), 1).token;
    assert_eq!(made.creator.token_prefix.as_deref(), Some(login.token.shown_prefix.as_str()));
    assert_eq!(made.creator.from, "192.0.2.7");
    assert_eq!(made.parent, Some(login.token.id));
}

#[test]
fn a_lookup_brings_the_owners_authority_of_this_moment() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    world.member("acme", "bob", Role::Writer);
    let of_ann = world.mint(&world.local(ann), personal(ann, "repo:read", None), 0);
    let of_bob = world.mint(&world.local(bob), personal(bob, "repo:read", None), 0);
    let of_acme = world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Read), 0);
    let unknown = tok_model::secret::Digest::from_bytes([7; 32]);

    let look = || -> BTreeMap<TokenId, OwnerNow> {
        let digests = [of_bob.digest, unknown, of_acme.digest, of_ann.digest];
        let found = world.store.read(|tx| by_digests(tx, &digests)).unwrap();
        let pair = |(digest, token, owner): (_, Token, OwnerNow)| {
            let made = [&of_ann, &of_bob, &of_acme].into_iter().find(|made| made.digest == digest).unwrap();
            assert_eq!(token.id, made.token.id, "each with its own digest");
            (token.id, owner)
        };
        found.into_iter().map(pair).collect()
    };
    let found = look();
    assert_eq!(found.len(), 3);
    let OwnerNow::User(user) = &found[&of_bob.token.id] else { panic!("bob is a user") };
    let roles: Vec<(String, Role)> =
        user.memberships.iter().map(|(name, membership)| (name.to_string(), membership.role)).collect();
    assert_eq!(roles, [("acme".to_owned(), Role::Writer), ("bob".to_owned(), Role::Maintainer)]);
    assert!(user.enabled && !user.manager);
    assert!(matches!(&found[&of_acme.token.id], OwnerNow::Workspace { id, .. } if *id == acme));

    let name = "bob".parse().unwrap();
    world.change(|tx| tok_store::users::set_enabled(tx, &server(at(1)), &name, false)).unwrap();
    assert!(matches!(&look()[&of_bob.token.id], OwnerNow::User(user) if !user.enabled));
    world.change(|tx| tok_store::users::delete(tx, &server(at(2)), &name)).unwrap();
    world.change(|tx| tok_store::workspaces::delete(tx, &server(at(2)), &"acme".parse().unwrap())).unwrap();
    let found = look();
    assert!(matches!(found[&of_bob.token.id], OwnerNow::Nobody));
    assert!(matches!(found[&of_acme.token.id], OwnerNow::Nobody));
    assert!(
        matches!(&found[&of_ann.token.id], OwnerNow::User(user) if !user.memberships.contains_key(&"acme".parse().unwrap()))
    );
    assert!(world.store.read(|tx| by_digests(tx, &[])).unwrap().is_empty());
}

#[test]
fn one_secret_is_one_token() {
    let world = World::new();
    let ann = world.user("ann");
    let permit = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read", None)), at(0));
    let first = world.make(&permit, "first");
    for (what, same_id) in [("digest", false), ("ID", true)] {
        let (_, mut row) = world.draft(&permit, "second");
        if same_id {
            row.id = first.token.id;
        } else {
            row.secret = StoredSecret::Digest { digest: first.digest, pepper: PepperId(1) };
        }
        let error = world.attempt(|tx| create(tx, &permit, row)).unwrap_err();
        let field = if let StoreError::Taken { field, .. } = error { Some(field) } else { None };
        assert!(field.is_some() || matches!(error, StoreError::Conflict { .. }), "{what}: {error}");
        assert_eq!(field, if same_id { None } else { Some("secret") }, "{what}: {error}");
    }
}

/// Tokens of every standing, named by it.
fn standing(world: &World) -> tok_model::id::UserId {
    let ann = world.user("ann");
    let caller = world.local(ann);
    let mint = |request, name: &str| world.make(&permit(&caller, Need::Mint(request), at(0)), name);
    let parent = mint(personal(ann, "repo:read", None), "for ever");
    mint(personal(ann, "repo:read", Some(100)), "ends at 100");
    mint(personal(ann, "repo:read", Some(10)), "ended");
    let lost = mint(personal(ann, "repo:read", None), "revoked");
    let both = mint(personal(ann, "repo:read", Some(10)), "revoked, then ended");
    mint(session(ann), "login");
    for (name, ends) in [("git", 100), ("git, ended", 10)] {
        let permit = permit(&caller, Need::Mint(git(ann, "ann/app", Permission::Read, ends)), at(0));
        world.make_as(&permit, name, |row| row.parent = Some(parent.token.id));
    }
    for id in [lost.token.id, both.token.id] {
        let end = permit(&caller, Need::EndTokens { owner: Owner::User(ann) }, at(1));
        world.change(|tx| revoke(tx, &end, id, None)).unwrap();
    }
    let used = format!("INSERT INTO last_uses (token_id, at) VALUES ('{}', now())", parent.token.id);
    world.sql(&used);
    ann
}

#[test]
fn a_list_shows_what_is_asked_for() {
    let world = World::new();
    let ann = standing(&world);
    let see = |now| permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(now));
    let shown = |now, filter: Filter| {
        let (tokens, next) = world.store.read(|tx| list(tx, &see(now), &filter, PageSize::default(), None)).unwrap();
        assert_eq!(next, None);
        for token in &tokens {
            assert!(filter.standing.is_none_or(|wanted| token.standing(at(now)) == wanted), "{}", token.name);
        }
        tokens.into_iter().map(|token| token.name).collect::<BTreeSet<String>>()
    };
    let all = Filter::default;
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let (live, gone) = (["for ever", "ends at 100", "login", "git"], ["ended", "revoked", "revoked, then ended"]);

    assert_eq!(shown(50, all()), set(&[&live[..], &gone[..]].concat()), "all but git tokens that ended");
    let git = || Filter { kind: Some(TokenKind::Git), ..all() };
    assert_eq!(shown(50, git()), set(&["git", "git, ended"]));
    assert_eq!(shown(50, Filter { kind: Some(TokenKind::Session), ..all() }), set(&["login"]));
    assert_eq!(shown(50, Filter { kind: Some(TokenKind::Repo), ..all() }), set(&[]));

    let standing = |standing| Filter { standing: Some(standing), ..all() };
    assert_eq!(shown(50, standing(Standing::Active)), set(&live));
    assert_eq!(shown(50, standing(Standing::Expired)), set(&["ended"]), "git tokens have to be named");
    assert_eq!(shown(50, standing(Standing::Revoked)), set(&["revoked", "revoked, then ended"]));
    // A token works in [created_at, expires_at).
    assert!(shown(99, standing(Standing::Active)).contains("ends at 100"));
    assert!(shown(100, standing(Standing::Expired)).contains("ends at 100"));
    assert!(!shown(100, all()).contains("git"));
    assert_eq!(shown(50, Filter { standing: Some(Standing::Expired), ..git() }), set(&["git, ended"]));

    let unused = shown(50, Filter { never_used: true, ..all() });
    assert_eq!(unused, &shown(50, all()) - &set(&["for ever"]));

    let expiring = |seconds| Filter { expiring_within: Some(TimeDelta::seconds(seconds)), ..all() };
    assert_eq!(shown(50, expiring(49)), set(&[]));
    assert_eq!(shown(50, expiring(50)), set(&["ends at 100", "git"]), "that moment included");
    assert_eq!(shown(0, expiring(10)), set(&["ended", "git, ended"]), "not what was revoked");
}

#[test]
fn a_list_never_reaches_beyond_its_permit() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let acme = world.workspace("acme", "ann");
    world.mint(&world.local(ann), personal(ann, "repo:read", None), 0);
    world.mint(&world.local(bob), personal(bob, "repo:read", None), 0);
    world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Read), 0);
    let owners = |permit: &tok_model::decide::Permit, owner| {
        let filter = Filter { owner, ..Filter::default() };
        let (tokens, _) = world.store.read(|tx| list(tx, permit, &filter, PageSize::default(), None)).unwrap();
        tokens.into_iter().map(|token| token.owner_name).collect::<BTreeSet<String>>()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let anns = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(1));
    assert_eq!(owners(&anns, None), set(&["ann"]));
    assert_eq!(owners(&anns, Some(Owner::User(ann))), set(&["ann"]));
    assert_eq!(owners(&anns, Some(Owner::User(bob))), set(&[]), "a filter narrows and never widens");
    assert_eq!(owners(&anns, Some(Owner::Workspace(acme))), set(&[]));
    assert_eq!(owners(&server(at(1)), None), set(&["acme", "ann", "bob"]));
    assert_eq!(owners(&server(at(1)), Some(Owner::User(bob))), set(&["bob"]));
    let acmes = permit(&world.local(ann), Need::SeeTokens { owner: Owner::Workspace(acme) }, at(1));
    assert_eq!(owners(&acmes, None), set(&["acme"]));
}

#[test]
fn people_point_at_tokens() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let mint = |owner, name: &str, id: &str, shown: &str, now| {
        let permit = permit(&world.local(owner), Need::Mint(personal(owner, "repo:read", None)), at(now));
        world.make_as(&permit, name, |row| {
            row.id = id.parse().unwrap();
            shown.clone_into(&mut row.shown_prefix);
        });
    };
    mint(ann, "one", "aaaa1111-0000-4000-8000-000000000001", "tokpat_Ab1x", 1);
    mint(ann, "two", "aaaa1111-0000-4000-8000-000000000002", "tokpat_Ab2x", 2);
    mint(ann, "three", "ffffffff-ffff-4fff-bfff-ffffffffffff", "tokpatXAb1x", 3);
    mint(bob, "bob's", "aaaa2222-0000-4000-8000-000000000003", "tokpat_Ab3x", 4);

    let see = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(5));
    let all = server(at(5));
    let look = |permit, text: &str| {
        let reference: Reference = text.parse().unwrap();
        let found = world.store.read(|tx| find(tx, permit, &reference)).unwrap();
        names(&found).join(", ")
    };
    assert_eq!(look(&see, "aaaa1111-0000-4000-8000-000000000001"), "one");
    assert_eq!(look(&see, "AAAA1111-0000-4000-8000-000000000002"), "two");
    assert_eq!(look(&see, "aaaa"), "two, one", "newest first");
    assert_eq!(look(&all, "aaaa"), "bob's, two, one");
    assert_eq!(look(&see, "aaaa1111"), "two, one");
    assert_eq!(look(&see, "aaaa1111-"), "two, one");
    assert_eq!(look(&see, "aaaa1111-0000-4000-8000-00000000000"), "two, one");
    assert_eq!(look(&see, "aaaa2"), "", "somebody else's is none");
    assert_eq!(look(&see, "aaaa2222-0000-4000-8000-000000000003"), "");
    assert_eq!(look(&all, "aaaa2"), "bob's");
    assert_eq!(look(&see, "ffff"), "three");
    assert_eq!(look(&see, "0000"), "");

    assert_eq!(look(&see, "tokpat_Ab1x"), "one", "`_` is no wildcard: it is not the X of three");
    assert_eq!(look(&see, "tokpat_Ab"), "two, one");
    assert_eq!(look(&see, "tokpat_"), "two, one");
    assert_eq!(look(&see, "tokpat_ab1x"), "", "case counts");
    assert_eq!(look(&see, "tokpat_Ab3x"), "");
    assert_eq!(look(&all, "tokpat_Ab3x"), "bob's");
    for hostile in ["tokpat%", "tokpat_%", "tokpat_\\", "tok___"] {
        let prefix = Reference::TokenPrefix(hostile.to_owned());
        assert_eq!(names(&world.store.read(|tx| find(tx, &all, &prefix)).unwrap()), [""; 0], "{hostile}");
    }
}

#[test]
fn an_ambiguous_reference_finds_a_hundred_at_most() {
    let world = World::new();
    let ann = world.user("ann");
    for number in 0..102 {
        let permit = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read", None)), at(number));
        world.make_as(&permit, &number.to_string(), |row| "tokpat_same".clone_into(&mut row.shown_prefix));
    }
    let see = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(200));
    let found = world.store.read(|tx| find(tx, &see, &"tokpat_same".parse().unwrap())).unwrap();
    let newest: Vec<String> = (2..102).rev().map(|number: u8| number.to_string()).collect();
    assert_eq!(names(&found), newest);
}

#[test]
fn counts_are_of_what_works_now() {
    let world = World::new();
    let ann = standing(&world);
    let bob = world.user("bob");
    let live = |now| world.store.read(|tx| tok_store::tokens::count_live(tx, &server(at(now)))).unwrap();
    assert_eq!((live(1), live(10), live(100)), (6, 4, 2));
    let by_user =
        world.store.read(|tx| tok_store::tokens::count_live_by_user(tx, &server(at(10)), &[ann, bob])).unwrap();
    assert_eq!(by_user, BTreeMap::from([(ann, 4)]));
}

#[test]
fn a_local_user_id_has_one_login_at_a_time() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (anns, bobs) = (Owner::User(ann), Owner::User(bob));
    let open = |user, uid| {
        let permit = permit(&world.local(user), Need::Mint(session(user)), at(0));
        let (_, mut row) = world.draft(&permit, "local login");
        row.local_uid = Some(uid);
        world.change(|tx| create(tx, &permit, row))
    };
    let found = |owner, uid| world.change(|tx| local_session(tx, owner, uid)).unwrap().map(|session: Token| session.id);
    assert_eq!(found(anns, 1000), None);
    let first = open(ann, 1000).unwrap().id;
    assert_eq!(found(anns, 1000), Some(first));
    assert_eq!((found(anns, 1001), found(bobs, 1000)), (None, None));
    assert_eq!(found(Owner::Workspace(world.workspace("acme", "ann")), 1000), None);

    assert!(matches!(open(ann, 1000), Err(StoreError::Conflict { .. })));
    // The largest user ID, another user, another ID: logins of their own.
    for (user, uid) in [(ann, u32::MAX), (bob, 1000), (ann, 0)] {
        let id = open(user, uid).unwrap().id;
        assert_eq!(found(Owner::User(user), uid), Some(id));
    }

    let end = permit(&world.local(ann), Need::EndTokens { owner: anns }, at(1));
    world.change(|tx| revoke(tx, &end, first, None)).unwrap();
    assert_eq!(found(anns, 1000), None);
    let second = open(ann, 1000).unwrap().id;
    assert_ne!(second, first);
    assert_eq!(found(anns, 1000), Some(second));
}

#[test]
fn two_first_fetches_at_once_share_the_login_that_one_of_them_opens() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let login = || {
        let permit = permit(&caller, Need::Mint(session(ann)), at(0));
        let (_, mut row) = world.draft(&permit, "local login");
        row.local_uid = Some(1000);
        (permit, row)
    };
    let open_or_find = |tx: &mut tok_store::WriteTx<'_>| match local_session(tx, Owner::User(ann), 1000)? {
        Some(session) => Ok(session.id),
        None => {
            let (permit, row) = login();
            create(tx, &permit, row).map(|session| session.id)
        }
    };
    let (first, second) = thread::scope(|scope| {
        let mut second = None;
        let first = world.change(|tx| {
            let id = open_or_find(tx)?;
            second = Some(scope.spawn(|| world.change(open_or_find)));
            world.until_waiting(1);
            Ok(id)
        });
        (first.unwrap(), second.unwrap().join().unwrap())
    });
    assert_eq!(second.unwrap(), first);
}

#[test]
fn what_the_store_brings_back_decides() {
    let world = World::new();
    let ann = world.user("ann");
    let made = world.mint(&world.local(ann), personal(ann, "repo:read", Some(100)), 0);
    let repository = |right| Need::Repository { repo: "ann/app".parse().unwrap(), right };
    let holder = world.holder(made.digest);
    assert!(matches!(&holder.bearer, Bearer::Token(token) if token.id == made.token.id));
    assert!(decide(&holder, repository(RepoRight::Read), at(99)).is_ok());
    assert!(decide(&holder, repository(RepoRight::Write), at(99)).is_err());
    assert!(decide(&holder, repository(RepoRight::Read), at(100)).is_err());
    assert!(decide(&holder, Need::Server, at(99)).is_err());
    world.change(|tx| revoke(tx, &server(at(1)), made.token.id, None)).unwrap();
    assert!(decide(&world.holder(made.digest), repository(RepoRight::Read), at(2)).is_err());
    assert!(decide(&root(), Need::Server, at(2)).is_ok());
}

#[test]
fn a_token_minted_in_one_statement_is_the_same_as_any_and_needs_a_live_parent() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let parent = world.mint(&caller, session(ann), 0).token;
    let mint = |now| {
        let permit = permit(&caller, Need::Mint(git(ann, "ann/app", Permission::Write, 600)), at(now));
        let (text, row) = world.draft(&permit, "git write ann/app");
        let event = AuditEvent::done(Action::TokenMint, permit.actor().clone()).token(row.id, &row.shown_prefix);
        let new = tok_store::tokens::NewToken { parent: Some(parent.id), ..row };
        (text.digest(world.peppers.current()), world.store.mint(&Mint { permit, new, event }))
    };
    let (digest, done) = mint(1);
    done.unwrap();
    let Bearer::Token(token) = world.holder(digest).bearer else { panic!("no token") };
    assert_eq!((token.parent, token.name.as_str(), token.created_at), (Some(parent.id), "git write ann/app", at(1)));
    assert!(matches!(&token.grant, Grant::Git { permission: Permission::Write, .. }));
    let lines = "SELECT count(*) AS number FROM audit WHERE action = 'token.mint'";
    assert_eq!(world.count(lines), 1);

    world
        .change(|tx| revoke(tx, &permit(&caller, Need::EndTokens { owner: Owner::User(ann) }, at(2)), parent.id, None))
        .unwrap();
    let before = world.count("SELECT count(*) AS number FROM tokens");
    let (_, refused) = mint(3);
    assert!(
        matches!(&refused, Err(StoreError::Conflict { what }) if what.contains("just been revoked")),
        "{refused:?}"
    );
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens"), before);
    assert_eq!(world.count(lines), 1);
}
