//! Real clusters, under the user that runs the tests. As root they run as an unprivileged user, below a
//! directory (mode 0700) that this user cannot enter.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use diesel::sql_types::{BigInt, Text};
use nix::unistd::Uid;
use rustix::process::{Pid, kill_process, test_kill_process};

use super::*;

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn temporary() -> tempfile::TempDir {
    let private = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("tok-embedded-").permissions(private).tempdir().unwrap()
}

fn quick(data: impl Into<PathBuf>) -> ClusterOptions {
    ClusterOptions { durable: false, ..ClusterOptions::new(data) }
}

fn database(cluster: &Cluster) -> PgConnection {
    PgConnection::establish(&cluster.url(DATABASE)).unwrap()
}

fn run(connection: &mut PgConnection, statement: &str) {
    diesel::sql_query(statement).execute(connection).unwrap();
}

fn value(connection: &mut PgConnection, query: &str) -> String {
    diesel::sql_query(query).get_result::<Value>(connection).unwrap().value
}

fn note(cluster: &Cluster) {
    let mut connection = database(cluster);
    run(&mut connection, "CREATE TABLE IF NOT EXISTS note (id int)");
    run(&mut connection, "INSERT INTO note VALUES (1)");
}

fn notes(cluster: &Cluster) -> i64 {
    diesel::sql_query("SELECT count(*) FROM note").get_result::<Count>(&mut database(cluster)).unwrap().count
}

/// A sink, and what it has seen.
fn recorder() -> (LogSink, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let copy = Arc::clone(&seen);
    (LogSink::new(move |_, line| copy.lock().unwrap().extend([line, "\n"])), seen)
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    // One that nobody reaps keeps its number.
    test_kill_process(pid).is_err() || status.contains("Z (zombie)")
}

/// Some process; it ends with the test, also when that fails.
struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn a_first_start_makes_a_durable_cluster_and_a_second_keeps_its_rows() {
    let parent = temporary();
    let data = parent.path().join("data");
    let begin = Instant::now();
    let cluster = Cluster::start(ClusterOptions::new(&data)).unwrap();
    let first = begin.elapsed();
    note(&cluster);

    // Durable, checksummed, private, and everything a server does in the background works without a path.
    let mut connection = database(&cluster);
    for (setting, expected) in
        [("fsync", "on"), ("data_checksums", "on"), ("listen_addresses", ""), ("server_encoding", "UTF8")]
    {
        assert_eq!(value(&mut connection, &format!("SELECT current_setting('{setting}') AS value")), expected);
    }
    assert_eq!(value(&mut connection, "SELECT current_user::text AS value"), ROLE);
    run(&mut connection, "CHECKPOINT");
    run(&mut connection, "VACUUM");
    run(&mut connection, "SELECT pg_reload_conf()");
    run(&mut connection, "SELECT pg_switch_wal()");

    let sockets = cluster.sockets.path().to_owned();
    let owner = fs::metadata(data.join("pg")).unwrap();
    assert_eq!(owner.mode() & 0o777, 0o700);
    assert_ne!(owner.uid(), 0);
    assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);
    // The directories above are not ours to change.
    assert_eq!(fs::metadata(parent.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(parent.path()).unwrap().uid(), Uid::effective().as_raw());

    let exit = cluster.stop();
    assert!(exit.expected && exit.status.success(), "{exit:?}");
    assert!(!sockets.exists());

    let (log, seen) = recorder();
    let begin = Instant::now();
    let cluster = Cluster::start(ClusterOptions { log, ..ClusterOptions::new(&data) }).unwrap();
    eprintln!("first start {first:?}, second {:?}", begin.elapsed());
    assert_eq!(notes(&cluster), 1);
    assert!(seen.lock().unwrap().contains("database system was shut down at"));
    drop(cluster);
    assert!(!sockets.exists());
}

#[test]
fn long_and_strange_paths_work() {
    let parent = temporary();
    let data = parent.path().join("d".repeat(120)).join("it's \"50%\", ok?\n").join("e".repeat(120));
    let cluster = Cluster::start(quick(&data)).unwrap();
    note(&cluster);
    assert!(cluster.url(DATABASE).len() < 150);
    cluster.stop();
    let cluster = Cluster::start(quick(&data)).unwrap();
    assert_eq!(notes(&cluster), 1);
}

