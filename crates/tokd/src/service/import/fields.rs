//! The fields of a JSON entry. What is wrong is said by the field's name, never by its value, which may be a secret.

use serde_json::{Map, Value};

use super::entry::{Entry, Said, number, shown_name, words};

/// The entries of a file: a list, or an object with a list under one of these keys.
pub(super) fn entries(content: &str, keys: &[&str]) -> Result<Vec<Value>, String> {
    // serde_json's own words can repeat a value; where it broke is enough.
    let whole: Value = serde_json::from_str(content)
        .map_err(|error| format!("it is not JSON: line {}, column {}", error.line(), error.column()))?;
    let wanted = || format!("it is not a list of tokens, nor an object with one under {}", keys.join(" or "));
    match whole {
        Value::Array(entries) => Ok(entries),
        Value::Object(mut object) => {
            let key = keys.iter().find(|key| object.contains_key(**key)).ok_or_else(wanted)?;
            match object.remove(*key) {
                Some(Value::Array(entries)) => Ok(entries),
                _ => Err(wanted()),
            }
        }
        _ => Err(wanted()),
    }
}

/// Reads each entry by itself, so that a bad one spoils no other. `name` is the field that names it.
pub(super) fn each(
    entries: &[Value],
    name: impl Fn(&Fields<'_>) -> Result<String, String>,
    read: impl Fn(&Fields<'_>) -> Result<Said, String>,
) -> Vec<Entry> {
    let one = |(at, value): (usize, &Value)| {
        let Value::Object(object) = value else {
            return Entry { line: number(at), name: String::new(), said: Err("it is no JSON object".to_owned()) };
        };
        let fields = Fields(object);
        match name(&fields) {
            Ok(name) => Entry { line: number(at), name, said: read(&fields) },
            Err(why) => Entry { line: number(at), name: String::new(), said: Err(why) },
        }
    };
    entries.iter().enumerate().map(one).collect()
}

/// The fields of one object.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Refuses fields that are not among these: what is silently left out would be a limit that somebody believes in.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                Err(format!("the field {} is not known here; known are {}", shown_name(key), known.join(", ")))
            }
        }
    }

    /// A text that may be missing, or null.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("the field {key:?} must be text")),
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<String, String> {
        self.text(key)?.map(str::to_owned).ok_or_else(|| format!("the field {key:?} is missing"))
    }

    /// The first of these that is there.
    pub(super) fn any(&self, keys: &[&str]) -> Result<Option<&'a str>, String> {
        for key in keys {
            if let Some(text) = self.text(key)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// A list of texts, or one text with commas.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, String> {
        let wrong = || format!("the field {key:?} must be a list of texts");
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(words(text))),
            Some(Value::Array(list)) => list
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }

    /// A list of anything; empty if it is not there.
    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("the field {key:?} must be a list")),
        }
    }

    /// An object within.
    pub(super) fn object(&self, key: &str) -> Result<Option<Fields<'a>>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields(object))),
            Some(_) => Err(format!("the field {key:?} must be an object")),
        }
    }

    /// Whether something other than null is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }
}
