//! For which repositories of one workspace a rule gives tokens.

use std::fmt;
use std::str::FromStr;

use super::pattern::{Pattern, PatternError};
use crate::name::{NameError, RepoName, RepoPath, WorkspaceName};

/// The most repositories and patterns of one rule.
pub const MOST_PATTERNS: usize = 64;

/// Repositories of a workspace: `acme/app`, `acme/lib-*`, `acme/*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoPattern {
    /// The workspace, by its name.
    pub workspace: WorkspaceName,
    /// The repository's name, which has no `/`.
    pub repo: Pattern,
}

/// Where a rule's tokens reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reach {
    workspace: WorkspaceName,
    repos: Vec<Pattern>,
}

/// Why a reach cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// Nothing, or too much.
    #[error("a rule is for at least one repository, and for at most {MOST_PATTERNS} of them or patterns")]
    Count,
    /// More than one workspace.
    #[error("a rule is for the repositories of one workspace; make another rule for {0}")]
    Workspaces(WorkspaceName),
    /// No `workspace/repository`.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The pattern.
    #[error("{0}")]
    Pattern(#[from] PatternError),
}

impl Reach {
    /// Checks that they are of one workspace, and not too many.
    pub fn new(patterns: Vec<RepoPattern>) -> Result<Self, ReachError> {
        let first = patterns.first().ok_or(ReachError::Count)?.workspace.clone();
        if patterns.len() > MOST_PATTERNS {
            return Err(ReachError::Count);
        }
        if let Some(other) = patterns.iter().find(|other| other.workspace != first) {
            return Err(ReachError::Workspaces(other.workspace.clone()));
        }
        let mut repos: Vec<Pattern> = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if !repos.contains(&pattern.repo) {
                repos.push(pattern.repo);
            }
        }
        Ok(Self { workspace: first, repos })
    }

    /// The workspace.
    pub fn workspace(&self) -> &WorkspaceName {
        &self.workspace
    }

    /// The patterns of its repositories' names.
    pub fn repos(&self) -> &[Pattern] {
        &self.repos
    }

    /// Each as `workspace/repository`.
    pub fn texts(&self) -> Vec<String> {
        self.repos.iter().map(|repo| format!("{}/{repo}", self.workspace)).collect()
    }

    /// Whether a repository is within.
    pub fn covers(&self, repo: &RepoPath) -> bool {
        repo.workspace == self.workspace && self.repos.iter().any(|pattern| pattern.matches(repo.repo.as_str()))
    }

    /// The one repository, if it is one.
    pub fn only(&self) -> Option<RepoPath> {
        let [repo] = self.repos.as_slice() else { return None };
        let repo: RepoName = repo.as_str().parse().ok()?;
        Some(RepoPath { workspace: self.workspace.clone(), repo })
    }
}

impl FromStr for RepoPattern {
    type Err = ReachError;
    fn from_str(text: &str) -> Result<Self, ReachError> {
        let (workspace, repo) = text.split_once('/').ok_or(NameError::NotAPath)?;
        // A star stands for what a name may have, so that with a letter in its place it is a name.
        repo.replace("**", "*").replace('*', "x").parse::<RepoName>()?;
        Ok(Self { workspace: workspace.parse()?, repo: repo.parse()? })
    }
}

impl fmt::Display for RepoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.repo)
    }
}
