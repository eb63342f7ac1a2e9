//! How each operation is asked for: of what, with which words, over HTTP and over gRPC.

use hyper::{Method, Request};
use serde_json::json;
use tok_tests::http::FORM;

use super::callers::Part;
use super::operations::{Operation, Target};
use super::repository_of;
use crate::remote_grpc::{field, varint};

/// What the questions are about.
pub(crate) struct World {
    /// A token of each user's that is never presented, by its ID.
    pub(crate) own: Vec<(Part, String)>,
    /// One of the workspace's.
    pub(crate) teams: String,
    /// One of a user whom nobody here has anything to do with.
    pub(crate) others: String,
    /// The text of a token that ended long ago.
    pub(crate) ended: String,
    /// The text of one that works.
    pub(crate) good: String,
}

/// A question, without who asks it.
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Question {
    pub(crate) fn request(&self, host: &str) -> hyper::http::request::Builder {
        let builder = Request::builder().method(self.method.clone()).uri(&self.path).header("host", host);
        self.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value))
    }
}

const HTPASSWD: &str = "matrix:$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe\n";

impl World {
    fn token(&self, target: Target, part: Option<Part>) -> &str {
        match target {
            Target::Own => self.own.iter().find(|(owner, _)| Some(*owner) == part).map_or(&self.others, |(_, id)| id),
            Target::Team => &self.teams,
            Target::Any | Target::Other => &self.others,
        }
    }

    /// Over HTTP.
    pub(crate) fn over_http(&self, operation: &Operation, target: Target, part: Option<Part>) -> Option<Question> {
        let name = operation.http?;
        let (method, path) = name.split_once(' ')?;
        let token = self.token(target, part);
        let (user, place) = (user(target, part), place(target));
        if method == "git" {
            let (verb, service) =
                if path == "fetch" { ("GET", "git-upload-pack") } else { ("GET", "git-receive-pack") };
            let repo = repository_of(target);
            let headers = vec![
                ("x-original-method", verb.to_owned()),
                ("x-original-uri", format!("/{repo}.git/info/refs?service={service}")),
            ];
            return Some(Question { method: Method::GET, path: "/authz/git".to_owned(), headers, body: Vec::new() });
        }
        let filled = path
            .replace("{id}", token)
            .replace("members/{user}", if method == "DELETE" { "members/sten" } else { "members/zoe" })
            .replace("{name}", if path.ends_with("/disable") { "zed" } else { user })
            .replace("{workspace}", place)
            .replace("{repository}", "app.git")
            .replace("{path}", "v1");
        let body = match name {
            "POST /v1/tokens/check" => json!({"secret": self.good}),
            "POST /v1/tokens/import" => json!({"format": "htpasswd", "content": HTPASSWD, "dry_run": true}),
            "POST /v1/tokens" if target == Target::Own => json!({"name": "made by the matrix"}),
            "POST /v1/tokens" => {
                json!({"name": "made by the matrix", "kind": "workspace", "workspace": place, "permission": "read"})
            }
            "POST /v1/tokens/revoke" if target == Target::Team => json!({"workspace": place, "dry_run": true}),
            "POST /v1/tokens/revoke" => json!({"user": user, "dry_run": true}),
            "POST /v1/explain" => json!({"reference": token}),
            "PATCH /v1/tokens/{id}" => json!({"name": "renamed", "if_version": 999}),
            "POST /v1/tokens/{id}/rotate" => json!({"secret": "this one was not chosen"}),
            "POST /v1/users" => json!({"name": "zoe"}),
            "PUT /v1/users/{name}/password" => json!({"password": null}),
            "POST /v1/workspaces" => json!({"name": "acme"}),
            "POST /v1/trusts" => {
                json!({"name": "x", "issuer": "none", "claims": [], "repos": ["acme/app"], "permission": "read"})
            }
            "POST /v1/trusts/check" => json!({"token": "no-token"}),
            "PUT /v1/workspaces/{workspace}/members/{user}" => json!({"role": "reader"}),
            _ => serde_json::Value::Null,
        };
        let query = match name {
            "GET /v1/tokens" if target == Target::Team => format!("?page_size=1&workspace={place}"),
            "GET /v1/tokens" => format!("?page_size=1&user={user}"),
            "GET /v1/audit" | "GET /v1/users" | "GET /v1/workspaces" | "GET /v1/repositories" => "?page_size=1".into(),
            "DELETE /v1/tokens/{id}" | "DELETE /v1/users/{name}" | "DELETE /v1/workspaces/{workspace}" => {
                "?dry_run=true".into()
            }
            _ => String::new(),
        };
        let mut headers = Vec::new();
        let mut body = if body.is_null() {
            Vec::new()
        } else {
            headers.push(("content-type", "application/json".to_owned()));
            body.to_string().into_bytes()
        };
        if let Some(form) = match name {
            "POST /oauth2/introspect" => Some(format!("token={}", self.good)),
            "POST /oauth2/revoke" => Some(format!("token={}", self.ended)),
            "POST /oauth2/device_authorization" => Some(format!("machine={}", "x".repeat(300))),
            "POST /oauth2/token" => {
                Some("grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=not-a-code".to_owned())
            }
            _ => None,
        } {
            headers.push(("content-type", FORM.to_owned()));
            body = form.into_bytes();
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            headers.push(("content-length", body.len().to_string()));
        }
        Some(Question { method: method.parse().ok()?, path: format!("{filled}{query}"), headers, body })
    }

