//! How long tokens of each kind may live, and how long they may rest.

use crate::clock::{Expiry, ExpiryError, Lifetime, Period, Timestamp};
use crate::kind::TokenKind;
use crate::token::Token;

/// The policy for one kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// What a token gets whose maker asks for nothing.
    pub default: Lifetime,
    /// The most that anybody may ask for, counted from when the token is made.
    pub most: Lifetime,
    /// How long a token may rest, since it was made or last used, before it is ended.
    pub idle: Lifetime,
}

/// The policy of a server. Git tokens have a lifetime of their own and are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For personal tokens.
    pub personal: Lifetimes,
    /// For workspace tokens.
    pub workspace: Lifetimes,
    /// For repo tokens.
    pub repo: Lifetimes,
    /// For sessions.
    pub session: Lifetimes,
}

/// Why a token cannot end when somebody wants it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No time, or none that can be meant.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// Later than the policy allows.
    #[error("this server's {kind} tokens live for {most} at most, counted from when they are made")]
    TooLong {
        /// Of which kind.
        kind: TokenKind,
        /// The most there is.
        most: Period,
    },
}

impl Policy {
    /// The same for every kind.
    pub const fn uniform(lifetimes: Lifetimes) -> Self {
        Self { personal: lifetimes, workspace: lifetimes, repo: lifetimes, session: lifetimes }
    }

    /// For one kind; `None` for git tokens.
    pub const fn of(&self, kind: TokenKind) -> Option<&Lifetimes> {
        match kind {
            TokenKind::Personal => Some(&self.personal),
            TokenKind::Workspace => Some(&self.workspace),
            TokenKind::Repo => Some(&self.repo),
            TokenKind::Session => Some(&self.session),
            TokenKind::Git => None,
        }
    }

    /// The latest end of a token of this kind that was made then; `None` is no limit.
    pub fn latest(&self, kind: TokenKind, made: Timestamp) -> Option<Timestamp> {
        match self.of(kind)?.most {
            Lifetime::Never => None,
            Lifetime::For(most) => made.checked_add_signed(most.delta()),
        }
    }

    /// The end of a token that is made now: as asked, else the kind's default, which gives way to the kind's maximum and
    /// to the end of the token that it is made through.
    pub fn expiry(
        &self,
        kind: TokenKind,
        asked: Option<Expiry>,
        parents_end: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PolicyError> {
        if let Some(asked) = asked {
            return self.changed(kind, asked, now, now);
        }
        let default = match self.of(kind).map_or(Lifetime::Never, |lifetimes| lifetimes.default) {
            Lifetime::Never => None,
            Lifetime::For(period) => now.checked_add_signed(period.delta()),
        };
        Ok([default, self.latest(kind, now), parents_end].into_iter().flatten().min())
    }

    /// The end that somebody asks for now, of a token that was made then.
    pub fn changed(
        &self,
        kind: TokenKind,
        asked: Expiry,
        made: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PolicyError> {
        let end = asked.resolve(now)?;
        match (self.latest(kind, made), self.of(kind).map(|lifetimes| lifetimes.most)) {
            (Some(latest), Some(Lifetime::For(most))) if end.is_none_or(|end| end > latest) => {
                Err(PolicyError::TooLong { kind, most })
            }
            _ => Ok(end),
        }
    }

    /// The first moment at which a token is ended for resting too long. A local login is never presented, and never ends so.
    pub fn idle_ends_at(&self, token: &Token) -> Option<Timestamp> {
        let Lifetime::For(idle) = self.of(token.kind())?.idle else { return None };
        if token.local_login {
            return None;
        }
        let last = token.last_use.as_ref().map_or(token.created_at, |last| last.at.max(token.created_at));
        last.checked_add_signed(idle.delta())
    }
}

/// What the record says of a token that was ended for resting.
pub fn idle_reason(idle: Period) -> String {
    format!("not used for {idle}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(default: &str, most: &str) -> Policy {
        let lifetimes =
            Lifetimes { default: default.parse().unwrap(), most: most.parse().unwrap(), idle: Lifetime::Never };
        Policy { session: Lifetimes { most: Lifetime::Never, ..lifetimes }, ..Policy::uniform(lifetimes) }
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn days(days: i64) -> Timestamp {
        now() + chrono::TimeDelta::days(days)
    }

    #[test]
    fn each_kind_has_its_own_default_and_maximum() {
        let policy = policy("180d", "90d");
        let (personal, session) = (TokenKind::Personal, TokenKind::Session);
        assert_eq!(policy.expiry(personal, None, None, now()), Ok(Some(days(90))));
        assert_eq!(policy.expiry(personal, None, Some(days(3)), now()), Ok(Some(days(3))));
        assert_eq!(policy.expiry(session, None, None, now()), Ok(Some(days(180))));
        assert_eq!(policy.expiry(personal, Some("30".parse().unwrap()), None, now()), Ok(Some(days(30))));
        for asked in ["91", "never"] {
            let error = policy.expiry(personal, Some(asked.parse().unwrap()), None, now()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "this server's personal tokens live for 90d at most, counted from when they are made"
            );
            assert!(policy.expiry(session, Some(asked.parse().unwrap()), None, now()).is_ok());
        }
        assert!(matches!(
            policy.expiry(personal, Some("2020-01-01".parse().unwrap()), None, now()),
            Err(PolicyError::Expiry(_))
        ));
        assert_eq!(policy.latest(TokenKind::Git, now()), None);
    }

    #[test]
    fn a_maximum_counts_from_when_the_token_was_made() {
        let policy = policy("30d", "90d");
        let personal = TokenKind::Personal;
        assert_eq!(policy.changed(personal, "30".parse().unwrap(), days(-60), now()), Ok(Some(days(30))));
        assert!(policy.changed(personal, "31".parse().unwrap(), days(-60), now()).is_err());
    }

    proptest! {
        #[test]
        fn nothing_outlives_the_maximum_or_its_parent(
            default in 1..1000_i64, most in 1..1000_i64, parent in prop::option::of(1..1000_i64)
        ) {
            let policy = policy(&format!("{default}d"), &format!("{most}d"));
            let end = policy.expiry(TokenKind::Repo, None, parent.map(days), now()).unwrap().unwrap();
            prop_assert!(end <= days(most) && end <= days(default) && parent.is_none_or(|parent| end <= days(parent)));
        }
    }
}
