//! From what somebody points at to the one token that they mean.

use tok_api::convert::TokenRecord;
use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Caller, Need, Permit};
use tok_model::token::{Owner, Reference, Token};

use crate::service::Service;

impl Service {
    /// The permit for one's own tokens; whoever is nobody but administers the server gets everybody's.
    pub(super) fn own_tokens(&self, caller: &Caller, need: impl Fn(Owner) -> Need) -> Result<Permit, Fault> {
        match caller.owner_id() {
            Some(owner) => self.permit(caller, need(owner)),
            None => self.permit(caller, Need::Server),
        }
    }

    /// The one token that a reference means: among one's own and those of workspaces that one maintains, else (for
    /// managers) among everybody's.
    pub(super) async fn resolve(
        &self,
        caller: &Caller,
        reference: Reference,
        need: impl Fn(Owner) -> Need,
    ) -> Result<(Permit, Token), Fault> {
        let mut reached = vec![self.own_tokens(caller, &need)?];
        let maintained = caller.user().into_iter().flat_map(|user| user.memberships.values());
        reached.extend(maintained.filter_map(|place| {
            let permit = self.may(caller, need(Owner::Workspace(place.workspace)));
            permit.filter(|permit| *permit.need() != Need::Server)
        }));
        let mut found = Vec::new();
        for permit in reached {
            let (permit, tokens) = self.find(permit, reference.clone()).await?;
            found.push((permit, tokens));
        }
        if found.iter().all(|(_, tokens)| tokens.is_empty())
            && let Some(server) = self.may(caller, Need::Server)
        {
            found.push(self.find(server, reference).await?);
        }
        found.retain(|(_, tokens)| !tokens.is_empty());
        let all: Vec<&Token> = found.iter().flat_map(|(_, tokens)| tokens).collect();
        if all.len() > 1 {
            let line = |token: &&Token| format!("{}  {}…  {}", token.id, token.shown_prefix, token.name);
            return Err(Fault::new(FaultCode::Ambiguous, "more than one token matches; nothing was changed")
                .hint("give more characters of the ID")
                .matches(all.iter().map(line).collect()));
        }
        match found.pop().map(|(permit, mut tokens)| (permit, tokens.pop())) {
            Some((permit, Some(token))) => Ok((permit, token)),
            _ => Err(Fault::new(FaultCode::NotFound, "no token of yours matches that")
                .hint("`tok token list` shows IDs and prefixes; managers see everybody's with --all-users")),
        }
    }

    async fn find(&self, permit: Permit, reference: Reference) -> Result<(Permit, Vec<Token>), Fault> {
        self.run(move |store| {
            let found = store.read(|tx| tok_store::tokens::find(tx, &permit, &reference))?;
            Ok((permit, found))
        })
        .await
    }

    /// Shows one token.
    pub async fn show_token(&self, caller: &Caller, reference: Reference) -> Result<TokenRecord, Fault> {
        let (_, token) = self.resolve(caller, reference, |owner| Need::SeeTokens { owner }).await?;
        Ok(TokenRecord::of(&token, self.now()))
    }
}
