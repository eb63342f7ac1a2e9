//! A token's record on the wire and back.

use tok_model::token::SecretForm;

use super::TokenRecord;
use crate::convert::field::{given, moment, optional, optional_moment, parsed, present, wire_moment};
use crate::convert::words;
use crate::fault::Fault;
use crate::wire::v1;

impl From<TokenRecord> for v1::Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id.to_string(),
            kind: words::wire_kind(Some(record.kind)),
            name: record.name,
            description: record.description,
            prefix: record.prefix,
            token_prefix: record.token_prefix,
            scopes: record.scopes,
            permission: words::wire_permission(record.permission),
            workspace: record.workspace.unwrap_or_default(),
            repo_allowlist: record.repo_allowlist,
            routes: record.routes,
            allow_cidrs: record.allow_cidrs,
            state: words::wire_state(Some(record.state)),
            created_at: Some(wire_moment(record.created_at)),
            expires_at: record.expires_at.map(wire_moment),
            revoked_at: record.revoked_at.map(wire_moment),
            revoked_by: record.revoked_by.unwrap_or_default(),
            revoke_reason: record.revoke_reason.unwrap_or_default(),
            last_used_at: record.last_used_at.map(wire_moment),
            last_used_ip: record.last_used_ip.unwrap_or_default(),
            created_by_user_id: record.created_by_user_id.map(|id| id.to_string()).unwrap_or_default(),
            created_by_name: record.created_by_name.unwrap_or_default(),
            created_by_token_prefix: record.created_by_token_prefix.unwrap_or_default(),
            parent_id: record.parent_id.map(|id| id.to_string()).unwrap_or_default(),
            family_id: record.family_id.map(|id| id.to_string()).unwrap_or_default(),
            user: record.user.unwrap_or_default(),
            last_used_agent: record.last_used_agent.unwrap_or_default(),
            last_used_repo: record.last_used_repo.unwrap_or_default(),
            labels: record.labels,
            max_uses: record.max_uses,
            uses: record.uses,
            secret_form: words::wire_secret_form(Some(record.secret_form)),
            imported_from: record.imported_from.unwrap_or_default(),
            predecessor_id: record.predecessor_id.map(|id| id.to_string()).unwrap_or_default(),
            successor_id: record.successor_id.map(|id| id.to_string()).unwrap_or_default(),
            rotated_at: record.rotated_at.map(wire_moment),
            grace_ends_at: record.grace_ends_at.map(wire_moment),
            version: record.version,
            modified_at: record.modified_at.map(wire_moment),
            unreadable: record.unreadable.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Token> for TokenRecord {
    type Error = Fault;
    fn try_from(token: v1::Token) -> Result<Self, Fault> {
        Ok(Self {
            id: parsed("id", &token.id)?,
            kind: present("kind", words::kind("kind", token.kind)?)?,
            name: token.name,
            description: token.description,
            prefix: token.prefix,
            token_prefix: token.token_prefix,
            scopes: token.scopes,
            permission: words::permission("permission", token.permission)?,
            workspace: given(token.workspace),
            repo_allowlist: token.repo_allowlist,
            routes: token.routes,
            allow_cidrs: token.allow_cidrs,
            state: present("state", words::state("state", token.state)?)?,
            created_at: moment("created_at", token.created_at)?,
            expires_at: optional_moment("expires_at", token.expires_at)?,
            revoked_at: optional_moment("revoked_at", token.revoked_at)?,
            revoked_by: given(token.revoked_by),
            revoke_reason: given(token.revoke_reason),
            last_used_at: optional_moment("last_used_at", token.last_used_at)?,
            last_used_ip: given(token.last_used_ip),
            created_by_user_id: optional("created_by_user_id", &token.created_by_user_id)?,
            created_by_name: given(token.created_by_name),
            created_by_token_prefix: given(token.created_by_token_prefix),
            parent_id: optional("parent_id", &token.parent_id)?,
            family_id: optional("family_id", &token.family_id)?,
            user: given(token.user),
            last_used_agent: given(token.last_used_agent),
            last_used_repo: given(token.last_used_repo),
            labels: token.labels,
            max_uses: token.max_uses,
            uses: token.uses,
            secret_form: words::secret_form("secret_form", token.secret_form)?.unwrap_or(SecretForm::Minted),
            imported_from: given(token.imported_from),
            predecessor_id: optional("predecessor_id", &token.predecessor_id)?,
            successor_id: optional("successor_id", &token.successor_id)?,
            rotated_at: optional_moment("rotated_at", token.rotated_at)?,
            grace_ends_at: optional_moment("grace_ends_at", token.grace_ends_at)?,
            version: token.version,
            modified_at: optional_moment("modified_at", token.modified_at)?,
            unreadable: given(token.unreadable),
        })
    }
}

#[cfg(test)]
mod tests {
    use tok_model::grant::Grant;
    use tok_model::kind::Permission;
    use tok_model::token::{Token, TokenState};

    use super::super::tests::{record, time, token};
    use super::*;

    #[test]
    fn a_record_survives_the_wire() {
        let revoked = Token {
            state: TokenState::Revoked { at: time("2026-11-20T00:00:00Z"), by: "root".to_owned(), reason: None },
            grant: Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Write },
            parent: Some(token().id),
            ..token()
        };
        let unreadable = Token { unreadable: Some("the scope \"repo:fly\" is not known".to_owned()), ..token() };
        for stored in [token(), revoked, unreadable] {
            let record = TokenRecord::of(&stored, time("2026-11-22T10:00:00Z"));
            assert_eq!(TokenRecord::try_from(v1::Token::from(record.clone())), Ok(record));
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        let whole = v1::Token::from(record());
        for (bad, field) in [
            (v1::Token { id: "x".to_owned(), ..whole.clone() }, "id"),
            (v1::Token { kind: 0, ..whole.clone() }, "kind"),
            (v1::Token { created_at: None, ..whole.clone() }, "created_at"),
            (v1::Token { parent_id: "1b4e".to_owned(), ..whole }, "parent_id"),
        ] {
            assert_eq!(TokenRecord::try_from(bad).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
