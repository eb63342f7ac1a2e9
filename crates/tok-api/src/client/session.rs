//! Logging in, and tokens for git.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::clock::Timestamp;
use tonic::{Request, Streaming};

use super::{Client, call, unreadable};
use crate::convert::{DeviceLogin, GitMint, MintedGit, OpenedSession, PasswordLogin};
use crate::fault::Fault;
use crate::wire::v1;

impl Client {
    /// Begins a login that somebody approves in a browser (RFC 8628). `machine` is what they are shown.
    ///
    /// # Errors
    /// `rate_limited` if too many were begun from here; else what every call may fail with.
    pub async fn start_device(&mut self, machine: String, client_id: String) -> Result<DeviceLogin, Fault> {
        Ok(call!(self.session, start_device, v1::StartDeviceRequest { machine, client_id }).into())
    }

    /// Asks once whether that login was approved; gets the session if so.
    ///
    /// # Errors
    /// `authorization_pending` and `slow_down` until then (ask again after the interval), `access_denied` or
    /// `expired_token` if it never will be (RFC 8628, section 3.5).
    pub async fn poll_device(&mut self, device_code: &SecretString) -> Result<OpenedSession, Fault> {
        let request = v1::PollDeviceRequest { device_code: device_code.expose_secret().to_owned() };
        call!(self.session, poll_device, request).try_into().map_err(unreadable)
    }

    /// Logs in with a password.
    ///
    /// # Errors
    /// `unauthenticated` if there is no such user or it is not their password: which of both is not said.
    pub async fn open_session(&mut self, login: PasswordLogin) -> Result<OpenedSession, Fault> {
        call!(self.session, open_session, v1::OpenSessionRequest::from(login)).try_into().map_err(unreadable)
    }

    /// A token for exactly one repository and right: the unexpired one minted before, or a new one.
    pub async fn mint_git(&mut self, wish: GitMint) -> Result<MintedGit, Fault> {
        call!(self.session, mint_git, v1::MintGitRequest::from(wish)).try_into().map_err(unreadable)
    }

    /// The same, with the server's own time when it answered, if it said so: the token's end is by its clock.
    pub async fn mint_git_timed(&mut self, wish: GitMint) -> Result<(MintedGit, Option<Timestamp>), Fault> {
        let reply = self.session.mint_git(v1::MintGitRequest::from(wish)).await.map_err(Fault::from)?;
        let date = super::probe::date(reply.metadata());
        Ok((reply.into_inner().try_into().map_err(unreadable)?, date))
    }

    /// Watches for the times when what was minted should be asked for again.
    pub async fn watch(&mut self) -> Result<Streaming<v1::WatchReply>, Fault> {
        // As long as both sides live; a deadline would end it.
        let mut request = Request::new(v1::WatchRequest {});
        request.set_timeout(Duration::from_secs(24 * 3600));
        Ok(call!(self.session, watch, request))
    }
}
