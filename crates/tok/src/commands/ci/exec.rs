//! `tok ci exec`.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tok_api::fault::{Fault, FaultCode};
use tok_api::local::listener::{LocalConnection, LocalListener, SocketLimits};
use tok_api::local::{grpc, helper};
use tok_model::url::Origin;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::IdentityArgs;
use super::door::{Door, PATIENCE};
use super::identity::{Identity, SECRET_VARIABLES};
use crate::commands::git::helper::Helper;
use crate::context::{self, Context};
use crate::exit::Failure;
use crate::output::safe;

/// Run a command whose git gets its tokens for the job's identity
///
/// For one server and no other, and for as long as the command runs: git asks a helper, which asks this process over a
/// socket of its own. No secret is in the command's environment, arguments or files, and what in the job's own environment is
/// one (TOK_TOKEN, TOK_ID_TOKEN, what identity tokens are asked for with) is not handed on. Ends as the command does.
///
/// A job of GitLab's has one identity token for all of its life, each good once for each repository: put everything that
/// needs it behind one `tok ci exec`.
///
/// Examples:
///
///     $ tok ci exec --server https://git.example.com -- git push origin main
///     $ tok ci exec -- sh -c "git fetch && make && git push"
#[expect(clippy::doc_markdown, reason = "it is the help that people read in a terminal")]
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where git-credential-tok is [default: on PATH, or beside this program]
    #[arg(long, value_name = "PATH")]
    helper: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl ExecArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let (server, identity) = self.identity.find(context)?;
        let helper = Helper::find(self.helper.as_deref())?;
        if matches!(identity, Identity::Stored(_)) {
            context.out.note("note: this job has no identity token; git uses TOK_TOKEN\n");
        }
        let place = Place::make()?;
        let socket = place.0.join("s");
        let listener = LocalListener::bind(&socket, 0o600, SocketLimits::default())
            .await
            .map_err(|fault| Failure::local(fault.to_string()))?;
        let door = Arc::new(Door::new(server.clone(), identity, context::now));
        let stop = CancellationToken::new();
        let own = rustix::process::geteuid().as_raw();
        let cut = stop.clone();
        let serving = tokio::spawn(listener.serve(
            move |connection, peer| {
                let door = Arc::clone(&door);
                let stop = cut.clone();
                async move {
                    // The socket lies where nobody else gets, but for root.
                    if peer.uid != own && peer.uid != 0 {
                        return;
                    }
                    match connection {
                        LocalConnection::Helper(stream) => {
                            helper::serve(stream, peer, |request| async move { door.answer(request).await }).await;
                        }
                        LocalConnection::Grpc(stream) => {
                            grpc::serve(stream, peer, stop, |_| async { Status::from(only_git()).into_http() }).await;
                        }
                        LocalConnection::Unknown(_) => {}
                    }
                }
            },
            stop.clone(),
            Duration::ZERO,
        ));
        let ended = match self.spawn(&server, &helper.value(Some(&socket), None)?, &socket) {
            Ok(child) => wait(child).await,
            Err(failure) => Err(failure),
        };
        stop.cancel();
        let _ = serving.await;
        drop(place);
        match ended?.into_raw() {
            0 => Ok(()),
            raw => Err(Failure::Command(code(ExitStatus::from_raw(raw)))),
        }
    }

    fn spawn(&self, server: &Origin, helper: &str, socket: &Path) -> Result<Child, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage("say which command to run"));
        };
        let mut command = Command::new(program);
        command.args(arguments).env("TOK_SOCKET", socket).env("TOK_SERVER", server.to_string());
        command.env(super::SOCKET, socket);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        for name in SECRET_VARIABLES {
            command.env_remove(name);
        }
        if std::env::var_os("TOK_TIMEOUT_MS").is_none() {
            command.env("TOK_TIMEOUT_MS", (PATIENCE.as_millis() + 2000).to_string());
        }
        for (name, value) in settings(server, helper, std::env::var("GIT_CONFIG_COUNT").ok().as_deref()) {
            command.env(name, value);
        }
        command.spawn().map_err(|error| {
            let shown = safe(&program.to_string_lossy());
            Failure::Command(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
                .said_first(&format!("error: cannot run {shown}: {error}\n"))
        })
    }
}

