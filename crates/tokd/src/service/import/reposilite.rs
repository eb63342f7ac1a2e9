//! What Reposilite's `token-export` writes: a list of tokens, each with its permissions and routes. The fields of the token
//! itself may stand within `accessToken` or beside them.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value;

use super::entry::{Entry, Reach, Said, Secret, end};
use super::fields::{Fields, each, entries};
use crate::slow_hash::bcrypt_cost;

const TOKEN: &[&str] = &[
    "identifier",
    "name",
    "encryptedSecret",
    "secret",
    "createdAt",
    "description",
    "expiresAt",
    "permissions",
    "routes",
];

pub(super) fn read(content: &str) -> Result<Vec<Entry>, String> {
    let name = |fields: &Fields<'_>| match fields.object("accessToken")? {
        Some(token) => token.needed("name"),
        None => fields.needed("name"),
    };
    Ok(each(&entries(content, &["tokens"])?, name, |fields| match fields.object("accessToken")? {
        Some(token) => {
            fields.only(&["accessToken", "permissions", "routes"])?;
            said(&token, fields)
        }
        None => said(fields, fields),
    }))
}

fn said(token: &Fields<'_>, around: &Fields<'_>) -> Result<Said, String> {
    token.only(TOKEN)?;
    if let Some(identifier) = token.object("identifier")? {
        identifier.only(&["type", "value"])?;
        if identifier.text("type")?.is_some_and(|kind| kind.eq_ignore_ascii_case("TEMPORARY")) {
            return Err("it is temporary: give it to `tokd --token-file` instead".to_owned());
        }
    }
    let secret = match (token.text("secret")?, token.text("encryptedSecret")?) {
        (Some(_), Some(_)) => return Err("it has both its secret and the hash of it: leave one of them out".to_owned()),
        (None, None | Some("")) => return Err("it has neither its secret nor the hash of it".to_owned()),
        (Some(text), None) => Secret::Chosen(SecretString::from(text)),
        (None, Some(hash)) => {
            bcrypt_cost(hash)?;
            Secret::Bcrypt(hash.to_owned())
        }
    };
    let manager = manages(around.list("permissions")?)?;
    let routes = routes(around.list("routes")?)?;
    let reach = match (manager, routes.is_empty()) {
        // It has full access to any path, whatever its routes.
        (true, _) => Reach::Personal { scopes: Some(vec!["manager".to_owned()]), routes: None },
        (false, true) => Reach::Personal { scopes: None, routes: None },
        (false, false) => {
            let writes = routes.iter().any(|route| route.ends_with('w'));
            let scope = if writes { "repo:write" } else { "repo:read" };
            Reach::Personal { scopes: Some(vec![scope.to_owned()]), routes: Some(routes) }
        }
    };
    Ok(Said {
        description: token.text("description")?.unwrap_or_default().to_owned(),
        user: None,
        namesake: None,
        reach,
        expires: end(token.text("expiresAt")?)?,
        secret,
    })
}

/// A permission as text, or as the object that newer versions write.
fn word(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(object) => object.get("identifier").or_else(|| object.get("shortcut"))?.as_str(),
        _ => None,
    }
}

fn manages(permissions: &[Value]) -> Result<bool, String> {
    for permission in permissions {
        match word(permission) {
            Some("access-token:manager" | "MANAGER" | "m") => {}
            _ => return Err("it has a permission that is not MANAGER, the only one there is".to_owned()),
        }
    }
    Ok(!permissions.is_empty())
}

/// Its routes in our form, one for each path.
fn routes(list: &[Value]) -> Result<Vec<String>, String> {
    let mut by_path: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for value in list {
        let Value::Object(object) = value else { return Err("a route is no JSON object".to_owned()) };
        let route = Fields(object);
        route.only(&["path", "permission"])?;
        let pattern = pattern(&route.needed("path")?)?;
        let access = by_path.entry(pattern).or_default();
        match route.0.get("permission").and_then(word) {
            Some("route:read" | "READ" | "r") => access.0 = true,
            Some("route:write" | "WRITE" | "w") => access.1 = true,
            Some("rw") => *access = (true, true),
            _ => return Err("a route's permission is neither READ nor WRITE".to_owned()),
        }
    }
    let right = |access| match access {
        (true, true) => "rw",
        (false, true) => "w",
        _ => "r",
    };
    Ok(by_path.into_iter().map(|(pattern, access)| format!("{pattern}:{}", right(access))).collect())
}

/// There a path is the beginning of an address: `/` is everything, `/acme` a workspace, `/acme/app` one repository.
fn pattern(path: &str) -> Result<String, String> {
    let trimmed = path.trim_matches('/');
    match trimmed.split('/').count() {
        _ if trimmed.is_empty() => Ok("**".to_owned()),
        1 => Ok(format!("{trimmed}/**")),
        2 => Ok(trimmed.to_owned()),
        _ => Err("a route reaches into a repository; here whole repositories are reached, as /workspace/repository"
            .to_owned()),
    }
}
