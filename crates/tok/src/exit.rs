//! How a command fails: what is said, and the exit code that scripts rely on.

use std::process::ExitCode;
use std::{fmt, io};

use serde::Serialize;
use tok_api::fault::{Fault, FaultCode};

use crate::output::{self, Format, Named};

/// The exit codes, fixed for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did not work out.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The daemon does not know the caller.
    NotLoggedIn = 3,
    /// The daemon knows the caller and says no.
    NotAllowed = 4,
    /// Nothing fits, or more than one thing does.
    NotFound = 5,
    /// No daemon, or one that cannot answer now.
    Unreachable = 6,
}

impl From<FaultCode> for Exit {
    fn from(code: FaultCode) -> Self {
        match code {
            FaultCode::InvalidArgument => Self::Usage,
            FaultCode::Unauthenticated
            | FaultCode::AuthorizationPending
            | FaultCode::ExpiredToken
            | FaultCode::InvalidGrant => Self::NotLoggedIn,
            FaultCode::Forbidden | FaultCode::AccessDenied | FaultCode::InvalidTarget => Self::NotAllowed,
            FaultCode::NotFound | FaultCode::Ambiguous => Self::NotFound,
            FaultCode::Unavailable | FaultCode::Busy => Self::Unreachable,
            FaultCode::Conflict
            | FaultCode::Internal
            | FaultCode::TooLarge
            | FaultCode::RateLimited
            | FaultCode::SlowDown => Self::Failed,
        }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With words on stderr.
    Said(Box<Complaint>),
    /// Everything has been said already.
    Silent(Exit),
    /// A command that was run ended with this code, and has said why.
    Command(u8),
    /// Whoever read stdout went away. Their business.
    ReaderGone,
}

/// What is said.
#[derive(Debug, Serialize)]
pub(crate) struct Complaint {
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    no_login_mends_it: bool,
    code: &'static str,
    message: String,
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<String>,
}

impl Failure {
    fn said(exit: Exit, code: &'static str, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self::Said(Box::new(Complaint {
            exit,
            no_login_mends_it: false,
            code,
            message,
            hint: None,
            field: None,
            matches: Vec::new(),
        }))
    }

    /// The arguments make no sense, or not here.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::said(Exit::Usage, "usage", message)
    }

    /// There is nobody to be.
    pub(crate) fn not_logged_in(message: impl fmt::Display) -> Self {
        Self::said(Exit::NotLoggedIn, FaultCode::Unauthenticated.as_str(), message)
    }

    /// Nothing of that name is here.
    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::said(Exit::NotFound, FaultCode::NotFound.as_str(), message)
    }

    /// More than one thing fits: these.
    pub(crate) fn ambiguous(message: impl fmt::Display, fitting: Vec<String>) -> Self {
        let mut failure = Self::said(Exit::NotFound, FaultCode::Ambiguous.as_str(), message);
        if let Self::Said(complaint) = &mut failure {
            complaint.matches = fitting;
        }
        failure
    }

    /// Something on this side did not work.
    pub(crate) fn local(message: impl fmt::Display) -> Self {
        Self::said(Exit::Failed, "failed", message)
    }

    /// The person said no.
    pub(crate) fn cancelled() -> Self {
        Self::said(Exit::Failed, "cancelled", "nothing was changed")
    }

    /// The same, with what to do next.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        let hint = hint.to_string();
        if let Self::Said(complaint) = &mut self {
            complaint.hint = Some(hint).filter(|hint| !hint.is_empty());
        }
        self
    }

    /// The same, with the question that nobody could be asked: its last line asks, those before say about what.
    pub(crate) fn about(mut self, question: &str) -> Self {
        if let Self::Said(complaint) = &mut self {
            let (about, asked) = question.rsplit_once('\n').unwrap_or(("", question));
            complaint.message = format!("{asked} But {}", complaint.message);
            complaint.matches = about.lines().map(|line| line.trim().to_owned()).collect();
        }
        self
    }

    /// The same, about this field.
    pub(crate) fn field(mut self, name: &str) -> Self {
        if let Self::Said(complaint) = &mut self {
            complaint.field = Some(name.to_owned()).filter(|name| !name.is_empty());
        }
        self
    }

    /// The same, with what to do next if the daemon does not know the caller.
    pub(crate) fn hint_if_not_logged_in(self, hint: &str) -> Self {
        match &self {
            Self::Said(complaint) if complaint.exit == Exit::NotLoggedIn && !complaint.no_login_mends_it => {
                self.hint(hint)
            }
            _ => self,
        }
    }

    /// The same, with what to do next if nothing fits and nobody has said anything better.
    pub(crate) fn hint_if_not_found(self, hint: &str) -> Self {
        match &self {
            Self::Said(complaint) if complaint.exit == Exit::NotFound && complaint.hint.is_none() => self.hint(hint),
            _ => self,
        }
    }

    /// The last resort: what to do next after a failure of this kind, whatever the command.
    pub(crate) fn or_hint_for(self, command: &str) -> Self {
        let Self::Said(complaint) = &self else { return self };
        if complaint.hint.is_some() {
            return self;
        }
        match complaint.exit {
            Exit::Usage => self.hint(format!("`{command} --help` shows what it takes")),
            Exit::NotLoggedIn => {
                self.hint("put a token that works into TOK_TOKEN, or unset it to be known by your user on this machine")
            }
            Exit::NotAllowed => self.hint("`tok whoami` shows who you are to the daemon and what you may do"),
            Exit::Unreachable => self.hint("`tok status` shows whether the daemon answers"),
            Exit::NotFound | Exit::Failed => self,
        }
    }

    /// What went wrong, in a line.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Said(complaint) => complaint.message.clone(),
            Self::Silent(_) | Self::Command(_) | Self::ReaderGone => String::new(),
        }
    }

    /// The field that is at fault.
    pub(crate) fn at_fault(&self) -> Option<&str> {
        match self {
            Self::Said(complaint) => complaint.field.as_deref(),
            Self::Silent(_) | Self::Command(_) | Self::ReaderGone => None,
        }
    }

    /// The same, with the variable that said what is at fault.
    pub(crate) fn because_of(mut self, variable: &str) -> Self {
        if let Self::Said(complaint) = &mut self {
            let why = format!("{variable} says it: unset that where it is not meant");
            complaint.hint = Some(match complaint.hint.take() {
                Some(hint) => format!("{hint}; {why}"),
                None => why,
            });
        }
        self
    }

    /// Whether more than one thing fits.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Said(complaint) if complaint.code == FaultCode::Ambiguous.as_str())
    }

    /// The same as words beside an answer, for whom it is no failure.
    pub(crate) fn note(&self) -> String {
        let Self::Said(complaint) = self else { return String::new() };
        let hint = complaint.hint.as_ref().map(|hint| format!("\n  {}", output::safe(hint))).unwrap_or_default();
        format!("note: {}{hint}\n", output::safe(&complaint.message))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Said(complaint) => complaint.exit as u8,
            Self::Silent(exit) => *exit as u8,
            Self::Command(code) => *code,
            Self::ReaderGone => 0,
        }
    }

    /// In one sentence, for where there is no room for more.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Said(complaint) => match &complaint.hint {
                Some(hint) => format!("{}; {hint}", complaint.message),
                None => complaint.message.clone(),
            },
            Self::Silent(_) | Self::Command(_) | Self::ReaderGone => String::new(),
        }
    }

    /// The same, after these words on stderr.
    pub(crate) fn said_first(self, words: &str) -> Self {
        output::complain(words);
        self
    }

    /// Says it on stderr.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        if let Self::Said(complaint) = self {
            output::complain(&match format {
                Format::Table => complaint.text(),
                Format::Json => complaint.json(),
            });
        }
        ExitCode::from(self.exit())
    }
}

