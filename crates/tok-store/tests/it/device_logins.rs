//! Logins that wait to be approved in a browser.

use std::net::IpAddr;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Need, Permit};
use tok_model::id::DeviceLoginId;
use tok_model::secret::{DeviceCode, Digest, UserCode};
use tok_store::device_logins::{self, Begun, Most, NewDeviceLogin, Progress};

use crate::world::{World, at, lines, permit, rng, server, session};

const MOST: Most = Most { address: 2, network: 3, all: 8 };

/// A login begun so many seconds after the beginning, and the digest of its device's code.
fn begin(world: &World, address: Option<&str>, second: i64) -> (Begun, Digest) {
    let address: Option<IpAddr> = address.map(|address| address.parse().unwrap());
    let permit = permit(&Caller::anonymous(Source { address, ..Source::default() }), Need::BeginLogin, at(second));
    let pepper = world.peppers.current();
    let device = DeviceCode::mint(&mut rng()).digest(pepper);
    let new = NewDeviceLogin {
        id: DeviceLoginId::random(&mut rng()),
        device,
        user: UserCode::mint(&mut rng()).digest(pepper),
        machine: "laptop".to_owned(),
        client: "tok".to_owned(),
        expires_at: permit.at() + TimeDelta::minutes(10),
    };
    (world.change(|tx| device_logins::begin(tx, &permit, new, MOST)).unwrap(), device)
}

#[test]
fn one_address_does_not_fill_the_room_of_its_network() {
    let world = World::new();
    let begun = |address: &str| begin(&world, Some(address), 0).0;
    for said in [Begun::Waits, Begun::Waits, Begun::AddressFull] {
        assert_eq!(begun("192.0.2.1"), said);
    }
    // However it is written.
    assert_eq!(begun("::ffff:192.0.2.1"), Begun::AddressFull);
    assert_eq!(begun("192.0.2.2"), Begun::Waits);
}

#[test]
fn one_network_fills_its_own_room_and_not_that_of_others() {
    let world = World::new();
    let begun = |address: &str| begin(&world, Some(address), 0).0;
    // One customer has as many addresses as they like, in networks of their own.
    for last in 0..3 {
        assert_eq!(begun(&format!("2001:db8:1:{last}::1")), Begun::Waits);
    }
    for full in ["2001:db8:1:9::1", "2001:0db8:0001:ffff::2"] {
        assert_eq!(begun(full), Begun::NetworkFull);
    }
    assert_eq!(begun("2001:db8:2::1"), Begun::Waits);
    for last in 1..4 {
        assert_eq!(begun(&format!("192.0.2.{last}")), Begun::Waits);
    }
    // However it is written.
    for full in ["192.0.2.200", "::ffff:192.0.2.201"] {
        assert_eq!(begun(full), Begun::NetworkFull);
    }
    assert_eq!(begun("192.0.3.1"), Begun::Waits);
    assert_eq!(begun("198.51.100.1"), Begun::Full);
    assert_eq!(begin(&world, None, 0).0, Begun::Full);
    // What was decided, or ran out, waits no more.
    let ann = world.user("ann");
    world.sql(&format!("UPDATE device_logins SET state = 'denied', decided_at = created_at, user_id = '{ann}' WHERE address = '192.0.2.1'"));
    assert_eq!(begun("192.0.2.200"), Begun::Waits);
    assert_eq!(begun("192.0.2.200"), Begun::NetworkFull);
    assert_eq!(begin(&world, Some("2001:db8:1:9::1"), 601).0, Begun::Waits);
}

#[test]
fn who_is_disabled_or_has_another_password_lets_in_no_device_that_did_not_come_yet() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let name = "ann".parse().unwrap();
    let approved = |user| {
        let (_, device) = begin(&world, None, 0);
        world.sql(&format!("UPDATE device_logins SET state = 'approved', decided_at = created_at, user_id = '{user}' WHERE state = 'pending'"));
        device
    };
    let progress = |device| world.store.read(|tx| device_logins::by_device(tx, &[device])).unwrap().unwrap().progress;
    let (others, waiting) = (approved(bob), approved(ann));
    assert_eq!(progress(waiting), Progress::Approved(ann));
    world.change(|tx| tok_store::users::set_enabled(tx, &server(at(1)), &name, false)).unwrap();
    assert_eq!(progress(waiting), Progress::Denied);
    world.change(|tx| tok_store::users::set_enabled(tx, &server(at(2)), &name, true)).unwrap();
    assert_eq!(progress(waiting), Progress::Denied, "it does not come back with them");
    for hash in [Some("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA"), None] {
        let waiting = approved(ann);
        world.change(|tx| tok_store::users::set_password(tx, &server(at(3)), &name, hash, false)).unwrap();
        assert_eq!(progress(waiting), Progress::Denied);
    }
    assert_eq!(progress(others), Progress::Approved(bob));
}

