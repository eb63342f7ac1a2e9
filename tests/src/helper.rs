//! `git-credential-tok` as git talks to it.

use crate::call::{Call, Finished};

/// A conversation of one git command with the helper: it remembers the state that git would give back.
pub struct Conversation {
    helper: Call,
    state: Option<String>,
}

/// The answer to a `get`, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Keys and values in their order.
    pub lines: Vec<(String, String)>,
    /// What the person read.
    pub complaint: String,
}

impl Answer {
    /// The value of a key that is there once.
    #[track_caller]
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut found = self.lines.iter().filter(|(known, _)| known == key);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{key} is there more than once: {self:?}");
        value
    }

    /// The token, in whichever form it came.
    #[track_caller]
    pub fn token(&self) -> &str {
        self.value("credential").or_else(|| self.value("password")).unwrap_or_else(|| panic!("no token: {self:?}"))
    }

    /// Whether git was told nothing at all.
    pub fn is_silent(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Conversation {
    /// Through this helper.
    pub fn new(helper: Call) -> Self {
        Self { helper, state: None }
    }

    /// Asks with these lines; the state of the last answer goes along.
    #[track_caller]
    pub fn get(&mut self, lines: &str) -> Answer {
        let state = self.state.as_ref().map(|state| format!("state[]={state}\n")).unwrap_or_default();
        let input = format!("{lines}{state}\n");
        let answer = answer(&self.helper.clone().argument("get").input(input).shows_secret().ok());
        self.state = answer.value("state[]").map(str::to_owned);
        answer
    }
}

/// Reads what a helper wrote.
#[track_caller]
pub fn answer(finished: &Finished) -> Answer {
    let lines = finished.text().lines().map(|line| {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("git would stop at this line: {line:?}"));
        (key.to_owned(), value.to_owned())
    });
    Answer { lines: lines.collect(), complaint: finished.complaint() }
}
