//! Every kind of caller, what each has, and so what each may: judged here by hand, without the product's own rule.

use super::operations::{Needs, Target};

/// A user, as they stand to the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Reader,
    Writer,
    Maintainer,
    /// No member.
    Stranger,
    /// A manager of the server, who is no member either.
    Manager,
}

impl Part {
    pub(crate) const EVERY: [Self; 5] = [Self::Reader, Self::Writer, Self::Maintainer, Self::Stranger, Self::Manager];

    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Reader => "rita",
            Self::Writer => "will",
            Self::Maintainer => "mona",
            Self::Stranger => "sten",
            Self::Manager => "boss",
        }
    }

    fn in_workspace(self, target: Target) -> Option<u8> {
        match (self, target) {
            (Self::Manager, _) | (Self::Maintainer, Target::Team) => Some(3),
            (Self::Writer, Target::Team) => Some(2),
            (Self::Reader, Target::Team) => Some(1),
            _ => None,
        }
    }
}

/// What is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Nobody,
    /// Personal, with these scopes.
    NoScope,
    Reading,
    Repositories,
    TokenWrite,
    UserWrite,
    All,
    ManagerOnly,
    /// Every scope, and one repository by its routes.
    Routed,
    Session,
    WorkspaceRead,
    WorkspaceWrite,
    RepoRead,
    RepoWrite,
    GitRead,
    GitWrite,
    /// Of the server's first start.
    Temporary,
    /// A manager's token of every scope, acting as the user.
    Acting,
    /// root of this machine, on the local socket.
    LocalRoot,
    /// The same, acting as the user.
    LocalActing,
    /// A user of this machine, on the local socket, who is no user here.
    LocalStranger,
}

impl Kind {
    pub(crate) const EVERY: [Self; 21] = [
        Self::Nobody,
        Self::NoScope,
        Self::Reading,
        Self::Repositories,
        Self::TokenWrite,
        Self::UserWrite,
        Self::All,
        Self::ManagerOnly,
        Self::Routed,
        Self::Session,
        Self::WorkspaceRead,
        Self::WorkspaceWrite,
        Self::RepoRead,
        Self::RepoWrite,
        Self::GitRead,
        Self::GitWrite,
        Self::Temporary,
        Self::Acting,
        Self::LocalRoot,
        Self::LocalActing,
        Self::LocalStranger,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::NoScope => "personal, no scope",
            Self::Reading => "personal, *:read",
            Self::Repositories => "personal, repo:write",
            Self::TokenWrite => "personal, token:write",
            Self::UserWrite => "personal, user:write",
            Self::All => "personal, all",
            Self::ManagerOnly => "personal, manager",
            Self::Routed => "personal, all, routes",
            Self::Session => "session",
            Self::WorkspaceRead => "workspace, read",
            Self::WorkspaceWrite => "workspace, write",
            Self::RepoRead => "repo, read",
            Self::RepoWrite => "repo, write",
            Self::GitRead => "git, read",
            Self::GitWrite => "git, write",
            Self::Temporary => "temporary",
            Self::Acting => "manager acting as",
            Self::LocalRoot => "local root",
            Self::LocalActing => "local root acting as",
            Self::LocalStranger => "local stranger",
        }
    }

    /// The scopes of a personal token.
    pub(crate) fn scopes(self) -> Option<&'static [&'static str]> {
        match self {
            Self::NoScope => Some(&[]),
            Self::Reading => Some(&["repo:read", "user:read", "token:read", "audit:read"]),
            Self::Repositories => Some(&["repo:write"]),
            Self::TokenWrite => Some(&["token:write"]),
            Self::UserWrite => Some(&["user:write"]),
            Self::All | Self::Routed => Some(&["all"]),
            Self::ManagerOnly => Some(&["manager"]),
            _ => None,
        }
    }

    /// The parts that such a caller can have; none if it is no user's.
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            Self::Nobody
            | Self::Temporary
            | Self::LocalRoot
            | Self::LocalStranger
            | Self::WorkspaceRead
            | Self::WorkspaceWrite
            | Self::RepoRead
            | Self::RepoWrite => &[],
            Self::ManagerOnly => &[Part::Manager],
            Self::GitRead => &[Part::Reader, Part::Writer, Part::Maintainer, Part::Manager],
            Self::GitWrite => &[Part::Writer, Part::Maintainer, Part::Manager],
            _ => &Part::EVERY,
        }
    }

    /// Known by a token's text, which has states and can be presented in several ways.
    pub(crate) fn is_token(self) -> bool {
        !matches!(self, Self::Nobody | Self::Temporary | Self::Acting) && !self.is_local()
    }

    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::LocalRoot | Self::LocalActing | Self::LocalStranger)
    }

    /// Nobody whom the server knows.
    fn is_nobody(self) -> bool {
        matches!(self, Self::Nobody | Self::LocalStranger)
    }

    fn of_workspace(self) -> bool {
        matches!(self, Self::WorkspaceRead | Self::WorkspaceWrite | Self::RepoRead | Self::RepoWrite)
    }

    fn for_git_alone(self) -> bool {
        matches!(self, Self::RepoRead | Self::RepoWrite | Self::GitRead | Self::GitWrite)
    }

    /// Everything that a user may, unlimited by a token.
    fn whole_user(self) -> bool {
        matches!(self, Self::Session | Self::LocalActing)
    }

    /// The server's own administrator, who is no user.
    fn administrator(self) -> bool {
        matches!(self, Self::Temporary | Self::LocalRoot)
    }

    /// Has it the scope, of itself or by a larger one?
    fn has(self, scope: &str) -> bool {
        match self {
            Self::Reading => scope.ends_with(":read"),
            Self::Repositories => matches!(scope, "repo:read" | "repo:write"),
            Self::TokenWrite => scope.starts_with("token:"),
            Self::UserWrite => scope.starts_with("user:"),
            Self::All
            | Self::Routed
            | Self::ManagerOnly
            | Self::Acting
            | Self::Session
            | Self::Temporary
            | Self::LocalRoot
            | Self::LocalActing => true,
            Self::WorkspaceWrite => {
                matches!(scope, "token:read" | "token:write" | "audit:read" | "repo:admin" | "repo:read" | "repo:write")
            }
            _ => false,
        }
    }

    /// May it administer the server?
    fn manages(self, part: Option<Part>) -> bool {
        self.administrator() || (part == Some(Part::Manager) && self.has("manager"))
    }
}

