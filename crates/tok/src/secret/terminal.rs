//! Secrets that are typed: the terminal shows nothing of them, and is put right again however that ends.

use std::io::{self, Read};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use zeroize::{Zeroize as _, Zeroizing};

use super::MOST_BYTES;
use crate::exit::Failure;
use crate::output::{Output, complain};

/// Asks for a new secret twice, without showing it.
pub(crate) async fn typed_twice(out: Output, what: &str) -> Result<SecretString, Failure> {
    let first = typed(out, &format!("New {what}: ")).await?;
    let again = typed(out, &format!("The same {what} again: ")).await?;
    if first.expose_secret() == again.expose_secret() {
        Ok(first)
    } else {
        Err(Failure::usage(format!("that was not the same {what} twice")).hint("nothing was changed; try again"))
    }
}

/// Asks for a secret, without showing it.
pub(crate) async fn typed(out: Output, question: &str) -> Result<SecretString, Failure> {
    if !out.interactive {
        return Err(Failure::usage("there is no terminal to ask on").hint("give it on stdin, as in `… < file`"));
    }
    let hidden = |error: io::Error| Failure::local(format!("cannot hide what is typed: {error}"));
    let mut ends = Ends::new().map_err(hidden)?;
    // Before the question: whoever answers a question at once is not to be shown either.
    let quiet = Quiet::start().map_err(hidden)?;
    complain(question);
    let (done, typed) = oneshot::channel();
    // A thread of its own: what waits for a key cannot be stopped, and nobody waits for it when this program ends.
    thread::spawn(move || done.send(line(&mut io::stdin().lock())));
    let line = tokio::select! {
        line = typed => line.unwrap_or_else(|_| Err(Failure::cancelled())),
        () = ends.any() => Err(Failure::cancelled()),
    };
    drop(quiet);
    complain("\n");
    line
}

/// The signals that would end this program, and leave behind a terminal that shows nothing.
struct Ends([Signal; 4]);

impl Ends {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
        let [terminate, hangup, interrupt, quit] = kinds.map(signal);
        Ok(Self([terminate?, hangup?, interrupt?, quit?]))
    }

    async fn any(&mut self) {
        let [terminate, hangup, interrupt, quit] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// A line of keys, as a terminal sends them when it does nothing about them by itself.
fn line(keys: &mut impl Read) -> Result<SecretString, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    let mut key = [0_u8];
    loop {
        let read = keys.read(&mut key).map_err(|error| Failure::local(format!("cannot read the terminal: {error}")))?;
        match key[0] {
            _ if read == 0 => return Err(Failure::cancelled()),
            b'\r' | b'\n' => break,
            // Ctrl-C, Ctrl-D, Ctrl-\
            0x03 | 0x04 | 0x1c => return Err(Failure::cancelled()),
            // Backspace: a whole character, however many bytes it has.
            0x08 | 0x7f => while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U
            0x15 => bytes.clear(),
            byte if bytes.len() as u64 <= MOST_BYTES => bytes.push(byte),
            _ => {}
        }
        key.zeroize();
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage("what was typed is not text"))?;
    if text.is_empty() {
        return Err(Failure::usage("nothing was typed").hint("nothing was changed; try again"));
    }
    Ok(SecretString::from(text))
}

/// A terminal that shows no keys, and leaves even Ctrl-C to us, so that it is put right again whatever is typed.
struct Quiet(Termios);

impl Quiet {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If this fails the terminal is gone, and nobody needs it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tests::said;

    #[test]
    fn keys_make_a_line() {
        for (keys, expected) in
            [(&b"pa\x7fss\r"[..], "pss"), ("päh\u{7f}\u{7f}x\n".as_bytes(), "px"), (b"no\x15yes\n", "yes")]
        {
            assert_eq!(said(line(&mut &*keys)), expected);
        }
        for keys in [&b"abc\x03"[..], b"abc\x04", b"abc"] {
            assert!(said(line(&mut &*keys)).contains("cancelled"));
        }
        assert!(said(line(&mut &b"\n"[..])).contains("nothing was typed"));
    }
}
