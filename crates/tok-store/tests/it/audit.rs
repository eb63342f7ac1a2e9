//! The trail: uses in batches, and who may read what of it, in both directions.

use std::net::IpAddr;
use std::thread;

use diesel::connection::{Instrumentation, InstrumentationEvent};
use tok_model::audit::{Action, Actor, AuditEvent, Outcome, Source};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::kind::Permission;
use tok_model::token::{LastUse, Reference, Token};
use tok_store::StoreError;
use tok_store::audit::{Filter, Line, Use, list, record_uses};

use crate::world::{Made, World, at, git, permit, personal, server, session, workspace_token};

fn record(world: &World, uses: &[Use]) -> Result<(), StoreError> {
    world.store.write(|tx| record_uses(tx, uses))
}

/// A use of a token by somebody at this second, from an address whose last part says which.
fn used(token: &Token, second: i64, host: u8) -> Use {
    let source = Source {
        address: Some(IpAddr::from([192, 0, 2, host])),
        agent: Some("git/2.47.3".into()),
        ..Source::default()
    };
    let actor = Actor {
        user: None,
        workspace: None,
        token: Some(token.id),
        parent: token.parent,
        token_prefix: Some(token.shown_prefix.clone()),
        temporary: None,
        trust: None,
        source,
    };
    let event = AuditEvent::done(Action::TokenUse, actor).token(token.id, &token.shown_prefix);
    Use { at: at(second), times: 1, event }
}

fn now(world: &World, id: TokenId) -> Token {
    world.store.read(|tx| tok_store::tokens::find(tx, &server(at(0)), &Reference::Id(id))).unwrap().pop().unwrap()
}

fn last_use(world: &World, id: TokenId) -> Option<(Timestamp, String)> {
    now(world, id).last_use.map(|LastUse { at, address, .. }| (at, address.unwrap().to_string()))
}

fn read(world: &World, permit: &Permit, filter: &Filter, limit: u16) -> Vec<Line> {
    world.store.read(|tx| list(tx, permit, filter, limit)).unwrap()
}

fn details(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.detail.as_str()).collect()
}

/// A user with a token.
fn user_with_token(world: &World, name: &str) -> (UserId, Made) {
    let user = world.user(name);
    let made = world.mint(&world.local(user), personal(user, "repo:read,audit:read", None), 0);
    (user, made)
}

#[test]
fn a_batch_of_uses_is_written_whole() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let fetch = git(world.user("bob"), "bob/app", Permission::Read, 600);
    let bob = world.local(now_by_name(&world, "bob"));
    let fetch = world.make_as(&permit(&bob, Need::Mint(fetch), at(0)), "fetch", |row| row.parent = Some(made.token.id));
    let mut often = used(&made.token, 7, 1);
    often.times = 40;
    often.event.command = Some("upload-pack".to_owned());
    let mut refused = used(&fetch.token, 9, 2);
    refused.event = refused.event.repo("bob/app".parse().unwrap()).detail("no such thing");
    refused.event.outcome = Outcome::Refused;
    let since = read(&world, &server(at(0)), &Filter::default(), 1)[0].cursor();
    record(&world, &[often, refused]).unwrap();

    let after = Filter { beyond: Some(since), oldest_first: true, ..Filter::default() };
    let lines = read(&world, &server(at(0)), &after, 10);
    assert_eq!(lines.len(), 2);
    let first = &lines[0];
    assert_eq!((first.at, first.action.as_str(), first.outcome.as_str()), (at(7), "token.use", "done"));
    assert_eq!((first.times, first.command.as_deref(), first.repo.as_deref()), (40, Some("upload-pack"), None));
    assert_eq!((first.token_id, first.actor_token_id), (Some(made.token.id.as_uuid()), Some(made.token.id.as_uuid())));
    assert_eq!((first.address.as_deref(), first.agent.as_deref()), (Some("192.0.2.1"), Some("git/2.47.3")));
    assert_eq!(first.token_prefix.as_deref(), Some(made.token.shown_prefix.as_str()));
    let second = &lines[1];
    assert_eq!((second.at, second.outcome.as_str(), second.detail.as_str()), (at(9), "refused", "no such thing"));
    assert_eq!((second.workspace.as_deref(), second.repo.as_deref()), (Some("bob"), Some("bob/app")));
    assert_eq!((second.times, second.parent_id), (1, Some(made.token.id.as_uuid())));

    assert_eq!(last_use(&world, made.token.id), Some((at(7), "192.0.2.1".to_owned())));
    assert_eq!(last_use(&world, fetch.token.id), None, "what was refused is no use");
}

