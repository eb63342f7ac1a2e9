//! A desktop on a laptop: a bus and a keyring, as somebody has them who logged in at a screen.

use std::sync::{Mutex, PoisonError};

use crate::call::{Call, Running};
use crate::laptop::Laptop;
use crate::wait;

/// What the keyring is unlocked with.
const PASSWORD: &str = "the keyring of a test";
/// The collection that a login unlocks, where everything goes that names none.
const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";

/// A session at a screen, until it is dropped. Everything that runs on the laptop meanwhile is part of it.
pub struct Desktop<'a> {
    laptop: &'a Laptop<'a>,
    keyring: Mutex<Option<Running>>,
    bus: Option<Running>,
}

impl<'a> Laptop<'a> {
    /// Logs its user in at a screen; from now on logins are kept in the keyring.
    pub fn log_in(&'a self) -> Desktop<'a> {
        let socket = self.home().join("run/bus");
        let address = format!("unix:path={}", socket.display());
        self.set("DBUS_SESSION_BUS_ADDRESS", &address);
        self.set("XDG_DATA_HOME", self.home().join("share"));
        self.set("TOK_STORAGE", "keyring");
        // As usual, but that nothing is started by being asked for: the keyring is the one that is started here.
        let settings = self.home().join("bus.conf");
        let policy = "<allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>";
        self.write(
            &settings,
            &format!(
                "<busconfig><type>session</type><listen>{address}</listen>\
                 <policy context=\"default\">{policy}</policy></busconfig>\n"
            ),
        );
        let bus = self.lasting("dbus-daemon").arguments(["--nofork", "--nopidfile", "--config-file"]);
        let bus = bus.argument(settings).start();
        wait::until_true("the session has a bus", || socket.exists());
        let desktop = Desktop { laptop: self, keyring: Mutex::default(), bus: Some(bus) };
        desktop.unlock_keyring();
        desktop
    }

    fn lasting(&self, program: &str) -> Call {
        // Whoever kills the tests kills these with them.
        self.call("setpriv").arguments(["--pdeathsig", "KILL", "--", program]).lasting()
    }
}

impl Desktop<'_> {
    /// Locks the keyring, as a screen does that nobody looked at for a while.
    #[track_caller]
    pub fn lock_keyring(&self) {
        let locked = self.ask(&["org.freedesktop.Secret.Service.Lock", &format!("array:objpath:{COLLECTION}")]);
        assert!(locked.is_some() && !self.is_unlocked(), "the keyring stays unlocked: {locked:?}");
    }

    /// Unlocks it, as logging in again does: by another process, which finds what the one before has kept.
    #[track_caller]
    pub fn unlock_keyring(&self) {
        self.end_keyring();
        let keyring = self.laptop.lasting("gnome-keyring-daemon");
        let keyring = keyring.arguments(["--foreground", "--unlock", "--components=secrets"]).input(PASSWORD);
        *self.keyring.lock().unwrap_or_else(PoisonError::into_inner) = Some(keyring.start());
        wait::until_true("there is a keyring, and it is unlocked", || self.is_unlocked());
    }

    fn end_keyring(&self) {
        if let Some(running) = self.keyring.lock().unwrap_or_else(PoisonError::into_inner).take() {
            running.kill();
            running.wait();
        }
    }

    /// How many secrets of tok's are in the keyring.
    #[track_caller]
    pub fn kept(&self) -> usize {
        let call = ["org.freedesktop.Secret.Service.SearchItems", "dict:string:string:xdg:schema,tok.Login"];
        self.ask(&call).expect("the keyring answers").matches("object path").count()
    }

    fn is_unlocked(&self) -> bool {
        let words =
            ["org.freedesktop.DBus.Properties.Get", "string:org.freedesktop.Secret.Collection", "string:Locked"];
        self.send(COLLECTION, &words).is_some_and(|said| said.contains("boolean false"))
    }

    fn ask(&self, words: &[&str]) -> Option<String> {
        self.send("/org/freedesktop/secrets", words)
    }

    fn send(&self, object: &str, words: &[&str]) -> Option<String> {
        let call = self.laptop.call("dbus-send").arguments(["--session", "--print-reply"]);
        let call = call.arguments(["--dest=org.freedesktop.secrets", object]).arguments(words.iter().copied());
        let said = call.run();
        (said.code == Some(0)).then(|| said.text().to_owned())
    }
}

impl Drop for Desktop<'_> {
    fn drop(&mut self) {
        self.end_keyring();
        if let Some(bus) = self.bus.take() {
            bus.kill();
            bus.wait();
        }
    }
}
