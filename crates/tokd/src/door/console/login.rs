//! Logging in and out.

use std::net::SocketAddr;

use askama::Template;
use axum::body::Body;
use hyper::{Request, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::Source;
use tok_model::decide::Caller;
use tok_model::id::TokenId;

use super::form::{parameter, way_on};
use super::page::{Frame, Page, SignedIn};
use super::{Console, LOGIN, LOGOUT, Visitor, browser, wait_words};
use crate::service::{BrowserSession, rng};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginForm<'a> {
    frame: Frame,
    seal: String,
    next: &'a str,
    /// What was typed as the name.
    user: &'a str,
    /// What was wrong.
    error: Option<String>,
    /// What to know before.
    note: Option<String>,
}

impl Console {
    /// The form.
    pub(super) async fn login_page(&self, request: Request<Body>, peer: SocketAddr) -> Result<Page, Fault> {
        let visitor = self.visitor(request.headers(), peer, "GET /login").await?;
        let query = request.uri().query();
        let next = parameter(query, "next");
        let note = match (&visitor.session, parameter(query, "why").as_str()) {
            (Some(session), "stale") => Some(format!(
                "You are signed in as {}, but not since a moment ago. To let a device sign in as you, say your password again.",
                session.user
            )),
            (Some(session), _) => Some(format!("You are signed in as {}.", session.user)),
            (None, "out") => Some("You are signed out.".to_owned()),
            (None, _) => None,
        };
        let user = visitor.session.as_ref().map(|session| session.user.clone()).unwrap_or_default();
        Ok(self.login_form(&visitor, StatusCode::OK, way_on(&next), &user, None, note))
    }

    /// What the form sent.
    pub(super) async fn log_in(&self, request: Request<Body>, peer: SocketAddr) -> Result<Page, Fault> {
        let agent = super::super::http::source::agent(request.headers());
        let (visitor, mut sent) = match self.sent(request, peer).await? {
            Ok(sent) => sent,
            Err(page) => return Ok(page),
        };
        let seal = sent.take("seal");
        let sealed = visitor.cookies.visit().is_some_and(|visit| self.service.is_sealed(visit, LOGIN, &seal));
        if !sealed {
            return Ok(self.elsewhere());
        }
        let (user, password, next) = (sent.take("user"), sent.take("password"), sent.take("next"));
        let next = way_on(&next);
        let said =
            |error: &str, status| Ok(self.login_form(&visitor, status, next, &user, Some(error.to_owned()), None));
        if user.trim().is_empty() || password.is_empty() {
            return said("Type your user name and your password.", StatusCode::BAD_REQUEST);
        }
        let password = SecretString::from(&*password);
        let browser = browser::name(agent.as_deref());
        match self.service.sign_in(visitor.source.clone(), &user, password, &browser).await {
            Ok(opened) => {
                // One browser, one session.
                self.end(&visitor).await?;
                Ok(Page::go(next).cookie(visitor.cookies.keep_session(opened.secret.expose_secret())))
            }
            Err(fault) if fault.code == FaultCode::Unauthenticated => {
                said("The user name or the password is wrong.", StatusCode::FORBIDDEN)
            }
            Err(fault) if fault.code == FaultCode::RateLimited => {
                let page = said(&wait_words(fault.retry_after), StatusCode::TOO_MANY_REQUESTS);
                page.map(|page| page.header(hyper::header::RETRY_AFTER, fault.retry_after.unwrap_or(60).into()))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Ends the session, for good and everywhere.
    pub(super) async fn log_out(&self, request: Request<Body>, peer: SocketAddr) -> Result<Page, Fault> {
        let (visitor, mut sent) = match self.sent(request, peer).await? {
            Ok(sent) => sent,
            Err(page) => return Ok(page),
        };
        let Some(session) = &visitor.session else { return Ok(Page::go(LOGIN)) };
        if !self.service.is_sealed(&session.id, LOGOUT, &sent.take("seal")) {
            return Ok(self.elsewhere());
        }
        self.end(&visitor).await?;
        Ok(Page::go("/login?why=out").cookie(visitor.cookies.drop_session()))
    }

    /// Revokes the session of this browser, if it has one.
    async fn end(&self, visitor: &Visitor) -> Result<(), Fault> {
        let (Some(cookie), Some(session)) = (&visitor.cookie, &visitor.session) else { return Ok(()) };
        let source: Source = session.caller.source.clone();
        match self.service.revoke_secret(&Caller::anonymous(source), cookie, Some("signed out".to_owned())).await {
            Ok(_) => Ok(()),
            // It has ended already.
            Err(fault) if fault.code == FaultCode::NotFound || fault.code == FaultCode::Conflict => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn login_form(
        &self,
        visitor: &Visitor,
        status: StatusCode,
        next: &str,
        user: &str,
        error: Option<String>,
        note: Option<String>,
    ) -> Page {
        let (visit, new) = match visitor.cookies.visit() {
            Some(visit) => (visit.to_owned(), false),
            None => (TokenId::random(&mut rng()).to_string(), true),
        };
        let seal = self.service.seal_form(&visit, LOGIN);
        let signed_in = visitor.session.as_ref().map(|session| self.signed_in(session));
        let frame = Frame::new(if error.is_some() { "Sign in: try again" } else { "Sign in" }, signed_in);
        let page = Page::of(status, &LoginForm { frame, seal, next, user, error, note });
        if new { page.cookie(visitor.cookies.keep_visit(&visit)) } else { page }
    }

    /// The head of a page for somebody who is logged in.
    pub(super) fn signed_in(&self, session: &BrowserSession) -> SignedIn {
        SignedIn { name: session.user.clone(), seal: self.service.seal_form(&session.id, LOGOUT) }
    }
}
