//! The .deb, judged without an installed system: built from the binaries beside this test, installed by dpkg into a
//! scratch root, looked at, run from there, removed and purged. Works as root and as a user.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tok_tests::tls::Authority;
use tok_tests::wait;

/// Making a cluster takes a second; a busy machine takes some more.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Where programs of the system are; dpkg refuses to work without the last three.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every release must have: mode and path. Man pages of the commands of the CLI come on top.
const CONTENTS: &[(&str, &str)] = &[
    ("-rw-r--r--", "./etc/tok/tokd.toml"),
    ("-rwxr-xr-x", "./usr/bin/git-credential-tok"),
    ("-rwxr-xr-x", "./usr/bin/tok"),
    ("-rwxr-xr-x", "./usr/bin/tokd"),
    ("-rw-r--r--", "./usr/lib/systemd/system/tokd.service"),
    ("-rw-r--r--", "./usr/lib/systemd/user/tok-agent.service"),
    ("-rw-r--r--", "./usr/lib/systemd/user/tok-agent.socket"),
    ("-rw-r--r--", "./usr/lib/sysusers.d/tok.conf"),
    ("-rw-r--r--", "./usr/share/bash-completion/completions/tok"),
    ("-rw-r--r--", "./usr/share/doc/tok/changelog.gz"),
    ("-rw-r--r--", "./usr/share/doc/tok/copyright"),
    ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/tok.fish"),
    ("-rw-r--r--", "./usr/share/man/man1/git-credential-tok.1.gz"),
    ("-rw-r--r--", "./usr/share/man/man1/tok.1.gz"),
    ("-rw-r--r--", "./usr/share/man/man5/tok-config.5.gz"),
    ("-rw-r--r--", "./usr/share/man/man5/tokd.toml.5.gz"),
    ("-rw-r--r--", "./usr/share/man/man8/tokd.8.gz"),
    ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_tok"),
];

#[test]
fn the_package_holds_what_belongs_on_a_system_and_nothing_else() {
    let listing = said(system("dpkg-deb").arg("--contents").arg(package()));
    let mut files = BTreeSet::new();
    for line in listing.lines() {
        let mut fields = line.split_whitespace();
        let (Some(mode), Some(owner), Some(path)) = (fields.next(), fields.next(), fields.nth(3)) else {
            panic!("an unexpected line: {line:?}")
        };
        assert_eq!(owner, "root/root", "{line}");
        if mode.starts_with('d') {
            assert_eq!(mode, "drwxr-xr-x", "{line}");
        } else if !path.starts_with("./usr/share/man/man1/tok-") {
            files.insert((mode.to_owned(), path.to_owned()));
        }
    }
    let expected: BTreeSet<_> = CONTENTS.iter().map(|&(mode, path)| (mode.to_owned(), path.to_owned())).collect();
    assert_eq!(files, expected);

    assert_eq!(said(system("dpkg-deb").arg("--info").arg(package()).arg("conffiles")).trim(), "/etc/tok/tokd.toml");
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    let depends = field("Depends");
    for library in ["libc6 (>=", "libpq5 (>="] {
        assert!(depends.contains(library), "{library}: {depends}");
    }
}

#[test]
fn the_same_sources_and_binaries_give_the_same_bytes() {
    let directory = TempDir::new().expect("a temporary directory");
    let (first, second) = (package(), build(directory.path()));
    assert!(fs::read(first).expect("a package") == fs::read(&second).expect("a package"), "{first:?} differs");
}

