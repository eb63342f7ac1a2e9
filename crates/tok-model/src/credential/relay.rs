//! What travels over the local socket: git's lines between a head of ours and a blank line.

use std::str::FromStr;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use super::draft::{Draft, LARGEST_REQUEST};
use super::lines::{Lines, Malformed, print};
use super::request::CredentialRequest;
use crate::name::UserName;

/// The first bytes that a helper sends, by which the socket's owner tells it from gRPC.
pub const RELAY_MARK: &str = "tok/1 ";
/// The largest answer that a helper reads, in bytes.
pub const LARGEST_ANSWER: usize = 64 * 1024;
/// The longest name of a client that is passed on, in bytes.
const LONGEST_AGENT: usize = 100;
/// The longest name of a login on this machine, in bytes.
const LONGEST_PROFILE: usize = 100;

/// What git wants of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A credential.
    Get,
    /// To say that a credential worked.
    Store,
    /// To say that a credential did not work.
    Erase,
}

impl Operation {
    /// The word that git calls it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Store => "store",
            Self::Erase => "erase",
        }
    }
}

impl FromStr for Operation {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        [Self::Get, Self::Store, Self::Erase].into_iter().find(|known| known.as_str() == text).ok_or(Malformed::Head)
    }
}

/// What the helper guesses that git is about to do. A guess of the caller's about itself: it may choose, never widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Clone, fetch, archive.
    Fetch,
    /// Push.
    Push,
}

impl Hint {
    /// The value of the `operation` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Push => "push",
        }
    }
}

/// A request as it travels from the helper to the daemon or the agent:
/// `tok/1 <operation>`, git's lines, the lines that only the helper knows (`as`, `agent`, `operation`, `timeout`,
/// `profile`, `deadline`), and a blank line.
#[derive(Debug, Clone)]
pub struct RelayRequest {
    operation: Operation,
    credential: CredentialRequest,
    acting_as: Option<UserName>,
    agent: Option<String>,
    hint: Option<Hint>,
    timeout_seconds: Option<u32>,
    profile: Option<String>,
    deadline_ms: Option<u32>,
}

impl RelayRequest {
    /// A request without any of the extra lines.
    pub fn new(operation: Operation, credential: CredentialRequest) -> Self {
        Self {
            operation,
            credential,
            acting_as: None,
            agent: None,
            hint: None,
            timeout_seconds: None,
            profile: None,
            deadline_ms: None,
        }
    }

    /// Asks in the name of another user, which only managers may.
    #[must_use]
    pub fn with_acting_as(mut self, user: Option<UserName>) -> Self {
        self.acting_as = user;
        self
    }

    /// Says which program asks, as in `git-credential-tok/0.1.0`. Anything but printable ASCII becomes `?`.
    #[must_use]
    pub fn with_agent(mut self, agent: &str) -> Self {
        let plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        self.agent = Some(agent.chars().take(LONGEST_AGENT).map(plain).collect());
        self
    }

