//! What is asked for when a token is changed, and what is left of it once it is checked.

use tok_model::clock::Expiry;
use tok_model::grant::{Cidr, Grant};
use tok_model::kind::{Permission, TokenKind};
use tok_model::label::Label;
use tok_model::route::Routes;
use tok_model::scope::ScopeSet;
use tok_model::token::{Reference, check_description, check_name};

use super::field::parsed;
use super::token_draft::{allowlist, labels, max_uses, routes};
use super::words;
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// What somebody wants changed about a token, as they typed it. What is `None` stays as it is; lists are replaced whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenChange {
    /// Which token: ID, ID prefix or token prefix.
    pub reference: String,
    /// For people.
    pub name: Option<String>,
    /// For people; may become empty.
    pub description: Option<String>,
    /// Exactly as typed.
    pub expires: Option<String>,
    /// As in `repo:read`; for personal tokens.
    pub scopes: Option<Vec<String>>,
    /// As in `acme/*:r`; for personal tokens. Empty: wherever its owner may.
    pub routes: Option<Vec<String>>,
    /// Words it is found by.
    pub labels: Option<Vec<String>>,
    /// As in `192.0.2.0/24`. Empty: anywhere.
    pub allow_cidrs: Option<Vec<String>>,
    /// `acme/app`, or `app` in its workspace; for repo tokens.
    pub repos: Option<Vec<String>>,
    /// For workspace and repo tokens.
    pub permission: Option<Permission>,
    /// How often it may be used, all uses so far counted; `Some(0)` is any number of times.
    pub max_uses: Option<u64>,
    /// Change it only if this is its version.
    pub if_version: Option<u32>,
}

impl From<TokenChange> for v1::ModifyTokenRequest {
    fn from(change: TokenChange) -> Self {
        let list = |texts: Option<Vec<String>>| texts.map(|texts| v1::TextList { texts });
        Self {
            reference: change.reference,
            name: change.name,
            description: change.description,
            expires: change.expires,
            scopes: list(change.scopes),
            routes: list(change.routes),
            labels: list(change.labels),
            allow_cidrs: list(change.allow_cidrs),
            repos: list(change.repos),
            permission: words::wire_permission(change.permission),
            if_version: change.if_version.unwrap_or(0),
            max_uses: change.max_uses,
        }
    }
}

/// A checked request to change a token: well-formed, and nothing said yet about whether the token's kind takes it or the
/// caller may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedChange {
    /// Which token.
    pub reference: Reference,
    /// One printable line.
    pub name: Option<String>,
    /// One printable line, or nothing.
    pub description: Option<String>,
    /// When it shall end, counted from now.
    pub expires: Option<Expiry>,
    /// Each once, in order.
    pub labels: Option<Vec<Label>>,
    /// Empty is anywhere.
    pub allow_from: Option<Vec<Cidr>>,
    /// `Some(None)` is any number of times.
    pub max_uses: Option<Option<i64>>,
    /// Its reach, as far as it shall change.
    pub reach: ReachChange,
    /// Change it only if this is its version.
    pub if_version: Option<u32>,
}

/// What shall change about a token's reach. Which of it the token takes depends on its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReachChange {
    /// For personal tokens.
    pub scopes: Option<ScopeSet>,
    /// For personal tokens; `Some(None)` is wherever the owner may.
    pub routes: Option<Option<Routes>>,
    /// For repo tokens: `acme/app`, or `app`.
    pub repos: Option<Vec<String>>,
    /// For workspace and repo tokens.
    pub permission: Option<Permission>,
}

