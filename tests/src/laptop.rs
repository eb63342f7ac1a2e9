//! Another machine, as far as one machine can be one: a home of its own, no socket of the daemon's, and with root another
//! system user.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::unistd::{Uid, User};

use crate::binaries;
use crate::call::Call;
use crate::environment::Environment;

/// A system user that is on every machine and is nobody's login.
const SYSTEM_USER: &str = "nobody";

/// A laptop of somebody who is not on the server.
pub struct Laptop<'a> {
    environment: &'a Environment,
    home: PathBuf,
    /// Where logins are kept: the only place of it where a secret may be.
    configuration: PathBuf,
    /// Who its user is, if it can be somebody else than who runs the tests.
    user: Option<User>,
    /// The certificates that are trusted there, if they are more than the server's.
    trust: OnceLock<PathBuf>,
    /// What its user has in the environment, besides.
    variables: Mutex<Vec<(String, OsString)>>,
}

impl Environment {
    /// A laptop.
    pub fn laptop(&self, name: &str) -> Laptop<'_> {
        let user = Uid::effective().is_root().then(|| User::from_name(SYSTEM_USER).ok().flatten()).flatten();
        let home = self.path(name);
        let configuration = self.canaries().exempt().join(name);
        let programs = self.path("bin");
        for directory in [&home, &home.join("run"), &home.join("work"), &configuration] {
            fs::create_dir(directory).expect("the directory is ours");
            fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("the directory is ours");
            if let Some(user) = &user {
                chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may give away");
            }
        }
        if user.is_some() && !programs.exists() {
            fs::create_dir(&programs).expect("the directory is ours");
            for name in ["tok", "git-credential-tok"] {
                fs::copy(binaries::path(name), programs.join(name)).expect("the programs are built");
            }
            for directory in [self.root(), self.canaries().exempt()] {
                fs::set_permissions(directory, Permissions::from_mode(0o711)).expect("the directory is ours");
            }
        }
        let (trust, variables) = (OnceLock::new(), Mutex::default());
        let laptop = Laptop { environment: self, home, configuration, user, trust, variables };
        let settings = "[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n";
        laptop.write(&laptop.home.join(".gitconfig"), settings);
        laptop
    }
}

impl Laptop<'_> {
    /// Any program there.
    pub fn call(&self, program: impl Into<PathBuf>) -> Call {
        let program: PathBuf = program.into();
        let call = match &self.user {
            Some(user) => self
                .environment
                .call("setpriv")
                .arguments([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)])
                .arguments(["--clear-groups", "--"])
                .argument(program),
            None => self.environment.call(program),
        };
        let mut call = call
            .without("TOK_SOCKET")
            .directory(self.work())
            .variable("PATH", self.search_path())
            .variable("HOME", &self.home)
            .variable("XDG_CONFIG_HOME", &self.configuration)
            .variable("XDG_STATE_HOME", self.home.join("state"))
            .variable("XDG_RUNTIME_DIR", self.home.join("run"))
            .variable("TOK_STORAGE", "file");
        if let Some(trust) = self.trust.get() {
            call = call.variable("SSL_CERT_FILE", trust);
        }
        for (name, value) in self.variables.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            call = call.variable(name, value);
        }
        call
    }

    /// What programs there are looked for on.
    pub(crate) fn search_path(&self) -> OsString {
        match &self.user {
            Some(_) => format!("{}:/usr/local/bin:/usr/bin:/bin", self.programs().display()).into(),
            None => binaries::search_path(),
        }
    }

    /// Where our programs are, if its user is not who built them.
    pub(crate) fn programs(&self) -> PathBuf {
        self.environment.path("bin")
    }

    /// From now on its user has this in the environment.
    pub fn set(&self, name: &str, value: impl Into<OsString>) {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), value.into()));
    }

    /// From now on these servers' certificates are trusted there, too.
    pub fn trusts(&self, others: &[&Environment]) {
        let known = std::iter::once(self.environment).chain(others.iter().copied());
        let certificates: String =
            known.map(|server| fs::read_to_string(server.authority().trust()).expect("the file is there")).collect();
        let path = self.home.join("trust.pem");
        self.write(&path, &certificates);
        self.trust.set(path).expect("it is said once what is trusted");
    }

    /// Something about a program there: its stdin and stdout are a shell's, which runs in a session of D-Bus with an
    /// unlocked keyring. None if this machine has no keyring.
    pub fn desktop(&self, script: &str) -> Option<Call> {
        let there = |program: &str| Path::new("/usr/bin").join(program).exists();
        if !there("gnome-keyring-daemon") || !there("dbus-run-session") {
            return None;
        }
        let unlocked = format!(
            "printf 'the keyring of a test' | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1\n{script}"
        );
        let call = self.call("dbus-run-session").arguments(["--", "sh", "-c", &unlocked]);
        Some(call.without("TOK_STORAGE").variable("XDG_DATA_HOME", self.home.join("share")))
    }

    /// `tok` there.
    pub fn tok(&self, arguments: &[&str]) -> Call {
        let program = if self.user.is_some() { "tok".into() } else { binaries::path("tok") };
        self.call(program).arguments(arguments.iter().copied())
    }

    /// git there, trusting the server's certificate and asking nobody.
    pub fn git(&self, arguments: &[&str]) -> Call {
        self.git_as("git", arguments)
    }

    /// The same with this program.
    pub fn git_as(&self, program: &str, arguments: &[&str]) -> Call {
        let call = self.call(program).arguments(arguments.iter().copied()).variable("GIT_TERMINAL_PROMPT", "0");
        if self.environment.has_tls() {
            let server = || self.environment.authority().trust();
            call.variable("GIT_SSL_CAINFO", self.trust.get().cloned().unwrap_or_else(server))
        } else {
            call
        }
    }

    /// Whether its user is somebody else than who runs the tests.
    pub fn is_another_user(&self) -> bool {
        self.user.is_some()
    }

    /// Its user's home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where its user's settings are, logins among them.
    pub fn configuration(&self) -> &Path {
        &self.configuration
    }

    /// Where work trees go.
    pub fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// The file of logins.
    pub fn logins(&self) -> PathBuf {
        self.configuration.join("tok/logins.toml")
    }

    /// Writes a file of its user's.
    pub fn write(&self, path: &Path, text: &str) {
        fs::write(path, text).expect("the directory is ours");
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may give away");
        }
    }

    /// A password that this user has from now on.
    #[track_caller]
    pub fn password_of(&self, user: &str) -> String {
        let password = format!("a long and lucky password of {user}");
        self.environment.tok(&["user", "passwd", user]).input(format!("{password}\n")).ok();
        password
    }

    /// Logs somebody in with a password that they have from now on.
    #[track_caller]
    pub fn logged_in(&self, user: &str) -> String {
        let password = self.password_of(user);
        self.logged_in_at(&self.environment.url(), user, &password)
    }

    /// Logs somebody in at this address of the server.
    #[track_caller]
    pub fn logged_in_at(&self, url: &str, user: &str, password: &str) -> String {
        let call = self.tok(&["login", url, "--user", user, "--password-stdin", "--output", "json"]);
        let said = call.input(format!("{password}\n")).ok().json();
        said["login"]["session"].as_str().expect("a login has a session").to_owned()
    }
}

impl Drop for Laptop<'_> {
    fn drop(&mut self) {
        // git's helper may have started one.
        let _ = self.tok(&["agent", "stop"]).run();
    }
}
