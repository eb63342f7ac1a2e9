//! Ending many tokens by what they have in common, and bringing back what was ended a moment ago.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::{Reference, check_reason};
use utoipa::ToSchema;

use super::field::{given, optional, optional_moment, present, wire_moment};
use super::json;
use super::token_calls::LiveRelative;
use super::tokens::TokenRecord;
use super::words;
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// Which tokens shall end. A token must fit each thing that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those that act for this user.
    pub user: Option<UserName>,
    /// Those that act for this workspace.
    pub workspace: Option<WorkspaceName>,
    /// Those with this label.
    pub label: Option<Label>,
    /// This token and all that were made through it, at any remove.
    pub parent: Option<Reference>,
    /// Those of this kind.
    pub kind: Option<TokenKind>,
    /// Those that were never used.
    pub never_used: bool,
    /// Those made before this moment. With a user or a workspace and nothing else it is a cut-off.
    pub minted_before: Option<DateTime<Utc>>,
    /// Everybody's, where neither user, workspace nor parent says whose; for managers.
    pub all_users: bool,
}

impl Selection {
    /// Whether nothing is said that would choose among tokens.
    pub fn is_empty(&self) -> bool {
        *self == Self { all_users: self.all_users, ..Self::default() }
    }
}

/// A request to end every live token of a selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokeMany {
    /// Which.
    pub selection: Selection,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Only say what it would be.
    pub dry_run: bool,
}

impl From<RevokeMany> for v1::RevokeManyRequest {
    fn from(RevokeMany { selection, reason, dry_run }: RevokeMany) -> Self {
        let text = |value: Option<String>| value.unwrap_or_default();
        Self {
            user: text(selection.user.map(|user| user.to_string())),
            workspace: text(selection.workspace.map(|workspace| workspace.to_string())),
            label: text(selection.label.map(|label| label.to_string())),
            parent: text(selection.parent.map(|parent| parent.to_string())),
            kind: words::wire_kind(selection.kind),
            never_used: selection.never_used,
            minted_before: selection.minted_before.map(wire_moment),
            reason: text(reason),
            dry_run,
            all_users: selection.all_users,
        }
    }
}

impl TryFrom<v1::RevokeManyRequest> for RevokeMany {
    type Error = Fault;
    fn try_from(request: v1::RevokeManyRequest) -> Result<Self, Fault> {
        let selection = Selection {
            user: optional("user", &request.user)?,
            workspace: optional("workspace", &request.workspace)?,
            label: optional("label", &request.label)?,
            parent: optional("parent", &request.parent)?,
            kind: words::kind("kind", request.kind)?,
            never_used: request.never_used,
            minted_before: optional_moment("minted_before", request.minted_before)?,
            all_users: request.all_users,
        };
        if selection.is_empty() {
            // No one field is at fault: any of them would do.
            let why = "say which tokens: user, workspace, label, parent, kind, never_used or minted_before";
            return Err(Fault::new(FaultCode::InvalidArgument, why)
                .hint("everything of one user: `user`; with `dry_run` first"));
        }
        if selection.user.is_some() && selection.workspace.is_some() {
            return Err(Fault::field("workspace", "a token acts for a user or for a workspace: name one of them"));
        }
        let whose = selection.user.is_some() || selection.workspace.is_some() || selection.parent.is_some();
        if selection.all_users && whose {
            return Err(Fault::field("all_users", "everybody's tokens, or those of whom you name: not both"));
        }
        Ok(Self { selection, reason: reason(request.reason)?, dry_run: request.dry_run })
    }
}

/// Reads a reason: one printable line, as a description is.
fn reason(text: String) -> Result<Option<String>, Fault> {
    check_reason(&text).map_err(|why| Fault::field("reason", why))?;
    Ok(given(text))
}