    /// Over gRPC: the same, field by field.
    pub(crate) fn over_grpc(&self, operation: &Operation, target: Target, part: Option<Part>) -> Option<Question> {
        let name = operation.grpc?;
        let token = self.token(target, part).as_bytes();
        let (user, place) = (user(target, part).as_bytes(), place(target).as_bytes());
        let message = match name {
            "TokenService/RevokeSecret" => field(1, self.ended.as_bytes()),
            "AuthorizationService/Introspect" | "AuthorizationService/Check" => field(1, self.good.as_bytes()),
            "TokenService/Import" => [field(1, b"htpasswd"), field(2, HTPASSWD.as_bytes()), number(9, 1)].concat(),
            "TokenService/List" if target == Target::Team => [number(1, 1), field(9, place)].concat(),
            "TokenService/List" => [number(1, 1), field(5, user)].concat(),
            "TokenService/Create" if target == Target::Own => [field(1, b"made by the matrix"), number(3, 1)].concat(),
            "TokenService/Create" => {
                [field(1, b"made by the matrix"), number(3, 2), number(5, 1), field(6, place)].concat()
            }
            "TokenService/RevokeMany" if target == Target::Team => [field(2, place), number(9, 1)].concat(),
            "TokenService/RevokeMany" => [field(1, user), number(9, 1)].concat(),
            "TokenService/Show" | "AuthorizationService/Explain" | "TokenService/Restore" => field(1, token),
            "TokenService/Modify" => [field(1, token), field(2, b"renamed"), number(11, 999)].concat(),
            "TokenService/Revoke" => [field(1, token), number(3, 1)].concat(),
            "TokenService/Rotate" => [field(1, token), field(5, b"this one was not chosen")].concat(),
            "AuditService/ListEvents" => number(5, 1),
            "IdentityService/ListUsers" | "IdentityService/ListWorkspaces" | "IdentityService/ListRepositories" => {
                number(1, 1)
            }
            "IdentityService/CreateUser" | "TrustService/Show" | "TrustService/Remove" => field(1, b"zoe"),
            "IdentityService/DisableUser" => field(1, b"zed"),
            "IdentityService/ShowUser" | "IdentityService/EnableUser" | "IdentityService/SetPassword" => field(1, user),
            "IdentityService/DeleteUser" => [field(1, user), number(2, 1)].concat(),
            "IdentityService/CreateWorkspace" => field(1, b"acme"),
            "IdentityService/DeleteWorkspace" => [field(1, place), number(2, 1)].concat(),
            "IdentityService/ListMembers" => field(1, place),
            "IdentityService/AddMember" => [field(1, place), field(2, b"zoe"), number(3, 1)].concat(),
            "IdentityService/RemoveMember" => [field(1, place), field(2, b"sten")].concat(),
            "TrustService/Add" => [field(1, b"x"), field(2, b"none"), field(5, b"acme/app"), number(6, 1)].concat(),
            "TrustService/Check" | "TrustService/Exchange" => field(1, b"no-token"),
            "SessionService/StartDevice" => field(1, &[b'x'; 300]),
            "SessionService/PollDevice" => field(1, b"not-a-code"),
            "SessionService/OpenSession" => field(1, b".."),
            "SessionService/MintGit" => [field(1, repository_of(target).as_bytes()), number(2, 1)].concat(),
            _ => Vec::new(),
        };
        let question = grpc(name, &message);
        Some(if name == "SessionService/Watch" { question.until("150m") } else { question })
    }
}

impl Question {
    /// The same with this deadline, as gRPC writes them.
    pub(crate) fn until(&self, deadline: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| *name != "grpc-timeout");
        headers.push(("grpc-timeout", deadline.to_owned()));
        Self { method: self.method.clone(), path: self.path.clone(), headers, body: self.body.clone() }
    }
}

/// A call of a method of `tok.v1`.
pub(crate) fn grpc(method: &str, message: &[u8]) -> Question {
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let headers = vec![("content-type", "application/grpc".to_owned()), ("te", "trailers".to_owned())];
    Question { method: Method::POST, path: format!("http://tok/tok.v1.{method}"), headers, body }
}

/// A form.
pub(crate) fn form(path: &str, body: &str) -> Question {
    let headers = vec![("content-type", FORM.to_owned()), ("content-length", body.len().to_string())];
    Question { method: Method::POST, path: path.to_owned(), headers, body: body.as_bytes().to_vec() }
}

/// A field whose value is a number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn user(target: Target, part: Option<Part>) -> &'static str {
    match (target, part) {
        (Target::Own, Some(part)) => part.user(),
        _ => "zoe",
    }
}

fn place(target: Target) -> &'static str {
    if target == Target::Team { "acme" } else { "zoo" }
}