fn now_by_name(world: &World, name: &str) -> UserId {
    world.store.read(|tx| tok_store::users::now_by_name(tx, &name.parse().unwrap())).unwrap().unwrap().id
}

#[test]
fn nothing_used_is_nothing_written() {
    let world = World::new();
    let before = world.count("SELECT count(*) AS number FROM audit");
    record(&world, &[]).unwrap();
    assert_eq!(world.count("SELECT count(*) AS number FROM audit"), before);
}

#[test]
fn a_batch_larger_than_a_statement_is_written_whole() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let uses: Vec<Use> = (0..20_001).map(|second| used(&made.token, second, 1)).collect();
    record(&world, &uses).unwrap();
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.use'"), 20_001);
    assert_eq!(last_use(&world, made.token.id).unwrap().0, at(20_000));
}

#[test]
fn the_last_use_moves_once_a_minute_and_never_back() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let id = made.token.id;
    let expect = |second, host, kept: (i64, u8)| {
        record(&world, &[used(&made.token, second, host)]).unwrap();
        let kept = (at(kept.0), format!("192.0.2.{}", kept.1));
        assert_eq!(last_use(&world, id), Some(kept), "after a use at {second}");
    };
    expect(100, 1, (100, 1));
    expect(159, 2, (100, 1));
    expect(160, 3, (100, 1));
    expect(161, 4, (161, 4));
    expect(30, 5, (161, 4));
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.use'"), 5, "all of them");
    // Of one batch the last counts, wherever in it it stands.
    record(&world, &[used(&made.token, 400, 6), used(&made.token, 500, 7), used(&made.token, 450, 8)]).unwrap();
    assert_eq!(last_use(&world, id), Some((at(500), "192.0.2.7".to_owned())));
}

thread_local! {
    /// The statements that this thread has begun, of those that change something.
    static STATEMENTS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Notes each statement in [`STATEMENTS`]. Each test has a thread of its own, and so its own.
#[expect(clippy::unnecessary_wraps, reason = "the form that diesel asks for")]
fn note_statements() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string().trim_start().to_owned();
            STATEMENTS.with_borrow_mut(|statements| statements.push(text));
        }
    }))
}

#[test]
fn ten_thousand_uses_are_two_statements() {
    diesel::connection::set_default_instrumentation(note_statements).unwrap();
    let world = World::new();
    let ann = world.user("ann");
    let tokens: Vec<Token> = (0..20).map(|_| world.mint(&world.local(ann), session(ann), 0).token).collect();
    let uses: Vec<Use> = (0..10_000).map(|n| used(&tokens[usize::try_from(n).unwrap() % 20], n, 1)).collect();
    // With the pool's connections made before, whichever thread made them.
    record(&world, &uses[..1]).unwrap();
    STATEMENTS.take();
    record(&world, &uses).unwrap();
    let statements = STATEMENTS.take();
    let changes: Vec<&String> =
        statements.iter().filter(|text| !["BEGIN", "COMMIT"].contains(&text.as_str())).collect();
    assert_eq!(changes.len(), 2, "{statements:#?}");
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.use'"), 10_001);
    for (number, token) in (0..).zip(&tokens) {
        assert_eq!(last_use(&world, token.id).unwrap().0, at(9_980 + number));
    }
}

#[test]
fn a_use_without_a_repository_leaves_the_last_one_that_was_used() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let last = || {
        let LastUse { at, repo, agent, .. } = now(&world, made.token.id).last_use.unwrap();
        (at, repo, agent)
    };
    let mut fetch = used(&made.token, 100, 1);
    fetch.event = fetch.event.repo("ann/app".parse().unwrap());
    let agent = Some("git/2.47.3".to_owned());
    record(&world, &[fetch.clone()]).unwrap();
    assert_eq!(last(), (at(100), Some("ann/app".to_owned()), agent.clone()));
    let mut call = used(&made.token, 200, 1);
    call.event.actor.source.agent = Some("tok/1".to_owned());
    record(&world, &[call.clone()]).unwrap();
    assert_eq!(last(), (at(200), Some("ann/app".to_owned()), Some("tok/1".to_owned())));
    // Within a batch it is the last that had one.
    let (mut lib, mut later) = (fetch.clone(), call.clone());
    lib.event = lib.event.repo("ann/lib".parse().unwrap());
    (lib.at, later.at) = (at(290), at(300));
    record(&world, &[later, lib, fetch]).unwrap();
    assert_eq!(last(), (at(300), Some("ann/lib".to_owned()), Some("tok/1".to_owned())));
}

