//! A browser, if there is one to open.

use std::process::{Command, Stdio};

/// Opens an address, if this machine has a screen or the user names a browser. Whether it worked is seen by whoever sits
/// there; the address was printed before.
pub(super) fn open(address: &str) {
    let given = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let browser = given("BROWSER");
    if browser.is_none() && given("DISPLAY").is_none() && given("WAYLAND_DISPLAY").is_none() {
        return;
    }
    let Some(words) = command(browser.as_deref().unwrap_or("xdg-open"), address) else { return };
    let [program, arguments @ ..] = words.as_slice() else { return };
    let _ = Command::new(program)
        .args(arguments)
        .env_remove("TOK_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// The first browser of a list such as `firefox:w3m %s`, with the address. The server chose the address: it must be one of
/// the web, and never becomes an option or a word for a shell.
fn command(browsers: &str, address: &str) -> Option<Vec<String>> {
    let web = address.starts_with("https://") || address.starts_with("http://");
    if !web || address.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let first = browsers.split(':').find(|browser| !browser.trim().is_empty())?;
    let mut words: Vec<String> = first.split_whitespace().map(|word| word.replace("%s", address)).collect();
    if !first.contains("%s") {
        words.push(address.to_owned());
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_web_is_opened_and_never_through_a_shell() {
        let address = "https://git.example.com/device?user_code=A";
        assert_eq!(command("xdg-open", address).unwrap(), ["xdg-open", address]);
        assert_eq!(command("w3m -o x=%s:firefox", address).unwrap(), ["w3m", "-o", &format!("x={address}")]);
        assert_eq!(command(" :firefox", address).unwrap(), ["firefox", address]);
        for hostile in ["file:///etc/passwd", "--help", "javascript:x", "https://a b", "https://a\nb"] {
            assert!(command("xdg-open", hostile).is_none(), "{hostile}");
        }
    }
}
