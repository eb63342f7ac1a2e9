//! Where the file of logins is.

use std::path::{Path, PathBuf};

/// The file of logins, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoginsFile {
    path: PathBuf,
}

impl LoginsFile {
    /// `$XDG_CONFIG_HOME/tok/logins.toml`, or `~/.config/tok/logins.toml`. None if neither variable says where.
    pub(crate) fn usual() -> Option<Self> {
        let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self::under(directory("XDG_CONFIG_HOME"), directory("HOME"))
    }

    fn under(config_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<Self> {
        let config = config_home.or_else(|| home.map(|home| home.join(".config")))?;
        Some(Self { path: config.join("tok/logins.toml") })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it is in.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_configuration_is() {
        let path = |config: Option<&str>, home: Option<&str>| {
            LoginsFile::under(config.map(PathBuf::from), home.map(PathBuf::from)).map(|file| file.path)
        };
        assert_eq!(path(None, Some("/home/a")), Some("/home/a/.config/tok/logins.toml".into()));
        assert_eq!(path(Some("/c"), Some("/home/a")), Some("/c/tok/logins.toml".into()));
        assert_eq!(path(None, None), None);
    }
}
