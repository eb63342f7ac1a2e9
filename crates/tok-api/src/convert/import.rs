//! Bringing in secrets of other systems: what is asked, and what became of each entry.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_model::clock::Expiry;
use tok_model::id::TokenId;
use tok_model::import::{ImportFormat, ImportOutcome};
use tok_model::label::Label;
use tok_model::name::{UserName, WorkspaceName};
use tok_model::route::Routes;
use tok_model::scope::ScopeSet;
use utoipa::ToSchema;

use super::field::{given, optional, parsed};
use super::json;
use super::schema;
use super::token_draft::{labels, routes};
use crate::fault::Fault;
use crate::wire::v1;

/// The most bytes of a file that one call brings in.
pub const LARGEST_IMPORT: usize = 1024 * 1024;

/// What somebody wants brought in, as they typed it. The daemon has the last word on every part of it.
#[derive(Debug, Clone)]
pub struct ImportDraft {
    /// What the content is.
    pub format: ImportFormat,
    /// The file as it is.
    pub content: SecretString,
    /// Whom tokens act for whose entry does not say.
    pub user: Option<String>,
    /// For formats without scopes; empty: none, so that they reach nothing until they are modified.
    pub scopes: Vec<String>,
    /// As in `acme/*:r`; for personal tokens whose entry has none.
    pub routes: Vec<String>,
    /// The workspace for formats whose tokens act for one.
    pub workspace: Option<String>,
    /// For entries that do not say when they end; exactly as typed.
    pub expires: Option<String>,
    /// Each token gets these.
    pub labels: Vec<String>,
    /// Say what would be brought in, change nothing.
    pub dry_run: bool,
}

impl ImportDraft {
    /// Everything in this content, for the caller, with no authority beyond what its entries say.
    pub fn new(format: ImportFormat, content: SecretString) -> Self {
        Self {
            format,
            content,
            user: None,
            scopes: Vec::new(),
            routes: Vec::new(),
            workspace: None,
            expires: None,
            labels: Vec::new(),
            dry_run: false,
        }
    }
}

impl From<ImportDraft> for v1::ImportTokensRequest {
    fn from(draft: ImportDraft) -> Self {
        Self {
            format: draft.format.to_string(),
            content: draft.content.expose_secret().to_owned(),
            user: draft.user.unwrap_or_default(),
            scopes: draft.scopes,
            routes: draft.routes,
            workspace: draft.workspace.unwrap_or_default(),
            expires: draft.expires.unwrap_or_default(),
            labels: draft.labels,
            dry_run: draft.dry_run,
        }
    }
}

/// A checked request to bring secrets in. Its content is not read yet.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// What the content is.
    pub format: ImportFormat,
    /// The file as it is.
    pub content: SecretString,
    /// Whom tokens act for whose entry does not say; `None` is the caller.
    pub user: Option<UserName>,
    /// For entries that name no scopes.
    pub scopes: ScopeSet,
    /// For personal tokens whose entry has none.
    pub routes: Option<Routes>,
    /// The workspace for formats whose tokens act for one.
    pub workspace: Option<WorkspaceName>,
    /// For entries that do not say when they end; `None` leaves it to the server's policy.
    pub expires: Option<Expiry>,
    /// Each token gets these.
    pub labels: Vec<Label>,
    /// Say what would be brought in, change nothing.
    pub dry_run: bool,
}