#[test]
fn dpkg_installs_removes_and_purges_it_and_never_throws_data_away() {
    let root = Root::with_package();
    assert_eq!(root.dpkg(&["--verify", "tok"]), "");
    let passwd = root.read("/etc/passwd");
    assert!(passwd.contains("tokd:x:") && passwd.contains(":/var/lib/tok:/usr/sbin/nologin"), "{passwd}");
    let enabled = root.at("/etc/systemd/system/multi-user.target.wants/tokd.service");
    assert!(enabled.is_symlink(), "tokd.service is not enabled");
    for name in ["tokd", "tok", "git-credential-tok"] {
        let printed = said(root.program(name).arg("--version"));
        assert_eq!(printed.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
    }

    let data = root.at("/var/lib/tok/pepper");
    fs::create_dir_all(data.parent().expect("a directory")).expect("a data directory");
    fs::write(&data, "precious").expect("a file");
    root.dpkg(&["--remove", "tok"]);
    assert!(!root.at("/usr/bin/tokd").exists());
    assert!(root.at("/etc/tok/tokd.toml").exists(), "removing forgets no settings");

    let words = root.dpkg(&["--purge", "tok"]);
    assert!(!root.at("/etc/tok").exists() && !enabled.is_symlink());
    assert_eq!(fs::read_to_string(&data).expect("purging keeps the data"), "precious");
    assert!(words.contains("Kept: /var/lib/tok") && words.contains("rm -r /var/lib/tok"), "{words}");
}

#[test]
fn systemd_finds_no_fault_with_the_unit_and_little_exposure() {
    let root = Root::with_package();
    let shipped = root.read("/usr/lib/systemd/system/tokd.service");
    let program = root.at("/usr/bin/tokd");
    assert!(shipped.contains("\nExecStart=/usr/bin/tokd serve --config /etc/tok/tokd.toml\n"), "{shipped}");
    let unit = root.at("/tokd.service");
    fs::write(&unit, shipped.replace("/usr/bin/tokd", &program.display().to_string())).expect("a unit");

    // Its man pages are not installed here.
    let output =
        system("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().expect("systemd-analyze runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaints.contains("tokd"), "{complaints}");

    let table = said(system("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(&unit));
    let exposure = table.split("Overall exposure level for tokd.service: ").nth(1);
    let exposure = exposure.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= 1.5), "{table}");
}

#[test]
fn systemd_finds_no_fault_with_the_units_of_the_agent() {
    let root = Root::with_package();
    let program = root.at("/usr/bin/tok");
    let directory = root.at("/user-units");
    fs::create_dir(&directory).expect("a directory");
    for name in ["tok-agent.service", "tok-agent.socket"] {
        let shipped = root.read(&format!("/usr/lib/systemd/user/{name}"));
        fs::write(directory.join(name), shipped.replace("/usr/bin/tok", &program.display().to_string()))
            .expect("a unit");
    }
    let output = system("systemd-analyze")
        .args(["--user", "verify", "--man=no"])
        .env("XDG_RUNTIME_DIR", &directory)
        .arg(directory.join("tok-agent.socket"))
        .arg(directory.join("tok-agent.service"))
        .output()
        .expect("systemd-analyze runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaints.contains("tok-agent"), "{complaints}");
}

#[test]
fn every_key_is_documented_and_every_line_of_the_config_is_valid_when_uncommented() {
    let root = Root::with_package();
    let shipped = root.read("/etc/tok/tokd.toml");
    let page = fs::read_to_string(workspace().join("packaging/man/tokd.toml.5")).expect("a man page");
    // What it says about files holds for those of the scratch root.
    fs::write(root.at("/etc/tok/database-url"), "postgresql:///tok\n").expect("a file");
    fs::create_dir_all(root.at("/etc/tok/tls")).expect("a directory");
    let authority = Authority::new(&root.at("/etc/tok/tls"));
    authority.issue(&["localhost"]);
    fs::rename(authority.certificate(), root.at("/etc/tok/tls/fullchain.pem")).expect("a certificate");
    fs::rename(authority.key(), root.at("/etc/tok/tls/privkey.pem")).expect("a key");
    let here = |text: &str| text.replace("\"/etc/tok/", &format!("\"{}/", root.at("/etc/tok").display()));
    root.check_config(&shipped).expect("the shipped configuration is all right");

    let (mut section, mut documented) = (String::new(), BTreeSet::new());
    for (number, line) in shipped.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            let (within, name) = section.rsplit_once('.').unwrap_or(("", &section));
            documented.insert((within.to_owned(), name.to_owned()));
        }
        // "#key = value", as opposed to "# words".
        let Some(setting) = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        else {
            continue;
        };
        let mut lines: Vec<&str> = shipped.lines().collect();
        lines[number] = setting;
        if section == "server.tls" {
            // The two make sense together alone.
            let pair = |line: &&mut &str| line.starts_with("#certificate = ") || line.starts_with("#key = ");
            lines.iter_mut().filter(pair).for_each(|line| *line = &line[1..]);
        }
        root.check_config(&here(&lines.join("\n"))).unwrap_or_else(|said| panic!("{setting}: {said}"));
        let key = setting.split(' ').next().expect("a key");
        assert!(page.contains(&format!("\n.It Ic {key}")), "tokd.toml.5 lacks {section}.{key}");
        documented.insert((section.clone(), key.to_owned()));
    }

    // tokd names the keys it knows when it meets one that it does not.
    let sections: BTreeSet<_> = documented.iter().map(|(section, _)| section.clone()).collect();
    for section in sections {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let said = root.check_config(&format!("{header}nonsense = 1\n")).expect_err("nonsense is refused");
        let known = said.lines().find_map(|line| line.split_once("expected")).map(|(_, known)| quoted(known));
        let known: BTreeSet<_> = known.unwrap_or_default().into_iter().collect();
        let here: BTreeSet<_> =
            documented.iter().filter(|(of, _)| *of == section).map(|(_, key)| key.clone()).collect();
        assert_eq!(known, here, "section {section:?}: {said}");
    }
}

