//! Listing tokens.

use tok_api::convert::{PageAsk, PageOf, TokenFilter, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Period;
use tok_model::decide::{Caller, Need};
use tok_model::name::UserName;
use tok_model::page::{Cursor, PageSize};
use tok_model::token::Owner;
use tok_store::tokens::Filter;

use crate::service::Service;

impl Service {
    /// One page of the tokens that the caller may see: their own, or with `all_users` everybody's.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        filter: TokenFilter,
        page: PageAsk,
    ) -> Result<PageOf<TokenRecord>, Fault> {
        let now = self.now();
        let mut wanted = Filter {
            owner: None,
            kind: filter.kind,
            standing: filter.state,
            never_used: filter.never_used,
            expiring_within: filter.expiring_within.map(Period::delta),
            label: filter.label,
        };
        let permit = match (&filter.user, filter.all_users) {
            _ if filter.workspace.is_some() => {
                let owner = self.workspace_owner(caller, filter.workspace).await?;
                self.permit(caller, Need::SeeTokens { owner })?
            }
            (Some(name), _) if caller.user().is_none_or(|own| own.name != *name) => {
                let permit = self.permit(caller, Need::Server)?;
                let wanted_name = name.clone();
                let user =
                    self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted_name))).await?;
                let user = user.ok_or_else(|| no_user(name))?;
                wanted.owner = Some(Owner::User(user.id));
                permit
            }
            (_, true) => self.permit(caller, Need::Server)?,
            (_, false) => self.own_tokens(caller, |owner| Need::SeeTokens { owner })?,
        };
        let size = page_size(page.size)?;
        let after =
            page.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(|why| Fault::field("cursor", why))?;
        let (tokens, next) =
            self.run(move |store| store.read(|tx| tok_store::tokens::list(tx, &permit, &wanted, size, after))).await?;
        Ok(PageOf {
            rows: tokens.into_iter().map(|token| TokenRecord::of(&self.dated(token), now)).collect(),
            next_cursor: next.map(|cursor| cursor.to_string()),
            note: None,
        })
    }
}

/// Nobody has this name. Only managers are told.
pub(super) fn no_user(name: &UserName) -> Fault {
    Fault::new(FaultCode::NotFound, format!("no user is named {name}"))
        .about("user")
        .hint("`tok user list` shows the users")
}

/// The size of a page: what was asked for, if there are pages of that size.
pub(in crate::service) fn page_size(asked: Option<u32>) -> Result<PageSize, Fault> {
    let Some(asked) = asked else { return Ok(PageSize::default()) };
    PageSize::try_from(asked).map_err(|why| {
        Fault::field("page_size", why).hint("ask for the next page with the cursor that comes with this one")
    })
}