#[test]
fn only_what_a_browser_was_given_lets_a_device_in_and_a_new_password_takes_it_away() {
    let world = World::new();
    let (ann, name) = (world.user("ann"), "ann".parse().unwrap());
    let password = world.local(ann);
    let password = Caller { bearer: Bearer::Password, ..password };
    let open = |in_browser: bool| {
        let permit = permit(&password, Need::Mint(session(ann)), at(0));
        let made = world.make(&permit, "login");
        if in_browser {
            world.change(|tx| tok_store::tokens::keep_in_browser(tx, &permit, made.token.id)).unwrap();
        }
        made
    };
    let waiting = || {
        begin(&world, None, 1);
        let id = "SELECT id::text AS line FROM device_logins WHERE state = 'pending'";
        lines(&mut world.raw(), id).pop().unwrap().parse::<DeviceLoginId>().unwrap()
    };
    let settled = |permit: &Permit| {
        let login = waiting();
        let settled = world.change(|tx| device_logins::settle(tx, permit, login, true)).unwrap();
        world.sql("DELETE FROM device_logins");
        settled
    };
    let (laptop, one, another) = (open(false), open(true), open(true));
    let may = |made: &crate::world::Made| permit(&world.holder(made.digest), Need::ApproveLogin, at(2));
    assert!(!settled(&may(&laptop)) && settled(&may(&one)) && settled(&may(&another)));
    // Both were looked up before; one of them sets the password.
    let (permit_of_one, permit_of_another) = (may(&one), may(&another));
    let changes = permit(&world.holder(one.digest), Need::ChangeProfile { user: ann }, at(3));
    let (user, out) =
        world.change(|tx| tok_store::users::set_password(tx, &changes, &name, Some("$argon2id$"), false)).unwrap();
    assert_eq!((user.id, out.sessions, out.left), (ann, 1, 1));
    assert_eq!(out.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [another.token.id]);
    assert!(settled(&permit_of_one) && !settled(&permit_of_another));
    // A manager's word ends the other one, too, and then every session.
    let (_, out) = world.change(|tx| tok_store::users::set_enabled(tx, &server(at(4)), &name, false)).unwrap();
    assert_eq!((out.sessions, out.left), (1, 1));
    assert!(!settled(&permit_of_one));
    let (_, out) = world.change(|tx| tok_store::users::set_password(tx, &server(at(5)), &name, None, true)).unwrap();
    assert_eq!((out.sessions, out.left, out.ended[0].0), (1, 0, laptop.token.id));
    // Nothing was ever theirs to give to a browser but sessions of their own.
    let refused = world.attempt(|tx| tok_store::tokens::keep_in_browser(tx, &server(at(6)), laptop.token.id));
    assert!(matches!(refused, Err(tok_store::StoreError::Permit(_))), "{refused:?}");
}

#[test]
fn whoever_approves_while_the_password_is_set_waits_for_it() {
    let world = World::new();
    let (ann, name) = (world.user("ann"), "ann".parse().unwrap());
    let password = Caller { bearer: Bearer::Password, ..world.local(ann) };
    let opens = permit(&password, Need::Mint(session(ann)), at(0));
    let made = world.make(&opens, "browser");
    world.change(|tx| tok_store::tokens::keep_in_browser(tx, &opens, made.token.id)).unwrap();
    let (_, device) = begin(&world, None, 1);
    let login = world.store.read(|tx| device_logins::by_device(tx, &[device])).unwrap().unwrap().id;
    let approves = permit(&world.holder(made.digest), Need::ApproveLogin, at(2));
    let mut setting = world.raw();
    setting.batch_execute("BEGIN; DELETE FROM browser_sessions").unwrap();
    let settled = std::thread::scope(|scope| {
        let settling = scope.spawn(|| world.change(|tx| device_logins::settle(tx, &approves, login, true)));
        world.until_waiting(1);
        setting.batch_execute("COMMIT").unwrap();
        settling.join().unwrap()
    });
    assert!(!settled.unwrap());
    // The other way round, what was approved is taken back by whoever waited.
    let made = world.make(&opens, "browser");
    world.change(|tx| tok_store::tokens::keep_in_browser(tx, &opens, made.token.id)).unwrap();
    let approves = permit(&world.holder(made.digest), Need::ApproveLogin, at(2));
    let mut holding = world.raw();
    std::thread::scope(|scope| {
        holding.batch_execute("BEGIN; SELECT FROM device_logins FOR UPDATE").unwrap();
        let settling = scope.spawn(|| world.change(|tx| device_logins::settle(tx, &approves, login, true)));
        world.until_waiting(1);
        let set =
            || world.change(|tx| tok_store::users::set_password(tx, &server(at(3)), &name, Some("$argon2id$"), false));
        let setting = scope.spawn(set);
        world.until_waiting(2);
        holding.batch_execute("COMMIT").unwrap();
        assert!(settling.join().unwrap().unwrap());
        setting.join().unwrap().unwrap();
    });
    let progress = world.store.read(|tx| device_logins::by_device(tx, &[device])).unwrap().unwrap().progress;
    assert_eq!(progress, Progress::Denied);
}
