//! The two cookies of the console: the session, and for whoever has none the number that their forms are sealed for.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

/// What a browser sent, and how this server's cookies are called.
pub struct Cookies {
    /// With TLS a cookie is tied to this very host (RFC 6265bis, section 4.1.3.2), and never sent in the clear.
    secure: bool,
    session: Option<SecretString>,
    visit: Option<String>,
}

impl Cookies {
    /// Reads a request's. `secure`: browsers reach this server over TLS.
    pub fn read(headers: &HeaderMap, secure: bool) -> Self {
        let mut cookies = Self { secure, session: None, visit: None };
        let (session, visit) = (cookies.name("tok"), cookies.name("tok-visit"));
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        for (name, value) in lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')) {
            if name == session && cookies.session.is_none() {
                cookies.session = Some(SecretString::from(value));
            } else if name == visit && cookies.visit.is_none() && is_visit(value) {
                cookies.visit = Some(value.to_owned());
            }
        }
        cookies
    }

    fn name(&self, name: &str) -> String {
        if self.secure { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// The text of the session.
    pub fn session(&self) -> Option<SecretString> {
        self.session.clone()
    }

    /// The number of a visit before logging in.
    pub fn visit(&self) -> Option<&str> {
        self.visit.as_deref()
    }

    /// Keeps a session until the browser is closed.
    pub fn keep_session(&self, text: &str) -> HeaderValue {
        self.set("tok", text, "")
    }

    /// Keeps the number of a visit as long.
    pub fn keep_visit(&self, number: &str) -> HeaderValue {
        self.set("tok-visit", number, "")
    }

    /// Takes the session away.
    pub fn drop_session(&self) -> HeaderValue {
        self.set("tok", "", "; Max-Age=0")
    }

    fn set(&self, name: &str, value: &str, rest: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name(name);
        let text = Zeroizing::new(format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{rest}"));
        // What is set is of our own making: letters, digits, hyphens.
        let mut header = HeaderValue::try_from(text.as_str()).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

fn is_visit(value: &str) -> bool {
    value.len() == 36 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn with_tls_only_the_tied_names_count() {
        let mut headers = HeaderMap::new();
        let number = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        headers.append(COOKIE, HeaderValue::from_str(&format!("a=b; tok=one;tok=two; tok-visit={number}")).unwrap());
        headers.append(COOKIE, HeaderValue::from_static("__Host-tok=three; __Host-tok-visit=<script>"));
        let text = |cookies: &Cookies| cookies.session().map(|text| text.expose_secret().to_owned());
        let plain = Cookies::read(&headers, false);
        assert_eq!((text(&plain).as_deref(), plain.visit()), (Some("one"), Some(number)));
        let secure = Cookies::read(&headers, true);
        assert_eq!((text(&secure).as_deref(), secure.visit()), (Some("three"), None));
        let set = secure.keep_session("tokses_x");
        assert_eq!(set, "__Host-tok=tokses_x; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(plain.drop_session(), "tok=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    }
}
