//! Where a user's agent listens: the one rule that helper, command line and agent share.

use std::path::{Path, PathBuf};

/// What decides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentPlaces {
    /// `XDG_RUNTIME_DIR`.
    pub runtime_directory: Option<PathBuf>,
    /// `/run/user/UID`, if there is one and it is the user's own.
    pub usual_runtime_directory: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl AgentPlaces {
    /// From a process's variables. `owned` says whether a directory is there and the user's own. Relative paths count as
    /// absent.
    pub fn find(
        variable: impl Fn(&str) -> Option<std::ffi::OsString>,
        uid: u32,
        owned: impl FnOnce(&Path) -> bool,
    ) -> Self {
        let directory = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let runtime_directory = directory("XDG_RUNTIME_DIR");
        let usual = PathBuf::from(format!("/run/user/{uid}"));
        let usual_runtime_directory = (runtime_directory.is_none() && owned(&usual)).then_some(usual);
        Self {
            runtime_directory,
            usual_runtime_directory,
            state_home: directory("XDG_STATE_HOME"),
            home: directory("HOME"),
        }
    }

    /// The agent's socket: in the runtime directory, which ends with the user's last session, or where there is none, in
    /// the state directory. `None` for a user without a home.
    pub fn socket(&self) -> Option<PathBuf> {
        let runtime = self.runtime_directory.as_ref().or(self.usual_runtime_directory.as_ref());
        let directory = match runtime {
            Some(directory) => directory.clone(),
            None => match &self.state_home {
                Some(state) => state.clone(),
                None => self.home.as_ref()?.join(".local/state"),
            },
        };
        Some(directory.join("tok/agent.sock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_comes_first_then_the_usual_one_then_the_state_directory() {
        let socket = |variables: &[(&str, &str)], owned: bool| {
            let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).into());
            let found = AgentPlaces::find(variable, 1000, |_| owned).socket();
            found.map(|path| path.display().to_string()).unwrap_or_default()
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "/run/x"), home], true), "/run/x/tok/agent.sock");
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "relative"), home], true), "/run/user/1000/tok/agent.sock");
        assert_eq!(socket(&[home], false), "/home/ann/.local/state/tok/agent.sock");
        assert_eq!(socket(&[("XDG_STATE_HOME", "/s"), home], false), "/s/tok/agent.sock");
        assert_eq!(socket(&[], false), "");
    }
}
