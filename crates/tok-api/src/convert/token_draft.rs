//! What is asked for when a token is made, and what is left of it once it is checked.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::clock::Expiry;
use tok_model::grant::{Cidr, Grant, MOST_REPOS};
use tok_model::kind::{Permission, TokenKind};
use tok_model::label::{Label, MOST_LABELS};
use tok_model::name::{RepoName, RepoPath, WorkspaceName};
use tok_model::route::Routes;
use tok_model::scope::ScopeSet;
use tok_model::token::{check_description, check_name};

use super::field::{optional, parsed};
use super::words;
use crate::fault::Fault;
use crate::wire::v1;

/// What somebody asks for, as they typed it. The daemon has the last word on every part of it.
#[derive(Debug, Clone, Default)]
pub struct TokenDraft {
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// `None` is personal.
    pub kind: Option<TokenKind>,
    /// As in `repo:read`; for personal tokens.
    pub scopes: Vec<String>,
    /// For workspace and repo tokens.
    pub permission: Option<Permission>,
    /// For workspace and repo tokens.
    pub workspace: Option<String>,
    /// For repo tokens: `acme/app`, or `app` in `workspace`.
    pub repos: Vec<String>,
    /// As in `acme/*:r`; for personal tokens.
    pub routes: Vec<String>,
    /// As in `192.0.2.0/24`.
    pub allow_cidrs: Vec<String>,
    /// Exactly as typed; `None` leaves it to the server.
    pub expires: Option<String>,
    /// Words it is found by.
    pub labels: Vec<String>,
    /// How often it may be used; `None` is any number of times.
    pub max_uses: Option<u64>,
    /// A secret of one's own choice, presented as HTTP Basic (RFC 7617) with the token's name; `None`: tok makes one.
    pub secret: Option<SecretString>,
    /// A retry with the same key leaves exactly one live token.
    pub idempotency_key: Option<String>,
}

impl From<TokenDraft> for v1::CreateTokenRequest {
    fn from(draft: TokenDraft) -> Self {
        Self {
            name: draft.name,
            description: draft.description,
            kind: words::wire_kind(draft.kind),
            scopes: draft.scopes,
            permission: words::wire_permission(draft.permission),
            workspace: draft.workspace.unwrap_or_default(),
            repos: draft.repos,
            routes: draft.routes,
            allow_cidrs: draft.allow_cidrs,
            expires: draft.expires.unwrap_or_default(),
            labels: draft.labels,
            max_uses: draft.max_uses.unwrap_or(0),
            secret: draft.secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default(),
            idempotency_key: draft.idempotency_key.unwrap_or_default(),
        }
    }
}

/// A checked request for a token: well-formed, and nothing said yet about whether the caller may have it.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// For people. One printable line.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Kind and reach.
    pub grant: Grant,
    /// Addresses it shall work from; empty is anywhere.
    pub allow_from: Vec<Cidr>,
    /// `None` leaves it to the server's policy.
    pub expires: Option<Expiry>,
    /// Words it is found by, each once.
    pub labels: Vec<Label>,
    /// How often it may be used; `None` is any number of times.
    pub max_uses: Option<i64>,
    /// A secret of the caller's choice; whether it is strong enough is not said yet.
    pub secret: Option<SecretString>,
    /// A retry with the same key leaves exactly one live token.
    pub idempotency_key: Option<String>,
}

impl TryFrom<v1::CreateTokenRequest> for NewToken {
    type Error = Fault;
    fn try_from(request: v1::CreateTokenRequest) -> Result<Self, Fault> {
        Self::asked_from(request, None)
    }
}

