//! Somebody read a token out of the helper's answer, and tries what it is good for.

use serde_json::json;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use super::Hour;
use crate::agent::challenged;
use crate::authority::{READ, WRITE};
use crate::remote_grpc::{Channel, field, varint};

/// gRPC's words for what is not allowed, and for nobody one knows.
const DENIED: u32 = 7;
const UNKNOWN: u32 = 16;

impl Hour<'_> {
    pub(super) fn stolen(&self) {
        self.server.pushed("alice", "acme/secret");
        let [read, write] =
            ["read", "write"].map(|right| self.laptop.get(&self.challenged("acme/app", right)).token().to_owned());
        let status = |repo: &str, service: &str, token: &str| {
            let [bearer, basic] =
                [Request::refs(repo, service).bearer(token), Request::refs(repo, service).basic("alice", token)]
                    .map(|request| self.server.send(&request).status);
            assert_eq!(bearer, basic, "{repo} {service}");
            bearer
        };
        // It is what it says: one repository, one right.
        assert_eq!((status("acme/app", READ, &read), status("acme/app", WRITE, &write)), (200, 200));
        for (repo, service, token) in [
            ("acme/app", WRITE, &read),
            ("acme/secret", READ, &read),
            ("acme/secret", READ, &write),
            ("acme/secret", WRITE, &write),
        ] {
            assert!([401, 403, 404].contains(&status(repo, service, token)), "{repo} {service}");
        }
        for token in [&read, &write] {
            manages_nothing(self.server, token);
            assert_eq!(self.other.send(&Request::refs("club/game", READ).bearer(token)).status, 401);
        }
        self.the_thief_uses_git(&read);

        // Revoked, and run out, it is nobody's.
        let shown = |token: &str| token[..11].to_owned();
        self.server.tok(&["token", "revoke", "--force", &shown(&read)]).acting_as("alice").ok();
        is_nobodys(self.server, "acme/app", &read);
        let late = self.laptop.get(
            &challenged(self.server, "acme/secret", "read")
                .replace(&self.server.host(), &self.proxy.address().to_string()),
        );
        self.server.execute(&format!(
            "UPDATE tokens SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' \
             WHERE shown_prefix = '{}'",
            shown(late.token())
        ));
        is_nobodys(self.server, "acme/secret", late.token());
        // Whoever it was stolen from notices nothing.
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "as if nothing had happened");
    }

    /// With git on a machine of their own.
    fn the_thief_uses_git(&self, token: &str) {
        let exempt = self.server.canaries().exempt().to_owned();
        let git = |directory: &str, arguments: &[&str]| {
            let git = self.server.git(&self.server.work(directory), arguments);
            git.with_password(&self.server.url(), "alice", token, &exempt)
        };
        git("", &["clone", "--quiet", &self.server.repository("acme/app"), "loot"]).ok();
        let loot = self.server.work("loot");
        self.server.commit(&loot, "mine", "now");
        let before = self.server.revision(&self.server.on_server("acme/app"), "main");
        git("loot", &["push", "--quiet"]).fails();
        git("", &["clone", "--quiet", &self.server.repository("acme/secret"), "more"]).fails();
        assert_eq!(self.server.revision(&self.server.on_server("acme/app"), "main"), before);
    }
}

/// What a token for git may not: anything but git.
fn manages_nothing(server: &Environment, token: &str) {
    let made = json!({"name": "mine", "scopes": ["repo:read"]});
    let tokens = || server.count("SELECT count(*) FROM tokens WHERE kind <> 'git'");
    let before = tokens();
    for request in [
        Request::get("/v1/tokens"),
        Request::json("POST", "/v1/tokens", &made),
        Request::get("/v1/users"),
        Request::json("POST", "/v1/users", &json!({"name": "mallory"})),
        Request::get("/v1/workspaces"),
        Request::get("/v1/audit"),
        Request::get("/v1/trusts"),
    ] {
        let reply = server.send(&request.clone().bearer(token));
        assert!([401, 403, 404].contains(&reply.status), "{} {}", reply.status, reply.text());
        let reply = server.send(&request.header("Cookie", &format!("__Host-tok={token}")));
        assert!([401, 403, 404].contains(&reply.status), "a cookie is for pages alone: {}", reply.text());
    }
    let page = server.send(&Request::get("/device").header("Cookie", &format!("__Host-tok={token}")));
    assert!(page.header("location").is_some_and(|to| to.starts_with("/login")), "{page:?}");

    let mut channel = Channel::open(server);
    for (method, message) in [
        ("tok.v1.TokenService/List", Vec::new()),
        ("tok.v1.TokenService/Create", field(1, b"mine")),
        ("tok.v1.SessionService/MintGit", mint("acme/secret")),
        ("tok.v1.SessionService/Watch", Vec::new()),
        ("tok.v1.IdentityService/ListUsers", Vec::new()),
        ("tok.v1.AuditService/ListEvents", Vec::new()),
    ] {
        let answer = channel.call(method, &message, &[("authorization", &format!("Bearer {token}"))]);
        assert_eq!(answer.status(), DENIED, "{method}: {answer:?}");
    }
    // Nor by the command line.
    let tok = |words: &[&str]| {
        server.tok(words).without("TOK_SOCKET").variable("TOK_TOKEN", token).variable("TOK_SERVER", server.url())
    };
    tok(&["token", "create", "mine"]).fails(4);
    tok(&["token", "list"]).fails(4);
    tok(&["user", "list"]).fails(4);
    let login = server.tok(&["login", &server.url(), "--with-token"]).without("TOK_SOCKET");
    login.input(format!("{token}\n")).fails(4).says(&["a git token never may do that"]);
    assert_eq!(tokens(), before);
}

/// A token that is over is one that nobody has.
fn is_nobodys(server: &Environment, repo: &str, token: &str) {
    for service in [READ, WRITE] {
        assert_eq!(server.send(&Request::refs(repo, service).bearer(token)).status, 401, "{service}");
    }
    assert_eq!(server.send(&Request::get("/v1/tokens").bearer(token)).status, 401);
    let mut channel = Channel::open(server);
    for (method, message) in [("IdentityService/Whoami", Vec::new()), ("SessionService/MintGit", mint(repo))] {
        let bearer = format!("Bearer {token}");
        let answer = channel.call(&format!("tok.v1.{method}"), &message, &[("authorization", &bearer)]);
        assert_eq!(answer.status(), UNKNOWN, "{method}");
    }
}

/// What asks for a token to write there.
fn mint(repo: &str) -> Vec<u8> {
    [field(1, repo.as_bytes()), varint(2 << 3), varint(2)].concat()
}
