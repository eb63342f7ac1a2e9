//! A login as programs see it.

use serde::Serialize;
use tok_model::clock::Timestamp;

use crate::logins::{Login, Storage};

/// A login, without its secret.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoginRecord {
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) profile: Option<String>,
    /// The ID of the session as a token.
    pub(crate) session: String,
    pub(crate) token_prefix: String,
    /// RFC 3339; null is never.
    pub(crate) expires_at: Option<String>,
    pub(crate) expired: bool,
    /// What it is for; empty: everything.
    pub(crate) paths: Vec<String>,
    /// Whether it is meant where several on its server would do.
    pub(crate) default: bool,
    /// Whether it is what commands mean that name no server.
    pub(crate) default_server: bool,
    pub(crate) storage: Storage,
}

impl LoginRecord {
    pub(crate) fn new(login: &Login, now: Timestamp) -> Self {
        Self {
            server: login.server.to_string(),
            user: login.user.to_string(),
            profile: login.profile.as_ref().map(ToString::to_string),
            session: login.session.to_string(),
            token_prefix: login.token_prefix.clone(),
            expires_at: login.expires_at.map(|end| end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            expired: login.expired(now),
            paths: login.paths.iter().map(ToString::to_string).collect(),
            default: login.default,
            default_server: login.default_server,
            storage: login.storage(),
        }
    }
}
