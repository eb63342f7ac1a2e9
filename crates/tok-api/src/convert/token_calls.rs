//! What is asked about tokens, and what comes back besides the record itself.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_model::clock::Period;
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::Standing;
use utoipa::ToSchema;

use super::field::{PageAsk, PageOf, given, moment, optional, optional_moment, parsed, present, wire_moment};
use super::json;
use super::tokens::TokenRecord;
use super::words;
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// A token that was just made. The only thing that ever carries its text.
#[derive(Debug)]
pub struct CreatedToken {
    /// The text, to be shown once.
    pub secret: SecretString,
    /// Everything else.
    pub token: TokenRecord,
}

impl From<CreatedToken> for v1::CreateTokenReply {
    fn from(created: CreatedToken) -> Self {
        Self { secret: created.secret.expose_secret().to_owned(), token: Some(created.token.into()) }
    }
}

impl TryFrom<v1::CreateTokenReply> for CreatedToken {
    type Error = Fault;
    fn try_from(reply: v1::CreateTokenReply) -> Result<Self, Fault> {
        let secret = SecretString::from(reply.secret);
        if secret.expose_secret().is_empty() {
            return Err(Fault::new(FaultCode::Internal, "the daemon made a token and did not say its text"));
        }
        Ok(Self { secret, token: present("token", reply.token)?.try_into()? })
    }
}

/// Which tokens a list is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// `None` is any.
    pub state: Option<Standing>,
    /// `None` is any kind that people manage themselves.
    pub kind: Option<TokenKind>,
    /// Whose; `None` is the caller's own.
    pub user: Option<UserName>,
    /// Only tokens that were never used.
    pub never_used: bool,
    /// Only active tokens that end this soon.
    pub expiring_within: Option<Period>,
    /// Every user's and workspace's.
    pub all_users: bool,
    /// Those that act for this workspace, instead of for a user.
    pub workspace: Option<WorkspaceName>,
    /// Those with this label.
    pub label: Option<Label>,
}

