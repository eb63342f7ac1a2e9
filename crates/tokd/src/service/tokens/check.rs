//! Whose a token is and what it may do.

use tok_api::convert::{CheckedToken, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Timestamp;
use tok_model::decide::{Caller, Need, decide, has_right};
use tok_model::grant::Grant;
use tok_model::name::RepoPath;
use tok_model::scope::{RepoRight, Scope};
use tok_model::secret::{Plaintext, TokenTextError};

use super::OF_ANOTHER_SERVER;
use crate::service::{Service, presented_text};

/// The texts that there are.
const FORMS: &str = "tok's own begin with tokpat_, tokwsp_, tokrep_, tokses_ or tokgit_; a chosen secret is given with its \
                     name, as name:secret, and another system's secret as it was there";

impl Service {
    /// Says whose a token is and what it may do now. Holding the text is the right to ask.
    pub async fn check_token(&self, caller: &Caller, text: &str) -> Result<CheckedToken, Fault> {
        self.permit(caller, Need::Api)?;
        let text = text.trim();
        let found = self.holder(presented_text(text), caller.source.clone()).await?;
        let holder = found.map_err(|nobody| {
            // Whoever tries texts here is noted as whoever presents them.
            if !nobody.counted {
                self.unknown_token(&caller.source);
            }
            let not_found = |why| Fault::new(FaultCode::NotFound, why).about("secret");
            match Plaintext::parse(text) {
                Err(why @ (TokenTextError::Shape | TokenTextError::Checksum)) => Fault::field("secret", why),
                Err(why @ TokenTextError::Prefix) if text.is_empty() => Fault::field("secret", why),
                // A name with its secret, or another system's: those that are known are as good as ours.
                Err(TokenTextError::Prefix) => not_found(
                    "nothing here goes by this text: it is no token of tok's, and neither a name with its secret nor \
                     another system's secret that is known here",
                )
                .hint(FORMS),
                Ok(_) => not_found("this token is not known here: it never was, or it was removed long after it ended")
                    .hint(OF_ANOTHER_SERVER),
            }
        })?;
        let now = self.now();
        let verdict = decide(&holder, Need::Identity, now);
        let token = holder.token().ok_or_else(|| {
            let why = "that is a temporary token, which administers this server until tokd stops and is kept nowhere";
            Fault::field("secret", why).hint(
                "`tok whoami` with it as TOK_TOKEN shows it; it ends when tokd starts without it in --token or --token-file",
            )
        })?;
        Ok(CheckedToken {
            usable: verdict.is_ok(),
            verdict: verdict.map_or_else(|no| no.to_string(), |_| "the token works".to_owned()),
            owner: token.owner_name.clone(),
            effective_scopes: effective_scopes(&holder, None, now).map(|scope| scope.to_string()).collect(),
            token: TokenRecord::of(token, now),
        })
    }
}

/// The scopes that a caller has in effect now: what their token was given, within what its owner may do, and for
/// repositories, if one is named, on that repository. For people and for the `X-Tok-Scopes` header.
pub fn effective_scopes<'c>(
    caller: &'c Caller,
    repo: Option<&'c RepoPath>,
    now: Timestamp,
) -> impl Iterator<Item = Scope> + 'c {
    let granted = |scope: Scope| match caller.token().map(|token| &token.grant) {
        None | Some(Grant::Session) => true,
        Some(Grant::Personal { scopes, .. }) => scopes.grants(scope),
        Some(other) => [RepoRight::Read, RepoRight::Write].into_iter().any(|right| {
            right.scope() == scope && other.permission().is_some_and(|permission| permission.covers(right))
        }),
    };
    let on_repository = move |right: RepoRight| repo.is_none_or(|repo| has_right(caller, repo, right, now));
    let in_effect = move |scope: Scope| match scope {
        Scope::RepoRead => on_repository(RepoRight::Read),
        Scope::RepoWrite => on_repository(RepoRight::Write),
        Scope::RepoAdmin => on_repository(RepoRight::Admin),
        // What a manager's token is worth depends on the manager; `all` is told by what it amounts to.
        Scope::Manager => decide(caller, Need::Server, now).is_ok(),
        Scope::All => false,
        Scope::UserRead | Scope::UserWrite | Scope::TokenRead | Scope::TokenWrite | Scope::AuditRead => true,
    };
    Scope::every().filter(move |scope| granted(*scope) && in_effect(*scope))
}
