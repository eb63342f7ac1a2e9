//! A machine that slept: the clocks that its processes see (`tests/shim/suspend.c`), and the processes themselves.
//!
//! Time goes by for the whole world, so daemon and laptop are both given such clocks. A process that is not stopped meanwhile
//! only sees that it is later.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries;
use crate::daemon::Recipe;
use crate::environment::Environment;
use crate::laptop::Laptop;
use crate::wait;

/// The clocks of one machine.
pub struct Clocks {
    shim: PathBuf,
    file: PathBuf,
    /// Nanoseconds that are added to the clock of the boot, and to the wall's.
    added: Mutex<[i64; 2]>,
}

impl Clocks {
    /// Clocks of a machine with this name, which go right. Needs a C compiler, as building the packages does, too.
    pub fn new(environment: &Environment, machine: &str) -> Self {
        let path = |what: &str| environment.path(&format!("{machine}.{what}"));
        let clocks = Self { shim: path("so"), file: path("clocks"), added: Mutex::default() };
        let source = binaries::workspace().join("tests/shim/suspend.c");
        let compiled = Command::new("cc")
            .args(["-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&clocks.shim, &source])
            .arg("-ldl")
            .output()
            .expect("there is a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        clocks.add(0, 0);
        for (path, mode) in [(&clocks.shim, 0o755), (&clocks.file, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
        }
        clocks
    }

    /// A daemon that goes by them.
    #[must_use]
    pub fn on_server(&self, recipe: Recipe) -> Recipe {
        self.variables().into_iter().fold(recipe, |recipe, (name, value)| recipe.variable(name, value))
    }

    /// Everything on this laptop goes by them from now on.
    pub fn on_laptop(&self, laptop: &Laptop<'_>) {
        for (name, value) in self.variables() {
            laptop.set(name, value);
        }
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.shim.to_string_lossy().into_owned()),
            ("TOK_TEST_CLOCK", self.file.to_string_lossy().into_owned()),
        ]
    }

    /// So much time goes by in sleep.
    pub fn sleep(&self, time: Duration) {
        let nanoseconds = i64::try_from(time.as_nanos()).expect("nobody sleeps for centuries");
        self.add(nanoseconds, nanoseconds);
    }

    /// Somebody sets the clock on the wall ahead by so many seconds, or back.
    pub fn set_wall(&self, seconds: i64) {
        self.add(0, seconds * 1_000_000_000);
    }

    /// By how many seconds the clock on the wall is ahead of that of who runs the tests.
    pub fn ahead(&self) -> i64 {
        self.added.lock().expect("nobody panics with it")[1] / 1_000_000_000
    }

    fn add(&self, boot: i64, wall: i64) {
        let mut added = self.added.lock().expect("nobody panics with it");
        *added = [added[0] + boot, added[1] + wall];
        let bytes: Vec<u8> = added.iter().flat_map(|number| number.to_ne_bytes()).collect();
        // In one piece and in its place: it is mapped by whoever runs.
        let file = File::options().create(true).write(true).truncate(false).open(&self.file);
        file.and_then(|file| file.write_all_at(&bytes, 0)).expect("the file is ours");
    }
}

/// A process that is stopped until this is dropped.
pub struct Stopped(Pid);

impl Stopped {
    /// Stops it, and waits until it stands still.
    pub fn new(pid: i32) -> Self {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("it may be stopped");
        wait::until_true("the process stands still", || stands_still(pid));
        Self(Pid::from_raw(pid))
    }
}

/// Whether each thread of it is stopped.
fn stands_still(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
    })
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}
