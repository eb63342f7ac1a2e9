//! Users, workspaces and members.

use tok_api::convert::{
    MemberRecord, MembershipRecord, NewMember, NewUser, NewWorkspace, PageAsk, PageOf, UserRecord, WorkspaceRecord,
};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::decide::{Caller, Need, Permit};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::name::{UserName, WorkspaceName};
use tok_store::users::User;
use tok_store::workspaces::{Member, MemberChange, Workspace};
use tok_store::{Store, StoreError, WriteTx};

use super::caller::system_name;
use super::server::memberships;
use super::tokens::page_size;
use super::{Service, rng};
use crate::fault::IntoFault;

impl Service {
    /// Makes a user and the workspace of the same name. Whoever administers by the kernel's word and makes the user of
    /// their own system name makes a manager: else what git does for them would reach less far than they do.
    pub async fn create_user(&self, caller: &Caller, mut new: NewUser) -> Result<UserRecord, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        self.free_for_user(&new.name).await?;
        if let (true, Some(uid)) = (caller.administers_by_kernel(), caller.source.uid) {
            new.manager |= self.run(move |_| Ok(system_name(uid))).await?.as_ref() == Some(&new.name);
        }
        let (id, workspace) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
        let user = self
            .run(move |store| {
                store.write(|mut tx| {
                    let user = tok_store::users::create(&mut tx, &permit, id, workspace, &new.name, new.manager)?;
                    let actor = permit.actor().clone();
                    let made = AuditEvent::done(Action::UserCreate, actor)
                        .subject(id, user.name.clone())
                        .workspace(WorkspaceName::from(&new.name))
                        .detail(if user.manager { "a manager" } else { "" });
                    tx.commit(made, permit.at())?;
                    Ok(user)
                })
            })
            .await?;
        Ok(user_record(&user, 0))
    }

    /// Says what is in the way of a new user, by name; the unique indexes decide when two come at once.
    async fn free_for_user(&self, name: &UserName) -> Result<(), Fault> {
        let (wanted, workspace) = (name.clone(), WorkspaceName::from(name));
        let (user, workspace) = self
            .run(move |store| {
                store.read(|tx| {
                    let user = tok_store::users::now_by_name(tx, &wanted)?;
                    Ok((user, tok_store::workspaces::by_name(tx, &workspace)?))
                })
            })
            .await?;
        if let Some(user) = user {
            return Err(Fault::taken("name", format!("the user {} exists", user.name)).hint(
                "names that differ in case alone are the same; `tok user list` shows who there is, and who is a \
                     manager, which is said when a user is made and not changed afterwards",
            ));
        }
        match workspace {
            None => Ok(()),
            Some(_) => Err(Fault::taken(
                "name",
                format!("a workspace {name} exists, and a user owns the workspace of their own name"),
            )
            .hint(format!("choose another name, or, if nobody needs it any more: tok workspace delete {name}"))),
        }
    }

    /// Every user, by name.
    pub async fn list_users(&self, caller: &Caller, page: PageAsk) -> Result<PageOf<UserRecord>, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let (users, live) = self
            .run(move |store| {
                store.read(|tx| {
                    let users = tok_store::users::list(tx, &permit)?;
                    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
                    let live = tok_store::tokens::count_live_by_user(tx, &permit, &ids)?;
                    Ok((users, live))
                })
            })
            .await?;
        let rows = users.into_iter().map(|user| {
            let count = live.get(&user.id).copied().unwrap_or(0);
            user_record(&user, count)
        });
        page_by_name(rows, &page, |user| &user.name)
    }

    /// One user and where they belong: for managers, and for themselves.
    pub async fn show_user(
        &self,
        caller: &Caller,
        name: UserName,
    ) -> Result<(UserRecord, Vec<MembershipRecord>), Fault> {
        let permit = match caller.user() {
            Some(own) if own.name == name => self.permit(caller, Need::Profile { user: own.id })?,
            _ => self.permit(caller, Need::Server)?,
        };
        let (user, now, live) = self
            .run(move |store| {
                store.read(|tx| {
                    let user = tok_store::users::show(tx, &permit, &name)?;
                    let live = tok_store::tokens::count_live_by_user(tx, &permit, &[user.id])?;
                    let now = tok_store::users::now(tx, user.id)?;
                    Ok((user, now, live.into_values().next().unwrap_or(0)))
                })
            })
            .await?;
        Ok((user_record(&user, live), now.as_ref().map(memberships).unwrap_or_default()))
    }

    /// Disables a user, at once, or enables them again.
    pub async fn set_user_enabled(&self, caller: &Caller, name: UserName, enabled: bool) -> Result<UserRecord, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        if !enabled {
            let (user, _) = self.show_user(caller, name.clone()).await?;
            self.keep_a_manager(caller, &user).await?;
        }
        let action = if enabled { Action::UserEnable } else { Action::UserDisable };
        let (user, live) = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let (user, signed_out) = tok_store::users::set_enabled(&mut tx, &permit, &name, enabled)?;
                    let live = tok_store::tokens::count_live_by_user(&mut tx, &permit, &[user.id])?;
                    let event = AuditEvent::done(action, permit.actor().clone()).subject(user.id, user.name.clone());
                    tx.commit(signed_out.told(event, "the user was disabled", &permit), permit.at())?;
                    Ok((user, live.into_values().next().unwrap_or(0)))
                })
            })
            .await?;
        Ok(user_record(&user, live))
    }

    /// Deletes a user and ends their tokens. Their own workspace goes with them if nothing and nobody else is in it; else
    /// it stays, and the answer names it. A dry run only says what it would be.
    pub async fn delete_user(
        &self,
        caller: &Caller,
        name: UserName,
        dry_run: bool,
    ) -> Result<(UserRecord, u32, Option<String>), Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let (user, _) = self.show_user(caller, name.clone()).await?;
        self.keep_a_manager(caller, &user).await?;
        let own = WorkspaceName::from(&name);
        let wanted = own.clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &wanted))).await?;
        let record = match found.filter(|workspace| workspace.owner.as_ref() == Some(&name)) {
            Some(workspace) => Some(self.workspace_record(workspace).await?),
            None => None,
        };
        let empty = record.as_ref().is_some_and(|record| record.repositories == 0 && record.members <= 1);
        let kept = record.filter(|_| !empty).map(|record| record.name);
        let delete = move |store: &Store| {
            store.write(|mut tx| {
                let actor = || permit.actor().clone();
                let emptied = if empty {
                    let (_, ended) = tok_store::workspaces::delete(&mut tx, &permit, &own)?;
                    let event = AuditEvent::done(Action::WorkspaceDelete, actor()).workspace(own);
                    Some((event.detail("with its owner"), ended))
                } else {
                    None
                };
                let (gone, ended) = tok_store::users::delete(&mut tx, &permit, &name)?;
                let ended = ended + emptied.as_ref().map_or(0, |(_, with_it)| *with_it);
                let event = AuditEvent::done(Action::UserDelete, actor())
                    .subject(gone.id, gone.name.clone())
                    .detail(format!("with {ended} live tokens"));
                let events = AuditEvents::new(event, emptied.map(|(event, _)| event));
                unless_tried(dry_run, tx, events, permit.at())?;
                Ok((gone, ended))
            })
        };
        let (gone, ended) = self.delete(dry_run, delete).await?;
        let user = if dry_run { user } else { user_record(&gone, 0) };
        Ok((user, u32::try_from(ended).unwrap_or(u32::MAX), kept))
    }

    /// Deletes, or tries to: what a dry run says would happen is what did, and was then thrown away.
    async fn delete<T: Send + 'static>(
        &self,
        dry_run: bool,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        if dry_run { self.run(job).await } else { self.run_and_forget(job).await }
    }

    /// The last manager who could undo it cannot be taken away.
    async fn keep_a_manager(&self, caller: &Caller, leaving: &UserRecord) -> Result<(), Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let users = self.run(move |store| store.read(|tx| tok_store::users::list(tx, &permit))).await?;
        let stays = |user: &User| user.manager && user.disabled_at.is_none() && user.id != leaving.id;
        if !leaving.manager || leaving.disabled_at.is_some() || users.iter().any(stays) {
            return Ok(());
        }
        Err(Fault::new(FaultCode::Conflict, format!("{} is the only manager of this server", leaving.name))
            .hint("make another one first: tok user create <name> --manager"))
    }

    /// Makes a workspace. Its owner is who was named, else the caller, if the caller is a user.
    pub async fn create_workspace(&self, caller: &Caller, new: NewWorkspace) -> Result<WorkspaceRecord, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let owner = new.owner.or_else(|| caller.user().map(|user| user.name.clone()));
        let wanted = new.name.clone();
        if self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &wanted))).await?.is_some() {
            return Err(Fault::taken("name", format!("the workspace {} exists", new.name))
                .hint("`tok workspace list` shows which there are"));
        }
        let id = WorkspaceId::random(&mut rng());
        // Takes authority from nobody, but its owner shall see it at once.
        let workspace = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let workspace = tok_store::workspaces::create(&mut tx, &permit, id, &new.name, owner.as_ref())?;
                    let event = AuditEvent::done(Action::WorkspaceCreate, permit.actor().clone());
                    tx.commit(event.workspace(new.name), permit.at())?;
                    Ok(workspace)
                })
            })
            .await
            .map_err(|fault| if_missing(fault, "owner"))?;
        self.workspace_record(workspace).await
    }

    /// The workspaces that the caller may see: every one for managers, else those they are members of.
    pub async fn list_workspaces(&self, caller: &Caller, page: PageAsk) -> Result<PageOf<WorkspaceRecord>, Fault> {
        let found = match (self.may(caller, Need::Server), caller.user()) {
            (Some(permit), _) => {
                self.run(move |store| store.read(|tx| tok_store::workspaces::list(tx, &permit))).await?
            }
            (None, Some(user)) => {
                let permit = self.permit(caller, Need::Profile { user: user.id })?;
                self.run(move |store| store.read(|tx| tok_store::workspaces::list_of(tx, &permit))).await?
            }
            (None, None) => {
                let permit = self.permit(caller, Need::Server)?;
                self.run(move |store| store.read(|tx| tok_store::workspaces::list(tx, &permit))).await?
            }
        };
        let mut rows = Vec::with_capacity(found.len());
        for workspace in found {
            rows.push(self.workspace_record(workspace).await?);
        }
        page_by_name(rows.into_iter(), &page, |workspace| &workspace.name)
    }

    /// Deletes a workspace that has no repositories left, and ends its tokens; the answer says how many.
    pub async fn delete_workspace(
        &self,
        caller: &Caller,
        name: WorkspaceName,
        dry_run: bool,
    ) -> Result<(WorkspaceRecord, u32), Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let wanted = name.clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &wanted))).await?;
        let found = found.ok_or_else(|| {
            Fault::new(FaultCode::NotFound, format!("no workspace is named {name}"))
                .about("workspace")
                .hint("`tok workspace list` shows those there are")
        })?;
        let record = self.workspace_record(found).await?;
        if record.repositories > 0 {
            let count = record.repositories;
            return Err(Fault::new(
                FaultCode::Conflict,
                format!("the workspace {name} still has repositories in it: {count}"),
            )
            .hint(format!(
                "move or remove them first; `tok repo list` shows them and tokd's git.root has them under {name}/"
            )));
        }
        let delete = move |store: &Store| {
            store.write(|mut tx| {
                let done = tok_store::workspaces::delete(&mut tx, &permit, &name)?;
                let event = AuditEvent::done(Action::WorkspaceDelete, permit.actor().clone())
                    .detail(format!("with {} live tokens", done.1));
                unless_tried(dry_run, tx, event.workspace(name), permit.at())?;
                Ok(done)
            })
        };
        let (_, ended) = self.delete(dry_run, delete).await?;
        Ok((record, u32::try_from(ended).unwrap_or(u32::MAX)))
    }

    /// Gives a user a role in a workspace, or another role than the one they have.
    pub async fn add_member(&self, caller: &Caller, new: NewMember) -> Result<MemberRecord, Fault> {
        let permit = self.permit(caller, Need::ManageWorkspace { workspace: new.workspace.clone() })?;
        let workspace = new.workspace.clone();
        let member = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let change = tok_store::workspaces::add_member(&mut tx, &permit, &new.user, new.role)?;
                    let event = AuditEvent::done(Action::MemberAdd, permit.actor().clone())
                        .subject(change.user, new.user)
                        .workspace(new.workspace)
                        .detail(format!("as {}", new.role));
                    tx.commit(with_ended(event, &permit, &change), permit.at())?;
                    Ok(change.member)
                })
            })
            .await
            .map_err(|fault| if_missing(fault, "user"))?;
        Ok(member_record(&workspace, &member))
    }

    /// Takes a user out of a workspace; takes effect on their next call.
    pub async fn remove_member(
        &self,
        caller: &Caller,
        workspace: WorkspaceName,
        user: UserName,
    ) -> Result<MemberRecord, Fault> {
        let permit = self.permit(caller, Need::ManageWorkspace { workspace: workspace.clone() })?;
        let name = workspace.clone();
        let member = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let change = tok_store::workspaces::remove_member(&mut tx, &permit, &user)?;
                    let event = AuditEvent::done(Action::MemberRemove, permit.actor().clone())
                        .subject(change.user, user)
                        .workspace(name)
                        .detail(format!("was {}", change.member.role));
                    tx.commit(with_ended(event, &permit, &change), permit.at())?;
                    Ok(change.member)
                })
            })
            .await
            .map_err(|fault| if_missing(fault, "user"))?;
        Ok(member_record(&workspace, &member))
    }

    /// The members of a workspace, by name.
    pub async fn list_members(&self, caller: &Caller, workspace: WorkspaceName) -> Result<Vec<MemberRecord>, Fault> {
        let permit = self.permit(caller, Need::SeeWorkspace { workspace: workspace.clone() })?;
        let members = self.run(move |store| store.read(|tx| tok_store::workspaces::list_members(tx, &permit))).await?;
        Ok(members.into_iter().map(|member| member_record(&workspace, &member)).collect())
    }

    async fn workspace_record(&self, workspace: Workspace) -> Result<WorkspaceRecord, Fault> {
        let repositories = match &self.place.repositories {
            Some(repositories) => repositories.list(Some(&workspace.name)).await.map_err(IntoFault::into_fault)?.len(),
            None => 0,
        };
        Ok(WorkspaceRecord {
            id: workspace.id,
            name: workspace.name.to_string(),
            owner: workspace.owner.map(|owner| owner.to_string()),
            created_at: workspace.created_at,
            members: u32::try_from(workspace.members).unwrap_or(u32::MAX),
            repositories: u32::try_from(repositories).unwrap_or(u32::MAX),
        })
    }
}

