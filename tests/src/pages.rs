//! The console's pages, as a browser without JavaScript goes through them: it opens, reads the forms, fills them in, sends
//! them, keeps cookies.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::http::{FORM, Reply, Request, form_of};

/// Somebody with such a browser: the pages they open and the cookies they have.
pub struct Visitor<'e> {
    environment: &'e Environment,
    /// By name.
    pub cookies: BTreeMap<String, String>,
}

/// A form of a page.
#[derive(Debug, Clone)]
pub struct Form {
    method: String,
    action: String,
    /// Its fields with what is in them, names and values.
    pub fields: Vec<(String, String)>,
}

impl<'e> Visitor<'e> {
    /// Without cookies.
    pub fn new(environment: &'e Environment) -> Self {
        Self { environment, cookies: BTreeMap::new() }
    }

    /// Sends a request with the cookies, and takes those of the answer.
    #[track_caller]
    pub fn send(&mut self, request: Request) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("Cookie", &cookies.join("; ")) };
        let reply = self.environment.send(&request);
        for (_, line) in reply.headers.iter().filter(|(name, _)| name == "set-cookie") {
            assert!(
                line.contains("; HttpOnly") && line.contains("; SameSite=Strict") && line.contains("; Path=/"),
                "{line}"
            );
            let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            self.environment.canaries().register_shown(value.as_bytes());
        }
        reply
    }

    /// Opens a page, wherever it sends us on to.
    pub fn open(&mut self, path: &str) -> Reply {
        let mut path = path.to_owned();
        for _ in 0..5 {
            let reply = self.send(Request::get(&path));
            guarded(&reply);
            match reply.header("location") {
                Some(next) => {
                    assert!(next.starts_with('/') && !next.starts_with("//"), "{next}");
                    next.clone_into(&mut path);
                }
                None => return reply,
            }
        }
        panic!("sent round in circles");
    }

    /// Sends a form with this filled in.
    pub fn submit(&mut self, form: &Form, filled: &[(&str, &str)]) -> Reply {
        let mut fields = form.fields.clone();
        for (name, value) in filled {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        let body = form_of(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if form.method == "get" {
            return self.open(&format!("{}?{body}", form.action));
        }
        let url = self.environment.url();
        let request = Request::post(&form.action, FORM, body).header("Origin", &url);
        let reply = self.send(request.header("Sec-Fetch-Site", "same-origin"));
        guarded(&reply);
        reply
    }

    /// Sends a form and goes where that leads.
    pub fn follow(&mut self, form: &Form, filled: &[(&str, &str)]) -> Reply {
        let reply = self.submit(form, filled);
        match reply.header("location") {
            Some(next) => self.open(next),
            None => reply,
        }
    }

    /// Signs in on the page for that.
    pub fn sign_in(&mut self, user: &str, password: &str) {
        let page = self.open("/login");
        let reply = self.submit(&form(&page, "/login"), &[("user", user), ("password", password)]);
        assert_eq!(reply.status, 303, "{}", reply.text());
    }
}

/// What every page has.
#[track_caller]
pub fn guarded(reply: &Reply) {
    let policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}: {reply:?}");
    }
    assert!(reply.header("permissions-policy").is_some());
    let page = reply.text();
    let handler = |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).starts_with('=');
    assert!(!page.contains("<script") && !page.contains("style=") && !page.split(" on").skip(1).any(handler), "{page}");
}

fn decoded(text: &str) -> String {
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// What an attribute of a tag says.
pub fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// The form of a page that goes there.
#[track_caller]
pub fn form(page: &Reply, action: &str) -> Form {
    let text = page.text();
    let found = text
        .split("<form ")
        .skip(1)
        .filter_map(|form| form.split("</form>").next())
        .find(|form| attribute(&format!(" {form}"), "action") == Some(action));
    let found = found.unwrap_or_else(|| panic!("no form for {action}: {} {text}", page.status));
    let fields = found
        .split("<input ")
        .skip(1)
        .filter_map(|input| Some(format!(" {}", input.split('>').next()?)))
        .map(|input| {
            let of = |name| decoded(attribute(&input, name).unwrap_or_default());
            (of("name"), of("value"))
        })
        .collect();
    let head = format!(" {}", found.split('>').next().unwrap_or_default());
    Form { method: attribute(&head, "method").expect("a method").to_owned(), action: action.to_owned(), fields }
}