#[test]
fn the_man_pages_name_every_option_and_variable_and_render_without_a_warning() {
    let root = Root::with_package();
    let read = |page: &str| fs::read_to_string(workspace().join("packaging/man").join(page)).expect("a man page");
    let helps =
        ["serve", "dev", "migrate", "check-config"].map(|command| said(root.program("tokd").args([command, "--help"])));
    let helper = said(root.program("git-credential-tok").arg("--help"));
    for (page, help) in [("tokd.8", helps.concat()), ("git-credential-tok.1", helper)] {
        // roff's hyphen is \-, and mdoc's .Fl writes the first of the two.
        let text = read(page).replace("\\-", "-").replace(".Fl -", "--").replace(" Fl -", " --");
        let words: BTreeSet<&str> = help
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .filter(|word| word.starts_with("--") || word.starts_with("TOK"))
            .collect();
        assert!(words.len() >= 6, "too few words in {help}");
        for word in words {
            assert!(text.contains(word), "{page} lacks {word}");
        }
    }
    for page in ["tokd.8", "tokd.toml.5", "tok-config.5", "git-credential-tok.1"] {
        let path = workspace().join("packaging/man").join(page);
        let man = system("man").args(["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"]).arg(&path).output();
        let output = match man {
            // Minimal systems have no man; whoever develops has.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.expect("man runs"),
        };
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty() && !output.stdout.is_empty(), "{page}: {warnings}");
    }
}

#[test]
fn the_installed_daemon_serves_as_configured_tells_systemd_and_stops() {
    let root = Root::with_package();
    let (data, socket) = (root.at("/var/lib/tok"), root.at("/run/tok/tokd.sock"));
    // RuntimeDirectory= and StateDirectory= do this.
    for directory in [&data, socket.parent().expect("a directory")] {
        fs::create_dir_all(directory).expect("a directory");
    }
    fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("a mode");
    let config = root
        .read("/etc/tok/tokd.toml")
        .replace("#data_dir = \"/var/lib/tok\"", &format!("data_dir = \"{}\"", data.display()))
        .replace("#listen = \"127.0.0.1:7650\"", "listen = \"127.0.0.1:0\"")
        .replace("#socket = \"/run/tok/tokd.sock\"", &format!("socket = \"{}\"", socket.display()));
    assert_eq!(config.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(), 3);
    fs::write(root.at("/etc/tok/tokd.toml"), config).expect("a configuration");

    let notices = root.at("/notify");
    let manager = UnixDatagram::bind(&notices).expect("a socket");
    manager.set_read_timeout(Some(POLL)).expect("a timeout");
    let log = root.at("/log");
    let mut daemon = Daemon(
        root.program("tokd")
            .args(["serve", "--config"])
            .arg(root.at("/etc/tok/tokd.toml"))
            .env("NOTIFY_SOCKET", &notices)
            .stdin(Stdio::null())
            .stdout(File::create(&log).expect("a log"))
            .stderr(File::options().append(true).open(&log).expect("a log"))
            .spawn()
            .expect("tokd starts"),
    );
    let words = || fs::read_to_string(&log).unwrap_or_default();
    assert!(daemon.notifies(&manager, "READY=1"), "no READY=1 from tokd:\n{}", words());

    let status = said(root.program("tok").args(["status", "--output", "json"]).env("TOK_SOCKET", &socket));
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["server"]["version"], env!("CARGO_PKG_VERSION"), "{status}");
    assert_eq!(status["server"]["store"], "embedded", "{status}");
    assert!(data.join("pepper").is_file() && data.join("pg/PG_VERSION").is_file());

    daemon.ask_to_stop();
    assert!(daemon.notifies(&manager, "STOPPING=1"), "no STOPPING=1 from tokd:\n{}", words());
    assert_eq!(daemon.end(), Some(0), "{}", words());
    assert!(!socket.exists() && !data.join("pg/postmaster.pid").exists(), "something is left:\n{}", words());
}

