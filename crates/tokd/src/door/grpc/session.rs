//! Logging in, and tokens for git.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use secrecy::SecretString;
use tok_api::convert::{GitMint, MintedGit, PasswordLogin};
use tok_api::wire::v1;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use v1::session_service_server::SessionService;

use super::{Door, Reply, deadline};
use crate::service::{GitWish, Watching, username};

#[tonic::async_trait]
impl SessionService for Door {
    async fn start_device(&self, request: Request<v1::StartDeviceRequest>) -> Reply<v1::StartDeviceReply> {
        let source = self.source(&request)?;
        let v1::StartDeviceRequest { machine, client_id } = request.into_inner();
        Ok(Response::new(self.service.start_device(source, &machine, &client_id).await?.into()))
    }

    async fn poll_device(&self, request: Request<v1::PollDeviceRequest>) -> Reply<v1::OpenSessionReply> {
        let source = self.source(&request)?;
        let code = SecretString::from(request.into_inner().device_code);
        Ok(Response::new(self.service.poll_device(source, &code).await?.into()))
    }

    async fn open_session(&self, request: Request<v1::OpenSessionRequest>) -> Reply<v1::OpenSessionReply> {
        let source = self.source(&request)?;
        let login = PasswordLogin::try_from(request.into_inner())?;
        Ok(Response::new(self.service.open_session(source, login).await?.into()))
    }

    async fn mint_git(&self, request: Request<v1::MintGitRequest>) -> Reply<v1::MintGitReply> {
        let caller = self.caller(&request).await?;
        let GitMint { repository, permission, failed } = GitMint::try_from(request.into_inner())?;
        let token = self.service.git_token(&caller, &GitWish { repo: repository, permission, failed }).await?;
        let minted = MintedGit {
            secret: SecretString::from(token.text.reveal()),
            id: token.id,
            expires_at: token.expires_at,
            username: username(&caller),
        };
        Ok(Response::new(minted.into()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchReply, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Reply<Self::WatchStream> {
        let deadline = deadline::of(request.metadata().as_ref());
        let caller = self.caller(&request).await?;
        let watching = self.service.watch(caller)?;
        let until = (deadline < deadline::LONGEST).then(|| Instant::now() + deadline);
        let told = stream::unfold(Some(watching), move |watching: Option<Watching>| async move {
            let mut watching = watching?;
            let next = match until {
                Some(until) => timeout_at(until, watching.next()).await.map_err(|_| super::late()),
                None => Ok(watching.next().await),
            };
            Some(match next.and_then(|told| told.map_err(Status::from)) {
                Ok(generation) => (Ok(v1::WatchReply { generation }), Some(watching)),
                Err(status) => (Err(status), None),
            })
        });
        // Ends with the server, which would otherwise wait for its watchers.
        Ok(Response::new(Box::pin(told.take_until(self.stop.clone().cancelled_owned()))))
    }
}
