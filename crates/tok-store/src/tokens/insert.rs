//! Many new tokens in one statement.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};

use super::row::TokenRow;
use crate::error::StoreError;
use crate::prepared::Unnest;
use crate::tx::WriteTx;

/// Everything that is said of a token when it is made; the rest is nothing yet, or the column's default. Each line of
/// `lists` is a list of texts: none of those that a token has can hold the end of a line.
const INSERT: &str = "
    INSERT INTO tokens (id, digest, pepper_id, secret_hash, imported_from, kind, name, description, shown_prefix,
                        user_id, workspace_id, permission, within_workspace, parent_id, family_id, local_uid,
                        created_at, created_by_user_id, created_by_name, created_by_token_prefix, created_from,
                        created_agent, expires_at, max_uses,
                        scopes, routes, repos, allow_from, labels)
    SELECT id, digest, pepper_id, secret_hash, imported_from, kind, name, description, shown_prefix,
           user_id, workspace_id, permission, within_workspace, parent_id, family_id, local_uid,
           created_at, created_by_user_id, created_by_name, created_by_token_prefix, created_from,
           created_agent, expires_at, max_uses,
           string_to_array(scopes, E'\\n'), string_to_array(routes, E'\\n'), string_to_array(repos, E'\\n'),
           string_to_array(allow_from, E'\\n'), string_to_array(labels, E'\\n')
    FROM ";

const AS: &str = "
    AS new (id, digest, pepper_id, secret_hash, imported_from, kind, name, description, shown_prefix,
            user_id, workspace_id, permission, within_workspace, parent_id, family_id, local_uid,
            created_at, created_by_user_id, created_by_name, created_by_token_prefix, created_from,
            created_agent, expires_at, max_uses, scopes, routes, repos, allow_from, labels)";

/// Inserts these rows, each as [`row_for`](super::row_for) makes it. A statement reads the table's many checks anew each
/// time it is run, which costs more than a few rows do: so it is one for all, and prepared once a connection.
pub(super) fn insert_many(tx: &mut WriteTx<'_>, rows: &[TokenRow]) -> Result<(), StoreError> {
    fn of<'r, T>(rows: &'r [TokenRow], column: impl Fn(&'r TokenRow) -> T) -> Vec<T> {
        rows.iter().map(column).collect()
    }
    type Texts = Array<Text>;
    type MaybeTexts = Array<Nullable<Text>>;
    type MaybeIds = Array<Nullable<SqlUuid>>;
    let lines = |list: &Vec<String>| list.join("\n");
    Unnest::new(INSERT, AS)
        .column::<Array<SqlUuid>, _>(of(rows, |row| row.id))
        .column::<Array<Nullable<Bytea>>, _>(of(rows, |row| row.digest.as_deref()))
        .column::<Array<Nullable<SmallInt>>, _>(of(rows, |row| row.pepper_id))
        .column::<MaybeTexts, _>(of(rows, |row| row.secret_hash.as_deref()))
        .column::<MaybeTexts, _>(of(rows, |row| row.imported_from.as_deref()))
        .column::<Texts, _>(of(rows, |row| row.kind.as_str()))
        .column::<Texts, _>(of(rows, |row| row.name.as_str()))
        .column::<Texts, _>(of(rows, |row| row.description.as_str()))
        .column::<Texts, _>(of(rows, |row| row.shown_prefix.as_str()))
        .column::<MaybeIds, _>(of(rows, |row| row.user_id))
        .column::<MaybeIds, _>(of(rows, |row| row.workspace_id))
        .column::<MaybeTexts, _>(of(rows, |row| row.permission.as_deref()))
        .column::<MaybeTexts, _>(of(rows, |row| row.within_workspace.as_deref()))
        .column::<MaybeIds, _>(of(rows, |row| row.parent_id))
        .column::<Array<SqlUuid>, _>(of(rows, |row| row.family_id))
        .column::<Array<Nullable<BigInt>>, _>(of(rows, |row| row.local_uid))
        .column::<Array<Timestamptz>, _>(of(rows, |row| row.created_at))
        .column::<MaybeIds, _>(of(rows, |row| row.created_by_user_id))
        .column::<Texts, _>(of(rows, |row| row.created_by_name.as_str()))
        .column::<MaybeTexts, _>(of(rows, |row| row.created_by_token_prefix.as_deref()))
        .column::<Texts, _>(of(rows, |row| row.created_from.as_str()))
        .column::<MaybeTexts, _>(of(rows, |row| row.created_agent.as_deref()))
        .column::<Array<Nullable<Timestamptz>>, _>(of(rows, |row| row.expires_at))
        .column::<Array<Nullable<BigInt>>, _>(of(rows, |row| row.max_uses))
        .column::<MaybeTexts, _>(of(rows, |row| row.scopes.as_ref().map(lines)))
        .column::<MaybeTexts, _>(of(rows, |row| row.routes.as_ref().map(lines)))
        .column::<MaybeTexts, _>(of(rows, |row| row.repos.as_ref().map(lines)))
        .column::<Texts, _>(of(rows, |row| lines(&row.allow_from)))
        .column::<Texts, _>(of(rows, |row| lines(&row.labels)))
        .execute(tx.connection())?;
    Ok(())
}