impl NewToken {
    /// Checks the request of a caller who acts for the workspace `home`, if they act for one: it is meant where a token that
    /// acts for a workspace is asked for, and none is named.
    pub fn asked_from(mut request: v1::CreateTokenRequest, home: Option<&WorkspaceName>) -> Result<Self, Fault> {
        let kind = words::kind("kind", request.kind)?;
        if let (Some(TokenKind::Workspace | TokenKind::Repo), Some(home), "") = (kind, home, request.workspace.as_str())
        {
            request.workspace = home.to_string();
        }
        check_name(&request.name).map_err(|why| Fault::field("name", why))?;
        check_description(&request.description).map_err(|why| Fault::field("description", why))?;
        let allow_from =
            request.allow_cidrs.iter().map(|text| parsed("allow_cidrs", text)).collect::<Result<_, _>>()?;
        Ok(Self {
            grant: grant(&request)?,
            allow_from,
            expires: optional("expires", &request.expires)?,
            labels: labels(&request.labels)?,
            max_uses: max_uses(request.max_uses)?,
            secret: chosen(request.secret),
            idempotency_key: idempotency_key(request.idempotency_key)?,
            name: request.name,
            description: request.description,
        })
    }
}

/// A secret that may be left out. Moved, never copied: what it was read into is wiped with it.
pub(super) fn chosen(secret: String) -> Option<SecretString> {
    if secret.is_empty() { None } else { Some(SecretString::from(secret)) }
}

/// Reads labels: each once, in order, not too many.
pub(super) fn labels(texts: &[String]) -> Result<Vec<Label>, Fault> {
    let labels: BTreeSet<Label> = texts.iter().map(|text| parsed("labels", text)).collect::<Result<_, _>>()?;
    if labels.len() > MOST_LABELS {
        return Err(Fault::field("labels", format!("a token has at most {MOST_LABELS} labels")));
    }
    Ok(labels.into_iter().collect())
}

/// 0 is no limit.
pub(super) fn max_uses(most: u64) -> Result<Option<i64>, Fault> {
    let most = i64::try_from(most).map_err(|_| Fault::field("max_uses", "that is more than can be counted"))?;
    Ok(Some(most).filter(|most| *most > 0))
}

/// The longest idempotency key, in characters.
const LONGEST_KEY: usize = 255;

/// Reads an idempotency key: printable ASCII, as a header can carry it.
pub(super) fn idempotency_key(key: String) -> Result<Option<String>, Fault> {
    if key.is_empty() {
        return Ok(None);
    }
    if key.len() > LONGEST_KEY || !key.chars().all(|c| c.is_ascii_graphic()) {
        let why = format!("an idempotency key is 1 to {LONGEST_KEY} printable ASCII characters without spaces");
        return Err(Fault::field("idempotency_key", why).hint("a fresh UUID for each act is a good one"));
    }
    Ok(Some(key))
}

/// Puts together what the kind takes, and refuses what it does not take: a part that is silently dropped would be a
/// restriction or a permission that somebody believes in.
fn grant(request: &v1::CreateTokenRequest) -> Result<Grant, Fault> {
    let kind = words::kind("kind", request.kind)?.unwrap_or(TokenKind::Personal);
    let permission = words::permission("permission", request.permission)?;
    let refuse = |field: &str, given: bool, instead: &str| {
        let fault = || Fault::field(field, format!("a {kind} token takes no {field}")).hint(instead);
        if given { Err(fault()) } else { Ok(()) }
    };
    match kind {
        TokenKind::Personal => {
            let instead =
                "add `--kind workspace` or `--kind repo`; a personal token is narrowed with `--scopes` and `--route`";
            refuse("permission", permission.is_some(), instead)?;
            refuse("workspace", !request.workspace.is_empty(), instead)?;
            refuse("repos", !request.repos.is_empty(), instead)?;
            let scopes = ScopeSet::from_texts(request.scopes.iter().map(String::as_str))
                .map_err(|why| Fault::field("scopes", why))?;
            Ok(Grant::Personal { scopes, routes: routes(&request.routes)? })
        }
        TokenKind::Workspace | TokenKind::Repo => {
            let instead = "workspace and repo tokens take `--permission read` or `--permission write`";
            refuse("scopes", !request.scopes.is_empty(), instead)?;
            refuse("routes", !request.routes.is_empty(), instead)?;
            let permission = permission.ok_or_else(|| {
                Fault::field("permission", format!("a {kind} token needs a permission: read or write"))
            })?;
            let workspace = optional("workspace", &request.workspace)?;
            if kind == TokenKind::Workspace {
                refuse("repos", !request.repos.is_empty(), "a token for some repositories only is of kind repo")?;
                let workspace = workspace
                    .ok_or_else(|| Fault::field("workspace", "a workspace token needs the name of its workspace"))?;
                return Ok(Grant::Workspace { workspace, permission });
            }
            let (workspace, repos) = allowlist(workspace, &request.repos)?;
            Ok(Grant::Repo { workspace, permission, repos })
        }
        TokenKind::Session | TokenKind::Git => Err(Fault::field(
            "kind",
            format!("{kind} tokens are made by the daemon itself, when somebody logs in or git needs one"),
        )
        .hint("kinds that people make are personal, workspace and repo")),
    }
}