impl TryFrom<v1::ModifyTokenRequest> for CheckedChange {
    type Error = Fault;
    fn try_from(request: v1::ModifyTokenRequest) -> Result<Self, Fault> {
        if let Some(name) = &request.name {
            check_name(name).map_err(|why| Fault::field("name", why))?;
        }
        if let Some(description) = &request.description {
            check_description(description).map_err(|why| Fault::field("description", why))?;
        }
        let scopes = request.scopes.map(|list| ScopeSet::from_texts(list.texts.iter().map(String::as_str)));
        let allow_from = |list: v1::TextList| list.texts.iter().map(|text| parsed("allow_cidrs", text)).collect();
        let change = Self {
            reference: parsed("reference", &request.reference)?,
            name: request.name,
            description: request.description,
            expires: request.expires.map(|text| parsed("expires", &text)).transpose()?,
            labels: request.labels.map(|list| labels(&list.texts)).transpose()?,
            allow_from: request.allow_cidrs.map(allow_from).transpose()?,
            max_uses: request.max_uses.map(max_uses).transpose()?,
            reach: ReachChange {
                scopes: scopes.transpose().map_err(|why| Fault::field("scopes", why))?,
                routes: request.routes.map(|list| routes(&list.texts)).transpose()?,
                repos: request.repos.map(|list| list.texts),
                permission: words::permission("permission", request.permission)?,
            },
            if_version: Some(request.if_version).filter(|version| *version > 0),
        };
        if change.is_empty() {
            return Err(Fault::new(FaultCode::InvalidArgument, "nothing was said that should change")
                .hint("name at least one of: name, description, expires, scopes, routes, labels, allow_cidrs, repos, permission, max_uses"));
        }
        Ok(change)
    }
}

impl CheckedChange {
    /// Whether it would change nothing at all.
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.renames_only()
    }

    /// Whether it leaves alone what a token may do, from where, until when and how often.
    pub fn changes_words_only(&self) -> bool {
        self.expires.is_none()
            && self.allow_from.is_none()
            && self.max_uses.is_none()
            && self.reach == ReachChange::default()
    }

    /// Whether it changes the name and nothing else.
    pub fn renames_only(&self) -> bool {
        self.changes_words_only() && self.description.is_none() && self.labels.is_none()
    }
}

