//! Secrets on their way in: from stdin, from a file that nobody else may read, or typed without being shown. Never from an
//! argument or a variable of their own.

mod terminal;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::output::safe;

pub(crate) use self::terminal::{typed, typed_twice};

/// More than any secret has, in bytes.
const MOST_BYTES: u64 = 4096;
/// More than any identity token has, in bytes.
const MOST_BYTES_OF_LONG: u64 = 16 * 1024;

/// What stdin says, without the end of its last line.
pub(crate) fn from_stdin(what: &str) -> Result<SecretString, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let why = format!("{what} is read from stdin, and stdin is a terminal that would show it");
        return Err(Failure::usage(why).hint(format!("give {what} as in `… < file` or `printenv VARIABLE | …`")));
    }
    read(stdin.lock(), what, "stdin")
}

/// What a file says, without the end of its last line. Only its owner may be able to read it.
pub(crate) fn from_file(path: &Path, what: &str) -> Result<SecretString, Failure> {
    let (file, shown) = opened(path, what)?;
    read(file, what, &shown)
}

/// A file that only its owner may be able to read, and its path as it is shown.
fn opened(path: &Path, what: &str) -> Result<(File, String), Failure> {
    let shown = safe(&path.display().to_string());
    let broken = |error: io::Error| Failure::usage(format!("cannot read {what} from {shown}: {error}"));
    let file = File::open(path).map_err(broken)?;
    let metadata = file.metadata().map_err(broken)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{shown} is a directory")).hint(format!("name the file that holds {what}")));
    }
    // A pipe is nobody else's, whatever its mode says.
    let mode = metadata.mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        let why = format!("{shown} can be read by others (mode {mode:04o}), so what is in it is no secret");
        return Err(Failure::usage(why).hint(format!("chmod 600 {shown}")));
    }
    Ok((file, shown))
}

/// A long secret, as an identity token is, from stdin.
pub(crate) fn long_from_stdin(what: &str) -> Result<SecretString, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let why = format!("{what} is read from stdin, and stdin is a terminal that would show it");
        return Err(Failure::usage(why).hint(format!("give {what} as in `… < file` or `printenv VARIABLE | …`")));
    }
    read_at_most(stdin.lock(), what, "stdin", MOST_BYTES_OF_LONG)
}

/// The same from a file that only its owner may be able to read.
pub(crate) fn long_from_file(path: &Path, what: &str) -> Result<SecretString, Failure> {
    let (file, shown) = opened(path, what)?;
    read_at_most(file, what, &shown, MOST_BYTES_OF_LONG)
}

/// The same from a file that somebody else wrote, who has chosen its mode.
pub(crate) fn long_from_any_file(path: &Path, what: &str) -> Result<SecretString, Failure> {
    let shown = safe(&path.display().to_string());
    let file = File::open(path).map_err(|error| Failure::usage(format!("cannot read {what} from {shown}: {error}")))?;
    read_at_most(file, what, &shown, MOST_BYTES_OF_LONG)
}

fn read(from: impl Read, what: &str, place: &str) -> Result<SecretString, Failure> {
    read_at_most(from, what, place, MOST_BYTES)
}

fn read_at_most(from: impl Read, what: &str, place: &str, most: u64) -> Result<SecretString, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or_default() + 1));
    let read = from.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::local(format!("cannot read {place}: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(Failure::usage(format!("{place} has more than {most} bytes, too much for {what}")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage(format!("what {place} says is not text")))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(Failure::usage(format!("{place} is empty")).hint(format!("it should say {what}")));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// The secret, or what is said of it.
    pub(crate) fn said(secret: Result<SecretString, Failure>) -> String {
        match secret {
            Ok(secret) => secret.expose_secret().to_owned(),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn only_the_end_of_the_line_is_cut() {
        for (text, expected) in [("a b \n", "a b "), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n")] {
            assert_eq!(said(read(text.as_bytes(), "a secret", "stdin")), expected);
        }
        let long = "x".repeat(5_000);
        for (bytes, words) in [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff", "not text"), (long.as_bytes(), "4096")]
        {
            assert!(said(read(bytes, "a secret", "stdin")).contains(words), "{words}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_holds_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "correct horse\n").unwrap();
        for (mode, words) in [(0o600, "correct horse"), (0o400, "correct horse"), (0o640, "0640"), (0o604, "chmod 600")]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(said(from_file(&path, "the secret")).contains(words), "{mode:o}");
        }
        assert!(said(from_file(directory.path(), "the secret")).contains("directory"));
        assert!(said(from_file(&directory.path().join("none"), "the secret")).contains("cannot read"));
    }
}
