//! What a login asks for and gets, and the tokens that are minted through it.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::kind::Permission;
use tok_model::name::{RepoPath, UserName};

use super::field::{moment, optional, parsed, present, wire_moment};
use super::tokens::TokenRecord;
use super::words;
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// A login that waits to be approved (RFC 8628, section 3.2).
#[derive(Debug, Clone)]
pub struct DeviceLogin {
    /// Known to the device alone.
    pub device_code: SecretString,
    /// What the person types, as in `WDJB-MJHT`.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: String,
    /// How long both codes are good.
    pub expires_in: Duration,
    /// How long to wait between two polls.
    pub interval: Duration,
}

impl From<DeviceLogin> for v1::StartDeviceReply {
    fn from(login: DeviceLogin) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Self {
            device_code: login.device_code.expose_secret().to_owned(),
            user_code: login.user_code,
            verification_uri: login.verification_uri,
            verification_uri_complete: login.verification_uri_complete,
            expires_in: seconds(login.expires_in),
            interval: seconds(login.interval),
        }
    }
}

impl From<v1::StartDeviceReply> for DeviceLogin {
    fn from(reply: v1::StartDeviceReply) -> Self {
        Self {
            device_code: reply.device_code.into(),
            user_code: reply.user_code,
            verification_uri: reply.verification_uri,
            verification_uri_complete: reply.verification_uri_complete,
            expires_in: Duration::from_secs(reply.expires_in.into()),
            interval: Duration::from_secs(reply.interval.into()),
        }
    }
}

/// A user name, a password, and the machine they were typed on.
#[derive(Debug, Clone)]
pub struct PasswordLogin {
    /// Login name.
    pub user: UserName,
    /// Their password.
    pub password: SecretString,
    /// The name of the machine; becomes part of the session's name.
    pub machine: String,
}

impl From<PasswordLogin> for v1::OpenSessionRequest {
    fn from(login: PasswordLogin) -> Self {
        let password = login.password.expose_secret().to_owned();
        Self { user: login.user.to_string(), password, machine: login.machine }
    }
}

impl TryFrom<v1::OpenSessionRequest> for PasswordLogin {
    type Error = Fault;
    fn try_from(request: v1::OpenSessionRequest) -> Result<Self, Fault> {
        let password = SecretString::from(request.password);
        if password.expose_secret().is_empty() {
            return Err(Fault::field("password", "say the password"));
        }
        Ok(Self { user: parsed("user", &request.user)?, password, machine: request.machine })
    }
}

/// A session that was just opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// Its text, to be kept where nobody else reads it.
    pub secret: SecretString,
    /// The session as a token.
    pub token: TokenRecord,
    /// The login name of whoever logged in.
    pub user: String,
}

impl From<OpenedSession> for v1::OpenSessionReply {
    fn from(opened: OpenedSession) -> Self {
        let secret = opened.secret.expose_secret().to_owned();
        Self { secret, token: Some(opened.token.into()), user: opened.user }
    }
}

impl TryFrom<v1::OpenSessionReply> for OpenedSession {
    type Error = Fault;
    fn try_from(reply: v1::OpenSessionReply) -> Result<Self, Fault> {
        let secret = secret(reply.secret)?;
        Ok(Self { secret, token: present("token", reply.token)?.try_into()?, user: reply.user })
    }
}

/// Which git token is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitMint {
    /// The repository.
    pub repository: RepoPath,
    /// Clone and fetch, or push.
    pub permission: Permission,
    /// The token that git was refused with a moment ago.
    pub failed: Option<TokenId>,
}

impl From<GitMint> for v1::MintGitRequest {
    fn from(wish: GitMint) -> Self {
        Self {
            repository: wish.repository.to_string(),
            permission: words::wire_permission(Some(wish.permission)),
            failed: wish.failed.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::MintGitRequest> for GitMint {
    type Error = Fault;
    fn try_from(request: v1::MintGitRequest) -> Result<Self, Fault> {
        let permission = words::permission("permission", request.permission)?
            .ok_or_else(|| Fault::field("permission", "say `read` or `write`"))?;
        Ok(Self {
            repository: parsed("repository", &request.repository)?,
            permission,
            failed: optional("failed", &request.failed)?,
        })
    }
}

/// A git token, ready to be answered to git.
#[derive(Debug, Clone)]
pub struct MintedGit {
    /// Its text.
    pub secret: SecretString,
    /// Its ID.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The user name to answer git with.
    pub username: String,
}

impl From<MintedGit> for v1::MintGitReply {
    fn from(minted: MintedGit) -> Self {
        Self {
            secret: minted.secret.expose_secret().to_owned(),
            id: minted.id.to_string(),
            expires_at: Some(wire_moment(minted.expires_at)),
            username: minted.username,
        }
    }
}

impl TryFrom<v1::MintGitReply> for MintedGit {
    type Error = Fault;
    fn try_from(reply: v1::MintGitReply) -> Result<Self, Fault> {
        Ok(Self {
            secret: secret(reply.secret)?,
            id: parsed("id", &reply.id)?,
            expires_at: moment("expires_at", reply.expires_at)?,
            username: reply.username,
        })
    }
}

fn secret(text: String) -> Result<SecretString, Fault> {
    if text.is_empty() {
        return Err(Fault::new(FaultCode::Internal, "the daemon made a token and did not say its text"));
    }
    Ok(text.into())
}