impl TokenFilter {
    /// The request for one page of the list.
    pub(crate) fn into_request(self, page: PageAsk) -> v1::ListTokensRequest {
        let (page_size, cursor) = page.into_wire();
        v1::ListTokensRequest {
            page_size,
            cursor,
            state: words::wire_state(self.state),
            kind: words::wire_kind(self.kind),
            user: self.user.map(|user| user.to_string()).unwrap_or_default(),
            never_used: self.never_used,
            expiring_within_seconds: self.expiring_within.map_or(0, |period| period.seconds().unsigned_abs()),
            all_users: self.all_users,
            workspace: self.workspace.map(|workspace| workspace.to_string()).unwrap_or_default(),
            label: self.label.map(|label| label.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ListTokensRequest> for (TokenFilter, PageAsk) {
    type Error = Fault;
    fn try_from(request: v1::ListTokensRequest) -> Result<Self, Fault> {
        let within = match request.expiring_within_seconds {
            0 => None,
            seconds => Some(
                i64::try_from(seconds)
                    .ok()
                    .and_then(Period::from_seconds)
                    .ok_or_else(|| Fault::field("expiring_within_seconds", "more than 100 years ahead"))?,
            ),
        };
        let user: Option<UserName> = optional("user", &request.user)?;
        if request.all_users && user.is_some() {
            return Err(Fault::field("all_users", "ask for one user's tokens or for everybody's, not for both"));
        }
        let workspace: Option<WorkspaceName> = optional("workspace", &request.workspace)?;
        if workspace.is_some() && (request.all_users || user.is_some()) {
            return Err(Fault::field("workspace", "a token acts for a user or for a workspace: ask for one of them"));
        }
        let filter = TokenFilter {
            state: words::state("state", request.state)?,
            kind: words::kind("kind", request.kind)?,
            user,
            never_used: request.never_used,
            expiring_within: within,
            all_users: request.all_users,
            workspace,
            label: optional("label", &request.label)?,
        };
        Ok((filter, PageAsk::from_wire(request.page_size, request.cursor)))
    }
}

impl From<PageOf<TokenRecord>> for v1::ListTokensReply {
    fn from(page: PageOf<TokenRecord>) -> Self {
        let (tokens, next_cursor) = page.into_wire();
        Self { tokens, next_cursor }
    }
}

/// What revoking a token did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RevokedToken {
    /// The token as it is now.
    pub token: TokenRecord,
    /// How many live tokens minted by it ended with it.
    pub minted_revoked: u32,
    /// It had been revoked before; nothing was changed now.
    pub already_revoked: bool,
    /// Until when it can be restored; null if it cannot.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub restorable_until: Option<DateTime<Utc>>,
    /// A remark for people, as when the reference is also the name of another token.
    pub note: Option<String>,
    /// Other tokens of its line of rotations that still work: to revoke one token does not end them.
    pub live_family: Vec<LiveRelative>,
}

/// A token of the same line of rotations that still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LiveRelative {
    /// Its ID.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String, format = Uuid)]
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// As lists show it.
    #[schema(example = "tokpat_a1b2")]
    pub token_prefix: String,
    /// Whether it took the place of the token in question; else that one took its place, and it is in its grace.
    pub successor: bool,
    /// When it was made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
    /// Until when it works if nobody ends it; null: for ever.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub ends_at: Option<DateTime<Utc>>,
}

impl From<LiveRelative> for v1::LiveRelative {
    fn from(relative: LiveRelative) -> Self {
        Self {
            id: relative.id.to_string(),
            name: relative.name,
            token_prefix: relative.token_prefix,
            successor: relative.successor,
            created_at: Some(wire_moment(relative.created_at)),
            ends_at: relative.ends_at.map(wire_moment),
        }
    }
}

impl TryFrom<v1::LiveRelative> for LiveRelative {
    type Error = Fault;
    fn try_from(relative: v1::LiveRelative) -> Result<Self, Fault> {
        Ok(Self {
            id: parsed("id", &relative.id)?,
            name: relative.name,
            token_prefix: relative.token_prefix,
            successor: relative.successor,
            created_at: moment("created_at", relative.created_at)?,
            ends_at: optional_moment("ends_at", relative.ends_at)?,
        })
    }
}

impl From<RevokedToken> for v1::RevokeTokenReply {
    fn from(revoked: RevokedToken) -> Self {
        Self {
            token: Some(revoked.token.into()),
            minted_revoked: revoked.minted_revoked,
            already_revoked: revoked.already_revoked,
            restorable_until: revoked.restorable_until.map(wire_moment),
            note: revoked.note.unwrap_or_default(),
            live_family: revoked.live_family.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::RevokeTokenReply> for RevokedToken {
    type Error = Fault;
    fn try_from(reply: v1::RevokeTokenReply) -> Result<Self, Fault> {
        Ok(Self {
            token: present("token", reply.token)?.try_into()?,
            minted_revoked: reply.minted_revoked,
            already_revoked: reply.already_revoked,
            restorable_until: optional_moment("restorable_until", reply.restorable_until)?,
            note: given(reply.note),
            live_family: reply.live_family.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

/// A scope and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScopeRecord {
    /// As in `repo:read`.
    pub scope: String,
    /// One line for people.
    pub description: String,
}

impl From<tok_model::scope::Scope> for v1::Scope {
    fn from(scope: tok_model::scope::Scope) -> Self {
        Self { text: scope.as_str().to_owned(), description: scope.description().to_owned() }
    }
}

impl From<v1::Scope> for ScopeRecord {
    fn from(scope: v1::Scope) -> Self {
        Self { scope: scope.text, description: scope.description }
    }
}

/// What a token's text turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckedToken {
    /// Whether it works now, from here.
    pub usable: bool,
    /// One sentence for people.
    pub verdict: String,
    /// Whose it is: a user or a workspace.
    pub owner: String,
    /// What it may do now.
    pub effective_scopes: Vec<String>,
    /// The record.
    pub token: TokenRecord,
}

impl From<CheckedToken> for v1::CheckTokenReply {
    fn from(checked: CheckedToken) -> Self {
        Self {
            token: Some(checked.token.into()),
            owner: checked.owner,
            effective_scopes: checked.effective_scopes,
            verdict: checked.verdict,
            usable: checked.usable,
        }
    }
}

impl TryFrom<v1::CheckTokenReply> for CheckedToken {
    type Error = Fault;
    fn try_from(reply: v1::CheckTokenReply) -> Result<Self, Fault> {
        Ok(Self {
            usable: reply.usable,
            verdict: reply.verdict,
            owner: reply.owner,
            effective_scopes: reply.effective_scopes,
            token: present("token", reply.token)?.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_the_wire() {
        let filter = TokenFilter {
            state: Some(Standing::Active),
            kind: Some(TokenKind::Repo),
            user: Some("alice".parse().unwrap()),
            never_used: true,
            expiring_within: Some("14d".parse().unwrap()),
            all_users: false,
            workspace: None,
            label: Some("ci".parse().unwrap()),
        };
        let page = PageAsk { size: Some(7), cursor: Some("c2".to_owned()) };
        let request = filter.clone().into_request(page.clone());
        assert_eq!(request.clone().try_into(), Ok((filter, page)));
        let both = v1::ListTokensRequest { all_users: true, ..request };
        assert_eq!(<(TokenFilter, PageAsk)>::try_from(both).unwrap_err().field.as_deref(), Some("all_users"));
    }

    #[test]
    fn a_created_token_hides_its_text_and_must_have_one() {
        let token = super::super::tokens::tests::record();
        let made = CreatedToken { secret: "tokpat_doNotPrintMe".into(), token };
        assert!(!format!("{made:?}").contains("doNotPrintMe"));
        let reply = v1::CreateTokenReply::from(made);
        let back = CreatedToken::try_from(reply.clone()).unwrap();
        assert_eq!(back.secret.expose_secret(), "tokpat_doNotPrintMe");
        assert!(CreatedToken::try_from(v1::CreateTokenReply { secret: String::new(), ..reply }).is_err());
    }
}
