//! From what somebody points at to the one token that they mean.

use tok_api::convert::TokenRecord;
use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Caller, Need, Permit};
use tok_model::token::{Owner, Reference, Token};
use tok_store::tokens::MOST_MATCHES;
use tok_store::{ReadTx, StoreError};

use crate::service::Service;

/// What a reference means, and by what right.
pub(super) struct Resolved {
    pub(super) permit: Permit,
    pub(super) token: Token,
    /// That it could have meant another token, too.
    pub(super) note: Option<String>,
}

/// How many of those that an ambiguous reference fits are listed.
const MOST_LISTED: usize = 10;

/// How the store finds what a reference points at.
type Finder = fn(&mut ReadTx<'_>, &Permit, &Reference) -> Result<Vec<Token>, StoreError>;

impl Service {
    /// The permit for one's own tokens; whoever is nobody but administers the server gets everybody's.
    pub(super) fn own_tokens(&self, caller: &Caller, need: impl Fn(Owner) -> Need) -> Result<Permit, Fault> {
        match caller.owner_id() {
            Some(owner) => self.permit(caller, need(owner)),
            None => self.permit(caller, Need::Server),
        }
    }

    /// The one token that a reference means: among one's own and those of workspaces that one maintains, else (for
    /// managers) among everybody's. An ID comes before a name, and of a name what works before what ended.
    pub(super) async fn resolve(
        &self,
        caller: &Caller,
        reference: Reference,
        need: impl Fn(Owner) -> Need,
    ) -> Result<(Permit, Token), Fault> {
        let live = self.resolve_among(caller, reference.clone(), &need, tok_store::tokens::find).await;
        let otherwise = self.resolve_among(caller, reference, &need, tok_store::tokens::find_ended);
        or_if_missing(live, otherwise).await
    }

    /// The same, and whether it could have meant another token by its name.
    pub(super) async fn resolve_noting(
        &self,
        caller: &Caller,
        reference: Reference,
        need: impl Fn(Owner) -> Need,
    ) -> Result<Resolved, Fault> {
        let name = match &reference {
            Reference::IdPrefix(digits) => Some(Reference::Name(digits.clone())),
            Reference::Id(_) | Reference::TokenPrefix(_) | Reference::Name(_) => None,
        };
        let (permit, token) = self.resolve(caller, reference, &need).await?;
        let mut note = None;
        if let Some(name) = name {
            let named = self.found(caller, &name, &need, tok_store::tokens::find).await?;
            let other = named.iter().flat_map(|(_, tokens)| tokens).find(|other| other.id != token.id);
            note = other.map(|other| {
                format!(
                    "{name} is the beginning of an ID here; the token that is named so has the ID {} and was left alone",
                    other.id
                )
            });
        }
        Ok(Resolved { permit, token, note })
    }

    /// The same among what `finder` finds.
    pub(super) async fn resolve_among(
        &self,
        caller: &Caller,
        reference: Reference,
        need: impl Fn(Owner) -> Need,
        finder: Finder,
    ) -> Result<(Permit, Token), Fault> {
        let mut found = self.found(caller, &reference, &need, finder).await?;
        if let (true, Reference::IdPrefix(digits)) = (found.is_empty(), &reference) {
            found = self.found(caller, &Reference::Name(digits.clone()), &need, finder).await?;
        }
        let all: Vec<&Token> = found.iter().flat_map(|(_, tokens)| tokens).collect();
        if all.len() > 1 {
            return Err(ambiguous(all));
        }
        match found.pop().map(|(permit, mut tokens)| (permit, tokens.pop())) {
            Some((permit, Some(token))) => Ok((permit, self.dated(token))),
            _ => Err(Fault::new(FaultCode::NotFound, "no token of yours matches that").hint(match &reference {
                Reference::Name(name) if name.len() < 4 => {
                    "of an ID it takes 4 or more characters; `tok token list` shows IDs and prefixes"
                }
                _ => "`tok token list` shows IDs and prefixes; managers see everybody's with --all-users",
            })),
        }
    }

    /// What a reference points at, with the permits that reach it.
    async fn found(
        &self,
        caller: &Caller,
        reference: &Reference,
        need: impl Fn(Owner) -> Need,
        finder: Finder,
    ) -> Result<Vec<(Permit, Vec<Token>)>, Fault> {
        let mut reached = vec![self.own_tokens(caller, &need)?];
        let maintained = caller.user().into_iter().flat_map(|user| user.memberships.values());
        reached.extend(maintained.filter_map(|place| {
            let permit = self.may(caller, need(Owner::Workspace(place.workspace)));
            permit.filter(|permit| *permit.need() != Need::Server)
        }));
        let mut found = Vec::new();
        for permit in reached {
            found.push(self.find(permit, reference.clone(), finder).await?);
        }
        if found.iter().all(|(_, tokens)| tokens.is_empty())
            && let Some(server) = self.may(caller, Need::Server)
        {
            found.push(self.find(server, reference.clone(), finder).await?);
        }
        found.retain(|(_, tokens)| !tokens.is_empty());
        Ok(found)
    }

    async fn find(&self, permit: Permit, reference: Reference, finder: Finder) -> Result<(Permit, Vec<Token>), Fault> {
        self.run(move |store| {
            let found = store.read(|tx| finder(tx, &permit, &reference))?;
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

/// What was found, or, if nothing was, what the other way finds. If that is nothing, too, it is said as at first.
pub(super) async fn or_if_missing<T>(
    found: Result<T, Fault>,
    otherwise: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let missing = |found: &Result<T, Fault>| found.as_ref().is_err_and(|fault| fault.code == FaultCode::NotFound);
    if !missing(&found) {
        return found;
    }
    let other = otherwise.await;
    if missing(&other) { found } else { other }
}

/// That a reference fits all of these: the newest are listed, and the others counted.
fn ambiguous(mut fitting: Vec<&Token>) -> Fault {
    fitting.sort_by_key(|token| std::cmp::Reverse(token.created_at));
    let line = |token: &&Token| format!("{}  {}…  {}", token.id, token.shown_prefix, token.name);
    let listed: Vec<String> = fitting.iter().take(MOST_LISTED).map(line).collect();
    let message = match fitting.len() - listed.len() {
        0 => "more than one token matches; nothing was changed".to_owned(),
        // Those behind were not looked for.
        more if fitting.len() >= usize::from(MOST_MATCHES) => {
            format!("{} tokens match, and more than {more} more; nothing was changed", listed.len())
        }
        more => format!("{} tokens match, and {more} more; nothing was changed", listed.len()),
    };
    Fault::new(FaultCode::Ambiguous, message).hint("give more characters of the ID").matches(listed)
}