    /// Says what git seems to be doing.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<Hint>) -> Self {
        self.hint = hint;
        self
    }

    /// Says for how many seconds a credential may be kept.
    #[must_use]
    pub fn with_timeout(mut self, seconds: Option<u32>) -> Self {
        self.timeout_seconds = seconds;
        self
    }

    /// Says how long the helper waits for its answer, if that is not as long as usual; in whole milliseconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline_ms = deadline.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Says which of several logins to use, by the name that it has on this machine. One that could not be a name is
    /// refused, not left out: it would be another login then.
    pub fn with_profile(mut self, profile: Option<&str>) -> Result<Self, Malformed> {
        let fits =
            |name: &str| !name.is_empty() && name.len() <= LONGEST_PROFILE && name.chars().all(|c| !c.is_control());
        if profile.is_some_and(|name| !fits(name)) {
            return Err(Malformed::Value { key: "profile" });
        }
        self.profile = profile.map(str::to_owned);
        Ok(self)
    }

    /// Reads a whole request; without the blank line at its end it was cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::new(bytes, LARGEST_REQUEST)?;
        let head = lines.text().ok_or(Malformed::Head)??;
        let operation = head.strip_prefix(RELAY_MARK).ok_or(Malformed::Head)?.parse()?;
        let mut draft = Draft::default();
        let [mut acting_as, mut agent, mut hint, mut timeout, mut profile, mut deadline] = [None; 6];
        for line in &mut lines {
            let (key, value) = line?;
            let (key, slot) = match key {
                "as" => ("as", &mut acting_as),
                "agent" => ("agent", &mut agent),
                "operation" => ("operation", &mut hint),
                "timeout" => ("timeout", &mut timeout),
                "profile" => ("profile", &mut profile),
                "deadline" => ("deadline", &mut deadline),
                _ => {
                    draft.take(key, value)?;
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                return Err(Malformed::Repeated { key });
            }
        }
        if !lines.ended_blank() {
            return Err(Malformed::CutOff);
        }
        let number =
            |text: Option<&str>, key| text.map(|n| n.parse().map_err(|_| Malformed::Value { key })).transpose();
        let mut request = Self::new(operation, draft.finish()?)
            .with_acting_as(acting_as.map(|name| name.parse().map_err(|_| Malformed::Value { key: "as" })).transpose()?)
            .with_hint([Hint::Fetch, Hint::Push].into_iter().find(|known| hint == Some(known.as_str())))
            .with_timeout(number(timeout, "timeout")?)
            .with_profile(profile)?;
        request.deadline_ms = number(deadline, "deadline")?;
        Ok(match agent {
            Some(agent) => request.with_agent(agent),
            None => request,
        })
    }

    /// How many bytes of what was read so far make up the request, once its blank line is there.
    pub fn length(bytes: &[u8]) -> Option<usize> {
        let blank = |at: &usize| {
            let rest = bytes.get(at + 1..).unwrap_or_default();
            bytes.get(*at) == Some(&b'\n') && (rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
        };
        let end = (0..bytes.len()).find(blank)?;
        Some(if bytes.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 3 })
    }

    /// What git wants.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What git said.
    pub fn credential(&self) -> &CredentialRequest {
        &self.credential
    }

    /// In whose name it asks, if not its own.
    pub fn acting_as(&self) -> Option<&UserName> {
        self.acting_as.as_ref()
    }

    /// Which program asks: printable ASCII, for the audit trail only.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// What git seems to be doing, if the helper could tell.
    pub fn hint(&self) -> Option<Hint> {
        self.hint
    }

    /// For how many seconds a credential may be kept.
    pub fn timeout_seconds(&self) -> Option<u32> {
        self.timeout_seconds
    }

    /// How long the helper waits for its answer, if that is not as long as usual.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_ms.map(|milliseconds| Duration::from_millis(milliseconds.into()))
    }

    /// Which of several logins to use.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The request as it is sent, with its head and its blank line.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let head = match self.operation {
            Operation::Get => "tok/1 get\n",
            Operation::Store => "tok/1 store\n",
            Operation::Erase => "tok/1 erase\n",
        };
        let timeout = self.timeout_seconds.map(|seconds| seconds.to_string());
        let deadline = self.deadline_ms.map(|milliseconds| milliseconds.to_string());
        print(head, "\n", |visit| {
            self.credential.each(visit);
            for (key, value) in [
                ("as", self.acting_as.as_ref().map(UserName::as_str)),
                ("agent", self.agent.as_deref()),
                ("operation", self.hint.map(Hint::as_str)),
                ("timeout", timeout.as_deref()),
                ("profile", self.profile.as_deref()),
                ("deadline", deadline.as_deref()),
            ] {
                if let Some(value) = value {
                    visit(key, value);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn git(text: &str) -> CredentialRequest {
        CredentialRequest::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_socket_hears_gits_lines_between_head_and_blank_line() {
        let request = RelayRequest::new(Operation::Get, git("protocol=https\nhost=h\npath=acme/app\n"))
            .with_acting_as(Some("ann".parse().unwrap()))
            .with_agent("git-credential-tok/0.1.0")
            .with_hint(Some(Hint::Push))
            .with_timeout(Some(900))
            .with_deadline(Some(Duration::from_mins(1)))
            .with_profile(Some("work"))
            .unwrap();
        let bytes = request.to_bytes();
        assert_eq!(
            str::from_utf8(&bytes).unwrap(),
            "tok/1 get\nprotocol=https\nhost=h\npath=acme/app\nas=ann\nagent=git-credential-tok/0.1.0\noperation=push\n\
             timeout=900\nprofile=work\ndeadline=60000\n\n"
        );
        let read = RelayRequest::parse(&bytes).unwrap();
        assert_eq!((read.to_bytes(), read.deadline()), (bytes.clone(), Some(Duration::from_secs(60))));
        assert_eq!(RelayRequest::length(&bytes), Some(bytes.len()));
        assert_eq!(RelayRequest::length(b"tok/1 get\r\nhost=h\r\n\r\nmore"), Some(21));
    }

    #[test]
    fn gits_own_lines_cannot_speak_for_the_helper() {
        // In a request of git `as` is an unknown key, so it is not there to be relayed.
        let request = RelayRequest::new(Operation::Get, git("protocol=https\nhost=h\nas=root\noperation=push\n"));
        assert_eq!(&**request.to_bytes(), b"tok/1 get\nprotocol=https\nhost=h\n\n");
    }

    #[test]
    fn what_is_no_whole_request_is_refused() {
        use Malformed as M;
        for (text, why) in [
            ("", M::Head),
            ("PRI * HTTP/2.0\r\n\r\n", M::Head),
            ("tok/2 get\nprotocol=https\nhost=h\n\n", M::Head),
            ("tok/1 get\0\nprotocol=https\nhost=h\n\n", M::Control { line: 1 }),
            ("tok/1 list\nprotocol=https\nhost=h\n\n", M::Head),
            ("tok/1 get\n\n", M::Missing { key: "protocol" }),
            ("tok/1 get\nprotocol=https\nhost=h\n", M::CutOff),
            ("tok/1 get\nprotocol=https\nhost=h\nas=../x\n\n", M::Value { key: "as" }),
            ("tok/1 get\nprotocol=https\nhost=h\nas=ann\nas=bob\n\n", M::Repeated { key: "as" }),
            ("tok/1 get\nprotocol=https\nhost=h\ntimeout=-1\n\n", M::Value { key: "timeout" }),
            ("tok/1 get\nprotocol=https\nhost=h\ndeadline=soon\n\n", M::Value { key: "deadline" }),
            ("tok/1 get\nprotocol=https\nhost=h\nhost=e\n\n", M::Repeated { key: "host" }),
        ] {
            assert_eq!(RelayRequest::parse(text.as_bytes()).unwrap_err(), why, "{text:?}");
        }
        assert_eq!(RelayRequest::parse(b"tok/1 get\nprotocol=https\nhost=h\noperation=all\n\n").unwrap().hint(), None);
    }

    proptest! {
        #[test]
        fn every_cut_is_noticed_before_it_is_answered(host in "[a-z.]{1,20}", cut in any::<prop::sample::Index>()) {
            let request = RelayRequest::new(Operation::Get, git(&format!("protocol=https\nhost={host}\n"))).with_agent("x");
            let bytes = request.to_bytes();
            let cut = cut.index(bytes.len());
            prop_assert_eq!(RelayRequest::length(&bytes[..cut]), None);
            prop_assert!(RelayRequest::parse(&bytes[..cut]).is_err());
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), agent in "\\PC{0,200}") {
            let _ = (RelayRequest::length(&bytes), RelayRequest::parse(&bytes));
            let request = RelayRequest::new(Operation::Erase, git("protocol=https\nhost=h\n")).with_agent(&agent);
            prop_assert_eq!(RelayRequest::parse(&request.to_bytes()).unwrap().to_bytes(), request.to_bytes());
        }
    }
}
