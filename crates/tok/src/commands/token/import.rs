//! `tok token import`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;
use tok_api::convert::{ImportDraft, ImportReport};
use tok_model::import::{ImportFormat, ImportOutcome};
use zeroize::Zeroizing;

use crate::commands::words;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Table, safe};

/// The most bytes that are read of a file. What the daemon takes at once is less; it says so itself.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Bring in the secrets of another system, by value or by hash
///
/// They go on working as they are. Formats: wit, githosted, nitro and wick (JSON, CSV or lines with the tokens or their
/// hashes), reposilite (what `token-export` writes), htpasswd (bcrypt lines of Apache or nginx).
///
/// Each entry is judged by itself: the report says of each what became of it. Exit code 1 means that some were refused.
/// What is here already is skipped, so that a second run changes nothing.
///
/// Examples:
///
///     $ tok token import --format reposilite --file tokens.json --dry-run
///     $ tok token import --format htpasswd --user alice --scopes repo:read < /etc/nginx/htpasswd
///     $ tok token import --format wick --user alice --scopes all --label from=wick --output json < wick.txt
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ImportArgs {
    /// What the file is
    #[arg(long, short, value_name = "FORMAT", value_parser = words::formats())]
    format: ImportFormat,
    /// Read this file instead of stdin
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Whom a token acts for if its entry does not say [default: you]
    #[arg(long)]
    user: Option<String>,
    /// What a token may do if its entry does not say [default: nothing, until it is modified]
    #[arg(long, short, value_name = "SCOPES", value_delimiter = ',', value_parser = words::scopes())]
    scopes: Vec<String>,
    /// Where a token may go if its entry does not say: 'acme/*:r'; can be repeated, or a comma list
    #[arg(long = "route", value_name = "PATTERN:r|w|rw", value_delimiter = ',')]
    routes: Vec<String>,
    /// The workspace, for formats whose tokens act for one
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// When a token ends if its entry does not say: days (30), a duration, a date, or never
    #[arg(long, short, value_name = "WHEN", value_parser = words::some_text())]
    expires: Option<String>,
    /// A word for each of them; can be repeated, or a comma list
    #[arg(long = "label", value_name = "LABEL", value_delimiter = ',')]
    labels: Vec<String>,
    /// Say what would be brought in and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl ImportArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let content = match &self.file {
            Some(path) => {
                let broken = |error| Failure::usage(format!("cannot read {}: {error}", path.display())).field("file");
                read(File::open(path).map_err(broken)?).map_err(broken)?
            }
            None if io::stdin().is_terminal() => {
                return Err(Failure::usage("the file is read from stdin, and stdin is a terminal")
                    .hint("`tok token import … < file`, or name it with `--file`"));
            }
            None => read(io::stdin().lock()).map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?,
        };
        let draft = ImportDraft {
            format: self.format,
            content,
            user: self.user,
            scopes: self.scopes.into_iter().filter(|scope| !scope.is_empty()).collect(),
            routes: self.routes,
            workspace: self.workspace,
            expires: self.expires,
            labels: self.labels,
            dry_run: self.dry_run,
        };
        let report = context.client().await?.import_tokens(draft).await?;
        context.out.show(&report, || text(&report, self.dry_run))?;
        if report.refused == 0 { Ok(()) } else { Err(Failure::Silent(Exit::Failed)) }
    }
}

fn read(from: impl Read) -> io::Result<SecretString> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {} MiB; cut it into several", MOST_BYTES >> 20)));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not text in UTF-8"))?;
    Ok(SecretString::from(text))
}

fn text(report: &ImportReport, dry_run: bool) -> String {
    let mut table = Table::new(["LINE", "OUTCOME", "NAME", "ID", "DETAIL"]);
    for line in &report.lines {
        let id = line.token_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let outcome = match line.outcome {
            ImportOutcome::Imported if dry_run => "would be imported",
            outcome => outcome.as_str(),
        };
        table.row([&line.line.to_string(), outcome, &safe(&line.name), &id, &line.detail]);
    }
    let (would, table) = (if dry_run { "Would be imported" } else { "Imported" }, table.text());
    format!("{table}\n{would}: {}, skipped: {}, refused: {}\n", report.imported, report.skipped, report.refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tok_api::convert::ImportedLine;

    #[test]
    fn each_entry_has_its_line() {
        let line = |line, name: &str, outcome, detail: &str| ImportedLine {
            line,
            name: name.to_owned(),
            outcome,
            detail: detail.to_owned(),
            token_id: None,
        };
        let report = ImportReport::of(vec![
            line(1, "root", ImportOutcome::Imported, ""),
            line(2, "old\u{1b}[2J", ImportOutcome::Refused, "MD5 is no hash for secrets"),
        ]);
        let text = text(&report, true);
        assert!(text.starts_with("LINE  OUTCOME            NAME"), "{text}");
        assert!(text.contains("1     would be imported  root"), "{text}");
        assert!(
            text.contains("2     refused            old") && text.contains("MD5") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(text.ends_with("\nWould be imported: 1, skipped: 0, refused: 1\n"), "{text}");
    }

    #[test]
    fn what_is_no_text_is_not_sent() {
        assert!(read(&b"\xff\xfe"[..]).unwrap_err().to_string().contains("UTF-8"));
    }
}
