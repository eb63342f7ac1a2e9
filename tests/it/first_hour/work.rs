//! What people do all day: clone, push, submodules, large files, bare repositories, an older git.

use std::fs;

use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::{git, wait};

use super::Hour;
use crate::agent::{challenged, minted};

impl Hour<'_> {
    pub(super) fn clones_and_pushes(&self) {
        assert_eq!(minted(self.server), 0, "nothing was minted before git needed it");
        self.git(".", &["clone", "--quiet", &self.repository("acme/app"), "app"]);
        self.pushes("app", "from the laptop");
        self.git("app", &["fetch", "--quiet"]);
        self.git("app", &["pull", "--quiet"]);
        assert_eq!(minted(self.server), 2, "one to read, one to push");
        self.git(".", &["clone", "--quiet", &self.other.repository("club/game"), "game"]);
        self.pushes("game", "from the laptop, too");
        let head = |place: &str| self.git(place, &["rev-parse", "HEAD"]).line().to_owned();
        for (server, repo, work) in [(self.server, "acme/app", "app"), (self.other, "club/game", "game")] {
            assert_eq!(server.revision(&server.on_server(repo), "main"), head(work));
        }
        // Each server's token is for that server alone.
        assert_eq!(users_of_git_tokens(self.server), ["alice"]);
        assert_eq!(users_of_git_tokens(self.other), ["al"]);
        self.nothing_is_written_down("after the first push");
    }

    pub(super) fn submodules_have_tokens_of_their_own(&self) {
        self.before.set(minted(self.server));
        let add = |url: &str, name: &str| self.git("app", &["submodule", "--quiet", "add", url, name]);
        add(&self.repository("acme/library"), "library");
        add(&self.other.repository("club/game"), "game");
        self.pushes("app", "with a library and a game");
        let url = self.repository("acme/app");
        self.git(".", &["clone", "--quiet", "--recurse-submodules", "--jobs", "2", &url, "again"]);
        for file in ["again/library/README", "again/game/README"] {
            assert!(self.laptop.work().join(file).is_file(), "{file}");
        }
        assert_eq!(self.minted_since(), ["library read"]);
    }

    pub(super) fn large_files_are_the_same_repository(&self) {
        let plain = self.laptop.get(&self.challenged("acme/app", "read")).token().to_owned();
        let lines = self.challenged("acme/app", "read").replace("app.git\n", "app.git/info/lfs\n");
        assert_eq!(self.laptop.get(&lines).token(), plain);
        let asked = |method: &str, path: &str| {
            let request = Request::get("/authz/git").header("X-Original-Method", method);
            self.server
                .send(&request.header("X-Original-URI", &format!("/acme/app.git/info/lfs/{path}")).basic("x", &plain))
                .status
        };
        assert_eq!((asked("POST", "objects/batch"), asked("GET", "locks")), (204, 204));
        assert_ne!(asked("POST", "locks"), 204, "to lock a file is to write");
        assert_eq!(self.minted_since(), ["library read"]);
    }

    pub(super) fn bare_repositories_and_work_trees(&self) {
        self.git(".", &["clone", "--quiet", "--bare", &self.repository("acme/app"), "bare.git"]);
        self.git("bare.git", &["fetch", "--quiet", "origin"]);
        self.git("bare.git", &["worktree", "add", "--quiet", "../tree", "main"]);
        self.git("tree", &["push", "--quiet", "origin", "HEAD:refs/heads/other"]);
        // In no repository at all.
        self.git("..", &["ls-remote", "--quiet", &self.repository("acme/library")]);
        assert_eq!(self.minted_since(), ["library read"], "nothing was minted twice");
    }

    /// Git before 2.46 knows no Bearer, and before 2.41 no challenge: what is pushed is seen in another way.
    pub(super) fn an_older_git(&self) {
        let old = |directory: &str, words: &[&str]| {
            let done = self.laptop.git_as("/usr/bin/git", words).directory(self.laptop.work().join(directory)).ok();
            assert_eq!(done.complaint(), "", "{}", done.describe());
        };
        old(".", &["clone", "--quiet", &self.repository("acme/app"), "older"]);
        old("older", &["commit", "--quiet", "--allow-empty", "--message", "from long ago"]);
        old("older", &["push", "--quiet"]);
        self.git("app", &["pull", "--quiet"]);
        assert_eq!(self.minted_since(), ["library read"]);
    }

    /// Everything that runs for a push, on both sides, with nothing to be seen in it.
    pub(super) fn looked_at_in_the_middle_of_a_push(&self) {
        let app = self.laptop.work().join("app");
        self.laptop.write(&app.join("large"), "");
        fs::write(app.join("large"), git::noise(4 << 20, 11)).unwrap();
        self.git("app", &["add", "large"]);
        self.git("app", &["commit", "--quiet", "--message", "large"]);
        self.proxy.hold_after(1 << 20);
        let push = self.laptop.newest_git(&["-c", "core.compression=0", "push", "--quiet"]).directory(&app).start();
        self.proxy.wait_until_held();
        wait::until_true("git runs on the server", || {
            tok_tests::processes::tree(self.server.pid()).iter().any(|one| one.name().contains("git"))
        });
        self.server.canaries().inspect_processes(push.pid());
        self.nothing_is_written_down("in the middle of a push");
        self.proxy.pass();
        assert_eq!(push.wait().expect_code(0).complaint(), "");
    }

    /// What is revoked, with or without the agent's knowledge, costs nobody a failure.
    pub(super) fn revoked_on_the_server(&self) {
        let read = self.challenged("acme/app", "read");
        let known = self.laptop.get(&read).token().to_owned();
        let listed = self.server.tok(&["token", "list", "--kind", "git", "--state", "active", "--output", "json"]);
        let listed = listed.acting_as("alice").ok().json();
        let ids = listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned());
        self.server.tok(&["token", "revoke", "--force"]).arguments(ids).acting_as("alice").ok();
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "after the tokens were revoked");
        let next = self.laptop.get(&read).token().to_owned();
        assert_ne!(next, known);
        // Behind everybody's back, as another daemon on the same database would: nobody can have heard of it.
        self.execute_on_unused(
            "UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'git'",
        );
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "and again");
    }

    pub(super) fn expired(&self) {
        self.execute_on_unused(
            "UPDATE tokens SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' \
             WHERE kind = 'git' AND revoked_at IS NULL",
        );
        self.git("app", &["fetch", "--quiet"]);
        self.pushes("app", "after the tokens ran out");
    }

    /// Changes the database behind the server's back when the agent holds tokens that were never presented: one that was
    /// may be believed for a few seconds more.
    fn execute_on_unused(&self, statement: &str) {
        self.laptop.tok(&["agent", "stop"]).ok();
        self.server.execute(
            "UPDATE tokens SET revoked_at = now(), revoked_by = 'a test' WHERE kind = 'git' AND revoked_at IS NULL",
        );
        self.server.stop();
        self.server.start();
        let held =
            ["read", "write"].map(|right| self.laptop.get(&self.challenged("acme/app", right)).token().to_owned());
        self.server.execute(statement);
        let kept =
            ["read", "write"].map(|right| self.laptop.get(&self.challenged("acme/app", right)).token().to_owned());
        assert_eq!(held, kept, "the agent believes that they are good");
    }

    /// For which repositories and rights tokens were minted, since somebody began to count.
    fn minted_since(&self) -> Vec<String> {
        let rows = self.server.rows(&format!(
            "SELECT array_to_string(t.repos, ',') || ' ' || t.permission AS is_for FROM tokens t JOIN tokens p \
             ON p.id = t.parent_id WHERE t.kind = 'git' AND p.local_uid IS NULL ORDER BY t.created_at OFFSET {}",
            self.before.get()
        ));
        rows.iter().map(|row| row["is_for"].as_str().unwrap().to_owned()).collect()
    }

    /// A token of the other server, which does not live long, and how many there were with it.
    pub(super) fn has_a_token_that_will_be_due(&self) -> (String, i64) {
        let token = self.laptop.get(&challenged(self.other, "club/game", "read")).token().to_owned();
        (token, minted(self.other))
    }

    /// A token that is in use is replaced before it ends, with nobody asking for that, or waiting.
    pub(super) fn was_renewed_ahead_of_need(&self, (old, count): &(String, i64)) {
        wait::until_true("it is renewed", || minted(self.other) > *count);
        let answer = wait::until("the new one is given", || {
            let answer = self.laptop.get(&challenged(self.other, "club/game", "read"));
            (answer.token() != old).then_some(answer)
        });
        let ends: i64 = answer.value("password_expiry_utc").unwrap().parse().unwrap();
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        assert!(ends - now >= 60, "{} s are left", ends - now);
        self.git("game", &["fetch", "--quiet"]);
    }
}

fn users_of_git_tokens(server: &Environment) -> Vec<String> {
    let rows = server.rows(
        "SELECT DISTINCT u.name FROM tokens t JOIN users u ON u.id = t.user_id JOIN tokens p ON p.id = t.parent_id \
         WHERE t.kind = 'git' AND p.local_uid IS NULL",
    );
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}
