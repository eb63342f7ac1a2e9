//! Somebody who sits between git and its helper on a laptop, and sees what neither a terminal nor a process list should show.

use std::fs;
use std::path::PathBuf;

use crate::binaries;
use crate::git::make_executable;
use crate::laptop::Laptop;

/// What a laptop's user would have been asked, and what any process of theirs could have read.
pub struct Witness {
    asked: PathBuf,
    seen: PathBuf,
}

impl Laptop<'_> {
    /// From now on git asks an askpass program, which has no answer and tells on it, and finds its helper by way of a
    /// script that writes down what arguments and variables the helper and all who called it have.
    pub fn witness(&self) -> Witness {
        let directory = self.home().join("witness");
        fs::create_dir(&directory).expect("the directory is ours");
        make_executable(&directory);
        let witness = Witness { asked: self.home().join("asked"), seen: self.home().join("seen") };
        let helper = if self.is_another_user() {
            self.programs().join("git-credential-tok")
        } else {
            binaries::path("git-credential-tok")
        };
        let (asked, seen, helper) = (witness.asked.display(), witness.seen.display(), helper.display());
        let askpass = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >>'{asked}'\nexit 1\n");
        let noted = format!(
            "#!/bin/sh\npid=$$\nwhile [ \"${{pid:-1}}\" -gt 1 ]; do\n\
             \x20 cat /proc/$pid/cmdline /proc/$pid/environ 2>/dev/null >>'{seen}'\n\
             \x20 pid=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$pid/status)\ndone\nexec '{helper}' \"$@\"\n"
        );
        for (name, script) in [("askpass", askpass), ("git-credential-tok", noted)] {
            self.write(&directory.join(name), &script);
            make_executable(&directory.join(name));
        }
        for name in ["GIT_ASKPASS", "SSH_ASKPASS"] {
            self.set(name, directory.join("askpass"));
        }
        let mut path = directory.into_os_string();
        path.push(":");
        path.push(self.search_path());
        self.set("PATH", path);
        witness
    }
}

impl Witness {
    /// Nobody was asked for anything, by terminal or otherwise.
    #[track_caller]
    pub fn nobody_was_asked(&self) {
        let asked = fs::read_to_string(&self.asked).unwrap_or_default();
        assert!(asked.is_empty(), "somebody was asked: {asked}");
    }

    /// What was seen of the processes; the leak scanner looks at it, too, as at any file.
    pub fn seen(&self) -> Vec<u8> {
        fs::read(&self.seen).unwrap_or_default()
    }
}
