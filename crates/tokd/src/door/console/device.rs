//! Letting a device log in (RFC 8628, section 3.3): somebody types the code that it shows, sees who asks, and decides.

use std::net::SocketAddr;

use askama::Template;
use axum::body::Body;
use hyper::{Request, StatusCode};
use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::{Timestamp, ago};
use tok_store::device_logins::DeviceLogin;

use super::form::parameter;
use super::page::{self, Frame, Page};
use super::{Console, DEVICE, LOGIN, Visitor};
use crate::service::BrowserSession;

#[derive(Template)]
#[template(path = "code.html")]
struct CodeForm<'a> {
    frame: Frame,
    /// What was typed.
    code: &'a str,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "device.html")]
struct Consent<'a> {
    frame: Frame,
    seal: String,
    code: String,
    login: &'a DeviceLogin,
    user: &'a str,
    manager: bool,
    asked: String,
    asked_at: String,
    /// The address of whoever decides, if the device asked from another.
    elsewhere: Option<String>,
}

impl Console {
    /// The form for the code, or who asks with it.
    pub(super) async fn device_page(&self, request: Request<Body>, peer: SocketAddr) -> Result<Page, Fault> {
        let visitor = self.visitor(request.headers(), peer, "GET /device").await?;
        let typed = parameter(request.uri().query(), "user_code");
        let session = match self.approver(&visitor, &typed) {
            Ok(session) => session,
            Err(page) => return Ok(page),
        };
        if typed.trim().is_empty() {
            return Ok(self.code_form(session, StatusCode::OK, "", None));
        }
        match self.service.device_login(&session.caller, &typed).await {
            Ok(Some(login)) => Ok(self.consent(session, &typed, &login)),
            Ok(None) => Ok(self.unknown(session, &typed)),
            Err(fault) => Err(fault),
        }
    }

    /// What was decided.
    pub(super) async fn settle_device(&self, request: Request<Body>, peer: SocketAddr) -> Result<Page, Fault> {
        let (visitor, mut sent) = match self.sent(request, peer).await? {
            Ok(sent) => sent,
            Err(page) => return Ok(page),
        };
        let (typed, seal, decision) = (sent.take("user_code"), sent.take("seal"), sent.take("decision"));
        let session = match self.approver(&visitor, &typed) {
            Ok(session) => session,
            Err(page) => return Ok(page),
        };
        if !self.service.is_sealed(&session.id, DEVICE, &seal) {
            return Ok(self.elsewhere());
        }
        let approved = match &*decision {
            "approve" => true,
            "deny" => false,
            _ => return Err(Fault::new(FaultCode::InvalidArgument, "say whether the device may sign in")),
        };
        let Some(login) = self.service.settle_device(&session.caller, &typed, approved).await? else {
            return Ok(self.unknown(session, &typed));
        };
        let (title, words) = if approved {
            let machine = &login.machine;
            (
                "Approved",
                format!("{machine} is signed in as {}. You can close this page and go back to it.", session.user),
            )
        } else {
            ("Denied", format!("{} was not signed in. You can close this page.", login.machine))
        };
        Ok(page::note_to(self.signed_in(session), title, &words))
    }

    /// Who decides: somebody who logged in a moment ago. `Err` is the way there.
    fn approver<'v>(&self, visitor: &'v Visitor, typed: &str) -> Result<&'v BrowserSession, Page> {
        let why = match &visitor.session {
            Some(session) if self.service.may_approve(&session.caller) => return Ok(session),
            Some(_) => "&why=stale",
            None => "",
        };
        let code: String = form_urlencoded::byte_serialize(typed.as_bytes()).collect();
        let next = if typed.is_empty() { DEVICE.to_owned() } else { format!("{DEVICE}?user_code={code}") };
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        Err(Page::go(&format!("{LOGIN}?next={next}{why}")))
    }

    fn unknown(&self, session: &BrowserSession, typed: &str) -> Page {
        let words = "No device waits with this code: it may be mistyped, too old, or answered already.";
        self.code_form(session, StatusCode::NOT_FOUND, typed, Some(words))
    }

    fn code_form(&self, session: &BrowserSession, status: StatusCode, code: &str, error: Option<&str>) -> Page {
        let title = if error.is_some() { "Sign in a device: try again" } else { "Sign in a device" };
        Page::of(status, &CodeForm { frame: Frame::new(title, Some(self.signed_in(session))), code, error })
    }

    fn consent(&self, session: &BrowserSession, typed: &str, login: &DeviceLogin) -> Page {
        let here = session.caller.source.address.map(|address| address.to_canonical().to_string());
        let elsewhere = here.filter(|here| login.address.as_ref() != Some(here));
        let code = tok_model::secret::UserCode::parse(typed).map(|code| code.shown()).unwrap_or_default();
        let consent = Consent {
            frame: Frame::new("Let this device sign in?", Some(self.signed_in(session))),
            seal: self.service.seal_form(&session.id, DEVICE),
            code,
            login,
            user: &session.user,
            manager: session.manager,
            asked: ago(login.created_at, self.service.now()),
            asked_at: moment(login.created_at),
            elsewhere,
        };
        Page::of(StatusCode::OK, &consent)
    }
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
