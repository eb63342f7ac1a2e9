//! Statements that are given many rows as columns, and are prepared once a connection however many rows there are.

use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::SingleValue;

/// A statement over `unnest` of some columns, of values of one length.
///
/// Diesel prepares nothing that is given as text, and PostgreSQL then reads checks, defaults and partitions anew each time,
/// which costs more than a few rows do.
pub(crate) struct Unnest<'v> {
    before: &'static str,
    columns: Vec<Box<dyn QueryFragment<Pg> + 'v>>,
    after: &'static str,
}

impl<'v> Unnest<'v> {
    /// What stands before the first column and behind the last one.
    pub(crate) fn new(before: &'static str, after: &'static str) -> Self {
        Self { before, columns: Vec::new(), after }
    }

    /// With one more column.
    pub(crate) fn column<T, V>(mut self, values: V) -> Self
    where
        T: diesel::sql_types::SqlType + SingleValue,
        V: AsExpression<T>,
        V::Expression: QueryFragment<Pg> + 'v,
    {
        self.columns.push(Box::new(values.as_expression()));
        self
    }
}

impl QueryFragment<Pg> for Unnest<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        for (number, column) in self.columns.iter().enumerate() {
            out.push_sql(if number == 0 { "unnest(" } else { ", " });
            column.walk_ast(out.reborrow())?;
        }
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

impl QueryId for Unnest<'_> {
    type QueryId = ();
    // Told apart by its text, which is the same however many rows there are.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<PgConnection> for Unnest<'_> {}
