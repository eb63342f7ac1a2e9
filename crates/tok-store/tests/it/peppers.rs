//! A pepper file that does not belong to the database is noticed before it refuses anybody.

use std::collections::BTreeSet;

use tok_model::secret::{Pepper, PepperId, Peppers};
use tok_store::StoreError;
use tok_store::peppers::{PepperMismatch, check, count, register};

use crate::world::{World, at, rng};

/// A pepper file with these numbers, each key made of its letter.
fn file(peppers: &[(i16, char)]) -> Peppers {
    let lines: Vec<String> =
        peppers.iter().map(|(id, digit)| format!("{id}:{}\n", digit.to_string().repeat(64))).collect();
    lines.concat().parse().unwrap()
}

fn checked(world: &World, file: &Peppers) -> Result<Vec<PepperId>, PepperMismatch> {
    world.store.read(|tx| Ok(check(tx, file))).unwrap()
}

#[test]
fn the_right_file_has_nothing_new() {
    let world = World::new();
    assert_eq!(checked(&world, &world.peppers).unwrap(), []);
    assert_eq!(world.store.read(count).unwrap(), 1);
}

#[test]
fn another_key_under_a_known_number_is_wrong() {
    let world = World::new();
    let other = Peppers::only(Pepper::random(PepperId(1), &mut rng()));
    let error = checked(&world, &other).unwrap_err();
    assert!(matches!(error, PepperMismatch::Wrong(PepperId(1))), "{error}");
}

#[test]
fn a_known_number_without_its_line_is_missing() {
    let world = World::new();
    let error = checked(&world, &file(&[(2, 'a')])).unwrap_err();
    assert!(matches!(error, PepperMismatch::Missing(PepperId(1))), "{error}");
}

#[test]
fn what_the_file_has_more_is_registered_once() {
    let world = World::new();
    world.sql("DELETE FROM peppers");
    let all = file(&[(1, 'a'), (2, 'b'), (-3, 'c')]);
    let new: BTreeSet<PepperId> = checked(&world, &all).unwrap().into_iter().collect();
    assert_eq!(new, [1, 2, -3].map(PepperId).into());
    for id in new {
        world.change(|tx| register(tx, &all, id, at(0))).unwrap();
    }
    assert_eq!(checked(&world, &all).unwrap(), []);
    assert_eq!(world.store.read(count).unwrap(), 3);

    // The same keys with their numbers swapped are other peppers.
    let swapped = file(&[(1, 'b'), (2, 'a'), (-3, 'c')]);
    assert!(matches!(checked(&world, &swapped), Err(PepperMismatch::Wrong(_))));
    // An old one that the file has lost.
    assert!(matches!(checked(&world, &file(&[(1, 'a'), (2, 'b')])), Err(PepperMismatch::Missing(PepperId(-3)))));
}

#[test]
fn a_pepper_is_registered_by_one_daemon_only() {
    let world = World::new();
    let error = world.change(|tx| register(tx, &world.peppers, PepperId(1), at(1))).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let error = world.change(|tx| register(tx, &world.peppers, PepperId(7), at(1))).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert_eq!(world.store.read(count).unwrap(), 1);
}

#[test]
fn the_database_keeps_no_key() {
    let world = World::new();
    world.sql("DELETE FROM peppers");
    world.change(|tx| register(tx, &file(&[(5, 'a')]), PepperId(5), at(0))).unwrap();
    assert_eq!(world.count("SELECT count(*) AS number FROM peppers WHERE octet_length(fingerprint) = 32"), 1);
    let key = format!("SELECT count(*) AS number FROM peppers WHERE fingerprint = '\\x{}'", "a".repeat(64));
    assert_eq!(world.count(&key), 0);
}
