//! A PostgreSQL of its own, on loopback, and machines that have their runs in it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::desk::{Desk, lockstep};
use crate::lab::{Ran, wait_until, write};

/// Who runs the server: it refuses to be root.
const NOBODY: &str = "65534";

/// A server, which ends with this.
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who connects as what: the role `guarded` with a password, all others without.
const HBA: &str =
    "local all all trust\nhost all guarded all scram-sha-256\nhost all all all trust\n";

impl Postgres {
    /// A server with a database `lockstep`, in which nothing is.
    ///
    /// # Panics
    /// Where it can't be started: Debian's `postgresql` has to be installed.
    #[must_use]
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        let mut server = Self {
            folder,
            port,
            running: None,
        };
        fs::set_permissions(server.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let data = server.path("data");
        let made = server
            .program("initdb")
            .args(["-U", "lockstep", "-A", "trust", "-D"])
            .arg(&data)
            .output();
        let _ = Ran::of(made.unwrap()).exits(0);
        write(&data.join("pg_hba.conf"), HBA);
        // Whoever is "localhost" by this certificate, is it.
        let certificate = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split(' '))
            .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(data.join("server.key"))
            .arg("-out")
            .arg(server.path("server.crt"))
            .output();
        let _ = Ran::of(certificate.unwrap()).exits(0);
        fs::copy(server.path("server.crt"), data.join("server.crt")).unwrap();
        for file in ["server.key", "server.crt"] {
            let file = data.join(file);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                let owned = Command::new("chown").arg(NOBODY).arg(&file).status();
                assert!(owned.unwrap().success());
            }
        }
        server.start();
        server.sql_in("postgres", "create database lockstep");
        server
    }

    /// The path of what is in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of the server's package, as somebody who isn't root.
    fn program(&self, name: &str) -> Command {
        let versions = fs::read_dir("/usr/lib/postgresql").unwrap().flatten();
        let newest = versions.map(|version| version.path()).max().unwrap();
        let program = newest.join("bin").join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let who = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(who).arg("--clear-groups").arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// Where it doesn't within a minute.
    pub fn start(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let server = self
            .program("postgres")
            .arg("-D")
            .arg(self.path("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.running = Some(server.unwrap());
        wait_until("PostgreSQL doesn't start", || {
            let ready = self
                .psql("postgres")
                .args(["-c", "select 1"])
                .output()
                .unwrap();
            ready.status.success()
        });
    }

    /// Ends it at once, as a crash does ("immediate shutdown").
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let id = running.id().to_string();
            let _ = Command::new("kill").args(["-QUIT", &id]).status();
            let _ = running.wait();
        }
    }

    fn psql(&self, database: &str) -> Command {
        self.psql_as("lockstep", database)
    }

    fn psql_as(&self, role: &str, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args([
            "-h",
            "127.0.0.1",
            "-U",
            role,
            "-X",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
        ])
        .args(["-p", &self.port.to_string(), "-d", database])
        .stdin(Stdio::null());
        psql
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        let ran = self.psql(database).args(["-c", sql]).output().unwrap();
        Ran::of(ran).exits(0)
    }

    /// What the database answers.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("lockstep", sql).trim().to_owned()
    }

    /// What becomes of a role that tries something.
    ///
    /// # Panics
    /// Where `psql` can't be started.
    #[must_use]
    pub fn tried(&self, role: &str, sql: &str) -> Ran {
        let mut psql = self.psql_as(role, "lockstep");
        Ran::of(psql.args(["-c", sql]).output().unwrap())
    }

    /// The URL of its database for a role.
    #[must_use]
    pub fn url(&self, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/lockstep", self.port)
    }

    /// Breaks off every connection of lockstep's, as a network does.
    pub fn cut(&self) {
        self.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockstep'");
    }

    /// A machine whose operators are this role.
    #[must_use]
    pub fn machine<'a>(&'a self, desk: &'a Desk, name: &'a str, role: &str) -> Machine<'a> {
        Machine {
            desk,
            name,
            url: self.url(role),
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A machine: its own copies of the runs that all have in common. All machines have the same files otherwise.
pub struct Machine<'a> {
    desk: &'a Desk,
    name: &'a str,
    /// Its state: the database, as its operators name it.
    pub url: String,
}

impl Machine<'_> {
    /// The program with these arguments, not yet begun.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(lockstep());
        command
            .args(args)
            .current_dir(self.desk.path(""))
            .env("LOCKSTEP_STATE", &self.url)
            .env("XDG_STATE_HOME", self.desk.path(self.name))
            .env("HOME", self.desk.path(self.name))
            .env_remove("LOCKSTEP_CLUSTER")
            .stdin(Stdio::null());
        command
    }

    /// Begins the program with these arguments.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn begin(&self, args: &[&str]) -> Process {
        let mut command = self.command(args);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Process(Some(piped.spawn().unwrap()))
    }

    /// Runs the program with these arguments to its end.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// What the program printed as JSON.
    ///
    /// # Panics
    /// Where it failed, or printed something else.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args).exits(0)).unwrap()
    }

    /// A file of the machine's copy of a run; empty where it isn't there.
    ///
    /// # Panics
    /// Where the machine's state folder can't be read.
    #[must_use]
    pub fn copy(&self, run: &str, file: &str) -> Vec<u8> {
        let stores = self.desk.path(self.name).join("lockstep/stores");
        let Ok(stores) = fs::read_dir(&stores) else {
            return Vec::new();
        };
        let store = stores.flatten().next().unwrap().path();
        let file: &Path = &store.join("runs").join(run).join(file);
        fs::read(file).unwrap_or_default()
    }
}

/// A process that doesn't outlive its test.
pub struct Process(Option<Child>);

impl Process {
    /// Sends it a signal, such as `-KILL`.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn signal(&self, signal: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it can't be waited for.
    #[must_use]
    pub fn ends(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