impl ReachChange {
    /// What a token that was given `old` shall have from now on. Refuses what its kind does not take, by the name of the
    /// field: a part that is silently dropped would be a restriction that somebody believes in.
    pub fn applied(&self, old: &Grant) -> Result<Grant, Fault> {
        let kind = old.kind();
        let refuse = |field: &str, given: bool| {
            if !given {
                return Ok(());
            }
            let hint = match kind {
                TokenKind::Personal => "a personal token is narrowed with scopes and routes",
                TokenKind::Workspace => "a workspace token has a permission, read or write, and nothing else",
                TokenKind::Repo => "a repo token has a permission and its repositories",
                TokenKind::Session | TokenKind::Git => "make another token instead: tok token create <name>",
            };
            Err(Fault::field(field, format!("a {kind} token takes no {field}")).hint(hint))
        };
        let personal = kind == TokenKind::Personal;
        refuse("scopes", !personal && self.scopes.is_some())?;
        refuse("routes", !personal && self.routes.is_some())?;
        refuse("repos", kind != TokenKind::Repo && self.repos.is_some())?;
        let permitted = matches!(kind, TokenKind::Workspace | TokenKind::Repo);
        refuse("permission", !permitted && self.permission.is_some())?;
        Ok(match old.clone() {
            Grant::Personal { scopes, routes } => Grant::Personal {
                scopes: self.scopes.clone().unwrap_or(scopes),
                routes: self.routes.clone().unwrap_or(routes),
            },
            Grant::Workspace { workspace, permission } => {
                Grant::Workspace { workspace, permission: self.permission.unwrap_or(permission) }
            }
            Grant::Repo { workspace, permission, repos } => {
                let repos = match &self.repos {
                    Some(texts) => allowlist(Some(workspace.clone()), texts)?.1,
                    None => repos,
                };
                Grant::Repo { workspace, permission: self.permission.unwrap_or(permission), repos }
            }
            unchanged @ (Grant::Session | Grant::Git { .. }) => unchanged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> TokenChange {
        TokenChange { reference: "1b4e28ba".to_owned(), ..TokenChange::default() }
    }

    fn checked(change: TokenChange) -> Result<CheckedChange, Fault> {
        CheckedChange::try_from(v1::ModifyTokenRequest::from(change))
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_is_not_said_stays_and_an_empty_list_is_said() {
        let reach = checked(TokenChange { scopes: Some(texts(&["repo:read"])), ..change() }).unwrap().reach;
        let routes = Some(Routes::from_texts(["acme/*:r"]).unwrap());
        let old = Grant::Personal { scopes: "all".parse().unwrap(), routes: routes.clone() };
        assert_eq!(reach.applied(&old).unwrap(), Grant::Personal { scopes: "repo:read".parse().unwrap(), routes });
        let both = checked(TokenChange { scopes: Some(texts(&[])), routes: Some(texts(&[])), ..change() }).unwrap();
        assert_eq!(both.reach.applied(&old).unwrap(), Grant::Personal { scopes: ScopeSet::default(), routes: None });
        let anywhere = checked(TokenChange { allow_cidrs: Some(texts(&[])), max_uses: Some(0), ..change() }).unwrap();
        assert_eq!((anywhere.allow_from, anywhere.max_uses), (Some(Vec::new()), Some(None)));
        assert!(checked(change()).unwrap_err().hint.unwrap().contains("name"));
    }

    #[test]
    fn bad_fields_are_named() {
        let cases = [
            (TokenChange { reference: "a\nb".to_owned(), name: Some("n".to_owned()), ..change() }, "reference"),
            (TokenChange { name: Some(" ".to_owned()), ..change() }, "name"),
            (TokenChange { description: Some("a\nb".to_owned()), ..change() }, "description"),
            (TokenChange { expires: Some(String::new()), ..change() }, "expires"),
            (TokenChange { expires: Some("soon".to_owned()), ..change() }, "expires"),
            (TokenChange { scopes: Some(texts(&["repo:wrote"])), ..change() }, "scopes"),
            (TokenChange { routes: Some(texts(&["acme"])), ..change() }, "routes"),
            (TokenChange { labels: Some(texts(&["a b"])), ..change() }, "labels"),
            (TokenChange { allow_cidrs: Some(texts(&["10.0.0.1/8"])), ..change() }, "allow_cidrs"),
            (TokenChange { max_uses: Some(u64::MAX), ..change() }, "max_uses"),
        ];
        for (change, field) in cases {
            let fault = checked(change.clone()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_deref()), (FaultCode::InvalidArgument, Some(field)), "{change:?}");
        }
    }

    #[test]
    fn each_kind_takes_its_own_and_names_what_it_does_not() {
        let workspace = || "acme".parse().unwrap();
        let permission = Permission::Write;
        let repo = Grant::Repo { workspace: workspace(), permission, repos: ["app".parse().unwrap()].into() };
        let narrowed =
            TokenChange { repos: Some(texts(&["acme/lib"])), permission: Some(Permission::Read), ..change() };
        let repos = ["lib".parse().unwrap()].into();
        let expected = Grant::Repo { workspace: workspace(), permission: Permission::Read, repos };
        assert_eq!(checked(narrowed).unwrap().reach.applied(&repo).unwrap(), expected);
        for (change, grant, field) in [
            (TokenChange { repos: Some(texts(&["other/app"])), ..change() }, repo.clone(), "repos"),
            (TokenChange { repos: Some(texts(&[])), ..change() }, repo.clone(), "repos"),
            (TokenChange { scopes: Some(texts(&[])), ..change() }, repo, "scopes"),
            (
                TokenChange { repos: Some(texts(&["app"])), ..change() },
                Grant::Workspace { workspace: workspace(), permission },
                "repos",
            ),
            (TokenChange { permission: Some(permission), ..change() }, Grant::Session, "permission"),
        ] {
            let fault = checked(change).unwrap().reach.applied(&grant).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{fault:?}");
        }
    }
}