/// How an answer is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done, or impossible for a reason that only who may do it is told.
    Allowed,
    /// 401: the credential is no good here.
    Unknown,
    /// 403: it is good, and not enough.
    Forbidden,
    /// 404: it is not there for this caller.
    Hidden,
    /// 401 with `insufficient_scope`: a git token that is too narrow, which the helper takes for a better one.
    TooNarrow,
    /// 400: it makes no sense for this caller (a personal token for who is no user).
    Senseless,
    /// The question does not arise.
    Nothing,
}

impl Verdict {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Allowed => 'y',
            Self::Unknown => '1',
            Self::Forbidden => '3',
            Self::Hidden => '4',
            Self::TooNarrow => 's',
            Self::Senseless => 'x',
            Self::Nothing => '.',
        }
    }
}

/// The state of what is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Active,
    Expired,
    Revoked,
    RotatedAway,
    OwnerDisabled,
    UsedUp,
    WrongAddress,
    /// Nobody used it for as long as the server's policy lets a token rest.
    Idle,
    /// Its owner's tokens of before some moment were ended, and it is one of them.
    CutOff,
    /// It has a successor that nobody used yet, and still works beside it.
    Grace,
}

impl State {
    /// Every state but the usual one.
    pub(crate) const OTHERS: [Self; 9] = [
        Self::Expired,
        Self::Revoked,
        Self::RotatedAway,
        Self::OwnerDisabled,
        Self::UsedUp,
        Self::WrongAddress,
        Self::Idle,
        Self::CutOff,
        Self::Grace,
    ];

    /// What tokd makes for itself is not rotated, and counts no uses; and no git token lives long enough to be idle.
    pub(crate) fn exists(self, kind: Kind) -> bool {
        let git = matches!(kind, Kind::GitRead | Kind::GitWrite);
        kind.is_token()
            && match self {
                Self::RotatedAway | Self::UsedUp | Self::Grace => !git && kind != Kind::Session,
                Self::Idle => !git,
                _ => true,
            }
    }

    /// Whether a token in it is as good as ever.
    pub(crate) fn works(self) -> bool {
        matches!(self, Self::Active | Self::Grace)
    }
}

