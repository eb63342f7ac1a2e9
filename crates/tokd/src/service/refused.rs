//! What the trail says of an act that a rule refused.

use tok_model::audit::{Action, Actor, Source};
use tok_model::decide::{Caller, Class, Need, Refusal};
use tok_model::kind::TokenKind;
use tok_model::name::{RepoPath, UserName};

use super::Service;

impl Service {
    /// Writes down that somebody who is known was refused. Of whoever presents nothing there is nothing to write, and what
    /// is no token here is counted where it is looked up.
    pub(super) fn note_refusal(&self, caller: &Caller, need: &Need, refusal: &Refusal) {
        let actor = caller.actor();
        let why = refusal.to_string();
        let now = self.now();
        // A token that is no good was presented, whatever it was wanted for.
        if actor.token.is_some() && refusal.class() == Class::Unauthenticated {
            return self.uses.note_call(&actor, Some(&why), now);
        }
        if actor.token.is_some() || actor.user.is_some() || actor.source.uid.is_some() || actor.temporary.is_some() {
            let action = attempted(actor.source.operation.as_deref(), need);
            self.uses.note_refused(&actor, action, repository(need), &why, now);
        }
    }

    /// Writes down that somebody on this machine wanted to act as another user and may not.
    pub(super) fn note_acting_refused(&self, source: Source, name: &UserName) {
        let actor = Actor { source: Source { behind: None, ..source }, ..Actor::daemon() };
        let action = actor.source.operation.as_deref().and_then(of_operation).unwrap_or(Action::ApiCall);
        self.uses.note_refused(&actor, action, None, &format!("only a manager may act as {name}"), self.now());
    }

    /// Writes down a call of the API that somebody makes with a token. The door does so once it knows who calls; a token
    /// that is no good is written down by the first rule that says so.
    pub fn note_call(&self, caller: &Caller) {
        let now = self.now();
        if caller.token().is_some() && tok_model::decide::decide(caller, Need::Identity, now).is_ok() {
            self.uses.note_call(&caller.actor(), None, now);
        }
    }
}

/// What was tried: as the operation says, else as far as what it needed says.
fn attempted(operation: Option<&str>, need: &Need) -> Action {
    operation.and_then(of_operation).unwrap_or_else(|| match need {
        Need::Mint(request) => match request.grant.kind() {
            TokenKind::Git => Action::TokenMint,
            TokenKind::Session => Action::SessionOpen,
            TokenKind::Personal | TokenKind::Workspace | TokenKind::Repo => Action::TokenCreate,
        },
        // Of the calls without a name only git's helper needs a repository.
        Need::Repository { .. } if operation.is_none() => Action::TokenMint,
        Need::BeginLogin => Action::SessionAsk,
        Need::ApproveLogin => Action::SessionApprove,
        Need::EndTokens { .. } | Need::EndHeld => Action::TokenRevoke,
        Need::Import(_) => Action::TokenImport,
        Need::ChangeTokens { .. } => Action::TokenModify,
        Need::ChangeProfile { .. } => Action::UserPassword,
        Need::Identity
        | Need::Api
        | Need::Introspect { .. }
        | Need::Repository { .. }
        | Need::Profile { .. }
        | Need::SeeTokens { .. }
        | Need::SeeWorkspace { .. }
        | Need::ManageWorkspace { .. }
        | Need::OwnAudit
        | Need::Server => Action::ApiCall,
    })
}

/// The act that an operation is, if it is one: what only shows something is none.
fn of_operation(operation: &str) -> Option<Action> {
    Some(match operation {
        "TokenService/Create" | "POST /v1/tokens" => Action::TokenCreate,
        "TokenService/Modify" | "PATCH /v1/tokens/{}" => Action::TokenModify,
        "TokenService/Rotate" | "POST /v1/tokens/{}/rotate" => Action::TokenRotate,
        "TokenService/Revoke"
        | "TokenService/RevokeMany"
        | "TokenService/RevokeSecret"
        | "DELETE /v1/tokens/{}"
        | "POST /v1/tokens/revoke"
        | "POST /oauth2/revoke" => Action::TokenRevoke,
        "TokenService/Restore" | "POST /v1/tokens/{}/restore" => Action::TokenRestore,
        "TokenService/Import" | "POST /v1/tokens/import" => Action::TokenImport,
        "IdentityService/CreateUser" | "POST /v1/users" => Action::UserCreate,
        "IdentityService/DisableUser" | "POST /v1/users/{}/disable" => Action::UserDisable,
        "IdentityService/EnableUser" | "POST /v1/users/{}/enable" => Action::UserEnable,
        "IdentityService/DeleteUser" | "DELETE /v1/users/{}" => Action::UserDelete,
        "IdentityService/SetPassword" | "PUT /v1/users/{}/password" => Action::UserPassword,
        "IdentityService/CreateWorkspace" | "POST /v1/workspaces" => Action::WorkspaceCreate,
        "IdentityService/DeleteWorkspace" | "DELETE /v1/workspaces/{}" => Action::WorkspaceDelete,
        "IdentityService/AddMember" | "PUT /v1/workspaces/{}/members/{}" => Action::MemberAdd,
        "IdentityService/RemoveMember" | "DELETE /v1/workspaces/{}/members/{}" => Action::MemberRemove,
        "TrustService/Add" | "POST /v1/trusts" => Action::TrustAdd,
        "TrustService/Remove" | "DELETE /v1/trusts/{}" => Action::TrustRemove,
        "TrustService/Exchange" => Action::TokenExchange,
        "SessionService/MintGit" => Action::TokenMint,
        "SessionService/StartDevice" | "POST /oauth2/device_authorization" => Action::SessionAsk,
        "SessionService/OpenSession" | "SessionService/PollDevice" | "POST /oauth2/token" | "POST /login" => {
            Action::SessionOpen
        }
        "POST /device" => Action::SessionApprove,
        _ => return None,
    })
}

fn repository(need: &Need) -> Option<&RepoPath> {
    match need {
        Need::Repository { repo, .. } => Some(repo),
        Need::Mint(request) => match &request.grant {
            tok_model::grant::Grant::Git { repo, .. } => Some(repo),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_changes_something_is_an_act() {
        let protos = [
            include_str!("../../../tok-api/proto/tok/v1/tokens.proto"),
            include_str!("../../../tok-api/proto/tok/v1/identity.proto"),
            include_str!("../../../tok-api/proto/tok/v1/authorization.proto"),
            include_str!("../../../tok-api/proto/tok/v1/audit.proto"),
            include_str!("../../../tok-api/proto/tok/v1/trust.proto"),
            include_str!("../../../tok-api/proto/tok/v1/session.proto"),
        ];
        let mut operations = Vec::new();
        for proto in protos {
            let word = |line: &str, before: &str| {
                let rest = line.trim().strip_prefix(before)?;
                Some(rest.split([' ', '(']).next().unwrap_or_default().to_owned())
            };
            let service = proto.lines().find_map(|line| word(line, "service ")).unwrap();
            operations
                .extend(proto.lines().filter_map(|line| word(line, "rpc ")).map(|rpc| format!("{service}/{rpc}")));
        }
        assert!(operations.len() >= 25, "{operations:?}");
        let shows = ["List", "Show", "Check", "Explain", "Introspect", "Whoami", "ServerStatus", "Verify", "Watch"];
        for operation in operations {
            let (_, method) = operation.split_once('/').unwrap();
            let only_shows = shows.iter().any(|word| method.starts_with(word));
            assert_eq!(of_operation(&operation).is_none(), only_shows, "{operation}");
        }
    }
}
