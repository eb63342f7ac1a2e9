//! Every operation, and what it needs, in plain words. A new path of `docs/openapi.json` or method of `tok.v1` gets its
//! row here; how to ask for it is in `asking.rs`.

/// What an operation needs of its caller. `callers.rs` says who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: anybody may, whatever they present.
    Nothing,
    /// A credential that works.
    Credential,
    /// A credential that works, and is none for git alone.
    CredentialBeyondGit,
    /// The scope, and a token that is in the caller's reach: their own, or their workspace's as its maintainer. Others
    /// are not there.
    TokenInReach(&'static str),
    /// The scope, and to be whose tokens it is about: the user, or a maintainer of the workspace.
    TokensOf(&'static str),
    /// `token:write`, and no more for the new token than the caller has.
    NewToken,
    /// `user:read` on oneself; of others, a manager.
    Profile,
    /// `user:write` on oneself and no token but a session; of others, a manager.
    Password,
    /// A part in the workspace, and to see repositories.
    PartIn,
    /// To be a maintainer of the workspace, with `repo:admin`.
    MaintainerOf,
    /// `user:read`, to see one's own workspaces.
    OwnWorkspaces,
    /// `audit:read`, to see one's own events.
    OwnEvents,
    /// To administer the server.
    Manager,
    /// To read the repository.
    Fetch,
    /// To write to the repository.
    Push,
    /// To read the repository, and to be a user or a workspace, for whom git tokens are minted.
    GitToken,
}

/// What an operation is about, as the caller stands to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing that belongs to anybody.
    Any,
    /// The caller's own.
    Own,
    /// Of the workspace in which the caller has the part that the column says.
    Team,
    /// Of somebody, or of a workspace, that the caller has nothing to do with.
    Other,
}

impl Target {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Any => "-",
            Self::Own => "own",
            Self::Team => "workspace",
            Self::Other => "other",
        }
    }
}

/// A row for each way to ask.
pub(crate) struct Operation {
    /// Its method and path, as OpenAPI has them.
    pub(crate) http: Option<&'static str>,
    /// Its method in `tok.v1`.
    pub(crate) grpc: Option<&'static str>,
    /// The right for which git's helper asks on the local socket.
    pub(crate) helper: Option<&'static str>,
    pub(crate) needs: Needs,
    pub(crate) targets: &'static [Target],
    /// What HTTP answers to whoever may. Where that is no 2xx, the request cannot be carried out once it is allowed (it
    /// makes what exists, changes what has changed), so that asking a thousand times changes nothing.
    pub(crate) done: u16,
}

const fn both(
    http: &'static str,
    grpc: &'static str,
    needs: Needs,
    targets: &'static [Target],
    done: u16,
) -> Operation {
    Operation { http: Some(http), grpc: Some(grpc), helper: None, needs, targets, done }
}

const fn http(http: &'static str, needs: Needs, targets: &'static [Target], done: u16) -> Operation {
    Operation { http: Some(http), grpc: None, helper: None, needs, targets, done }
}

const fn grpc(grpc: &'static str, needs: Needs, targets: &'static [Target], done: u16) -> Operation {
    Operation { http: None, grpc: Some(grpc), helper: None, needs, targets, done }
}

const fn helper(right: &'static str, needs: Needs) -> Operation {
    Operation { http: None, grpc: None, helper: Some(right), needs, targets: PLACES, done: 200 }
}

const ANY: &[Target] = &[Target::Any];
const EACH: &[Target] = &[Target::Own, Target::Team, Target::Other];
const USERS: &[Target] = &[Target::Own, Target::Other];
const PLACES: &[Target] = &[Target::Team, Target::Other];

