//! Real git: its configuration, its traces, and repositories to push.

use std::ffi::OsString;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::call::{Call, Finished, Running};
use crate::chance::Chance;
use crate::proxy::Proxy;

/// A git command that is about to run.
#[derive(Clone)]
pub struct Git {
    call: Call,
    settings: Vec<(String, String)>,
    traces: PathBuf,
}

impl Git {
    /// `git` through `call`, with its traces in the directory `traces`.
    pub fn new(call: Call, traces: PathBuf) -> Self {
        let call = call
            .variable("GIT_CONFIG_NOSYSTEM", "1")
            .variable("GIT_TERMINAL_PROMPT", "0")
            // Redacted by git itself, and looked at by the leak scanner all the same.
            .variable("GIT_TRACE_REDACT", "1")
            .variable("GIT_TRACE", traces.join("git"))
            .variable("GIT_TRACE_CURL", traces.join("curl"))
            .variable("GIT_TRACE_CURL_NO_DATA", "1");
        Self { call, settings: Vec::new(), traces }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.call = self.call.argument(argument);
        self
    }

    /// In the name of another tok user.
    #[must_use]
    pub fn acting_as(mut self, user: &str) -> Self {
        self.call = self.call.acting_as(user);
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.call = self.call.variable(name, value);
        self
    }

    /// With a setting, for this command only, handed over where no other user sees it.
    #[must_use]
    pub fn setting(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    /// Through a proxy.
    #[must_use]
    pub fn through(self, proxy: &Proxy) -> Self {
        self.setting("http.curloptResolve", proxy.detour())
    }

    /// Without any credential helper.
    #[must_use]
    pub fn without_helper(self, url: &str) -> Self {
        self.setting("credential.helper", "").setting(&format!("credential.{url}.helper"), "")
    }

    /// Without traces, for what git itself writes into them.
    #[must_use]
    pub fn untraced(mut self) -> Self {
        for name in ["GIT_TRACE", "GIT_TRACE_CURL"] {
            self.call = self.call.without(name);
        }
        self
    }

    /// With a password that an askpass program reads from a file: it is in no argument and no variable.
    #[must_use]
    pub fn with_password(self, url: &str, user: &str, password: &str, exempt: &Path) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("askpass-")
            .tempdir_in(exempt)
            .expect("the test's directory is ours")
            .keep();
        let script = directory.join("askpass");
        let quoted = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let text = format!(
            "#!/bin/sh\ncase $1 in Username*) cat '{}' ;; *) cat '{}' ;; esac\n",
            quoted("user"),
            quoted("password")
        );
        for (name, text) in [("user", user), ("password", password), ("askpass", &text)] {
            fs::write(directory.join(name), text).expect("the test's directory is ours");
        }
        make_executable(&script);
        // GIT_TERMINAL_PROMPT=0 forbids terminals only; an askpass program is still asked.
        self.without_helper(url).variable("GIT_ASKPASS", script)
    }

    /// Starts it, to be waited for later.
    pub fn start(self) -> Running {
        self.prepared().start()
    }

    /// Runs it to its end.
    pub fn run(self) -> GitRun {
        let traces = self.traces.clone();
        GitRun { finished: self.prepared().run(), traces }
    }

    /// Runs it and expects that it succeeds.
    #[track_caller]
    pub fn ok(self) -> GitRun {
        let run = self.run();
        assert!(run.code == Some(0), "git failed\n{}", run.describe());
        run
    }

    /// Runs it and expects that it fails with a message, and without having asked anybody for a password.
    #[track_caller]
    pub fn fails(self) -> GitRun {
        let run = self.run();
        assert!(run.code.is_some_and(|code| code != 0), "git should have failed\n{}", run.describe());
        run
    }

    fn prepared(self) -> Call {
        let mut call = self.call.variable("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (number, (key, value)) in self.settings.into_iter().enumerate() {
            call = call.variable(format!("GIT_CONFIG_KEY_{number}"), key);
            call = call.variable(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        call
    }
}

/// A git command that ended, with what it did on the way.
pub struct GitRun {
    finished: Finished,
    traces: PathBuf,
}

impl Deref for GitRun {
    type Target = Finished;
    fn deref(&self) -> &Finished {
        &self.finished
    }
}

/// One HTTP request of git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// `Bearer`, `Basic` or nothing.
    pub scheme: Option<String>,
    /// The status of the answer; `None` if there was none.
    pub status: Option<u16>,
}

impl GitRun {
    /// Every HTTP request, in order.
    pub fn requests(&self) -> Vec<Exchange> {
        let text = fs::read_to_string(self.traces.join("curl")).unwrap_or_default();
        let mut found: Vec<Exchange> = Vec::new();
        for line in text.lines() {
            if let Some((_, header)) = line.split_once("=> Send header: ") {
                let mut words = header.split(' ');
                match (words.next(), words.next(), words.next()) {
                    (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/2")) => found.push(Exchange {
                        method: method.to_owned(),
                        target: target.to_owned(),
                        scheme: None,
                        status: None,
                    }),
                    (Some(name), Some(scheme), _) if name.eq_ignore_ascii_case("authorization:") => {
                        if let Some(last) = found.last_mut() {
                            last.scheme = Some(scheme.to_owned());
                        }
                    }
                    _ => {}
                }
            } else if let Some((_, status)) =
                line.split_once("<= Recv header: HTTP/1.1 ").or_else(|| line.split_once("<= Recv header: HTTP/2 "))
                && let Some(last) = found.last_mut()
                && let Some(status) =
                    status.get(..3).and_then(|status| status.parse().ok()).filter(|status| *status >= 200)
            {
                last.status = Some(status);
            }
        }
        found
    }

    /// How often each status was answered, in order: `[401, 200, 200]`.
    pub fn statuses(&self) -> Vec<u16> {
        self.requests().iter().filter_map(|request| request.status).collect()
    }

    /// Whether any request had this header; its name is compared without regard to case.
    pub fn sent_header(&self, name: &str, value: &str) -> bool {
        let text = fs::read_to_string(self.traces.join("curl")).unwrap_or_default();
        let headers = text.lines().filter_map(|line| line.split_once("=> Send header: ")?.1.split_once(": "));
        headers.into_iter().any(|(found, content)| found.eq_ignore_ascii_case(name) && content.trim() == value)
    }

    /// What credential helpers were called for, in order: `["get", "store"]`.
    pub fn helper_calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.traces.join("git")).unwrap_or_default();
        let calls = text.lines().filter_map(|line| line.split_once("run_command: '").map(|(_, command)| command));
        calls
            .filter_map(|command| command.trim_end_matches('\'').rsplit_once(' '))
            .filter(|(_, operation)| ["get", "store", "erase"].contains(operation))
            .map(|(_, operation)| operation.to_owned())
            .collect()
    }
}

/// Makes a file that may be run.
pub fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the test's directory is ours");
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut chance = Chance::seeded(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&chance.bits().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