/// What a command is told that takes this socket for a daemon's.
fn only_git() -> Fault {
    Fault::new(
        FaultCode::Unavailable,
        "this is the socket of `tok ci exec`, which answers git's helper and nothing else",
    )
    .hint("leave TOK_SOCKET and --socket out: TOK_SERVER names the server")
}

/// git's settings for a command, behind those that are there: our helper for one server, and no other one for it. About
/// the others it is asked last, and only says that they are others.
fn settings(server: &Origin, helper: &str, present: Option<&str>) -> Vec<(String, String)> {
    let first: usize = present.and_then(|count| count.parse().ok()).unwrap_or(0);
    let ours = [
        ("credential.helper".to_owned(), helper.to_owned()),
        (format!("credential.{server}.helper"), String::new()),
        (format!("credential.{server}.helper"), helper.to_owned()),
        (format!("credential.{server}.useHttpPath"), "true".to_owned()),
    ];
    let mut variables = vec![("GIT_CONFIG_COUNT".to_owned(), (first + ours.len()).to_string())];
    for (number, (key, value)) in (first..).zip(ours) {
        variables.push((format!("GIT_CONFIG_KEY_{number}"), key));
        variables.push((format!("GIT_CONFIG_VALUE_{number}"), value));
    }
    variables
}

/// Waits for the command, and hands on what asks to stop. What a terminal sends reaches the command by itself.
async fn wait(mut child: Child) -> Result<ExitStatus, Failure> {
    let broken = |error: io::Error| Failure::local(format!("signals cannot be handed on: {error}"));
    let mut ends = signal(SignalKind::terminate()).map_err(broken)?;
    let mut hangs_up = signal(SignalKind::hangup()).map_err(broken)?;
    let mut interrupts = signal(SignalKind::interrupt()).map_err(broken)?;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let hand_on = |signal| {
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    };
    loop {
        tokio::select! {
            ended = child.wait() => {
                return ended.map_err(|error| Failure::local(format!("the command cannot be waited for: {error}")));
            }
            _ = ends.recv() => hand_on(Signal::TERM),
            _ = hangs_up.recv() => hand_on(Signal::HUP),
            _ = interrupts.recv() => {}
        }
    }
}

/// As shells have it: 128 and the signal for what was killed.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A directory that nobody else gets into, gone when it is dropped.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let mut last = io::Error::other("no directory");
        for base in runtime.into_iter().chain([std::env::temp_dir()]) {
            for attempt in 0..16 {
                let path = base.join(format!("tok-ci-{}-{attempt}", std::process::id()));
                // Fails if there is anything of that name, whoever put it there.
                match DirBuilder::new().mode(0o700).create(&path) {
                    Ok(()) => return Ok(Self(path)),
                    Err(error) => last = error,
                }
            }
        }
        Err(Failure::local(format!("no directory can be made for a socket: {last}")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_settings_stay_and_ours_come_behind_them() {
        let server: Origin = "https://git.example.com".parse().unwrap();
        let names = |present| -> Vec<String> {
            settings(&server, "tok --socket /s", present)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        assert_eq!(
            names(Some("2")),
            [
                "GIT_CONFIG_COUNT=6",
                "GIT_CONFIG_KEY_2=credential.helper",
                "GIT_CONFIG_VALUE_2=tok --socket /s",
                "GIT_CONFIG_KEY_3=credential.https://git.example.com.helper",
                "GIT_CONFIG_VALUE_3=",
                "GIT_CONFIG_KEY_4=credential.https://git.example.com.helper",
                "GIT_CONFIG_VALUE_4=tok --socket /s",
                "GIT_CONFIG_KEY_5=credential.https://git.example.com.useHttpPath",
                "GIT_CONFIG_VALUE_5=true",
            ]
        );
        assert!(names(None).contains(&"GIT_CONFIG_COUNT=4".to_owned()));
    }

    #[test]
    fn the_commands_end_is_ours() {
        for (raw, expected) in [(0, 0), (3 << 8, 3), (15, 143), (9, 137)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn nobody_else_gets_into_the_place_and_it_goes() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = Place::make().unwrap();
        let path = place.0.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(place);
        assert!(!path.exists());
    }
}