/// No routes are no limit by routes.
pub(super) fn routes(texts: &[String]) -> Result<Option<Routes>, Fault> {
    if texts.is_empty() {
        return Ok(None);
    }
    Routes::from_texts(texts.iter().map(String::as_str)).map(Some).map_err(|why| Fault::field("routes", why))
}

/// The repositories of a repo token: all in one workspace, which may be said apart from them or with each.
pub(super) fn allowlist(
    mut workspace: Option<WorkspaceName>,
    texts: &[String],
) -> Result<(WorkspaceName, BTreeSet<RepoName>), Fault> {
    let mut repos = BTreeSet::new();
    for text in texts {
        let path = match (&workspace, text.contains('/')) {
            (Some(workspace), false) => RepoPath { workspace: workspace.clone(), repo: parsed("repos", text)? },
            _ => parsed("repos", text)?,
        };
        match &workspace {
            Some(workspace) if *workspace != path.workspace => {
                let why = format!("a repo token reaches one workspace: {path} is not in {workspace}");
                return Err(Fault::field("repos", why).hint("make one token for each workspace"));
            }
            _ => workspace = Some(path.workspace),
        }
        repos.insert(path.repo);
    }
    if repos.len() > MOST_REPOS {
        return Err(Fault::field("repos", format!("a repo token names at most {MOST_REPOS} repositories")));
    }
    match workspace {
        Some(workspace) if !repos.is_empty() => Ok((workspace, repos)),
        _ => Err(Fault::field("repos", "a repo token needs the repositories it may reach, as in `--repo acme/app`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    fn draft() -> TokenDraft {
        TokenDraft { name: "CI".to_owned(), ..TokenDraft::default() }
    }

    fn of_kind(kind: TokenKind, repos: &[&str], workspace: Option<&str>) -> TokenDraft {
        TokenDraft {
            kind: Some(kind),
            permission: Some(Permission::Read),
            workspace: workspace.map(str::to_owned),
            repos: repos.iter().map(|&repo| repo.to_owned()).collect(),
            ..draft()
        }
    }

    fn checked(draft: TokenDraft) -> Result<NewToken, Fault> {
        NewToken::try_from(v1::CreateTokenRequest::from(draft))
    }

    #[test]
    fn nothing_said_is_a_personal_token_that_reaches_nothing() {
        let token = checked(draft()).unwrap();
        assert_eq!(token.grant, Grant::Personal { scopes: ScopeSet::default(), routes: None });
        assert_eq!(token.expires, None);
        assert!(token.secret.is_none());
    }

    #[test]
    fn a_chosen_secret_arrives_and_is_never_printed() {
        let mine = TokenDraft { secret: Some(SecretString::from("correct horse battery")), ..draft() };
        assert!(!format!("{mine:?}").contains("horse"));
        let token = checked(mine).unwrap();
        assert_eq!(token.secret.as_ref().map(secrecy::ExposeSecret::expose_secret), Some("correct horse battery"));
        assert!(!format!("{token:?}").contains("horse"));
    }

    #[test]
    fn repositories_are_written_either_way_and_stay_in_one_workspace() {
        let both = checked(of_kind(TokenKind::Repo, &["app", "acme/lib"], Some("acme"))).unwrap();
        assert_eq!(checked(of_kind(TokenKind::Repo, &["acme/app", "acme/lib"], None)).unwrap().grant, both.grant);
        let repos = ["app", "lib"].map(|name| name.parse().unwrap());
        let workspace = "acme".parse().unwrap();
        assert_eq!(both.grant, Grant::Repo { workspace, permission: Permission::Read, repos: repos.into() });
        for (repos, workspace) in [
            (&["acme/app", "other/lib"][..], None),
            (&["app"], None),
            (&[], Some("acme")),
            (&["other/app"], Some("acme")),
        ] {
            let fault = checked(of_kind(TokenKind::Repo, repos, workspace)).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("repos"), "{fault:?}");
        }
    }

    #[test]
    fn whoever_acts_for_a_workspace_need_not_name_it() {
        let home: WorkspaceName = "acme".parse().unwrap();
        let asked = |draft: &TokenDraft| NewToken::asked_from(draft.clone().into(), Some(&home)).map(|new| new.grant);
        for draft in [of_kind(TokenKind::Workspace, &[], None), of_kind(TokenKind::Repo, &["app", "acme/lib"], None)] {
            let named = TokenDraft { workspace: Some("acme".to_owned()), ..draft.clone() };
            assert_eq!(asked(&draft).unwrap(), checked(named).unwrap().grant);
        }
        // Another one that is named is asked for; whether they may have it is not said here.
        let other = of_kind(TokenKind::Workspace, &[], Some("other"));
        assert_eq!(asked(&other).unwrap(), checked(other).unwrap().grant);
        let elsewhere = asked(&of_kind(TokenKind::Repo, &["other/app"], None)).unwrap_err();
        assert_eq!(elsewhere.field.as_deref(), Some("repos"), "{elsewhere:?}");
        // A personal token takes none, and gets none.
        assert_eq!(asked(&draft()).unwrap(), checked(draft()).unwrap().grant);
    }

    #[test]
    fn what_a_kind_does_not_take_is_refused_by_name() {
        let cases = [
            (TokenDraft { name: "a\u{1b}[31m".to_owned(), ..draft() }, "name"),
            (TokenDraft { description: "a\nb".to_owned(), ..draft() }, "description"),
            (TokenDraft { permission: Some(Permission::Read), ..draft() }, "permission"),
            (TokenDraft { workspace: Some("acme".to_owned()), ..draft() }, "workspace"),
            (TokenDraft { scopes: vec!["repo:wrote".to_owned()], ..draft() }, "scopes"),
            (TokenDraft { routes: vec!["acme".to_owned()], ..draft() }, "routes"),
            (TokenDraft { allow_cidrs: vec!["10.0.0.1/8".to_owned()], ..draft() }, "allow_cidrs"),
            (TokenDraft { expires: Some("soon".to_owned()), ..draft() }, "expires"),
            (TokenDraft { labels: vec!["a b".to_owned()], ..draft() }, "labels"),
            (TokenDraft { labels: (0..17).map(|n| n.to_string()).collect(), ..draft() }, "labels"),
            (TokenDraft { max_uses: Some(u64::MAX), ..draft() }, "max_uses"),
            (TokenDraft { idempotency_key: Some("a b".to_owned()), ..draft() }, "idempotency_key"),
            (TokenDraft { kind: Some(TokenKind::Git), ..draft() }, "kind"),
            (of_kind(TokenKind::Workspace, &[], None), "workspace"),
            (of_kind(TokenKind::Workspace, &["acme/app"], Some("acme")), "repos"),
            (TokenDraft { permission: None, ..of_kind(TokenKind::Workspace, &[], Some("acme")) }, "permission"),
            (
                TokenDraft { scopes: vec!["all".to_owned()], ..of_kind(TokenKind::Workspace, &[], Some("acme")) },
                "scopes",
            ),
        ];
        for (draft, field) in cases {
            let fault = checked(draft.clone()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_deref()), (FaultCode::InvalidArgument, Some(field)), "{draft:?}");
        }
    }
}
