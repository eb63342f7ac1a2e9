//! What is written down about each act: who, through what, did what to what, and how it ended.

use std::net::IpAddr;

use crate::id::{TokenId, UserId};
use crate::name::{RepoPath, UserName, WorkspaceName};

/// Where a call came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The network address, if it came over the network.
    pub address: Option<IpAddr>,
    /// The peer's user ID, if it came over the local socket.
    pub uid: Option<u32>,
    /// The program, as it called itself (`git/2.47.3`).
    pub agent: Option<String>,
    /// What was called, as in `TokenService/Create`; nothing for git's own requests.
    pub operation: Option<String>,
    /// Who really calls, when they act as somebody else (`--as`): their user name, or their system user.
    pub behind: Option<String>,
}

impl Source {
    /// `192.0.2.1`, `unix:uid=1000`, or `unknown`.
    pub fn describe(&self) -> String {
        match (self.address, self.uid) {
            (Some(address), _) => address.to_canonical().to_string(),
            (None, Some(uid)) => format!("unix:uid={uid}"),
            (None, None) => "unknown".to_owned(),
        }
    }
}

/// Who acted, as the trail remembers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user they acted as.
    pub user: Option<(UserId, UserName)>,
    /// The workspace they acted for, if it was one: with a token of its own.
    pub workspace: Option<WorkspaceName>,
    /// The token they used.
    pub token: Option<TokenId>,
    /// That token's parent.
    pub parent: Option<TokenId>,
    /// The shown prefix of the token they used.
    pub token_prefix: Option<String>,
    /// The name of the temporary token they used.
    pub temporary: Option<String>,
    /// The name of the trust rule that let them in.
    pub trust: Option<String>,
    /// From where.
    pub source: Source,
}

impl Actor {
    /// The daemon itself, as in its own clean-up.
    pub fn daemon() -> Self {
        Self {
            user: None,
            workspace: None,
            token: None,
            parent: None,
            token_prefix: None,
            temporary: None,
            trust: None,
            source: Source::default(),
        }
    }

