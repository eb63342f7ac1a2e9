//! `tok doctor`.

mod files;
mod finding;
mod helpers;
mod oddities;
mod program;
mod remotes;
mod server;
mod session;
mod targets;
mod urls;

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use self::finding::{Check, Finding, Severity};
use super::git::process::Git;
use super::git::settings::Settings;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Style, count, safe};

pub(super) use self::program::version_of;

/// Look for what keeps git and tok from working together, and say how to mend it
///
/// It looks at git and its configuration, at the helpers that git asks, at the remotes of the repository you are in, at the
/// files and sockets of tok, at the way to each server, at both clocks and at the session. It changes nothing. Each finding
/// says what is wrong, why that matters, and the command that mends it.
///
/// Without a URL it looks at every server that you are logged in to, that git asks tok for, or that is a remote here.
///
/// Exit codes: 0 nothing to mend, 1 something to mend, 3 not logged in or the session has ended, 6 a server does not answer.
///
/// Examples:
///
///     $ tok doctor
///     $ tok doctor origin
///     $ tok doctor https://git.example.com --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DoctorArgs {
    /// A server, a repository, or the name of a remote [default: all that are known here]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The same as `--output json`
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    checks: &'a [Check],
    errors: usize,
    warnings: usize,
}

impl DoctorArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.json {
            context.out.format = crate::output::Format::Json;
        }
        let git = Git::default();
        let mut checks = vec![program::git(&git)];
        let settings = Settings::read(&git)?;
        let targets = targets::find(&settings, self.url.as_deref())?;
        let tls = remotes::that_speak_tls(context, &settings, &targets).await;
        checks.extend([files::logins(), files::sockets(context), files::agent(context).await]);
        checks.extend(oddities::of_the_environment());
        checks.push(urls::passwords(&settings));
        checks.push(remotes::passwords(&settings, &targets, &tls));
        checks.push(remotes::in_the_clear(&settings, &targets, &tls));
        let targets: Vec<_> = targets.into_iter().map(|target| remotes::over_tls(target, &tls)).collect();
        for target in &targets {
            checks.extend(helpers::all(&settings, target)?);
            checks.push(oddities::about(&settings, target)?);
            let (way, reached) = server::way(&target.server).await;
            checks.push(way);
            // A server that says nothing is waited for once.
            let (clocks, session) = tokio::join!(
                async { if reached { Some(server::clocks(context, &target.server).await) } else { None } },
                session::check(context, &settings, target, reached)
            );
            checks.extend(clocks);
            checks.extend(session?);
        }
        if targets.is_empty() {
            checks.push(targets::none());
        }
        let findings = || checks.iter().flat_map(|check| &check.findings);
        let number = |severity| findings().filter(|finding| finding.severity == severity).count();
        let report = Report { checks: &checks, errors: number(Severity::Error), warnings: number(Severity::Warning) };
        context.out.show(&report, || text(&report, context.out.style()))?;
        finding::exit(findings()).map_or(Ok(()), |exit| Err(Failure::Silent(exit)))
    }
}

fn text(report: &Report<'_>, style: Style) -> String {
    let mut text = String::new();
    for check in report.checks {
        let about = check.about.as_ref().map(|about| format!(" of {about}")).unwrap_or_default();
        if check.findings.is_empty() {
            let detail = check.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            text.push_str(&safe(&format!("ok       {}{about}{detail}", check.name)));
            text.push('\n');
        }
        for finding in &check.findings {
            text.push_str(&told(finding, check.name, &about, style));
        }
    }
    let found = match (report.errors, report.warnings) {
        (0, 0) => "Nothing to mend.".to_owned(),
        (errors, warnings) => {
            format!("{}, {}", count(errors as u64, "error"), count(warnings as u64, "warning"))
        }
    };
    format!("{text}{found}\n")
}

fn told(finding: &Finding, name: &str, about: &str, style: Style) -> String {
    let word = match finding.severity {
        Severity::Error => style.warning("error  "),
        Severity::Warning => style.strong("warning"),
        Severity::Note => "note   ".to_owned(),
    };
    let mut text = format!("{word}  {}\n", safe(&format!("{name}{about}: {}", finding.what)));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "         {}", safe(&finding.why));
    if let Some(fix) = &finding.fix {
        let _ = writeln!(text, "         mend: {}", safe(fix));
    }
    text
}
