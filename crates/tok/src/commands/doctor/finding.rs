//! What a check says.

use serde::Serialize;

use crate::exit::Exit;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Good to know; not counted.
    Note,
    /// It works, and not as well or as safely as it could.
    Warning,
    /// It does not work, or it gives secrets away.
    Error,
}

/// What a finding is about, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// How this machine is set up.
    Setup,
    /// The session: there is none, or it has ended.
    NotLoggedIn,
    /// The server does not answer.
    Unreachable,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) class: Class,
    /// What was found.
    pub(super) what: String,
    /// Why it matters.
    pub(super) why: String,
    /// The command that mends it, if one does.
    pub(super) fix: Option<String>,
}

impl Finding {
    /// It does not work, or it gives secrets away.
    pub(super) fn error(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { severity: Severity::Error, class: Class::Setup, what: what.into(), why: why.into(), fix: None }
    }

    /// It works, and not as well or as safely as it could.
    pub(super) fn warning(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what, why) }
    }

    /// Good to know.
    pub(super) fn note(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(what, why) }
    }

    /// The same, with the command that mends it.
    pub(super) fn fix(self, command: impl Into<String>) -> Self {
        Self { fix: Some(command.into()), ..self }
    }

    /// The same, of another class.
    pub(super) fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

/// What became of one check.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    /// A word that does not change.
    pub(super) name: &'static str,
    /// The URL or server that it was about, if it was about one.
    pub(super) about: Option<String>,
    /// What there is, if all is well.
    pub(super) detail: Option<String>,
    pub(super) findings: Vec<Finding>,
}

impl Check {
    /// A check that found this, or nothing.
    pub(super) fn new(name: &'static str, about: Option<&str>, detail: Option<String>, findings: Vec<Finding>) -> Self {
        Self { name, about: about.map(str::to_owned), detail, findings }
    }
}

/// The exit code for all that was found: what keeps everything else from being known comes first.
pub(super) fn exit<'a>(findings: impl Iterator<Item = &'a Finding>) -> Option<Exit> {
    let rank = |finding: &Finding| match (finding.severity, finding.class) {
        (Severity::Note, _) => None,
        (Severity::Error, Class::Unreachable) => Some((3, Exit::Unreachable)),
        (Severity::Error, Class::NotLoggedIn) => Some((2, Exit::NotLoggedIn)),
        _ => Some((1, Exit::Failed)),
    };
    findings.filter_map(rank).max_by_key(|(rank, _)| *rank).map(|(_, exit)| exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_of_the_gravest_class() {
        let of = |findings: &[Finding]| exit(findings.iter());
        let setup = Finding::warning("a", "b");
        let session = Finding::error("a", "b").class(Class::NotLoggedIn);
        let away = Finding::error("a", "b").class(Class::Unreachable);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Finding::note("a", "b")]), None);
        assert_eq!(of(std::slice::from_ref(&setup)), Some(Exit::Failed));
        assert_eq!(of(&[setup.clone(), session.clone()]), Some(Exit::NotLoggedIn));
        assert_eq!(of(&[away, session, setup]), Some(Exit::Unreachable));
        assert_eq!(of(&[Finding::warning("soon over", "b").class(Class::NotLoggedIn)]), Some(Exit::Failed));
    }
}
