//! The token that another is made through, at the moment at which that happens.

use diesel::prelude::*;

use crate::schema::tokens;

diesel::alias!(tokens as parents: Parents);

/// The parent of the row at hand, if it is live and, should it be given up for a successor, is not outlived by the row; nobody ends it then before this transaction is over. Whoever wants to,
/// waits, and finds the row at hand among those that end with it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn parent_kept_live() -> _ {
    parents
        .filter(parents.field(tokens::id).nullable().eq(tokens::parent_id))
        .filter(parents.field(tokens::revoked_at).is_null())
        .filter(
            parents
                .field(tokens::grace_ends_at)
                .is_null()
                .or(parents.field(tokens::grace_ends_at).ge(tokens::expires_at))
                .assume_not_null(),
        )
        .select(parents.field(tokens::id))
        .for_key_share()
        .single_value()
}
