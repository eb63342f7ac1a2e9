//! What a resource server is told about a token that was presented to it.

use chrono::TimeDelta;
use tok_api::convert::{IntrospectedToken, Introspection};
use tok_api::fault::Fault;
use tok_model::clock::Timestamp;
use tok_model::decide::{Bearer, Caller, Need, decide};
use tok_model::token::{Owner, SecretForm, Token};

use super::effective_scopes;
use crate::service::{Presented, Service, presented_text};

impl Service {
    /// Says what a token is worth now (RFC 7662), to anybody whose own token works; to one of kind git, which programs hand
    /// around freely, only about itself. Whatever is not usable is inactive, without a reason. The server that asks is not
    /// blamed for what was presented to it, unless it could be a guess: at a secret that somebody chose, or another
    /// system's.
    pub async fn introspect(&self, caller: &Caller, text: &str) -> Result<Introspection, Fault> {
        self.permit(caller, Need::Identity)?;
        let presented = presented_text(text.trim());
        // Another system's secret, or one that could be guessed, is not tried for whoever may ask about their own alone.
        if !matches!(presented, Presented::Token(_)) {
            self.permit(caller, Need::Introspect { token: None })?;
        }
        let holder = self.holder(presented, caller.source.clone()).await?.ok();
        let asked = holder.as_ref().and_then(Caller::token).map(|token| token.id);
        self.permit(caller, Need::Introspect { token: asked })?;
        let now = self.now();
        let usable = holder.filter(|holder| decide(holder, Need::Identity, now).is_ok());
        let token = usable.as_ref().and_then(|holder| match &holder.bearer {
            Bearer::Temporary { name } => Some(self.introspected_temporary(holder, name, now)),
            _ => Some(self.introspected(holder, holder.token()?, now)),
        });
        Ok(Introspection { active: token.is_some(), token })
    }

    /// A temporary token has no row to speak of, and is as old as this run of tokd.
    fn introspected_temporary(&self, holder: &Caller, name: &str, now: Timestamp) -> IntrospectedToken {
        let scopes: Vec<String> = effective_scopes(holder, None, now).map(|scope| scope.to_string()).collect();
        let (url, itself) = (self.place().public_url.to_string(), format!("temporary:{name}"));
        let age = TimeDelta::from_std(self.place().started.elapsed()).unwrap_or_default();
        IntrospectedToken {
            scope: scopes.join(" "),
            token_type: "Basic".to_owned(),
            iat: (now - age).timestamp(),
            sub: itself.clone(),
            aud: url.clone(),
            iss: url,
            jti: itself,
            kind: "temporary".to_owned(),
            ..IntrospectedToken::default()
        }
    }

    fn introspected(&self, holder: &Caller, token: &Token, now: Timestamp) -> IntrospectedToken {
        let scopes: Vec<String> = effective_scopes(holder, None, now).map(|scope| scope.to_string()).collect();
        let (sub, username) = match token.owner {
            Owner::User(id) => (id.to_string(), Some(token.owner_name.clone())),
            Owner::Workspace(id) => (id.to_string(), None),
        };
        let record = tok_api::convert::TokenRecord::of(token, now);
        let url = self.place().public_url.to_string();
        IntrospectedToken {
            scope: scopes.join(" "),
            username,
            token_type: if token.secret == SecretForm::Chosen { "Basic" } else { "Bearer" }.to_owned(),
            exp: token.expires_at.map(|end| end.timestamp()),
            iat: token.created_at.timestamp(),
            sub,
            aud: url.clone(),
            iss: url,
            jti: token.id.to_string(),
            kind: token.kind().to_string(),
            permission: record.permission.map(|permission| permission.to_string()),
            workspace: record.workspace,
            repo_allowlist: record.repo_allowlist,
            routes: record.routes,
        }
    }
}