#[test]
fn only_a_use_is_a_use() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let mut other = used(&made.token, 5, 1);
    other.event.action = Action::RepoCreate;
    record(&world, &[other]).unwrap();
    assert_eq!(last_use(&world, made.token.id), None);
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_can_be_written_again() {
    let world = World::new();
    let (_, made) = user_with_token(&world, "ann");
    let mut bad = used(&made.token, 9, 1);
    bad.times = 0;
    let good = used(&made.token, 5, 1);
    assert!(record(&world, &[good.clone(), bad.clone()]).is_err());
    assert!(record(&world, &[bad, good.clone()]).is_err());
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.use'"), 0);
    assert_eq!(last_use(&world, made.token.id), None);
    record(&world, &[good]).unwrap();
    assert_eq!(last_use(&world, made.token.id).unwrap().0, at(5));
}

#[test]
fn daemons_that_write_the_same_tokens_wait_in_one_order() {
    let world = World::new();
    let ann = world.user("ann");
    let caller = world.local(ann);
    let tokens: Vec<Token> = (0..12).map(|_| world.mint(&caller, session(ann), 0).token).collect();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4_usize)
            .map(|writer| {
                let (world, tokens) = (&world, &tokens);
                scope.spawn(move || {
                    for round in 0..8 {
                        // Each in an order of its own, and always more than a minute later.
                        let mut uses: Vec<Use> = tokens.iter().map(|token| used(token, round * 100, 1)).collect();
                        let places = uses.len();
                        uses.rotate_left((writer * 5 + usize::try_from(round).unwrap()) % places);
                        if writer % 2 == 0 {
                            uses.reverse();
                        }
                        record(world, &uses)?;
                    }
                    Ok::<(), StoreError>(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
    });
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE action = 'token.use'"), 4 * 8 * 12);
    for token in tokens {
        assert_eq!(last_use(&world, token.id).unwrap().0, at(700));
    }
}

/// A trail about two users, with a detail that names each line.
fn trail(world: &World) -> (UserId, Made, UserId, Made) {
    let (ann, anns) = user_with_token(world, "ann");
    let (bob, bobs) = user_with_token(world, "bob");
    world.sql("TRUNCATE audit");
    let actor = |user: UserId, name: &str| Actor { user: Some((user, name.parse().unwrap())), ..Actor::daemon() };
    let write = |second, event: AuditEvent| world.store.write(|tx| tx.commit(event, at(second))).unwrap();
    let done = |second, actor: Actor, detail: &str| {
        write(second, AuditEvent::done(Action::TokenCreate, actor).detail(detail));
    };
    done(10, actor(ann, "ann"), "by ann");
    done(20, actor(bob, "bob"), "by bob");
    write(
        30,
        AuditEvent::done(Action::UserDisable, actor(bob, "bob"))
            .subject(ann, "ann".parse().unwrap())
            .detail("bob to ann"),
    );
    let event = AuditEvent::done(Action::TokenRevoke, actor(bob, "bob"));
    write(40, event.clone().token(anns.token.id, "").detail("to ann's token"));
    write(50, event.clone().repo("ann/app".parse().unwrap()).detail("ann/app"));
    write(60, event.repo("ann/apple".parse().unwrap()).detail("ann/apple"));
    let with = |token: &Token| Actor { token: Some(token.id), ..actor(ann, "ann") };
    done(70, with(&anns.token), "with ann's token");
    done(80, Actor { parent: Some(anns.token.id), ..actor(ann, "ann") }, "with its child");
    done(90, Actor::daemon(), "by nobody");
    (ann, anns, bob, bobs)
}

#[test]
fn a_manager_sees_all_and_others_what_is_theirs() {
    let world = World::new();
    let (ann, anns, bob, _) = trail(&world);
    let all = read(&world, &server(at(100)), &Filter { oldest_first: true, ..Filter::default() }, 100);
    assert_eq!(all.len(), 9);
    let own = |caller| {
        let permit = permit(&caller, Need::OwnAudit, at(100));
        let lines = read(&world, &permit, &Filter { oldest_first: true, ..Filter::default() }, 100);
        details(&lines).join(", ")
    };
    assert_eq!(own(world.local(ann)), "by ann, bob to ann, with ann's token, with its child");
    assert_eq!(own(world.holder(anns.digest)), own(world.local(ann)));
    assert_eq!(own(world.local(bob)), "by bob, bob to ann, to ann's token, ann/app, ann/apple");
    // A filter narrows and never widens.
    let bobs = Filter { users: vec![bob], oldest_first: true, ..Filter::default() };
    let permit = permit(&world.local(ann), Need::OwnAudit, at(100));
    assert_eq!(details(&read(&world, &permit, &bobs, 100)), ["bob to ann"]);
}

#[test]
fn a_workspaces_token_sees_what_was_done_with_it() {
    let world = World::new();
    let ann = world.user("ann");
    let acme = world.workspace("acme", "ann");
    let mint = || world.mint(&world.local(ann), workspace_token(acme, "acme", Permission::Write), 0);
    let (made, other) = (mint(), mint());
    record(&world, &[used(&made.token, 5, 1), used(&other.token, 6, 1)]).unwrap();
    let own = permit(&world.holder(made.digest), Need::OwnAudit, at(10));
    let lines = read(&world, &own, &Filter::default(), 100);
    assert_eq!(lines.iter().map(|line| line.at).collect::<Vec<_>>(), [at(5)]);
}

#[test]
fn the_trail_is_filtered() {
    let world = World::new();
    let (ann, anns, bob, bobs) = trail(&world);
    let shown = |filter| {
        let lines = read(&world, &server(at(100)), &Filter { oldest_first: true, ..filter }, 100);
        details(&lines).join(", ")
    };
    let all = Filter::default;
    let of_token = |made: &Made| Filter { token: Some(made.token.id), ..all() };
    assert_eq!(shown(of_token(&anns)), "to ann's token, with ann's token, with its child");
    assert_eq!(shown(of_token(&bobs)), "");
    assert_eq!(shown(Filter { users: vec![ann], ..all() }), "by ann, bob to ann, with ann's token, with its child");
    assert_eq!(shown(Filter { users: vec![bob], ..all() }), "by bob, bob to ann, to ann's token, ann/app, ann/apple");
    assert_eq!(shown(Filter { repo: Some("ann/app".parse().unwrap()), ..all() }), "ann/app");
    assert_eq!(shown(Filter { since: Some(at(70)), ..all() }), "with ann's token, with its child, by nobody");
    assert_eq!(shown(Filter { since: Some(at(71)), users: vec![ann], ..all() }), "with its child");
}

#[test]
fn the_trail_has_pages_in_both_directions() {
    let world = World::new();
    let (ann, ..) = trail(&world);
    for permit in [server(at(100)), permit(&world.local(ann), Need::OwnAudit, at(100))] {
        let whole = read(&world, &permit, &Filter { oldest_first: true, ..Filter::default() }, 100);
        for oldest_first in [true, false] {
            let mut walked: Vec<Line> = Vec::new();
            loop {
                let beyond = walked.last().map(Line::cursor);
                let page = read(&world, &permit, &Filter { oldest_first, beyond, ..Filter::default() }, 2);
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= 2 && walked.len() < 20, "the trail goes on");
                walked.extend(page);
                // Somebody writes meanwhile, which a walk to the past does not meet.
                if !oldest_first && walked.len() == 2 {
                    let late = AuditEvent::done(Action::TokenUse, Actor::daemon());
                    world.store.write(|tx| tx.commit(late, at(100_000))).unwrap();
                }
            }
            if !oldest_first {
                walked.reverse();
            }
            assert_eq!(details(&walked), details(&whole), "oldest first: {oldest_first}");
            world.sql("DELETE FROM audit WHERE action = 'token.use'");
        }
    }
}
