//! Pages of a list, while tokens come and go between them.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::page::{Cursor, PageSize};
use tok_model::token::{Owner, Standing, Token};
use tok_store::tokens::{Filter, create, list};

use crate::world::{World, at, permit, personal};

/// What happens between two pages.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Somebody makes a token at this second: later ones than the page, earlier ones, at the same moment.
    Made(i64),
    /// A token goes, row and all: the so many-eth of those that may.
    Removed(usize),
    /// A token is revoked.
    Revoked(usize),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..60_i64).prop_map(Event::Made),
        any::<usize>().prop_map(Event::Removed),
        any::<usize>().prop_map(Event::Revoked),
    ]
}

/// A few hundred tokens, several a second, so that pages end in the middle of a second.
fn fill(world: &World, user: UserId, seconds: impl IntoIterator<Item = i64>) -> Vec<TokenId> {
    let caller = world.local(user);
    let drafts: Vec<_> = seconds
        .into_iter()
        .map(|second| {
            let permit = permit(&caller, Need::Mint(personal(user, "repo:read", None)), at(second));
            let row = world.draft(&permit, "one of many").1;
            (permit, row)
        })
        .collect();
    let all = |tx: &mut tok_store::WriteTx<'_>| {
        drafts.into_iter().map(|(permit, row)| create(tx, &permit, row).map(|token| token.id)).collect()
    };
    world.change(all).unwrap()
}

fn page(
    world: &World,
    permit: &Permit,
    filter: &Filter,
    rows: u32,
    after: Option<Cursor>,
) -> (Vec<Token>, Option<Cursor>) {
    let size = PageSize::try_from(rows).unwrap();
    let (tokens, next) = world.store.read(|tx| list(tx, permit, filter, size, after)).unwrap();
    // To everybody outside a cursor is text.
    (tokens, next.map(|cursor| cursor.to_string().parse().unwrap()))
}

#[test]
fn every_token_that_is_there_throughout_is_seen_exactly_once() {
    let world = World::new();
    let histories = prop::collection::vec(prop::collection::vec(any_event(), 0..4), 20..60);
    let mut runner =
        TestRunner::new(Config { cases: 6, max_shrink_iters: 20, failure_persistence: None, ..Config::default() });
    let user = std::cell::Cell::new(0);
    let outcome = runner.run(&histories, |history| {
        user.set(user.get() + 1);
        let ann = world.user(&format!("ann{}", user.get()));
        let mut going = fill(&world, ann, (0..240).map(|number| number % 50));
        let staying: BTreeSet<TokenId> = going.split_off(120).into_iter().collect();
        let see = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(1000));
        let mut connection = world.raw();

        let mut seen: BTreeMap<TokenId, usize> = BTreeMap::new();
        let (mut after, mut last, mut history) = (None, None, history.iter());
        loop {
            let (tokens, next) = page(&world, &see, &Filter::default(), 7, after);
            prop_assert!(tokens.len() == 7 || next.is_none());
            for token in tokens {
                let place = (token.created_at, token.id.as_uuid());
                prop_assert!(last.is_none_or(|last| place < last), "newest first, from page to page");
                last = Some(place);
                *seen.entry(token.id).or_default() += 1;
            }
            let Some(next) = next else { break };
            prop_assert!(after != Some(next) && seen.len() < 1000, "the list goes on");
            after = Some(next);
            for event in history.next().into_iter().flatten() {
                match event {
                    Event::Made(second) => going.extend(fill(&world, ann, [*second])),
                    Event::Removed(which) => {
                        let id = going.swap_remove(which % going.len());
                        let delete = format!("DELETE FROM tokens WHERE id = '{id}'");
                        diesel::sql_query(delete).execute(&mut connection).unwrap();
                    }
                    Event::Revoked(which) => {
                        let id = going[which % going.len()];
                        let revoke =
                            format!("UPDATE tokens SET revoked_at = now(), revoked_by = 'ann' WHERE id = '{id}'");
                        diesel::sql_query(revoke).execute(&mut connection).unwrap();
                    }
                }
            }
        }
        prop_assert!(seen.values().all(|times| *times == 1), "nothing is seen twice");
        let missed: Vec<&TokenId> = staying.iter().filter(|id| !seen.contains_key(id)).collect();
        prop_assert!(missed.is_empty(), "{missed:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_filtered_list_has_the_same_pages() {
    let world = World::new();
    let ann = world.user("ann");
    let ids = fill(&world, ann, (0..40).map(|number| number / 4));
    let revoked: BTreeSet<TokenId> = ids.iter().copied().step_by(3).collect();
    let list_of_ids = revoked.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    world.sql(&format!("UPDATE tokens SET revoked_at = now(), revoked_by = 'ann' WHERE id IN ({list_of_ids})"));
    let see = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(1000));
    let filter = Filter { standing: Some(Standing::Revoked), ..Filter::default() };
    for rows in [1, 5, 13, 14, 15] {
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (tokens, next) = page(&world, &see, &filter, rows, after);
            pages += 1;
            assert!(pages <= 15, "the list goes on");
            seen.extend(tokens.into_iter().map(|token| token.id));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, 14_u32.div_ceil(rows), "no empty page at the end");
        assert_eq!(seen.len(), 14);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), revoked);
    }
}

#[test]
fn an_empty_list_is_one_empty_page() {
    let world = World::new();
    let ann = world.user("ann");
    let see = permit(&world.local(ann), Need::SeeTokens { owner: Owner::User(ann) }, at(0));
    assert_eq!(page(&world, &see, &Filter::default(), 7, None), (Vec::new(), None));
    let beyond = Cursor::new(at(-10), uuid::Uuid::nil());
    assert_eq!(page(&world, &see, &Filter::default(), 7, Some(beyond)), (Vec::new(), None));
}