#[test]
fn a_second_daemon_is_refused_and_test_data_never_becomes_real_data() {
    let parent = temporary();
    let cluster = Cluster::start(quick(parent.path())).unwrap();
    let error = Cluster::start(quick(parent.path())).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    note(&cluster);
    assert_eq!(notes(&cluster), 1);
    drop(cluster);

    let error = Cluster::start(ClusterOptions::new(parent.path())).unwrap_err();
    assert!(matches!(error, EmbeddedError::NotDurable { .. }), "{error}");
    Cluster::start(quick(parent.path())).unwrap().stop();

    // The other way round, real data would be at risk.
    let marker = parent.path().join("pg/tok.cluster");
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("durable no", "durable yes")).unwrap();
    let error = Cluster::start(quick(parent.path())).unwrap_err();
    assert!(matches!(error, EmbeddedError::Durable { .. }), "{error}");
}

#[test]
fn committed_rows_survive_kill_9_of_the_server() {
    let parent = temporary();
    let (log, seen) = recorder();
    let mut cluster = Cluster::start(ClusterOptions { log, ..ClusterOptions::new(parent.path()) }).unwrap();
    let url = cluster.url(DATABASE);
    note(&cluster);

    let watch = cluster.watch();
    assert!(!cluster.exited());
    kill_process(cluster.server.pid(), Signal::KILL).unwrap();
    assert!(!watch.wait().expected);
    assert!(cluster.exited());

    // At the same address, so that pools find it again.
    cluster.restart().unwrap();
    assert_eq!(cluster.url(DATABASE), url);
    assert_eq!(notes(&cluster), 1);
    assert!(seen.lock().unwrap().contains("automatic recovery in progress"));
    note(&cluster);

    kill_process(cluster.server.pid(), Signal::KILL).unwrap();
    drop(cluster);
    // Meanwhile the number of the dead server went to another process of the same user.
    let account = Account::choose(None, parent.path(), None).unwrap();
    let mut command = Command::new("sleep");
    command.arg("60");
    account.apply(&mut command);
    let mut bystander = Bystander(command.spawn().unwrap());
    let pid_file = parent.path().join("pg/postmaster.pid");
    let rename = |bystander: u32| {
        let text = fs::read_to_string(&pid_file).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(&pid_file, format!("{bystander}\n{rest}")).unwrap();
    };
    rename(bystander.0.id());
    let cluster = Cluster::start(ClusterOptions::new(parent.path())).unwrap();
    assert_eq!(notes(&cluster), 2);
    assert!(bystander.0.try_wait().unwrap().is_none());

    // And that one has ended, too, but its parent (we) has not noticed.
    kill_process(cluster.server.pid(), Signal::KILL).unwrap();
    drop(cluster);
    rename(bystander.0.id());
    bystander.0.kill().unwrap();
    let cluster = Cluster::start(ClusterOptions::new(parent.path())).unwrap();
    assert_eq!(notes(&cluster), 2);
}

#[test]
fn what_an_interrupted_initdb_left_is_thrown_away() {
    let parent = temporary();
    let unfinished = parent.path().join("pg.new");
    fs::create_dir_all(unfinished.join("base/1")).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    fs::write(unfinished.join("half"), "made").unwrap();
    let cluster = Cluster::start(quick(parent.path())).unwrap();
    note(&cluster);
    assert!(!unfinished.exists());
    assert!(!parent.path().join("pg/half").exists());
}

