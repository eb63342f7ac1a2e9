//! What a token may do, and why.

use secrecy::{ExposeSecret as _, SecretString};

use super::{Client, call, unreadable};
use crate::convert::{CheckedToken, ExplainAsk, Explanation, Introspection};
use crate::fault::Fault;
use crate::wire::v1;

impl Client {
    /// Asks what a token's text is.
    pub async fn check_token(&mut self, secret: &SecretString) -> Result<CheckedToken, Fault> {
        let request = v1::CheckTokenRequest { secret: secret.expose_secret().to_owned() };
        call!(self.authorization, check, request).try_into().map_err(unreadable)
    }

    /// Asks whether a token may do something, and which rule decides.
    pub async fn explain(&mut self, ask: ExplainAsk) -> Result<Explanation, Fault> {
        call!(self.authorization, explain, v1::ExplainRequest::from(ask)).try_into().map_err(unreadable)
    }

    /// Asks what a token is worth that somebody presented (RFC 7662).
    pub async fn introspect(&mut self, token: &SecretString) -> Result<Introspection, Fault> {
        let request = v1::IntrospectRequest { token: token.expose_secret().to_owned() };
        Ok(call!(self.authorization, introspect, request).into())
    }
}