/// The table.
pub(crate) const OPERATIONS: &[Operation] = &[
    http("GET /.well-known/oauth-authorization-server", Needs::Nothing, ANY, 200),
    http("GET /.well-known/oauth-protected-resource", Needs::Nothing, ANY, 200),
    http("GET /.well-known/oauth-protected-resource/{path}", Needs::Nothing, ANY, 200),
    http("GET /.well-known/oauth-protected-resource/{workspace}/{repository}", Needs::Nothing, ANY, 200),
    both("GET /v1/scopes", "TokenService/ListScopes", Needs::Nothing, ANY, 200),
    // To hold a token's text is enough to end it.
    both("POST /oauth2/revoke", "TokenService/RevokeSecret", Needs::Nothing, ANY, 200),
    both("POST /oauth2/introspect", "AuthorizationService/Introspect", Needs::CredentialBeyondGit, ANY, 200),
    both("GET /v1/whoami", "IdentityService/Whoami", Needs::CredentialBeyondGit, ANY, 200),
    both("GET /v1/server/status", "IdentityService/ServerStatus", Needs::CredentialBeyondGit, ANY, 200),
    // Each sees what they may read.
    both("GET /v1/repositories", "IdentityService/ListRepositories", Needs::CredentialBeyondGit, ANY, 200),
    both("POST /v1/tokens/check", "AuthorizationService/Check", Needs::CredentialBeyondGit, ANY, 200),
    // Each entry is judged by itself, like a new token.
    both("POST /v1/tokens/import", "TokenService/Import", Needs::Credential, ANY, 200),
    both("GET /v1/tokens", "TokenService/List", Needs::TokensOf("token:read"), EACH, 200),
    both("POST /v1/tokens", "TokenService/Create", Needs::NewToken, &[Target::Own, Target::Team], 201),
    both("POST /v1/tokens/revoke", "TokenService/RevokeMany", Needs::TokensOf("token:write"), EACH, 200),
    both("GET /v1/tokens/{id}", "TokenService/Show", Needs::TokenInReach("token:read"), EACH, 200),
    both("POST /v1/explain", "AuthorizationService/Explain", Needs::TokenInReach("token:read"), EACH, 200),
    both("PATCH /v1/tokens/{id}", "TokenService/Modify", Needs::TokenInReach("token:write"), EACH, 412),
    both("DELETE /v1/tokens/{id}", "TokenService/Revoke", Needs::TokenInReach("token:write"), EACH, 200),
    both("POST /v1/tokens/{id}/restore", "TokenService/Restore", Needs::TokenInReach("token:write"), EACH, 409),
    both("POST /v1/tokens/{id}/rotate", "TokenService/Rotate", Needs::TokenInReach("token:write"), EACH, 400),
    both("GET /v1/audit", "AuditService/ListEvents", Needs::OwnEvents, ANY, 200),
    both("GET /v1/audit/verify", "AuditService/Verify", Needs::Manager, ANY, 200),
    // To log in takes what is in the request, and no credential besides.
    both("POST /oauth2/device_authorization", "SessionService/StartDevice", Needs::Nothing, ANY, 400),
    both("POST /oauth2/token", "SessionService/PollDevice", Needs::Nothing, ANY, 400),
    both("GET /v1/trusts", "TrustService/List", Needs::Manager, ANY, 200),
    both("POST /v1/trusts", "TrustService/Add", Needs::Manager, ANY, 400),
    both("GET /v1/trusts/{name}", "TrustService/Show", Needs::Manager, ANY, 404),
    both("DELETE /v1/trusts/{name}", "TrustService/Remove", Needs::Manager, ANY, 404),
    both("POST /v1/trusts/check", "TrustService/Check", Needs::Manager, ANY, 400),
    // What it takes is a CI job's identity token; who else presents it makes no difference.
    grpc("TrustService/Exchange", Needs::Nothing, ANY, 400),
    grpc("SessionService/OpenSession", Needs::Nothing, ANY, 400),
    grpc("SessionService/MintGit", Needs::GitToken, PLACES, 200),
    // It would go on until its deadline.
    grpc("SessionService/Watch", Needs::CredentialBeyondGit, ANY, 504),
    both("GET /v1/users", "IdentityService/ListUsers", Needs::Manager, ANY, 200),
    both("POST /v1/users", "IdentityService/CreateUser", Needs::Manager, ANY, 409),
    both("GET /v1/users/{name}", "IdentityService/ShowUser", Needs::Profile, USERS, 200),
    both("DELETE /v1/users/{name}", "IdentityService/DeleteUser", Needs::Manager, &[Target::Other], 200),
    both("POST /v1/users/{name}/disable", "IdentityService/DisableUser", Needs::Manager, &[Target::Other], 409),
    both("POST /v1/users/{name}/enable", "IdentityService/EnableUser", Needs::Manager, USERS, 409),
    both("PUT /v1/users/{name}/password", "IdentityService/SetPassword", Needs::Password, USERS, 200),
    both("GET /v1/workspaces", "IdentityService/ListWorkspaces", Needs::OwnWorkspaces, ANY, 200),
    both("POST /v1/workspaces", "IdentityService/CreateWorkspace", Needs::Manager, ANY, 409),
    both("DELETE /v1/workspaces/{workspace}", "IdentityService/DeleteWorkspace", Needs::Manager, PLACES, 409),
    both("GET /v1/workspaces/{workspace}/members", "IdentityService/ListMembers", Needs::PartIn, PLACES, 200),
    both(
        "PUT /v1/workspaces/{workspace}/members/{user}",
        "IdentityService/AddMember",
        Needs::MaintainerOf,
        PLACES,
        200,
    ),
    both(
        "DELETE /v1/workspaces/{workspace}/members/{user}",
        "IdentityService/RemoveMember",
        Needs::MaintainerOf,
        PLACES,
        404,
    ),
    // Not in OpenAPI: git's own, as a proxy asks for it.
    http("git fetch", Needs::Fetch, PLACES, 204),
    http("git push", Needs::Push, PLACES, 204),
    // Who asks is who the kernel says, or whom root acts as.
    helper("read", Needs::Fetch),
    helper("write", Needs::Push),
];
