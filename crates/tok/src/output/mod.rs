//! Everything that leaves the program. Data goes to stdout, words about it to stderr.

mod json;
mod table;
mod text;

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use rustix::fs::{FileType, OFlags};
use serde::Serialize;

pub(crate) use self::json::{Named, Page};
pub(crate) use self::table::Table;
pub(crate) use self::text::{Style, count, ended, facts, quoted, safe, when};
use crate::exit::Failure;

/// What stdout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs; stable.
    Json,
}

/// Where output goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    quiet: bool,
    /// Whether somebody reads stdout as it comes.
    pub(crate) stdout_is_terminal: bool,
    /// Whether somebody can be asked: they see stderr and type into stdin.
    pub(crate) interactive: bool,
    style: Style,
}

impl Output {
    pub(crate) fn new(format: Format, quiet: bool, no_input: bool) -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let given = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            format,
            quiet,
            stdout_is_terminal,
            interactive: !no_input && io::stdin().is_terminal() && io::stderr().is_terminal(),
            style: Style { color: stdout_is_terminal && !dumb && !given("NO_COLOR") },
        }
    }

    /// Whether stdout is for programs.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// How text on stdout may be dressed.
    pub(crate) fn style(self) -> Style {
        self.style
    }

    /// Prints the value in the form that was asked for.
    pub(crate) fn show(self, value: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.is_json() { json(value) } else { text(&[&words()]) }
    }

    /// Says something on stderr that is not an error.
    pub(crate) fn note(self, words: &str) {
        if !self.quiet {
            complain(words);
        }
    }

    /// Says how to see the rest of a list, to people only: programs find the cursor in the JSON.
    pub(crate) fn more(self, command: &str, next_cursor: Option<&str>) {
        if let (Some(cursor), false) = (next_cursor, self.is_json()) {
            self.note(&format!("More: {command} --cursor {cursor}\n"));
        }
    }
}

/// Whether what is written to stdout can reach anybody. When stdout is closed, the runtime opens `/dev/null` in its place
/// before anything of ours runs: for reading, too, as no redirection of a shell does, which is how it is told from one.
pub(crate) fn stdout_is_read() -> bool {
    let stdout = io::stdout();
    // What cannot be found out is left to the writing.
    let Ok(flags) = rustix::fs::fcntl_getfl(&stdout) else { return true };
    if flags.contains(OFlags::RDWR) {
        let (Ok(there), Ok(null)) = (rustix::fs::fstat(&stdout), rustix::fs::stat("/dev/null")) else { return true };
        return there.st_rdev != null.st_rdev || FileType::from_raw_mode(there.st_mode) != FileType::CharacterDevice;
    }
    // Opened for reading alone: writing fails, and the runtime takes that for a stdout that is not there.
    flags.contains(OFlags::WRONLY)
}

/// Prints one JSON value on stdout.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, value).map_err(io::Error::from)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

/// Prints one JSON value on a line of its own, for whoever reads them as they come.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, value).map_err(io::Error::from)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

/// Prints text on stdout, piece by piece, so that a secret need not be copied into a larger text.
pub(crate) fn text(pieces: &[&str]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    for piece in pieces {
        stdout.write_all(piece.as_bytes())?;
    }
    Ok(stdout.flush()?)
}

/// Writes to stderr. If even that fails there is nobody left to tell.
pub(crate) fn complain(words: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(words.as_bytes()).and_then(|()| stderr.flush());
}
