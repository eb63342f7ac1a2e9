//! The shapes of JSON. Fields come in their documented order, which a map of JSON values would not keep.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use tok_api::convert::PageOf;

/// An object with one member: `{"user": record}`.
pub(crate) struct Named<'a, T>(pub(crate) &'a str, pub(crate) &'a T);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry(self.0, self.1)?;
        object.end()
    }
}

/// A page of a list under the name of its rows: `{"tokens": [record…], "next_cursor": …|null}`.
pub(crate) struct Page<'a, T>(pub(crate) &'a str, pub(crate) &'a PageOf<T>);

impl<T: Serialize> Serialize for Page<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry(self.0, &self.1.rows)?;
        object.serialize_entry("next_cursor", &self.1.next_cursor)?;
        if let Some(note) = &self.1.note {
            object.serialize_entry("note", note)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_always_says_whether_there_is_another() {
        let last = PageOf { rows: vec![1, 2], next_cursor: None, note: None };
        let text = serde_json::to_string(&Page("tokens", &last)).unwrap();
        assert_eq!(text, r#"{"tokens":[1,2],"next_cursor":null}"#);
        let first = PageOf { rows: Vec::<u8>::new(), next_cursor: Some("c".to_owned()), note: None };
        let text = serde_json::to_string(&Page("users", &first)).unwrap();
        assert_eq!(text, r#"{"users":[],"next_cursor":"c"}"#);
        let noted = PageOf { note: Some("n".to_owned()), ..first };
        let text = serde_json::to_string(&Page("users", &noted)).unwrap();
        assert_eq!(text, r#"{"users":[],"next_cursor":"c","note":"n"}"#);
        assert_eq!(serde_json::to_string(&Named("user", &"alice")).unwrap(), r#"{"user":"alice"}"#);
    }
}
