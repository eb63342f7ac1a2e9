//! Statements that are prepared once a connection however many values they are given: many rows as columns, rows found by
//! one key or many, conditions that are written out, and so many rows at most.

use std::marker::PhantomData;

use diesel::expression::{AppearsOnTable, AsExpression, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, Bool, HasSqlType, SingleValue};

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

/// That a column has one of these values, of which there is one at least.
///
/// For a single one `= $1`, for which PostgreSQL keeps its plan: of `= ANY($1)` with less than ten it believes that a plan
/// made anew is the better one, each time, and making it costs more than the rows do.
pub(crate) fn among<T, C, V>(column: C, values: Vec<V>) -> Among<T, C, V> {
    Among { column, values, kind: PhantomData }
}

/// See [`among`].
#[derive(Debug)]
pub(crate) struct Among<T, C, V> {
    column: C,
    values: Vec<V>,
    kind: PhantomData<T>,
}

impl<T, C, V> Expression for Among<T, C, V> {
    type SqlType = Bool;
}

impl<T, C, V, G> ValidGrouping<G> for Among<T, C, V> {
    type IsAggregate = is_aggregate::No;
}

impl<T, C: AppearsOnTable<Q>, V, Q> AppearsOnTable<Q> for Among<T, C, V> {}

impl<T, C: SelectableExpression<Q>, V, Q> SelectableExpression<Q> for Among<T, C, V> {}

impl<T, C, V> QueryId for Among<T, C, V> {
    type QueryId = ();
    // One of two texts.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: 'static, C, V> QueryFragment<Pg> for Among<T, C, V>
where
    C: QueryFragment<Pg>,
    Pg: HasSqlType<T>,
    V: ToSql<T, Pg>,
    Vec<V>: ToSql<Array<T>, Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.column.walk_ast(out.reborrow())?;
        if let [value] = self.values.as_slice() {
            out.push_sql(" = ");
            return out.push_bind_param::<T, V>(value);
        }
        out.push_sql(" = ANY(");
        out.push_bind_param::<Array<T>, Vec<V>>(&self.values)?;
        out.push_sql(")");
        Ok(())
    }
}

/// A condition that is written out with values in it: what an index has to be asked in its own words. Diesel prepares
/// nothing that its own `sql` is a part of.
pub(crate) struct Written(Vec<Part>);

enum Part {
    Text(&'static str),
    Value(Box<dyn QueryFragment<Pg> + Send>),
}

impl Written {
    /// What it begins with.
    pub(crate) fn new(text: &'static str) -> Self {
        Self(vec![Part::Text(text)])
    }

    /// With more words.
    pub(crate) fn text(mut self, text: &'static str) -> Self {
        self.0.push(Part::Text(text));
        self
    }

    /// With a value.
    pub(crate) fn value<T, V>(mut self, value: V) -> Self
    where
        T: diesel::sql_types::SqlType + SingleValue,
        V: AsExpression<T>,
        V::Expression: QueryFragment<Pg> + Send + 'static,
    {
        self.0.push(Part::Value(Box::new(value.as_expression())));
        self
    }
}

impl Expression for Written {
    type SqlType = Bool;
}

impl<G> ValidGrouping<G> for Written {
    type IsAggregate = is_aggregate::No;
}

impl<Q> AppearsOnTable<Q> for Written {}

impl<Q> SelectableExpression<Q> for Written {}

impl QueryId for Written {
    type QueryId = ();
    // Told apart by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Written {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_sql(text),
                Part::Value(value) => value.walk_ast(out.reborrow())?,
            }
        }
        Ok(())
    }
}

/// No more than so many rows, the number written out: of a limit that is a value PostgreSQL believes that it lets a tenth
/// of all rows through, and plans anew each time, for longer than reading a page takes.
pub(crate) struct AtMost<Q> {
    query: Q,
    rows: i64,
}

impl<Q> AtMost<Q> {
    /// Of what this query finds. There is a statement for each number, so of numbers there have to be few.
    pub(crate) fn rows(query: Q, rows: i64) -> Self {
        Self { query, rows }
    }
}

impl<Q: Query> Query for AtMost<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> RunQueryDsl<PgConnection> for AtMost<Q> {}

impl<Q> QueryId for AtMost<Q> {
    type QueryId = ();
    // Told apart by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for AtMost<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(" LIMIT ");
        out.push_sql(&self.rows.to_string());
        Ok(())
    }
}

/// Prepared for its values each time, where they say which of several ways is short.
pub(crate) struct Anew<Q>(pub(crate) Q);

impl<Q: Query> Query for Anew<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> RunQueryDsl<PgConnection> for Anew<Q> {}

impl<Q> QueryId for Anew<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Anew<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        self.0.walk_ast(out)
    }
}