/// Makes a change permanent, unless it was only tried: without a commit none of it happens.
fn unless_tried(
    dry_run: bool,
    tx: WriteTx<'_>,
    events: impl Into<AuditEvents>,
    at: Timestamp,
) -> Result<(), StoreError> {
    if dry_run { Ok(()) } else { tx.commit(events, at) }
}

/// What the trail shall say of a change of a membership: the change, and each token that ended with it.
fn with_ended(event: AuditEvent, permit: &Permit, change: &MemberChange) -> AuditEvents {
    let ended = change.ended.iter().map(|(id, prefix)| {
        AuditEvent::done(Action::TokenRevoke, permit.actor().clone())
            .token(*id, prefix)
            .detail(format!("{}, who made it, is no maintainer any more", change.member.user))
    });
    AuditEvents::new(event, ended)
}

/// What is not there is what this field of the request names.
pub(super) fn if_missing(fault: Fault, field: &str) -> Fault {
    if fault.code == FaultCode::NotFound && fault.field.is_none() { fault.about(field) } else { fault }
}

pub(super) fn user_record(user: &User, live: i64) -> UserRecord {
    UserRecord {
        id: user.id,
        name: user.name.to_string(),
        manager: user.manager,
        created_at: user.created_at,
        disabled_at: user.disabled_at,
        live_tokens: u32::try_from(live).unwrap_or(u32::MAX),
        has_password: user.has_password,
    }
}

fn member_record(workspace: &WorkspaceName, member: &Member) -> MemberRecord {
    MemberRecord {
        workspace: workspace.to_string(),
        user: member.user.to_string(),
        role: member.role,
        owner: member.owner,
        added_at: member.added_at,
    }
}

/// One page of rows in the order of their names; the cursor is the last name of the page before.
fn page_by_name<T>(
    rows: impl Iterator<Item = T>,
    page: &PageAsk,
    name: impl Fn(&T) -> &String,
) -> Result<PageOf<T>, Fault> {
    let size = usize::from(page_size(page.size)?.rows());
    let mut rows: Vec<T> = rows.collect();
    rows.sort_by(|a, b| name(a).cmp(name(b)));
    let beyond = |row: &T| page.cursor.as_ref().is_none_or(|cursor| name(row) > cursor);
    let mut rows: Vec<T> = rows.into_iter().filter(beyond).take(size + 1).collect();
    let more = rows.len() > size;
    rows.truncate(size);
    let next_cursor = rows.last().filter(|_| more).map(|row| name(row).clone());
    Ok(PageOf { rows, next_cursor, note: None })
}
