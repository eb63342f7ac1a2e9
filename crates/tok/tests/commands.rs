//! The program as scripts meet it: what is on stdout, what on stderr, and the exit code. The daemon is a stand-in that
//! says what each test needs; the real one is judged in the workspace's end-to-end tests.

#![expect(clippy::unwrap_used, reason = "the stand-in fails a test where it stands")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;
use tok_api::fault::{Fault, FaultCode};
use tok_api::wire::v1;
use tok_api::wire::v1::authorization_service_server::{AuthorizationService, AuthorizationServiceServer};
use tok_api::wire::v1::token_service_server::{TokenService, TokenServiceServer};
use tokio::net::UnixListener;
use tonic::codegen::tokio_stream;
use tonic::{Request, Response, Status};

const ID: &str = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";
const TEXT: &str = "tokpat_notARealTokenButLongEnough";

fn token() -> v1::Token {
    v1::Token {
        id: ID.to_owned(),
        kind: v1::TokenKind::Personal.into(),
        name: "CI".to_owned(),
        prefix: "tokpat".to_owned(),
        token_prefix: "tokpat_notA".to_owned(),
        scopes: vec!["repo:read".to_owned()],
        state: v1::TokenState::Active.into(),
        created_at: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        user: "alice".to_owned(),
        ..v1::Token::default()
    }
}

/// What the stand-in was asked.
#[derive(Default)]
struct Seen {
    created: Vec<v1::CreateTokenRequest>,
    revoked: Vec<v1::RevokeTokenRequest>,
    act_as: Option<String>,
}

#[derive(Default, Clone)]
struct StandIn(Arc<Mutex<Seen>>);

#[tonic::async_trait]
impl TokenService for StandIn {
    async fn create(&self, request: Request<v1::CreateTokenRequest>) -> Result<Response<v1::CreateTokenReply>, Status> {
        let mut seen = self.0.lock().unwrap();
        seen.act_as = request.metadata().get("tok-as").map(|user| user.to_str().unwrap().to_owned());
        seen.created.push(request.into_inner());
        Ok(Response::new(v1::CreateTokenReply { secret: TEXT.to_owned(), token: Some(token()) }))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensReply>, Status> {
        if request.into_inner().all_users {
            return Err(Fault::new(FaultCode::Forbidden, "only managers may list everybody's tokens").into());
        }
        let tokens = vec![token(); 2_000];
        Ok(Response::new(v1::ListTokensReply { tokens, next_cursor: "c2".to_owned() }))
    }

    async fn show(&self, _: Request<v1::ShowTokenRequest>) -> Result<Response<v1::ShowTokenReply>, Status> {
        Err(Fault::new(FaultCode::NotFound, "no token begins with ffff").into())
    }

    async fn revoke(&self, request: Request<v1::RevokeTokenRequest>) -> Result<Response<v1::RevokeTokenReply>, Status> {
        let request = request.into_inner();
        if request.reference == "1b4e" {
            let fault = Fault::new(FaultCode::Ambiguous, "2 tokens begin with 1b4e");
            return Err(fault.matches(vec!["1b4e28ba CI".to_owned(), "1b4e99ff Old".to_owned()]).into());
        }
        if !request.dry_run {
            self.0.lock().unwrap().revoked.push(request);
        }
        Ok(Response::new(v1::RevokeTokenReply { token: Some(token()), minted_revoked: 1, ..Default::default() }))
    }

    async fn list_scopes(&self, _: Request<v1::ListScopesRequest>) -> Result<Response<v1::ListScopesReply>, Status> {
        Err(Fault::new(FaultCode::Unauthenticated, "the token has expired").into())
    }

    async fn modify(&self, _: Request<v1::ModifyTokenRequest>) -> Result<Response<v1::ModifyTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn rotate(&self, _: Request<v1::RotateTokenRequest>) -> Result<Response<v1::RotateTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn revoke_many(&self, _: Request<v1::RevokeManyRequest>) -> Result<Response<v1::RevokeManyReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn revoke_secret(
        &self,
        _: Request<v1::RevokeSecretRequest>,
    ) -> Result<Response<v1::RevokeTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn restore(&self, _: Request<v1::RestoreTokenRequest>) -> Result<Response<v1::RestoreTokenReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn import(&self, _: Request<v1::ImportTokensRequest>) -> Result<Response<v1::ImportTokensReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

#[tonic::async_trait]
impl AuthorizationService for StandIn {
    async fn check(&self, request: Request<v1::CheckTokenRequest>) -> Result<Response<v1::CheckTokenReply>, Status> {
        let usable = request.into_inner().secret == TEXT;
        let verdict = if usable { "works" } else { "expired" }.to_owned();
        let owner = "alice".to_owned();
        Ok(Response::new(v1::CheckTokenReply { token: Some(token()), owner, verdict, usable, ..Default::default() }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn introspect(&self, _: Request<v1::IntrospectRequest>) -> Result<Response<v1::IntrospectReply>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

/// A stand-in that serves until the test ends, and a home of its own.
struct Setting {
    stand_in: StandIn,
    socket: PathBuf,
    directory: TempDir,
}

/// What a run left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("tokd.sock");
        let stand_in = StandIn::default();
        let (service, path) = (stand_in.clone(), socket.clone());
        let (ready, listening) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::bind(path).unwrap();
                ready.send(()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (authorization, service) =
                        (AuthorizationServiceServer::new(service.clone()), TokenServiceServer::new(service.clone()));
                    tokio::spawn(async move {
                        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(stream));
                        let _ = tonic::transport::Server::builder()
                            .add_service(authorization)
                            .add_service(service)
                            .serve_with_incoming(incoming)
                            .await;
                    });
                }
            });
        });
        listening.recv().unwrap();
        Self { stand_in, socket, directory }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tok"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.directory.path()).env("TOK_SOCKET", &self.socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        finish(&mut self.command(arguments))
    }
}

fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn into_a_pipe_goes_the_token_alone() {
    let setting = Setting::new();
    let run = setting.run(&["token", "create", "CI", "-e", "30", "--as", "alice"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, &*format!("{TEXT}\n")));
    assert!(run.stderr.contains("not shown again") && !run.stderr.contains(TEXT), "{}", run.stderr);
    assert_eq!(setting.run(&["token", "create", "CI", "--quiet"]).stderr, "");
    let seen = setting.stand_in.0.lock().unwrap();
    assert_eq!((seen.created[0].name.as_str(), seen.created[0].expires.as_str()), ("CI", "30"));
    assert_eq!(seen.created[0].scopes, ["repo:read", "repo:write"]);
    assert_eq!((seen.created[1].expires.as_str(), seen.act_as.as_deref()), ("", None));
}

#[test]
fn json_is_whole_and_alone() {
    let setting = Setting::new();
    let run = setting.run(&["token", "create", "CI", "--output", "json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let made = json(&run.stdout);
    assert_eq!((made["secret"].as_str(), made["token"]["id"].as_str()), (Some(TEXT), Some(ID)));

    let run = finish(setting.command(&["token", "list"]).env("TOK_OUTPUT", "json"));
    let list = json(&run.stdout);
    assert_eq!((list["tokens"].as_array().unwrap().len(), list["next_cursor"].as_str()), (2_000, Some("c2")));
    assert_eq!(run.stderr, "");
}

#[test]
fn a_list_says_how_to_go_on() {
    let run = Setting::new().run(&["token", "ls", "--limit", "5", "--state", "active", "--as", "alice"]);
    assert!(
        run.stdout.starts_with("Personal Access Tokens (2000, more follow)\n\ntokpat_notA…  CI\n"),
        "{:.200}",
        run.stdout
    );
    assert_eq!(run.stderr, "More: tok --as alice token list --limit 5 --state active --cursor c2\n");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let setting = Setting::new();
    let mut child = setting.command(&["token", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn a_token_that_nobody_received_is_reported_with_what_to_do() {
    let setting = Setting::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = finish(setting.command(&["token", "create", "CI"]).stdout(full));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains(&format!("tok token revoke --force {ID}")), "{}", run.stderr);
}

#[test]
fn revoking_needs_force_where_nobody_can_be_asked() {
    let setting = Setting::new();
    for arguments in [&["token", "revoke", ID][..], &["token", "revoke", ID, "--output", "json"]] {
        let run = setting.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains("--force"), "{}", run.stderr);
    }
    let run = setting.run(&["token", "revoke", ID, "--dry-run"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("Would revoke token: CI\n"), "{}", run.stdout);
    assert!(setting.stand_in.0.lock().unwrap().revoked.is_empty());

    let run = setting.run(&["token", "rm", "--force", "1b4e28ba", "tokpat_notA", "--reason", "left on a bus"]);
    assert_eq!(run.stdout, "Revoked token: CI\n  tokpat_notA…  with 1 live token minted by it\n");
    let seen = setting.stand_in.0.lock().unwrap();
    assert_eq!(seen.revoked.len(), 1, "two references to one token revoke it once");
    assert_eq!((seen.revoked[0].reference.as_str(), seen.revoked[0].reason.as_str()), (ID, "left on a bus"));
}

#[test]
fn an_ambiguous_reference_lists_its_matches_and_changes_nothing() {
    let setting = Setting::new();
    let run = setting.run(&["token", "revoke", "--force", ID, "1b4e"]);
    assert_eq!((run.code, run.stdout.as_str()), (5, ""));
    let expected = "error: 2 tokens begin with 1b4e\n  1b4e28ba CI\n  1b4e99ff Old\nhint: `tok token list`";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert!(setting.stand_in.0.lock().unwrap().revoked.is_empty());
    let run = setting.run(&["token", "revoke", "--force", "1b4e", "--output", "json"]);
    assert_eq!(json(&run.stderr)["error"]["matches"][1], "1b4e99ff Old");
}

#[test]
fn exit_codes_and_errors_are_for_scripts() {
    let setting = Setting::new();
    for (arguments, code, word) in [
        (&["token", "show", "ffff"][..], 5, "not_found"),
        (&["token", "list", "--all-users"], 4, "forbidden"),
        (&["token", "scopes"], 3, "unauthenticated"),
        (&["token", "create"], 2, "usage"),
        (&["token", "list", "--kind", "gold"], 2, "usage"),
        (&["token", "check"], 2, "usage"),
        (&["whoami"], 1, "internal"),
        (&["status", "--socket", "/nowhere/tokd.sock"], 6, "unavailable"),
    ] {
        let run = setting.run(&[arguments, &["--output", "json"]].concat());
        let error = &json(&run.stderr)["error"];
        assert_eq!((run.code, error["code"].as_str()), (code, Some(word)), "{arguments:?}: {}", run.stderr);
        assert!(error["message"].is_string() && error["hint"].is_string(), "{}", run.stderr);
        assert_eq!(run.stdout, "");
        let run = setting.run(arguments);
        assert_eq!(run.code, code);
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains("\nhint: "), "{}", run.stderr);
    }
}

#[test]
fn check_reads_stdin_and_answers_with_its_exit_code() {
    let setting = Setting::new();
    for (text, code, verdict) in [(TEXT, 0, "works"), ("tokpat_other", 1, "expired")] {
        let mut child = setting.command(&["token", "check"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stdout}");
        assert!(stdout.starts_with(&format!("Verdict:   {verdict}\n")) && !stdout.contains(text), "{stdout}");
    }
}

#[test]
fn git_is_set_up_for_the_socket_in_use_and_unset_again() {
    let setting = Setting::new();
    let url = "http://127.0.0.1:7650";
    let file = setting.directory.path().join(".gitconfig");
    let helper = setting.directory.path().join("git-credential-tok");
    std::fs::copy(env!("CARGO_BIN_EXE_tok"), &helper).unwrap();
    let helper = helper.to_str().unwrap();

    let run = setting.run(&["git", "setup", url, "--helper", helper, "--dry-run"]);
    assert!(run.code == 0 && run.stdout.contains("this would be run") && !file.exists(), "{}", run.stderr);
    let run = setting.run(&["git", "setup", url, "--helper", helper]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let written = std::fs::read_to_string(&file).unwrap();
    let expected = format!("\thelper = \n\thelper = {helper} --socket {}\n", setting.socket.display());
    assert!(written.contains(&expected) && written.contains("useHttpPath = true"), "{written}");

    let run = setting.run(&["git", "setup", url, "--helper", helper, "--output", "json"]);
    let report = json(&run.stdout);
    assert_eq!((report["changed"].as_bool(), report["url"].as_str()), (Some(false), Some(url)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    assert_eq!(setting.run(&["git", "unset", url]).code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
}