/// A directory that dpkg takes for a system.
struct Root(TempDir);

impl Root {
    fn with_package() -> Self {
        let root = Self(TempDir::new().expect("a temporary directory"));
        for directory in ["/etc", "/var/lib/dpkg/info", "/var/lib/dpkg/updates"] {
            fs::create_dir_all(root.at(directory)).expect("a directory");
        }
        fs::write(root.at("/var/lib/dpkg/status"), "").expect("a file");
        root.dpkg(&["--install", &package().display().to_string()]);
        root
    }

    /// Where a path of the installed system is.
    fn at(&self, installed: &str) -> PathBuf {
        self.0.path().join(installed.trim_start_matches('/'))
    }

    fn read(&self, installed: &str) -> String {
        fs::read_to_string(self.at(installed)).unwrap_or_else(|error| panic!("{installed}: {error}"))
    }

    /// dpkg on this root. What the package depends on is not in it, and its scripts run outside, told of the root.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut root = std::ffi::OsString::from("--root=");
        root.push(self.0.path());
        let flags = ["--force-not-root", "--force-script-chrootless", "--force-depends", "--log=/dev/null"];
        said(system("dpkg").arg(root).args(flags).args(arguments))
    }

    /// An installed program, with nothing of this process's environment but where git and PostgreSQL are.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.at("/usr/bin").join(name));
        command.env_clear().env("HOME", self.0.path()).current_dir("/");
        command.env("PATH", env::var_os("PATH").unwrap_or_else(|| SYSTEM_PATH.into()));
        command
    }

    /// `tokd check-config`; what it complains about.
    fn check_config(&self, text: &str) -> Result<(), String> {
        let file = self.at("/checked.toml");
        fs::write(&file, text).expect("a file");
        let output = self.program("tokd").args(["check-config", "--config"]).arg(&file).output().expect("tokd runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// A `tokd serve` that does not outlive its test.
struct Daemon(Child);

impl Daemon {
    /// Waits until it sends `state` as systemd wants to hear it (`sd_notify(3)`); `false` if it ended or took too long.
    fn notifies(&mut self, manager: &UnixDatagram, state: &str) -> bool {
        let begin = Instant::now();
        let mut buffer = [0; 4096];
        while begin.elapsed() < PATIENCE {
            match manager.recv(&mut buffer) {
                Ok(length) => {
                    if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == state) {
                        return true;
                    }
                }
                // Nothing for a moment; what a daemon that ended had sent would have been there.
                Err(_) if self.ended().is_some() => return false,
                Err(_) => {}
            }
        }
        false
    }

    fn ask_to_stop(&self) {
        said(system("kill").args(["-TERM", &self.0.id().to_string()]));
    }

    /// Waits for its end; the exit status, or `None` if a signal or our patience ended it.
    fn end(&mut self) -> Option<i32> {
        wait::within(PATIENCE, || self.ended())?.code()
    }

    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// The package, built once for all tests.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("package")))
}

/// Packages the binaries of the build that this test belongs to.
fn build(output: &Path) -> PathBuf {
    // target/debug/deps/it-0123
    let own = env::current_exe().expect("this process has a path");
    let binaries = own.ancestors().nth(2).expect("tests are in deps");
    let profile = binaries.file_name().and_then(|name| name.to_str()).expect("a profile's directory");
    let mut script = system(&workspace().join("packaging/build-deb.sh").display().to_string());
    script
        .args(["--no-build", "--output"])
        .arg(output)
        .env("TOK_PACKAGE_PROFILE", if profile == "debug" { "dev" } else { profile })
        .env("CARGO_TARGET_DIR", binaries.parent().expect("profiles are in target"));
    let printed = said(&mut script);
    PathBuf::from(printed.lines().last().expect("the package's path"))
}

fn field(name: &str) -> String {
    said(system("dpkg-deb").arg("--field").arg(package()).arg(name)).trim().to_owned()
}

/// What is between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the workspace")
}

/// A program of the system, in an environment that is the same everywhere.
fn system(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// Runs it; what it printed on stdout. It must succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} ended with {status}: {stdout}{stderr}");
    stdout
}
