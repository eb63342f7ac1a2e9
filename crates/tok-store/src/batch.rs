//! Inserting many rows by statements that are prepared once.

/// Hands the first rows of a slice to an insert, as an array of one of a few sizes, and gives the rest of the slice.
///
/// A statement for any number of rows has another text for each number and would be parsed anew each time, which costs
/// more than the insert. An array's length is part of its type, so its statement is prepared once a connection.
macro_rules! first_rows {
    ($rows:expr, |$some:ident| $insert:block) => {{
        let rows = $rows;
        $crate::batch::first_rows!(@ rows, $some, $insert, 64, 32, 16, 8, 4, 2, 1)
    }};
    (@ $rows:ident, $some:ident, $insert:block, $size:literal $(, $smaller:literal)*) => {
        if let Some(($some, rest)) = $rows.split_first_chunk::<$size>() {
            $insert
            rest
        } else {
            $crate::batch::first_rows!(@ $rows, $some, $insert $(, $smaller)*)
        }
    };
    (@ $rows:ident, $some:ident, $insert:block) => { $rows };
}

pub(crate) use first_rows;
