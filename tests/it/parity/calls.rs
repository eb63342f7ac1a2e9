//! Each call as the doors have it, and a value of a request in the form of each.

use serde_json::{Value, json};

use crate::remote_grpc::{field, varint};

/// A value of a request, for each door in its own form.
#[derive(Clone)]
pub(super) enum Said {
    Text(&'static str),
    Long(usize),
    Texts(&'static [&'static str]),
    Number(u64),
    /// A word, and its number in the proto file.
    Word(&'static str, u64),
}

impl Said {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Word(text, _) => (*text).to_owned(),
            Self::Long(length) => "x".repeat(*length),
            Self::Texts(texts) => texts.join(","),
            Self::Number(number) => number.to_string(),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Texts(texts) => json!(texts),
            Self::Number(number) => json!(number),
            _ => json!(self.text()),
        }
    }

    pub(super) fn wire(&self, number: u64) -> Vec<u8> {
        match self {
            Self::Texts(texts) => texts.iter().flat_map(|text| field(number, text.as_bytes())).collect(),
            Self::Number(value) | Self::Word(_, value) => [varint(number << 3), varint(*value)].concat(),
            _ => field(number, self.text().as_bytes()),
        }
    }
}

/// What a call takes: the name of each field over HTTP, its number over gRPC, and its flag; no flag: a word by itself.
pub(super) type Fields = &'static [(&'static str, u64, &'static str)];

/// One call, as each door has it.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) grpc: &'static str,
    pub(super) command: &'static [&'static str],
    pub(super) fields: Fields,
}

const fn call(
    method: &'static str,
    path: &'static str,
    grpc: &'static str,
    command: &'static [&'static str],
    fields: Fields,
) -> Call {
    Call { method, path, grpc, command, fields }
}

pub(super) const CREATE: Call = call(
    "POST",
    "/v1/tokens",
    "TokenService/Create",
    &["token", "create"],
    &[
        ("name", 1, ""),
        ("description", 2, "description"),
        ("kind", 3, "kind"),
        ("scopes", 4, "scopes"),
        ("permission", 5, "permission"),
        ("workspace", 6, "workspace"),
        ("repos", 7, "repo"),
        ("routes", 8, "route"),
        ("allow_cidrs", 9, "allow-cidr"),
        ("expires", 10, "expires"),
        ("labels", 11, "label"),
        ("max_uses", 12, "max-uses"),
        ("secret", 13, "secret-stdin"),
        ("idempotency_key", 14, "idempotency-key"),
    ],
);
pub(super) const SHOW: Call =
    call("GET", "/v1/tokens/{reference}", "TokenService/Show", &["token", "show"], &[("reference", 1, "")]);
pub(super) const REVOKE: Call = call(
    "DELETE",
    "/v1/tokens/{reference}",
    "TokenService/Revoke",
    &["token", "revoke", "--force"],
    &[("reference", 1, "")],
);
pub(super) const RESTORE: Call = call(
    "POST",
    "/v1/tokens/{reference}/restore",
    "TokenService/Restore",
    &["token", "restore"],
    &[("reference", 1, "")],
);
pub(super) const ROTATE: Call = call(
    "POST",
    "/v1/tokens/{reference}/rotate",
    "TokenService/Rotate",
    &["token", "rotate"],
    &[
        ("reference", 1, ""),
        ("grace", 2, "grace"),
        ("expires", 3, "expires"),
        ("idempotency_key", 4, "idempotency-key"),
        ("secret", 5, "secret-stdin"),
    ],
);
pub(super) const RENAME: Call = call(
    "PATCH",
    "/v1/tokens/{reference}",
    "TokenService/Modify",
    &["token", "modify"],
    &[
        ("reference", 1, ""),
        ("name", 2, "name"),
        ("description", 3, "description"),
        ("expires", 4, "expires"),
        ("permission", 10, "permission"),
    ],
);
pub(super) const EXPLAIN: Call = call(
    "POST",
    "/v1/explain",
    "AuthorizationService/Explain",
    &["token", "explain"],
    &[("reference", 1, ""), ("repository", 2, "repo"), ("address", 4, "from")],
);
pub(super) const LIST: Call = call(
    "GET",
    "/v1/tokens?",
    "TokenService/List",
    &["token", "list"],
    &[
        ("page_size", 1, "limit"),
        ("cursor", 2, "cursor"),
        ("user", 5, "user"),
        ("workspace", 9, "workspace"),
        ("label", 10, "label"),
    ],
);
pub(super) const REVOKE_MANY: Call = call(
    "POST",
    "/v1/tokens/revoke",
    "TokenService/RevokeMany",
    &["token", "revoke", "--force"],
    &[
        ("user", 1, "user"),
        ("workspace", 2, "workspace"),
        ("label", 3, "label"),
        ("parent", 4, "parent"),
        ("reason", 8, "reason"),
    ],
);
pub(super) const AUDIT: Call = call(
    "GET",
    "/v1/audit?",
    "AuditService/ListEvents",
    &["audit"],
    &[
        ("token", 1, "token"),
        ("user", 2, "user"),
        ("repository", 3, "repo"),
        ("page_size", 5, "limit"),
        ("cursor", 6, "cursor"),
        ("action", 9, "action"),
        ("outcome", 10, "outcome"),
    ],
);
pub(super) const NEW_USER: Call =
    call("POST", "/v1/users", "IdentityService/CreateUser", &["user", "create"], &[("name", 1, "")]);
pub(super) const SHOW_USER: Call =
    call("GET", "/v1/users/{name}", "IdentityService/ShowUser", &["user", "show"], &[("name", 1, "")]);
pub(super) const DISABLE_USER: Call =
    call("POST", "/v1/users/{name}/disable", "IdentityService/DisableUser", &["user", "disable"], &[("name", 1, "")]);
pub(super) const ENABLE_USER: Call =
    call("POST", "/v1/users/{name}/enable", "IdentityService/EnableUser", &["user", "enable"], &[("name", 1, "")]);
pub(super) const DELETE_USER: Call = call(
    "DELETE",
    "/v1/users/{name}",
    "IdentityService/DeleteUser",
    &["user", "delete", "--force"],
    &[("name", 1, "")],
);
pub(super) const NEW_WORKSPACE: Call = call(
    "POST",
    "/v1/workspaces",
    "IdentityService/CreateWorkspace",
    &["workspace", "create"],
    &[("name", 1, ""), ("owner", 2, "owner")],
);
pub(super) const DELETE_WORKSPACE: Call = call(
    "DELETE",
    "/v1/workspaces/{name}",
    "IdentityService/DeleteWorkspace",
    &["workspace", "delete", "--force"],
    &[("name", 1, "")],
);
pub(super) const MEMBERS: Call = call(
    "GET",
    "/v1/workspaces/{workspace}/members",
    "IdentityService/ListMembers",
    &["workspace", "member", "list"],
    &[("workspace", 1, "")],
);
pub(super) const NEW_MEMBER: Call = call(
    "PUT",
    "/v1/workspaces/{workspace}/members/{user}",
    "IdentityService/AddMember",
    &["workspace", "member", "add"],
    &[("workspace", 1, ""), ("user", 2, ""), ("role", 3, "role")],
);
pub(super) const LOST_MEMBER: Call = call(
    "DELETE",
    "/v1/workspaces/{workspace}/members/{user}",
    "IdentityService/RemoveMember",
    &["workspace", "member", "remove"],
    &[("workspace", 1, ""), ("user", 2, "")],
);
