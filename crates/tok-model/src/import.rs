//! Words of bringing in secrets of other systems.

/// What a file of secrets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportFormat {
    /// wit's personal access tokens: CSV or JSON.
    Wit,
    /// githosted's workspace and repo tokens: JSON.
    Githosted,
    /// What Reposilite exports: JSON.
    Reposilite,
    /// nitro's personal access tokens: JSON.
    Nitro,
    /// wick's personal access tokens: lines, or JSON.
    Wick,
    /// A password file of Apache or nginx, its bcrypt lines.
    Htpasswd,
}

crate::kind::words!(
    ImportFormat,
    "import format",
    Wit = "wit",
    Githosted = "githosted",
    Reposilite = "reposilite",
    Nitro = "nitro",
    Wick = "wick",
    Htpasswd = "htpasswd"
);

/// What random secrets of these systems begin with, as far as that is fixed.
pub const FOREIGN_PREFIXES: [&str; 4] = ["wit_", "gw_", "gr_", "wick_pat_"];

/// What became of one entry of such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportOutcome {
    /// A token was made of it (or would be, in a dry run).
    Imported,
    /// It is here already.
    Skipped,
    /// It cannot be brought in, or not by this caller.
    Refused,
}

crate::kind::words!(ImportOutcome, "import outcome", Imported = "imported", Skipped = "skipped", Refused = "refused");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_strangers_are_named() {
        for format in ImportFormat::every() {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
        for outcome in ImportOutcome::every() {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        assert!("gitea".parse::<ImportFormat>().unwrap_err().to_string().contains("wit, githosted, reposilite"));
    }
}
