//! The token that another is made through, at the moment at which that happens.

use diesel::prelude::*;

use crate::schema::tokens;

diesel::alias!(tokens as parents: Parents);

/// The parent of the row at hand, if it is live; nobody ends it then before this transaction is over. Whoever wants to,
/// waits, and finds the row at hand among those that end with it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn parent_kept_live() -> _ {
    parents
        .filter(parents.field(tokens::id).nullable().eq(tokens::parent_id))
        .filter(parents.field(tokens::revoked_at).is_null())
        .select(parents.field(tokens::id))
        .for_key_share()
        .single_value()
}
