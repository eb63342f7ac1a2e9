//! Whoever follows the trail sees each line exactly once, however its writers overlap.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use diesel::connection::SimpleConnection;
use tok_model::audit::{Action, Actor, AuditEvent, Outcome};
use tok_model::page::Cursor;
use tok_store::Store;
use tok_store::audit::{Filter, Follow, Followed, Line, follow};

use crate::world::{World, at, connect, server, writing};

fn after(store: &Store, filter: &Filter, from: Option<Follow>, limit: u16) -> Followed {
    let trail = store.trail().unwrap();
    store.read(|tx| follow(tx, trail, &server(at(0)), filter, from, limit)).unwrap()
}

fn write(store: &Store, detail: String, second: i64) {
    store
        .write(|tx| tx.commit(AuditEvent::done(Action::TokenCreate, Actor::daemon()).detail(detail), at(second)))
        .unwrap();
}

#[test]
fn a_line_is_shown_when_nothing_before_it_can_appear_any_more() {
    let world = World::new();
    let mut late = world.raw();
    late.batch_execute("BEGIN; SELECT pg_current_xact_id()").unwrap();
    let start = after(&world.store, &Filter::default(), None, 10);
    assert_eq!(start.lines.len(), 1);
    write(&world.store, "early".to_owned(), 1);
    // The one that began before may still write, with an earlier number.
    assert!(after(&world.store, &Filter::default(), Some(start.next), 10).lines.is_empty());
    late.batch_execute("COMMIT").unwrap();
    let shown = after(&world.store, &Filter::default(), Some(start.next), 10);
    assert_eq!(shown.lines.iter().map(|line| line.detail.as_str()).collect::<Vec<_>>(), ["early"]);
    assert!(after(&world.store, &Filter::default(), Some(shown.next), 10).lines.is_empty());
}

#[test]
fn parallel_writers_of_two_daemons_lose_and_repeat_no_line() {
    let world = World::new();
    let other = writing(connect(world.database.url(), 4).unwrap(), &world.peppers);
    let from = after(&world.store, &Filter::default(), None, 1).next;
    let done = AtomicBool::new(false);
    let seen: Vec<Line> = thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let (mut from, mut seen) = (from, Vec::new());
            loop {
                let last = done.load(Ordering::SeqCst);
                let page = after(&world.store, &Filter::default(), Some(from), 7);
                // Through its text, as a program on the other side of the wire keeps it.
                from = Follow::from_cursor(page.next.cursor().to_string().parse::<Cursor>().unwrap()).unwrap();
                let more = page.more;
                seen.extend(page.lines);
                if last && !more {
                    return seen;
                }
            }
        });
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let store = if writer % 2 == 0 { &world.store } else { &other };
                scope
                    .spawn(move || (0..100).for_each(|number| write(store, format!("{writer} {number}"), 100 - number)))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        follower.join().unwrap()
    });
    assert_eq!(seen.len(), 600);
    let details: BTreeSet<&str> = seen.iter().map(|line| line.detail.as_str()).collect();
    assert_eq!(details.len(), 600, "each of them once");
}

#[test]
fn the_start_is_the_last_lines_or_a_moment() {
    let world = World::new();
    for number in 0..10 {
        write(&world.store, number.to_string(), number);
    }
    let details =
        |followed: &Followed| followed.lines.iter().map(|line| line.detail.clone()).collect::<Vec<_>>().join(" ");
    let last = after(&world.store, &Filter::default(), None, 3);
    assert_eq!(details(&last), "7 8 9");
    let since = Filter { since: Some(at(4)), ..Filter::default() };
    let first = after(&world.store, &since, None, 4);
    assert_eq!((details(&first).as_str(), first.more), ("4 5 6 7", true));
    let rest = after(&world.store, &since, Some(first.next), 4);
    assert_eq!((details(&rest).as_str(), rest.more), ("8 9", false));
    let refused = Filter { outcome: Some(Outcome::Refused), ..Filter::default() };
    assert_eq!(details(&after(&world.store, &refused, None, 9)), "");
    let listed = Follow::from_cursor(last.lines[0].cursor());
    assert_eq!(listed, None, "a cursor of the list is none of this");
}
