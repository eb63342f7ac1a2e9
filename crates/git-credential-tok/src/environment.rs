//! The variables: a token that a CI job holds, the user to act as, the deadline.

use std::path::PathBuf;
use std::time::Duration;

use tok_model::credential::{Answer, CredentialRequest, Operation};
use tok_model::name::UserName;
use tok_model::url::Origin;

use crate::output;
use crate::trouble::Trouble;

/// The deadline if `TOK_TIMEOUT_MS` says nothing, and the longest it may say.
const DEFAULT_MILLISECONDS: u64 = 2_000;
const MOST_MILLISECONDS: u64 = 600_000;

/// How long the whole run may take.
pub(crate) fn timeout() -> Duration {
    given_timeout().unwrap_or(Duration::from_millis(DEFAULT_MILLISECONDS))
}

/// The same, if it was given: whoever answers should know it then.
pub(crate) fn given_timeout() -> Option<Duration> {
    let given = variable("TOK_TIMEOUT_MS").and_then(|text| text.parse::<u64>().ok()).filter(|ms| *ms > 0);
    given.map(|milliseconds| Duration::from_millis(milliseconds.min(MOST_MILLISECONDS)))
}

/// `TOK_USER`. A name that cannot be one stops everything: acting as somebody else by mistake would be worse.
pub(crate) fn acting_as() -> Result<Option<UserName>, Trouble> {
    let refused = Trouble::Variable { name: "TOK_USER", should: "is not a user name; unset it or correct it" };
    match std::env::var_os("TOK_USER").filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => name.to_str().and_then(|name| name.parse().ok()).map(Some).ok_or(refused),
    }
}

/// `TOK_PUSH`: whether whoever does not say what for wants to push.
pub(crate) fn pushes() -> bool {
    variable("TOK_PUSH").is_some_and(|said| said == "1" || said.eq_ignore_ascii_case("true"))
}

/// What `TOK_TOKEN` and `TOK_SERVER` have to say to a request.
pub(crate) enum Held {
    /// They answer it.
    Answer(Answer),
    /// It is about their token, and there is nothing to say, by nobody else in its place either.
    Silence,
    /// It is not theirs.
    Nothing,
}

/// Answers with the token of the environment, for its own server only.
pub(crate) fn held(operation: Operation, request: &CredentialRequest) -> Result<Held, Trouble> {
    let Some(token) = std::env::var_os("TOK_TOKEN").filter(|token| !token.is_empty()) else {
        return Ok(Held::Nothing);
    };
    let asked = operation == Operation::Get;
    let server = match variable("TOK_SERVER").map(|url| Origin::parse(&url)) {
        Some(Ok(server)) => server,
        other => {
            // Said once per git command, not again for every store and erase.
            if !asked {
                return Ok(Held::Nothing);
            }
            output::complain(match other {
                None => {
                    "TOK_TOKEN is set without TOK_SERVER, so it is not used, and nothing in its place; set TOK_SERVER=https://host, or unset TOK_TOKEN"
                }
                Some(_) => {
                    "TOK_SERVER is not https://host[:port], so TOK_TOKEN is not used, and nothing in its place; correct TOK_SERVER, or unset TOK_TOKEN"
                }
            });
            // Whoever set a token may do with it less than with a login or over the socket, and meant that.
            return Ok(Held::Silence);
        }
    };
    if request.origin().ok().as_ref() != Some(&server) {
        return Ok(Held::Nothing);
    }
    if !asked {
        return Ok(Held::Silence);
    }
    if !server.acceptable() {
        let should = "is not sent in the clear to another machine; use https in TOK_SERVER and in the remote's URL";
        return Err(Trouble::Variable { name: "TOK_TOKEN", should });
    }
    let refused = || Trouble::Variable {
        name: "TOK_TOKEN",
        should: "has a character that no token has; set it without a line end",
    };
    let token = token.into_string().map_err(|_| refused())?;
    // A token with a chosen secret is written name:secret and has no Bearer form; the others never have a colon.
    let answer = match token.split_once(':') {
        Some((name, secret)) => Answer::password(name, secret),
        None => Answer::token(request, "tok", token),
    };
    answer.map(Held::Answer).map_err(|_| refused())
}

/// A variable that names a path.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable that is set to something; unreadable text counts as nothing.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty())?.into_string().ok()
}
