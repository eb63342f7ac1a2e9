//! What goes wrong on the way: the server is started again, the network is cut or silent, the keyring is locked.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::wait;

use super::{Hour, timed};

/// What is wrong has to be said by then.
const SOON: Duration = Duration::from_secs(1);

impl Hour<'_> {
    pub(super) fn the_server_is_started_again(&self) {
        let pid = self.agent.pid();
        self.git("app", &["fetch", "--quiet"]);
        let kept = self.laptop.get(&self.challenged("acme/app", "read"));
        self.server.stop();
        // git says it itself: it does not get so far that it would need a token.
        let (away, took) =
            timed(|| self.laptop.newest_git(&["fetch"]).directory(self.laptop.work().join("app")).fails(128));
        assert!(took < 5 * SOON && away.complaint().contains(&self.url()), "{took:?}: {}", away.describe());
        assert!(!away.complaint().contains("could not read"), "{}", away.describe());
        self.said_soon("down");
        assert_eq!(self.laptop.get(&self.challenged("acme/app", "read")), kept, "it is as good as before");
        self.server.start();
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "after the server was started again");
        // Killed, it has no time to say goodbye.
        self.server.kill();
        self.server.start();
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "after the server was killed");
        assert_eq!(self.agent.pid(), pid, "the agent has seen worse");
        self.heals("again");
    }

    pub(super) fn the_network_is_cut_silent_and_back(&self) {
        let kept = self.laptop.get(&self.challenged("acme/app", "read"));
        self.proxy.cut_after(0);
        self.said_soon("cut");
        assert_eq!(self.laptop.get(&self.challenged("acme/app", "read")), kept, "it is as good as before");
        self.proxy.pass();
        self.heals("cut-before");
        self.git("app", &["fetch", "--quiet"]);

        // Nothing breaks, and nothing comes: as on a train. Who waits long enough gets there.
        self.proxy.hold_after(0);
        self.said_soon("held");
        assert_eq!(self.laptop.get(&self.challenged("acme/app", "read")), kept, "it is as good as before");
        let fetch = self.laptop.newest_git(&["fetch", "--quiet"]).directory(self.laptop.work().join("app")).start();
        self.proxy.wait_until_held();
        self.proxy.pass();
        assert_eq!(fetch.wait().expect_code(0).complaint(), "");
        self.heals("held-before");

        // After a night in a bag: the agent did not run, what was connected is dead and does not know it, and what
        // connects anew works.
        let agent = Pid::from_raw(self.agent.pid());
        kill(agent, Signal::SIGSTOP).unwrap();
        self.proxy.freeze();
        kill(agent, Signal::SIGCONT).unwrap();
        let (answer, took) = timed(|| self.laptop.ask(&self.challenged("acme/frozen", "read")));
        assert!(answer.text().contains("credential=") && answer.complaint().is_empty(), "{}", answer.describe());
        assert!(took < 3 * SOON, "{took:?}");
        self.git("app", &["fetch", "--quiet"]);
        self.proxy.pass();
        self.git("app", &["fetch", "--quiet"]);
    }

    /// Whoever needs a new token now is told within a second why there is none, in one line, by the fastest of three.
    #[track_caller]
    fn said_soon(&self, what: &str) {
        let mut fastest = Duration::MAX;
        for round in 0..3 {
            let (said, took) = timed(|| self.laptop.ask(&self.challenged(&format!("acme/{what}{round}"), "read")));
            fastest = fastest.min(took);
            assert_eq!(said.text(), "", "{}", said.describe());
            said.says(&["tok: ", &self.url()]);
            assert_eq!(said.complaint().lines().count(), 1, "{}", said.describe());
        }
        assert!(fastest < SOON, "{what}: {fastest:?}");
    }

    /// New tokens are there again.
    #[track_caller]
    fn heals(&self, what: &str) {
        let lines = self.challenged(&format!("acme/{what}"), "read");
        wait::until_true("the network is back", || !self.laptop.ask(&lines).text().is_empty());
    }

    /// A session that is in use goes on; one that would have to be read says why it cannot, and not that it ended.
    pub(super) fn the_keyring_is_locked(&self) {
        self.desktop.lock_keyring();
        self.git("app", &["fetch", "--quiet"]);
        self.laptop.tok(&["agent", "stop"]).ok();
        self.refused("app", &["fetch", "--quiet"], &["the keyring is locked", "unlock it"]);
        let status = self.laptop.tok(&["status"]).run();
        assert!(!status.text().contains("ended"), "{}", status.describe());
        self.laptop.tok(&["whoami", "--server", &self.url()]).fails(1).says(&["the keyring is locked", "unlock it"]);
        self.desktop.unlock_keyring();
        self.git("app", &["fetch", "--quiet"]);
        // The agent's own lock lets go of what it read, and reads it again.
        self.laptop.tok(&["agent", "lock"]).ok();
        self.refused("app", &["fetch", "--quiet"], &["the agent is locked", "tok agent unlock"]);
        self.laptop.tok(&["agent", "unlock"]).ok();
        self.git("app", &["fetch", "--quiet"]);
    }
}