/// What ending many tokens did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RevokedMany {
    /// How many live tokens ended.
    pub revoked: u64,
    /// The newest of them, for people to recognise.
    pub sample: Vec<TokenRecord>,
    /// Until when it can be restored; null if it cannot.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub restorable_until: Option<DateTime<Utc>>,
    /// With `parent` or `minted_before`: what still works of the lines of rotations of those tokens, and is none of them.
    pub live_family: Vec<LiveRelative>,
}

impl From<RevokedMany> for v1::RevokeManyReply {
    fn from(done: RevokedMany) -> Self {
        Self {
            revoked: done.revoked,
            sample: done.sample.into_iter().map(Into::into).collect(),
            restorable_until: done.restorable_until.map(wire_moment),
            live_family: done.live_family.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::RevokeManyReply> for RevokedMany {
    type Error = Fault;
    fn try_from(reply: v1::RevokeManyReply) -> Result<Self, Fault> {
        Ok(Self {
            revoked: reply.revoked,
            sample: reply.sample.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            restorable_until: optional_moment("restorable_until", reply.restorable_until)?,
            live_family: reply.live_family.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RestoredTokens {
    /// The token that was pointed at, as it is now.
    pub token: TokenRecord,
    /// How many came back, that one among them.
    pub restored: u64,
}

impl From<RestoredTokens> for v1::RestoreTokenReply {
    fn from(done: RestoredTokens) -> Self {
        Self { token: Some(done.token.into()), restored: done.restored }
    }
}

impl TryFrom<v1::RestoreTokenReply> for RestoredTokens {
    type Error = Fault;
    fn try_from(reply: v1::RestoreTokenReply) -> Result<Self, Fault> {
        Ok(Self { token: present("token", reply.token)?.try_into()?, restored: reply.restored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_survives_the_wire_and_has_to_select() {
        let whole = RevokeMany {
            selection: Selection {
                user: Some("alice".parse().unwrap()),
                workspace: None,
                label: Some("ci".parse().unwrap()),
                parent: Some("1b4e28ba".parse().unwrap()),
                kind: Some(TokenKind::Repo),
                never_used: true,
                minted_before: Some("2026-11-22T10:00:00Z".parse().unwrap()),
                all_users: false,
            },
            reason: Some("leaked".to_owned()),
            dry_run: true,
        };
        let request = v1::RevokeManyRequest::from(whole.clone());
        assert_eq!(RevokeMany::try_from(request.clone()), Ok(whole));
        let nothing = v1::RevokeManyRequest { all_users: true, ..Default::default() };
        for (bad, field) in [
            (v1::RevokeManyRequest::default(), None),
            (nothing, None),
            (v1::RevokeManyRequest { workspace: "acme".into(), ..request.clone() }, Some("workspace")),
            (v1::RevokeManyRequest { all_users: true, ..request.clone() }, Some("all_users")),
            (v1::RevokeManyRequest { label: "a b".into(), ..request.clone() }, Some("label")),
            (v1::RevokeManyRequest { reason: "a\nb".into(), ..request }, Some("reason")),
        ] {
            assert_eq!(RevokeMany::try_from(bad).unwrap_err().field.as_deref(), field);
        }
    }

    #[test]
    fn what_was_done_survives_the_wire() {
        let token = super::super::tokens::tests::record();
        let until = Some("2026-11-22T10:15:00Z".parse().unwrap());
        let relative = LiveRelative {
            id: token.id,
            name: "CI".to_owned(),
            token_prefix: "tokpat_c3d4".to_owned(),
            successor: true,
            created_at: "2026-11-22T09:00:00Z".parse().unwrap(),
            ends_at: until,
        };
        let (sample, live_family) = (vec![token.clone()], vec![relative]);
        let many = RevokedMany { revoked: 100_000, sample, restorable_until: until, live_family };
        assert_eq!(RevokedMany::try_from(v1::RevokeManyReply::from(many.clone())), Ok(many));
        let back = RestoredTokens { token, restored: 7 };
        assert_eq!(RestoredTokens::try_from(v1::RestoreTokenReply::from(back.clone())), Ok(back));
    }
}
