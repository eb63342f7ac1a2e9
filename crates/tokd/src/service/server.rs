//! How the server is, and who the caller is to it.

use tok_api::convert::{MembershipRecord, PageAsk, PageOf, RepositoryRecord, ServerStatus, TokenRecord, Whoami};
use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Bearer, Caller, Need, UserNow, decide, highest_right};
use tok_model::name::{RepoPath, WorkspaceName};

use super::Service;
use super::tokens::page_size;
use crate::fault::IntoFault;

impl Service {
    /// Who the caller is.
    pub fn whoami(&self, caller: &Caller) -> Result<Whoami, Fault> {
        self.permit(caller, Need::Api)?;
        let now = self.now();
        let via = match caller.token() {
            Some(token) => format!("token {}…", token.shown_prefix),
            None if let Bearer::Temporary { name } = &caller.bearer => format!("temporary token {name}"),
            None => match caller.source.uid {
                Some(uid) => format!("local socket, uid {uid}"),
                None => caller.source.describe(),
            },
        };
        Ok(Whoami {
            user: caller.user().map(|user| user.name.to_string()),
            manager: decide(caller, Need::Server, now).is_ok(),
            via,
            // Who a token stands for is not whoever presents it.
            peer_uid: caller.source.uid.filter(|_| matches!(caller.bearer, Bearer::LocalPeer { .. })),
            token: caller.token().map(|token| TokenRecord::of(token, now)),
            memberships: caller.user().map(memberships).unwrap_or_default(),
        })
    }

    /// How the server is.
    pub async fn status(&self, caller: &Caller) -> Result<ServerStatus, Fault> {
        self.permit(caller, Need::Api)?;
        let place = self.place();
        let server = self.may(caller, Need::Server);
        let managers = server.is_some();
        let (postgres_version, counted) = self
            .run(move |store| {
                store.read(|tx| {
                    let counted = match &server {
                        Some(permit) => Some([
                            tok_store::users::count(tx)?,
                            tok_store::workspaces::count(tx)?,
                            tok_store::tokens::count_live(tx, permit)?,
                        ]),
                        None => None,
                    };
                    Ok((tx.server_version()?, counted))
                })
            })
            .await?;
        let repositories = match &place.repositories {
            Some(repositories) if managers => {
                Some(repositories.list(None).await.map_err(IntoFault::into_fault)?.len() as u64)
            }
            _ => None,
        };
        let count = |which: usize| counted.map(|counted| u64::try_from(counted[which]).unwrap_or_default());
        Ok(ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: tok_api::wire::PROTOCOL,
            uptime_seconds: place.started.elapsed().as_secs(),
            listen_url: Some(place.public_url.to_string()),
            socket: managers.then(|| place.socket.display().to_string()),
            store: managers.then(|| place.store.to_owned()),
            postgres_version: managers.then_some(postgres_version),
            schema_version: managers.then(tok_store::newest_version),
            git_version: place.git_version.clone().filter(|_| managers),
            git_root: place.repositories.as_ref().filter(|_| managers).map(|r| r.root().display().to_string()),
            users: count(0),
            workspaces: count(1),
            repositories,
            live_tokens: count(2),
            settings: place
                .settings
                .iter()
                .filter(|told| managers || told.to_all)
                .map(|told| (told.key.to_owned(), told.value.clone()))
                .collect(),
        })
    }

    /// The repositories that the caller may see, by path.
    pub async fn list_repositories(
        &self,
        caller: &Caller,
        page: PageAsk,
        workspace: Option<WorkspaceName>,
    ) -> Result<PageOf<RepositoryRecord>, Fault> {
        self.permit(caller, Need::Api)?;
        let Some(repositories) = &self.place.repositories else {
            return Err(Fault::new(FaultCode::NotFound, "this tokd serves no repositories itself")
                .hint("set git.root in tokd's configuration to let it"));
        };
        let now = self.now();
        let after: Option<RepoPath> = page
            .cursor
            .map(|text| text.parse().map_err(|_| Fault::field("cursor", "this is no cursor of the repository list")))
            .transpose()?;
        let mut seen: Vec<RepoPath> = repositories.list(workspace.as_ref()).await.map_err(IntoFault::into_fault)?;
        seen.retain(|repo| highest_right(caller, repo, now).is_some());
        if let (true, Some(workspace)) = (seen.is_empty(), workspace) {
            self.workspace_is_there(caller, workspace).await?;
        }
        seen.sort();
        let size = usize::from(page_size(page.size)?.rows());
        let mut rows: Vec<RepoPath> =
            seen.into_iter().filter(|repo| after.as_ref().is_none_or(|after| repo > after)).take(size + 1).collect();
        let more = rows.len() > size;
        rows.truncate(size);
        let next_cursor = rows.last().filter(|_| more).map(ToString::to_string);
        let mut records = Vec::with_capacity(rows.len());
        for repo in rows {
            let created_at = repositories.created_at(&repo).await.map_err(IntoFault::into_fault)?;
            records.push(RepositoryRecord {
                url: Some(format!("{}/{repo}.git", self.place.public_url)),
                workspace: repo.workspace.to_string(),
                name: repo.repo.to_string(),
                created_at,
            });
        }
        Ok(PageOf { rows: records, next_cursor, note: None })
    }
}

impl Service {
    /// That there is such a workspace for the caller, who sees none of its repositories: a name that is mistyped is no
    /// workspace without any.
    async fn workspace_is_there(&self, caller: &Caller, workspace: WorkspaceName) -> Result<(), Fault> {
        // Whoever acts for a workspace knows that it is there, also if they see nothing else of it.
        if caller.workspace() == Some(&workspace) {
            return Ok(());
        }
        self.workspace_owner(caller, Some(workspace)).await.map(drop)
    }
}

/// A user's places, by workspace.
pub(super) fn memberships(user: &UserNow) -> Vec<MembershipRecord> {
    user.memberships
        .iter()
        .map(|(workspace, membership)| MembershipRecord {
            workspace: workspace.to_string(),
            role: membership.role,
            owner: WorkspaceName::from(&user.name) == *workspace,
        })
        .collect()
}