impl Complaint {
    fn text(&self) -> String {
        let mut lines = vec![format!("error: {}", output::safe(&self.message))];
        lines.extend(self.matches.iter().map(|line| format!("  {}", output::safe(line))));
        lines.extend(self.hint.iter().map(|hint| format!("hint: {}", output::safe(hint))));
        lines.join("\n") + "\n"
    }

    fn json(&self) -> String {
        let text = serde_json::to_string(&Named("error", self));
        // Nothing in a complaint can fail to be written.
        text.unwrap_or_default() + "\n"
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let Fault { code, message, hint, field, matches, no_login_mends_it, .. } = fault;
        let (exit, code) = (code.into(), code.as_str());
        Self::Said(Box::new(Complaint { exit, no_login_mends_it, code, message, hint, field, matches }))
    }
}

impl From<io::Error> for Failure {
    /// Of writing to stdout, the only thing that is not handled where it happens.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::local(format!("cannot write to stdout: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        for (code, exit) in [
            (FaultCode::InvalidArgument, 2),
            (FaultCode::Unauthenticated, 3),
            (FaultCode::Forbidden, 4),
            (FaultCode::NotFound, 5),
            (FaultCode::Ambiguous, 5),
            (FaultCode::Unavailable, 6),
            (FaultCode::Conflict, 1),
            (FaultCode::Internal, 1),
            (FaultCode::TooLarge, 1),
            (FaultCode::RateLimited, 1),
        ] {
            assert_eq!(Failure::from(Fault::new(code, "x")).exit(), exit, "{code}");
        }
        assert_eq!(Failure::usage("x").exit(), 2);
        assert_eq!(Failure::local("x").exit(), 1);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), 0);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit(), 1);
    }

    fn complaint(failure: Failure) -> Complaint {
        match failure {
            Failure::Said(complaint) => *complaint,
            other => panic!("{other:?} says nothing"),
        }
    }

    #[test]
    fn an_error_says_what_then_which_then_what_next() {
        let fault = Fault::new(FaultCode::Ambiguous, "2 tokens begin with 1b4e")
            .matches(vec!["1b4e28ba CI".to_owned(), "1b4e99ff \u{1b}[31mOld".to_owned()])
            .hint("give more characters");
        let complaint = complaint(fault.into());
        assert_eq!(
            complaint.text(),
            "error: 2 tokens begin with 1b4e\n  1b4e28ba CI\n  1b4e99ff \\u{1b}[31mOld\nhint: give more characters\n"
        );
        let json: serde_json::Value = serde_json::from_str(&complaint.json()).unwrap();
        assert_eq!(json["error"]["code"], "ambiguous");
        assert_eq!(json["error"]["hint"], "give more characters");
        assert_eq!(json["error"]["matches"][0], "1b4e28ba CI");
    }

    #[test]
    fn what_nobody_could_be_asked_is_told() {
        let failure = Failure::usage("there is no terminal to ask on").about("  a  CI\n  b  Old\nRevoke these 2?");
        let complaint = complaint(failure);
        assert_eq!(complaint.text(), "error: Revoke these 2? But there is no terminal to ask on\n  a  CI\n  b  Old\n");
    }

    #[test]
    fn every_refusal_has_something_to_try_next() {
        for code in
            [FaultCode::InvalidArgument, FaultCode::Unauthenticated, FaultCode::Forbidden, FaultCode::Unavailable]
        {
            let failure = Failure::from(Fault::new(code, "x")).or_hint_for("tok token list");
            assert!(complaint(failure).hint.is_some(), "{code}");
        }
        let better = Failure::from(Fault::new(FaultCode::Forbidden, "x").hint("ask bob")).or_hint_for("tok");
        assert_eq!(complaint(better).hint.as_deref(), Some("ask bob"));
        let missing = Failure::from(Fault::new(FaultCode::NotFound, "x")).hint_if_not_found("`tok user list`");
        assert_eq!(complaint(missing).hint.as_deref(), Some("`tok user list`"));
    }
}