/// What the caller should be told.
pub(crate) fn expected(needs: Needs, target: Target, kind: Kind, part: Option<Part>, state: State) -> Verdict {
    use Verdict::{Allowed, Forbidden, Hidden, Nothing, Senseless, Unknown};
    // What a workspace's token may do on itself is the row of the workspace; and root, as nobody's user, owns nothing.
    if target == Target::Own && part.is_none() && !kind.is_nobody() && needs != Needs::NewToken {
        return Nothing;
    }
    // Git's own requests have no way to act as somebody else.
    if kind == Kind::Acting && matches!(needs, Needs::Fetch | Needs::Push) {
        return Nothing;
    }
    if needs == Needs::Nothing {
        return Allowed;
    }
    if kind.is_nobody() || !state.works() {
        return Unknown;
    }
    let when = |may: bool| if may { Allowed } else { Forbidden };
    let manages = kind.manages(part);
    match needs {
        Needs::Nothing | Needs::Credential => Allowed,
        Needs::CredentialBeyondGit => when(!matches!(kind, Kind::GitRead | Kind::GitWrite)),
        Needs::Manager => when(manages),
        Needs::OwnEvents => when(manages || kind.has("audit:read")),
        Needs::OwnWorkspaces => when(manages || (part.is_some() && kind.has("user:read"))),
        Needs::Profile => when(manages && target == Target::Other || target == Target::Own && kind.has("user:read")),
        Needs::Password => when(manages && target == Target::Other || target == Target::Own && kind.whole_user()),
        Needs::PartIn => workspace_part(target, kind, part).err().unwrap_or(Allowed),
        Needs::MaintainerOf if kind.of_workspace() => Forbidden,
        Needs::MaintainerOf => match workspace_part(target, kind, part) {
            Ok(3) => when(kind.has("repo:admin")),
            Ok(_) => Forbidden,
            Err(verdict) => verdict,
        },
        Needs::TokenInReach(scope) => {
            // Who manages the server reaches everything, with the scope for tokens or as what tokd itself let in.
            if !kind.has(scope) {
                Forbidden
            } else if owns(target, kind) || manages || maintains(target, kind, part) {
                Allowed
            } else {
                Hidden
            }
        }
        Needs::TokensOf(scope) if target == Target::Team => match workspace_part(target, kind, part) {
            Err(verdict) => verdict,
            Ok(_) if !kind.has(scope) => Forbidden,
            Ok(_) => when(owns(target, kind) || manages || maintains(target, kind, part)),
        },
        Needs::TokensOf(_) if target == Target::Other => when(manages),
        Needs::TokensOf(scope) => when(kind.has(scope)),
        Needs::NewToken if target == Target::Own && kind == Kind::Temporary => Senseless,
        // root of this machine is a user here, too.
        Needs::NewToken if target == Target::Own && kind == Kind::LocalRoot => Allowed,
        // No scope and no limit to routes is asked for: more than a token has that is limited to some.
        Needs::NewToken if target == Target::Own => {
            when(kind.has("token:write") && part.is_some() && kind != Kind::Routed)
        }
        Needs::NewToken => match workspace_part(target, kind, part) {
            Err(verdict) => verdict,
            Ok(3) => when(
                ["token:write", "audit:read", "repo:admin"].iter().all(|scope| kind.has(scope))
                    && (part != Some(Part::Manager) || manages),
            ),
            Ok(_) => Forbidden,
        },
        Needs::Fetch => git(target, kind, part, 1),
        Needs::Push => git(target, kind, part, 2),
        // It is nobody's user, for whom a token could be minted.
        Needs::GitToken if kind == Kind::Temporary => Hidden,
        Needs::GitToken => match git(target, kind, part, 1) {
            // What is for git alone makes no more of its kind.
            Allowed if kind.for_git_alone() => Forbidden,
            Verdict::TooNarrow => Forbidden,
            verdict => verdict,
        },
    }
}

/// The token is the caller's, or of the workspace that the caller's token acts for.
fn owns(target: Target, kind: Kind) -> bool {
    target == Target::Own || (target == Target::Team && kind.of_workspace())
}

/// A maintainer of the workspace, with a token that sees it.
fn maintains(target: Target, kind: Kind, part: Option<Part>) -> bool {
    target == Target::Team
        && part == Some(Part::Maintainer)
        && (kind.whole_user() || (kind.has("repo:read") && kind != Kind::Routed))
}

/// The part in the workspace: 1 reads, 2 writes, 3 maintains.
fn workspace_part(target: Target, kind: Kind, part: Option<Part>) -> Result<u8, Verdict> {
    match kind {
        Kind::WorkspaceRead if target == Target::Team => return Ok(1),
        Kind::WorkspaceWrite if target == Target::Team => return Ok(3),
        Kind::WorkspaceRead | Kind::WorkspaceWrite | Kind::Routed => return Err(Verdict::Hidden),
        Kind::RepoRead | Kind::RepoWrite if target != Target::Team => return Err(Verdict::Hidden),
        _ if kind.for_git_alone() => return Err(Verdict::Forbidden),
        _ if kind.administrator() => return Ok(3),
        _ if !kind.has("repo:read") => return Err(Verdict::Forbidden),
        _ => {}
    }
    part.and_then(|part| part.in_workspace(target)).ok_or(Verdict::Hidden)
}

/// To fetch (1) or push (2).
fn git(target: Target, kind: Kind, part: Option<Part>, level: u8) -> Verdict {
    let here = target == Target::Team;
    let enough = match kind {
        Kind::GitRead | Kind::GitWrite if !here => return Verdict::TooNarrow,
        Kind::GitRead if level > 1 => return Verdict::TooNarrow,
        Kind::WorkspaceRead | Kind::WorkspaceWrite | Kind::RepoRead | Kind::RepoWrite | Kind::Routed if !here => {
            return Verdict::Hidden;
        }
        Kind::WorkspaceRead | Kind::RepoRead => level == 1,
        Kind::WorkspaceWrite | Kind::RepoWrite | Kind::GitRead | Kind::GitWrite => true,
        _ => kind.has(if level == 1 { "repo:read" } else { "repo:write" }),
    };
    if !enough {
        return Verdict::Forbidden;
    }
    if kind.of_workspace() || kind.administrator() {
        return Verdict::Allowed;
    }
    match part.and_then(|part| part.in_workspace(target)) {
        None => Verdict::Hidden,
        Some(mine) if mine >= level => Verdict::Allowed,
        Some(_) => Verdict::Forbidden,
    }
}