#[test]
fn data_of_another_version_or_of_somebody_else_is_left_alone() {
    let parent = temporary();
    Cluster::start(quick(parent.path())).unwrap().stop();
    let version = parent.path().join("pg/PG_VERSION");
    let original = fs::read_to_string(&version).unwrap();
    fs::write(&version, "99\n").unwrap();
    let error = Cluster::start(quick(parent.path())).unwrap_err();
    assert!(matches!(error, EmbeddedError::WrongMajor { cluster: 99, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("PostgreSQL 99") && text.contains(&format!("version {}", original.trim())), "{text}");
    fs::write(&version, original).unwrap();
    Cluster::start(quick(parent.path())).unwrap().stop();

    let foreign = temporary();
    fs::create_dir(foreign.path().join("pg")).unwrap();
    fs::write(foreign.path().join("pg/letter"), "dear").unwrap();
    let error = Cluster::start(quick(foreign.path())).unwrap_err();
    assert!(matches!(error, EmbeddedError::NotOurs { .. }), "{error}");
    assert_eq!(fs::read_to_string(foreign.path().join("pg/letter")).unwrap(), "dear");
}

/// A small file system, unmounted at the end.
struct Mount<'a>(&'a Path);

impl Mount<'_> {
    fn tmpfs(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn no_room_or_no_right_is_said_and_the_next_start_works() {
    let parent = temporary();
    let data = parent.path().join("data");
    if Uid::effective().is_root() {
        fs::create_dir(&data).unwrap();
        let mount = Mount(&data);
        mount.tmpfs("size=8m");
        let error = Cluster::start(ClusterOptions::new(&data)).unwrap_err();
        assert!(matches!(error, EmbeddedError::NoSpace { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("is full") && text.contains("No space left on device"), "{text}");
        assert!(!data.join("pg").exists() && !data.join("pg.new").exists());

        mount.tmpfs("remount,size=256m");
        let cluster = Cluster::start(ClusterOptions::new(&data)).unwrap();
        note(&cluster);
        cluster.stop();

        // Full later: the data stays and the next start with room has it.
        let filler = data.join("filler");
        let _ = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", filler.display())).output().unwrap();
        let error = Cluster::start(ClusterOptions::new(&data)).unwrap_err();
        assert!(matches!(error, EmbeddedError::NoSpace { .. }), "{error}");
        fs::remove_file(filler).unwrap();
        let cluster = Cluster::start(ClusterOptions::new(&data)).unwrap();
        assert_eq!(notes(&cluster), 1);
        cluster.stop();
    } else {
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let error = Cluster::start(quick(&data)).unwrap_err();
        assert!(matches!(error, EmbeddedError::NotAllowed { .. }), "{error}");
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let cluster = Cluster::start(quick(&data)).unwrap();
        note(&cluster);
    }
}

#[test]
fn the_cluster_belongs_to_the_user_who_was_named() {
    let parent = temporary();
    let named = ClusterOptions { system_user: Some("nobody".to_owned()), ..quick(parent.path()) };
    if Uid::effective().is_root() {
        let cluster = Cluster::start(named.clone()).unwrap();
        let owner = fs::metadata(parent.path().join("pg")).unwrap().uid();
        assert_ne!(owner, 0);
        cluster.stop();
        // From now on the owner decides, and contradicting it is refused.
        Cluster::start(quick(parent.path())).unwrap().stop();
        assert_eq!(fs::metadata(parent.path().join("pg/PG_VERSION")).unwrap().uid(), owner);
        let other = ClusterOptions { system_user: Some("postgres".to_owned()), ..named };
        let error = Cluster::start(other).unwrap_err();
        assert!(matches!(error, EmbeddedError::OwnedByOther { .. } | EmbeddedError::NoSuchUser { .. }), "{error}");
    } else {
        let error = Cluster::start(named).unwrap_err();
        assert!(matches!(error, EmbeddedError::UserNeedsRoot { .. }), "{error}");
        Cluster::start(quick(parent.path())).unwrap().stop();
    }
}

/// Names the data directory to [`held_by_another_process`].
const HELD: &str = "TOK_TEST_HELD_DATA";

/// Not a test by itself: the other process of the test below. It starts a cluster, says so and waits to be killed.
#[test]
#[ignore = "started by the test below"]
fn held_by_another_process() {
    let data = env::var_os(HELD).unwrap();
    let cluster = Cluster::start(ClusterOptions::new(data)).unwrap();
    note(&cluster);
    println!("\nSERVER {}", cluster.server.pid());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn the_server_ends_with_a_killed_daemon_and_the_next_one_waits_for_it() {
    let parent = temporary();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "embedded::tests::held_by_another_process", "--ignored", "--nocapture"]);
    command.env(HELD, parent.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut daemon = command.process_group(0).spawn().unwrap();
    let lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let server = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("SERVER ")?.parse().ok());
    let server = Pid::from_raw(server.unwrap()).unwrap();
    assert!(!is_gone(server));
    // Nothing of the daemon's environment reached it, nor is it in the daemon's process group.
    let environment = fs::read(format!("/proc/{}/environ", server.as_raw_nonzero())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains(HELD));
    assert_eq!(rustix::process::getpgid(Some(server)), Ok(server));

    let error = Cluster::start(ClusterOptions::new(parent.path())).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", daemon.id())), "{error}");

    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let (log, seen) = recorder();
    let cluster = Cluster::start(ClusterOptions { log, ..ClusterOptions::new(parent.path()) }).unwrap();
    wait_for("the old server's end", || is_gone(server));
    assert_eq!(notes(&cluster), 1);
    // A clean shutdown, no recovery.
    assert!(seen.lock().unwrap().contains("database system was shut down at"), "{}", seen.lock().unwrap());
}