    /// A name for people: the user, else `workspace:<name>`, which no login name can be, else the local uid, else the
    /// address.
    pub fn describe(&self) -> String {
        match &self.user {
            Some((_, name)) if let Some(temporary) = &self.temporary => {
                format!("{name} by temporary token {temporary}")
            }
            Some((_, name)) => name.to_string(),
            None if let Some(name) = &self.temporary => format!("temporary token {name}"),
            None if let Some(name) = &self.trust => format!("trust rule {name}"),
            None if let Some(name) = &self.workspace => format!("workspace:{name}"),
            None if self.source == Source::default() => "tokd".to_owned(),
            None => self.source.describe(),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A token was made by somebody.
    TokenCreate,
    /// A git token was minted just in time.
    TokenMint,
    /// A token was ended.
    TokenRevoke,
    /// A token was presented.
    TokenUse,
    /// A token's name, reach, end or words were changed.
    TokenModify,
    /// A token was given a successor.
    TokenRotate,
    /// A token that had been given up for its successor was presented: its family was ended.
    TokenReuse,
    /// What somebody had ended was brought back.
    TokenRestore,
    /// All tokens of an owner made before a moment were ended.
    TokenCutoff,
    /// The server's policy shortened the lives of tokens, or ended what nobody used.
    TokenPolicy,
    /// Git tokens that ended long ago were removed.
    TokenPurge,
    /// A secret of another system was brought in.
    TokenImport,
    /// A user's password was set or taken away.
    UserPassword,
    /// A login was opened: by a password, by somebody's approval, or on this machine.
    SessionOpen,
    /// A device asked to be logged in.
    SessionAsk,
    /// A user let a device log in as them.
    SessionApprove,
    /// A user refused to.
    SessionDeny,
    /// A user was made.
    UserCreate,
    /// A user was disabled.
    UserDisable,
    /// A user was enabled again.
    UserEnable,
    /// A user was deleted.
    UserDelete,
    /// A workspace was made.
    WorkspaceCreate,
    /// A workspace was deleted.
    WorkspaceDelete,
    /// A member was added, or given another role.
    MemberAdd,
    /// A member was removed.
    MemberRemove,
    /// A repository was made by its first push.
    RepoCreate,
    /// A trust rule was made.
    TrustAdd,
    /// A trust rule was removed, and what was minted under it ended.
    TrustRemove,
    /// An identity token of a CI system was exchanged for a git token.
    TokenExchange,
    /// Something was asked for that is none of the acts above, as listing is; written down when it was refused.
    ApiCall,
    /// Months of the trail that were older than it is kept were dropped.
    AuditPrune,
    /// The server's own settings changed: pepper registered, schema migrated.
    ServerSetup,
}

crate::kind::words!(
    Action,
    "action",
    TokenCreate = "token.create",
    TokenMint = "token.mint",
    TokenRevoke = "token.revoke",
    TokenUse = "token.use",
    TokenModify = "token.modify",
    TokenRotate = "token.rotate",
    TokenReuse = "token.reuse",
    TokenRestore = "token.restore",
    TokenCutoff = "token.cutoff",
    TokenPolicy = "token.policy",
    TokenPurge = "token.purge",
    TokenImport = "token.import",
    UserPassword = "user.password",
    SessionOpen = "session.open",
    SessionAsk = "session.ask",
    SessionApprove = "session.approve",
    SessionDeny = "session.deny",
    UserCreate = "user.create",
    UserDisable = "user.disable",
    UserEnable = "user.enable",
    UserDelete = "user.delete",
    WorkspaceCreate = "workspace.create",
    WorkspaceDelete = "workspace.delete",
    MemberAdd = "member.add",
    MemberRemove = "member.remove",
    RepoCreate = "repo.create",
    TrustAdd = "trust.add",
    TrustRemove = "trust.remove",
    TokenExchange = "token.exchange",
    ApiCall = "api.call",
    AuditPrune = "audit.prune",
    ServerSetup = "server.setup",
);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A rule said no.
    Refused,
}

crate::kind::words!(Outcome, "outcome", Done = "done", Refused = "refused");

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What was done.
    pub action: Action,
    /// By whom.
    pub actor: Actor,
    /// How it ended.
    pub outcome: Outcome,
    /// The token it was done to (for a use: the one presented).
    pub token: Option<TokenId>,
    /// The shown prefix of that token.
    pub token_prefix: Option<String>,
    /// The user it was done to.
    pub subject: Option<(UserId, UserName)>,
    /// The workspace concerned.
    pub workspace: Option<WorkspaceName>,
    /// The repository concerned.
    pub repo: Option<RepoPath>,
    /// git's command, as in `upload-pack`, or the operation that was called.
    pub command: Option<String>,
    /// A few words more; never a secret.
    pub detail: String,
}

impl AuditEvent {
    /// An act that was done, with nothing more known of it yet.
    pub fn done(action: Action, actor: Actor) -> Self {
        Self {
            action,
            actor,
            outcome: Outcome::Done,
            token: None,
            token_prefix: None,
            subject: None,
            workspace: None,
            repo: None,
            command: None,
            detail: String::new(),
        }
    }

    /// Concerning this token, with its shown prefix.
    #[must_use]
    pub fn token(mut self, id: TokenId, shown_prefix: impl Into<String>) -> Self {
        self.token = Some(id);
        self.token_prefix = Some(shown_prefix.into());
        self
    }

    /// Concerning this user.
    #[must_use]
    pub fn subject(mut self, id: UserId, name: UserName) -> Self {
        self.subject = Some((id, name));
        self
    }

    /// Concerning this workspace.
    #[must_use]
    pub fn workspace(mut self, name: WorkspaceName) -> Self {
        self.workspace = Some(name);
        self
    }

    /// Concerning this repository, and so its workspace.
    #[must_use]
    pub fn repo(mut self, path: RepoPath) -> Self {
        self.workspace = Some(path.workspace.clone());
        self.repo = Some(path);
        self
    }

    /// With a few words more.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }
}

/// What one change writes to the trail: never nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvents(Vec<AuditEvent>);

impl AuditEvents {
    /// One event and some more.
    pub fn new(first: AuditEvent, more: impl IntoIterator<Item = AuditEvent>) -> Self {
        Self(std::iter::once(first).chain(more).collect())
    }

    /// All of them, at least one.
    pub fn as_slice(&self) -> &[AuditEvent] {
        &self.0
    }
}

impl From<AuditEvent> for AuditEvents {
    fn from(event: AuditEvent) -> Self {
        Self(vec![event])
    }
}
