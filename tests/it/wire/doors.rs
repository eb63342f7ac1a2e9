//! Where something is read: the same names as among the helper's own tests.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// What git says to the helper.
    Git,
    /// What a helper says to the socket.
    Socket,
    /// What the socket answers.
    Answer,
    /// What the agent is told to keep.
    Memory,
}
