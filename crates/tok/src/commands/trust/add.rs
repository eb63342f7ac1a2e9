//! `tok trust add`.

use std::path::PathBuf;

use clap::Args;
use tok_api::convert::TrustDraft;
use tok_model::clock::Period;
use tok_model::kind::Permission;
use tok_model::name::{TrustName, WorkspaceName};
use tok_model::trust::{Expectation, Once, RepoPattern, System};

use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Let the jobs of a CI system have a git token
///
/// A job's identity token is believed if its issuer signed it, it is for the audience, and each claim is as expected: as it
/// stands, or with `*` for anything but `/` and `**` for anything. A claim that is given twice may be either.
///
/// A rule has to say whose jobs are meant: one that expects only what anybody's job can have (`ref=refs/heads/main`), or
/// whose pattern begins with `*`, is refused. At GitHub and Forgejo that is said by repository, repository_owner, their IDs
/// or sub; at GitLab by project_path, namespace_path, their IDs or sub; at any other issuer by sub, which each identity
/// token has, or by one of these or organization_slug, organization_id, pipeline_id, oidc.circleci.com/project-id.
///
/// Names can pass to somebody else, IDs cannot. A rule without an ID (repository_id, repository_owner_id; at GitLab
/// project_id, namespace_id) pins the IDs of each name when it is first used, and refuses another ID from then on; with
/// an ID it is sure from the start. `gh api repos/acme/app --jq .id` prints GitHub's.
///
/// At GitHub and Forgejo, jobs of pull requests from forks get no identity token; but pull_request_target does, with the
/// rights of your repository while it may run the stranger's code: expect `event_name=push` where it matters.
///
/// Examples:
///
///     $ tok trust add app --system github --claim repository_id=123456 --repo acme/app --permission write
///     $ tok trust add docs --system gitlab --claim project_path=acme/docs --repo acme/docs --lifetime 1h --permission write
///     $ tok trust add mirror --issuer https://codeberg.org/api/actions --claim repository=acme/app --repo acme/app --permission read
///     $ tok trust add farm --issuer https://ci.example.com --ca-file ci-ca.pem --claim sub=build-* --repo "acme/lib-*" --permission read
#[expect(clippy::doc_markdown, reason = "it is the help that people read in a terminal")]
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct AddArgs {
    /// What to call it
    name: TrustName,
    /// Who signs: the claim `iss`, exactly [default: that of --system github or gitlab]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Which CI system it is [default: as the issuer says]
    #[arg(long, value_parser = words::systems())]
    system: Option<System>,
    /// For whom: the claim `aud`, exactly [default: this server's address]
    #[arg(long)]
    audience: Option<String>,
    /// What a claim has to be; can be repeated
    #[arg(long = "claim", value_name = "NAME=PATTERN", required = true)]
    claims: Vec<Expectation>,
    /// A repository that jobs get a token for, with `*` for any part of its name; can be repeated
    #[arg(long = "repo", value_name = "WORKSPACE/REPO")]
    repos: Vec<RepoPattern>,
    /// Every repository of this workspace, if --repo names none
    #[arg(long, value_name = "NAME")]
    workspace: Option<WorkspaceName>,
    /// What the token may do there, at most
    #[arg(long, required = true, value_parser = words::permissions())]
    permission: Option<Permission>,
    /// How long the token lives, from 1m to 1h [default: 10m]
    #[arg(long, value_name = "TIME")]
    lifetime: Option<Period>,
    /// With which algorithm the issuer signs; can be repeated [default: RS256; for Forgejo also ES256 and EdDSA; for --system other also PS256, ES256 and EdDSA]
    #[arg(long = "algorithm", value_name = "NAME", value_parser = words::algorithms())]
    algorithms: Vec<tok_model::trust::Algorithm>,
    /// Certificates in PEM that the server shall trust for this issuer, beside its own
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How old an identity token may be [default: 1h; gitlab: 1d]
    #[arg(long, value_name = "TIME")]
    max_age: Option<Period>,
    /// How often one identity token is good: once, or once for each repository [default: token; gitlab: repository]
    #[arg(long, value_name = "WHAT", value_parser = words::onces())]
    once_per: Option<Once>,
    /// Let a name in even if it passed to somebody else
    #[arg(long)]
    allow_recycled_names: bool,
}

impl AddArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let issuer = match (self.issuer, self.system) {
            (Some(issuer), _) => issuer,
            (None, Some(System::GitHub)) => "https://token.actions.githubusercontent.com".to_owned(),
            (None, Some(System::GitLab)) => "https://gitlab.com".to_owned(),
            (None, _) => {
                return Err(Failure::usage("say who signs: --issuer URL")
                    .hint("it is the claim `iss`; of Forgejo https://<host>/api/actions"));
            }
        };
        if self.repos.is_empty() && self.workspace.is_none() {
            return Err(Failure::usage("say for which repositories: --repo or --workspace"));
        }
        let ca = match &self.ca_file {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("cannot read {}: {error}", safe(&path.display().to_string())))
            })?),
        };
        let by_name = !self.claims.iter().any(|claim| claim.claim.ends_with("_id"));
        let draft = TrustDraft {
            name: self.name.to_string(),
            issuer,
            audience: self.audience.unwrap_or_default(),
            claims: self.claims.iter().map(ToString::to_string).collect(),
            repos: self.repos.iter().map(ToString::to_string).collect(),
            workspace: self.workspace.map(|name| name.to_string()),
            permission: self.permission,
            lifetime: self.lifetime.map(|period| period.to_string()),
            system: self.system.map(|system| system.to_string()),
            algorithms: self.algorithms.iter().map(ToString::to_string).collect(),
            ca,
            max_age: self.max_age.map(|period| period.to_string()),
            once: self.once_per.map(|once| once.to_string()),
            allow_recycled_names: self.allow_recycled_names,
        };
        let trust = context.client().await?.add_trust(draft).await?;
        let now = context.now;
        context.out.show(&Named("trust", &trust), || super::details(&trust, now))?;
        if by_name && !trust.allow_recycled_names {
            context.out.note(
                "note: no claim is an ID, so the first job that meets this rule pins the IDs of its names; --claim repository_id=… (project_id at GitLab) is sure from the start\n",
            );
        } else if by_name {
            context.out.note("note: whoever gets one of these names at the CI system gets in\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tok_model::trust::System;

    #[test]
    fn the_help_names_the_algorithms_that_each_system_has_by_itself() {
        let command = crate::arguments::command();
        let add = command.find_subcommand("trust").and_then(|trust| trust.find_subcommand("add")).unwrap();
        let help = add.get_arguments().find(|argument| argument.get_id() == "algorithms").unwrap().get_help().unwrap();
        let help = help.to_string();
        let parts: Vec<&str> = help.split_once("[default: ").unwrap().1.split(';').collect();
        for (system, part) in [(System::GitHub, 0), (System::GitLab, 0), (System::Forgejo, 1), (System::Other, 2)] {
            for algorithm in System::Other.algorithms() {
                let named = parts[0].contains(algorithm.as_str()) || parts[part].contains(algorithm.as_str());
                assert_eq!(named, system.algorithms().contains(algorithm), "{system} {algorithm}: {help}");
            }
        }
    }
}
