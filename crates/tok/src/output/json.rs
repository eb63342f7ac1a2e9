//! The shape of lists in JSON.

use serde::Serialize;
use serde_json::{Map, Value};
use tok_api::convert::PageOf;

use crate::exit::Failure;

/// A page of a list: `{"tokens": [record…], "next_cursor": …|null}`.
pub(crate) fn page<T: Serialize>(rows: &str, page: &PageOf<T>) -> Result<Value, Failure> {
    let list = serde_json::to_value(&page.rows).map_err(Failure::local)?;
    let mut object = Map::new();
    object.insert(rows.to_owned(), list);
    object.insert("next_cursor".to_owned(), page.next_cursor.clone().into());
    Ok(object.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_always_says_whether_there_is_another() {
        let last = PageOf { rows: vec![1, 2], next_cursor: None };
        assert_eq!(page("tokens", &last).unwrap(), serde_json::json!({ "tokens": [1, 2], "next_cursor": null }));
        let first = PageOf { rows: Vec::<u8>::new(), next_cursor: Some("c".to_owned()) };
        assert_eq!(page("users", &first).unwrap(), serde_json::json!({ "users": [], "next_cursor": "c" }));
    }
}
