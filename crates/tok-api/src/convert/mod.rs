//! Checked conversions between wire messages and plain structs.
//!
//! Requests are checked where they arrive: each becomes a struct of the model's own types, or the fault
//! `invalid_argument` with the name of the bad field. Replies carry IDs, words and times in the model's types, while
//! names and scopes stay text, so that a command of last year can still show what a daemon of today sends. The structs
//! that replies become serialise to the stable JSON of the command line and the HTTP API.

mod agent;
mod audit;
mod explain;
mod field;
mod identity;
mod import;
mod introspection;
mod json;
mod password;
mod revocation;
pub mod schema;
mod server;
mod session;
mod token_calls;
mod token_change;
mod token_draft;
mod token_rotation;
mod tokens;
mod trust;
mod words;

pub use agent::{AgentLogin, AgentStatus};
pub use audit::{AuditFilter, AuditRecord, ChainRecord, NotedHead, TrailCheck, TrailReport};
pub use explain::{ExplainAsk, ExplainStep, Explanation};
pub use field::{PageAsk, PageOf, if_said, moment_said, optional, parsed};
pub use identity::{
    MemberRecord, MembershipRecord, NewMember, NewUser, NewWorkspace, RepositoryRecord, UserRecord, WorkspaceRecord,
};
pub use import::{ImportDraft, ImportReport, ImportedLine, LARGEST_IMPORT, NewImport};
pub use introspection::{IntrospectedToken, Introspection};
pub use password::{PasswordChange, PasswordSet};
pub use revocation::{RestoredTokens, RevokeMany, RevokedMany, Selection};
pub use server::{ServerStatus, Setting, Settings, Whoami};
pub use session::{DeviceLogin, GitMint, MintedGit, OpenedSession, PasswordLogin};
pub use token_calls::{CheckedToken, CreatedToken, LiveRelative, RevokedToken, ScopeRecord, TokenFilter};
pub use token_change::{CheckedChange, ReachChange, TokenChange};
pub use token_draft::{NewToken, TokenDraft};
pub use token_rotation::{CheckedRotation, RotatedToken, Rotation};
pub use tokens::TokenRecord;
pub use trust::{
    Exchange, ExchangedToken, FindingRecord, IdentityCheck, RuleCheck, TrustClaimRecord, TrustDraft, TrustPinRecord,
    TrustRecord,
};

pub(crate) fn role_number(role: tok_model::kind::Role) -> i32 {
    words::wire_role(Some(role))
}
