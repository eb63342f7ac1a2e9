//! A login that somebody confirms in a browser (RFC 8628).

use std::time::{Duration, Instant};

use tok_api::convert::DeviceLogin;
use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Period;
use tok_model::url::Origin;

use super::browser;
use super::session::{Session, machine};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{complain, safe};

/// How the program calls itself (RFC 6749, section 2.2).
const CLIENT_ID: &str = "tok";
/// How much longer to wait from now on when it was asked too soon (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The longest pause while the server is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Begins a login, says where to confirm it, and waits until that is done.
pub(super) async fn approved(context: &Context, server: &Origin, may_open: bool) -> Result<Session, Failure> {
    let mut client = context.server(server, None).await?;
    let begun = Instant::now();
    let login = client.start_device(machine(), CLIENT_ID.to_owned()).await?;
    // Without these words nothing can go on, so they are not subject to `--quiet`.
    complain(&instructions(&login));
    if may_open && context.out.interactive {
        browser::open(&login.verification_uri_complete);
    }
    let mut pause = login.interval.max(Duration::from_secs(1));
    let mut away = Duration::ZERO;
    while begun.elapsed() < login.expires_in {
        tokio::time::sleep(pause + away).await;
        match client.poll_device(&login.device_code).await {
            Ok(opened) => return opened.try_into(),
            Err(fault) => match fault.code {
                FaultCode::AuthorizationPending => away = Duration::ZERO,
                FaultCode::SlowDown => pause += SLOWER,
                // Somebody may be in the middle of confirming: the network comes back, and so does the server.
                FaultCode::Unavailable => away = (away * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE),
                _ => return Err(ended(fault, server)),
            },
        }
    }
    Err(ended(Fault::new(FaultCode::ExpiredToken, "the login was not confirmed in time"), server))
}

fn ended(fault: Fault, server: &Origin) -> Failure {
    let hint = match fault.code {
        FaultCode::AccessDenied => "whoever opened the page said no; nothing was changed".to_owned(),
        _ => format!("`tok login {server}` begins another"),
    };
    Failure::from(fault).hint(hint)
}

fn instructions(login: &DeviceLogin) -> String {
    let time = i64::try_from(login.expires_in.as_secs()).ok().and_then(Period::from_seconds);
    let time = time.map(|time| format!(" (the code is good for {time})")).unwrap_or_default();
    format!(
        "To log in, open this address in a browser, here or on another machine:\n\n  {}\n\nand confirm the code{time}:\n\n  {}\n\n\
         With the code already in it: {}\nWaiting…\n",
        safe(&login.verification_uri),
        safe(&login.user_code),
        safe(&login.verification_uri_complete),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_and_the_code_stand_alone_and_the_secret_does_not_stand_there() {
        let login = DeviceLogin {
            device_code: "hush-hush".into(),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://git.example.com/device".to_owned(),
            verification_uri_complete: "https://git.example.com/device?user_code=WDJB-MJHT".to_owned(),
            expires_in: Duration::from_secs(600),
            interval: Duration::from_secs(5),
        };
        let text = instructions(&login);
        assert!(text.lines().any(|line| line.trim() == "https://git.example.com/device"), "{text}");
        assert!(text.lines().any(|line| line.trim() == "WDJB-MJHT") && text.contains("10m"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        let hostile = DeviceLogin { user_code: "\u{1b}[2J".to_owned(), ..login };
        assert!(!instructions(&hostile).contains('\u{1b}'));
    }
}