impl TryFrom<v1::ImportTokensRequest> for NewImport {
    type Error = Fault;
    fn try_from(request: v1::ImportTokensRequest) -> Result<Self, Fault> {
        let content = SecretString::from(request.content);
        if content.expose_secret().trim().is_empty() {
            return Err(Fault::field("content", "there is nothing to bring in")
                .hint("hand the other system's file over on stdin: tok token import --format wit < tokens.json"));
        }
        if content.expose_secret().len() > LARGEST_IMPORT {
            let why = format!("one call brings in {} KiB at most", LARGEST_IMPORT / 1024);
            return Err(Fault::field("content", why).hint("cut the file into several"));
        }
        Ok(Self {
            format: parsed("format", &request.format)?,
            content,
            user: optional("user", &request.user)?,
            scopes: ScopeSet::from_texts(request.scopes.iter().map(String::as_str))
                .map_err(|why| Fault::field("scopes", why))?,
            routes: routes(&request.routes)?,
            workspace: optional("workspace", &request.workspace)?,
            expires: optional("expires", &request.expires)?,
            labels: labels(&request.labels)?,
            dry_run: request.dry_run,
        })
    }
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportedLine {
    /// The line it stands on, or for JSON which of the entries it is; counted from 1.
    pub line: u32,
    /// What the token is called; empty if the entry could not be read that far.
    pub name: String,
    /// In one word.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::ImportOutcomeWord)]
    pub outcome: ImportOutcome,
    /// Why, for people.
    pub detail: String,
    /// The token, if one was made or was here already.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub token_id: Option<TokenId>,
}

impl From<ImportedLine> for v1::ImportedLine {
    fn from(line: ImportedLine) -> Self {
        Self {
            line: line.line,
            name: line.name,
            outcome: line.outcome.to_string(),
            detail: line.detail,
            token_id: line.token_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ImportedLine> for ImportedLine {
    type Error = Fault;
    fn try_from(line: v1::ImportedLine) -> Result<Self, Fault> {
        Ok(Self {
            line: line.line,
            name: line.name,
            outcome: parsed("outcome", &line.outcome)?,
            detail: line.detail,
            token_id: given(line.token_id).map(|id| parsed("token_id", &id)).transpose()?,
        })
    }
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportReport {
    /// Each entry, in the order of the file.
    pub lines: Vec<ImportedLine>,
    /// How many tokens were made (or would be, in a dry run).
    pub imported: u32,
    /// How many entries are here already.
    pub skipped: u32,
    /// How many could not be brought in.
    pub refused: u32,
}

impl ImportReport {
    /// A report on these entries.
    pub fn of(lines: Vec<ImportedLine>) -> Self {
        let count = |outcome| {
            let matching = lines.iter().filter(|line| line.outcome == outcome).count();
            u32::try_from(matching).unwrap_or(u32::MAX)
        };
        Self {
            imported: count(ImportOutcome::Imported),
            skipped: count(ImportOutcome::Skipped),
            refused: count(ImportOutcome::Refused),
            lines,
        }
    }
}

impl From<ImportReport> for v1::ImportTokensReply {
    fn from(report: ImportReport) -> Self {
        Self {
            lines: report.lines.into_iter().map(Into::into).collect(),
            imported: report.imported,
            skipped: report.skipped,
            refused: report.refused,
        }
    }
}

impl TryFrom<v1::ImportTokensReply> for ImportReport {
    type Error = Fault;
    fn try_from(reply: v1::ImportTokensReply) -> Result<Self, Fault> {
        Ok(Self {
            lines: reply.lines.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            imported: reply.imported,
            skipped: reply.skipped,
            refused: reply.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::ImportTokensRequest {
        v1::ImportTokensRequest::from(ImportDraft::new(ImportFormat::Wick, SecretString::from("ci\tann\tdeadbeef")))
    }

    #[test]
    fn a_bad_field_is_named_and_the_content_is_never_printed() {
        let whole = NewImport::try_from(request()).unwrap();
        assert!(!format!("{whole:?}").contains("deadbeef") && whole.scopes.is_empty());
        for (bad, field) in [
            (v1::ImportTokensRequest { format: "gitea".to_owned(), ..request() }, "format"),
            (v1::ImportTokensRequest { content: " \n".to_owned(), ..request() }, "content"),
            (v1::ImportTokensRequest { content: "x".repeat(LARGEST_IMPORT + 1), ..request() }, "content"),
            (v1::ImportTokensRequest { user: "a b".to_owned(), ..request() }, "user"),
            (v1::ImportTokensRequest { scopes: vec!["everything".to_owned()], ..request() }, "scopes"),
            (v1::ImportTokensRequest { routes: vec!["acme".to_owned()], ..request() }, "routes"),
            (v1::ImportTokensRequest { workspace: "..".to_owned(), ..request() }, "workspace"),
            (v1::ImportTokensRequest { expires: "soon".to_owned(), ..request() }, "expires"),
            (v1::ImportTokensRequest { labels: vec!["a b".to_owned()], ..request() }, "labels"),
        ] {
            let fault = NewImport::try_from(bad).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(field), "{fault:?}");
        }
    }

    #[test]
    fn a_report_survives_the_wire_and_counts_by_itself() {
        let line = |line, outcome| ImportedLine {
            line,
            name: "ci".to_owned(),
            outcome,
            detail: "why".to_owned(),
            token_id: (outcome != ImportOutcome::Refused)
                .then(|| "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap()),
        };
        let outcomes =
            [ImportOutcome::Imported, ImportOutcome::Imported, ImportOutcome::Skipped, ImportOutcome::Refused];
        let report = ImportReport::of((1..).zip(outcomes).map(|(at, outcome)| line(at, outcome)).collect());
        assert_eq!((report.imported, report.skipped, report.refused), (2, 1, 1));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (json["lines"][2]["outcome"].as_str(), json["lines"][3]["token_id"].as_str()),
            (Some("skipped"), None)
        );
        assert_eq!(ImportReport::try_from(v1::ImportTokensReply::from(report.clone())), Ok(report));
    }
}
