//! The SSH lab: real `sshd` processes, and behind them one simulated world. lockstep can't tell it from a real cluster.

mod links;
mod places;
mod served;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_twin::Scenario;

pub use served::{Answer, Question, WorldGuard};
use served::{Served, Time, serve};

use crate::desk::{built, lockstep};

/// A lab that is up. It goes down with this.
pub struct SshLab {
    world: Arc<Mutex<Served>>,
    members: Vec<Member>,
    folder: tempfile::TempDir,
    /// lockstep's time runs as fast as the world's.
    hurried: Option<places::Place>,
}

struct Member {
    name: String,
    /// Where its sshd listens.
    address: Ipv4Addr,
    port: u16,
    sshd: Child,
    /// It has a network of its own, behind a link that can be cut.
    linked: bool,
}

/// What a member of a lab is like, where it isn't like the others.
#[derive(Clone, Debug, Default)]
pub struct Odd {
    /// Files to be put into its root, by path.
    pub files: Vec<(String, String)>,
    /// Further lines of its sshd_config.
    pub sshd: Vec<String>,
    /// The login shell, where it isn't bash.
    pub shell: Option<String>,
    /// It is in a network namespace of its own, behind a link that can be cut.
    pub linked: bool,
}

impl SshLab {
    /// Brings up a lab of this scenario.
    ///
    /// # Panics
    /// Where a member can't be started: the lab needs root (or `sudo -n`), sshd, sudo and overlayfs.
    #[must_use]
    pub fn up(scenario: &Scenario) -> Self {
        Self::with(scenario, |_| Odd::default())
    }

    /// As [`SshLab::up`], with members that differ. Names that aren't in the scenario are machines beside the cluster.
    ///
    /// # Panics
    /// As [`SshLab::up`].
    #[must_use]
    pub fn with(scenario: &Scenario, odd: impl Fn(&str) -> Odd) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ls")
            .tempdir_in("/tmp")
            .unwrap_or_else(|e| panic!("{e}"));
        let world = scenario.build();
        let time = Time::Wall(now(), world.now);
        let served = Arc::new(Mutex::new(Served {
            world,
            time,
            garbage: Vec::new(),
        }));
        serve(&folder.path().join("world.sock"), &served);
        keygen(&folder.path().join("key"));
        let mut lab = Self {
            world: served,
            members: Vec::new(),
            folder,
            hurried: None,
        };
        let machines = ["lb1".to_owned()];
        let beside = machines.iter().filter(|name| !odd(name).files.is_empty());
        for name in scenario.names().iter().chain(beside) {
            lab.start(name, &odd(name));
        }
        lab.write_ssh_config();
        lab.write_cluster_file(&scenario.names());
        for member in &lab.members {
            lab.await_sshd(member);
        }
        lab
    }

    /// As [`SshLab::up`], with a lockstep whose time runs as fast as the world's, and with links that are as the world has
    /// them: who is cut off there doesn't answer here.
    ///
    /// # Panics
    /// As [`SshLab::up`].
    #[must_use]
    pub fn hurried(scenario: &Scenario) -> Self {
        let place = places::Place::take();
        let mut lab = Self::up(scenario);
        lab.hurried = Some(place);
        // What LXD forgets after five seconds of the world is a moment of ours, which a busy machine misses.
        lab.world().remember_operations(20_000);
        // Logins take the time that they take; and the members' clocks are this machine's.
        let file = lab.path("cluster.toml");
        let text = read(&file)
            .replace("[ssh]\n", "[ssh]\nconnect_timeout = \"2m\"\n")
            .replace(
                "[params]\n",
                "[params]\nupdate.accept = [\"clocks\"]\nupgrade.accept = [\"clocks\"]\n",
            );
        write(&file, &text);
        let reached = lab.world().now;
        lab.world.lock().unwrap_or_else(|e| panic!("{e}")).time = Time::Beats(reached);
        let links = lab.members.iter();
        let links = links.map(|m| (m.name.clone(), m.sshd.id())).collect();
        links::follow(&lab.world, links);
        lab
    }

    fn start(&mut self, name: &str, odd: &Odd) {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(folder.join("disk")).unwrap_or_else(|e| panic!("{e}"));
        for (path, text) in &odd.files {
            let file = folder.join("files").join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap_or(&folder)).unwrap_or_else(|e| panic!("{e}"));
            write(&file, text);
            run(Command::new("chmod").arg("755").arg(&file));
        }
        let shell = odd.shell.as_deref().unwrap_or("/bin/bash");
        write(&folder.join("shell"), &format!("{shell}\n"));
        let pam = odd.sshd.iter().any(|line| line.starts_with("UsePAM"));
        let pam = if pam { "" } else { "UsePAM no\n" };
        let lines = format!("{pam}{}\n", odd.sshd.join("\n"));
        write(&folder.join("sshd_lines"), &lines);
        fs::copy(self.path("key.pub"), folder.join("key.pub")).unwrap_or_else(|e| panic!("{e}"));
        write(
            &folder.join("boot_id"),
            &format!(
                "b007b007-0000-4000-8000-00000000{:04}\n",
                self.members.len()
            ),
        );
        keygen(&folder.join("host_key"));
        let port = free_port();
        let (here, address) = if odd.linked {
            links::ends(port)
        } else {
            (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
        };
        if odd.linked {
            write(&folder.join("link"), &format!("{here} {address}\n"));
        }
        let log = fs::File::create(folder.join("sshd.log")).unwrap_or_else(|e| panic!("{e}"));
        let script = crate::root().join("tests/src/lab/member.sh");
        let mut command = as_root(&script);
        command
            .arg(&folder)
            .arg(name)
            .arg(port.to_string())
            .arg(built("lab-shim"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let sshd = command.spawn().unwrap_or_else(|e| panic!("{e}"));
        self.members.push(Member {
            name: name.to_owned(),
            address,
            port,
            sshd,
            linked: odd.linked,
        });
    }

    /// Waits until a member's sshd says that it listens: what answers at an address may be somebody else.
    fn await_sshd(&self, member: &Member) {
        let Member { name, address, .. } = member;
        let deadline = now() + Duration::from_secs(20);
        loop {
            let log = read(&self.path(&format!("{name}/sshd.log")));
            if log.contains(&format!("Server listening on {address} ")) {
                return;
            }
            assert!(now() < deadline, "sshd of {name} does not come up:\n{log}");
            pause(Duration::from_millis(20));
        }
    }

    /// Writes the ssh_config: strict about host keys, with the lab's own key.
    fn write_ssh_config(&self) {
        let folder = self.folder.path().display();
        let mut text = String::new();
        let mut known = String::new();
        for member in &self.members {
            let Member {
                name,
                address,
                port,
                ..
            } = member;
            text.push_str(&format!(
                "Host {name}\n  HostName {address}\n  Port {port}\n"
            ));
            let key = read(&self.path(&format!("{name}/host_key.pub")));
            known.push_str(&format!("[{address}]:{port} {key}"));
        }
        text.push_str(&format!(
            "Host *\n  User ubuntu\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
        ));
        write(&self.path("ssh_config"), &text);
        write(&self.path("known_hosts"), &known);
    }

    /// The products have no state here that could be copied.
    fn write_cluster_file(&self, members: &[String]) {
        let config = self.path("ssh_config");
        let mut text = format!(
            "name = \"lab\"\n\n[ssh]\nconfig = \"{}\"\n\n[params]\nupdate.backup = false\nupgrade.backup = false\n",
            config.display()
        );
        for Member { name, .. } in &self.members {
            let kind = if members.contains(name) {
                "members"
            } else {
                "machines"
            };
            text.push_str(&format!("\n[[{kind}]]\nname = \"{name}\"\n"));
        }
        write(&self.path("cluster.toml"), &text);
    }

    /// A path in the lab's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// lockstep, about the lab's cluster.
    #[must_use]
    pub fn lockstep(&self, args: &[&str]) -> Command {
        self.lockstep_in("state", args)
    }

    /// lockstep with a state folder of its own, as on another machine.
    #[must_use]
    pub fn lockstep_in(&self, state: &str, args: &[&str]) -> Command {
        let mut command = Command::new(lockstep());
        command
            .arg("--state")
            .arg(self.path(state))
            .arg("--cluster")
            .arg(self.path("cluster.toml"));
        // Nothing of whoever runs the tests gets in.
        command
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .args(args);
        if self.hurried.is_some() {
            command.env("LOCKSTEP_LAB_PACE", places::PACE.to_string());
        }
        command
    }

    /// Runs lockstep to its end.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_in("state", args)
    }

    /// As [`SshLab::run`], with a state folder of its own, as on another machine.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn run_in(&self, state: &str, args: &[&str]) -> Ran {
        let output = self
            .lockstep_in(state, args)
            .output()
            .unwrap_or_else(|e| panic!("{e}"));
        Ran::of(output)
    }

    /// The world, as it is now.
    ///
    /// # Panics
    /// Where a thread of the lab panicked.
    #[must_use]
    pub fn world(&self) -> WorldGuard<'_> {
        let mut guard = self.world.lock().unwrap_or_else(|e| panic!("{e}"));
        guard.advance();
        WorldGuard(guard)
    }

    /// From now on this program prints garbage.
    ///
    /// # Panics
    /// Where a thread of the lab panicked.
    pub fn garble(&self, program: &str) {
        self.world
            .lock()
            .unwrap_or_else(|e| panic!("{e}"))
            .garbage
            .push(program.to_owned());
    }

    /// Ends all connections of a member, as a broken link would; new ones are possible.
    ///
    /// # Panics
    /// Where there is no such member.
    pub fn cut(&self, member: &str) {
        let member = self
            .members
            .iter()
            .find(|m| m.name == member)
            .unwrap_or_else(|| panic!("{member}"));
        links::end_sessions(member.sshd.id());
    }

    /// Whether the link to a member is dead: nothing that is sent arrives, and nobody learns of it. Where it has no link of its
    /// own, its servers stand still instead.
    ///
    /// # Panics
    /// Where there is no such member.
    pub fn dead(&self, member: &str, dead: bool) {
        let found = self.members.iter().find(|m| m.name == member);
        let member = found.unwrap_or_else(|| panic!("{member}"));
        if member.linked {
            links::plug(member.sshd.id(), !dead);
        } else {
            links::freeze(member.sshd.id(), dead);
        }
    }

    /// How many logins a member has seen.
    #[must_use]
    pub fn logins(&self, member: &str) -> usize {
        read(&self.path(&format!("{member}/sshd.log")))
            .matches("Accepted publickey")
            .count()
    }

    /// Every refresh that arrived at the members, as `member snap`, in order.
    #[must_use]
    pub fn refreshes(&self) -> Vec<String> {
        let world = self.world();
        let asked = world
            .log
            .iter()
            .filter(|e| e.argv.iter().any(|a| a == "--no-wait"));
        asked
            .map(|e| format!("{} {}", e.member, e.argv.last().map_or("", String::as_str)))
            .collect()
    }
}

impl Drop for SshLab {
    fn drop(&mut self) {
        for member in &mut self.members {
            // unshare(1) ignores anything milder while it waits for what it started, which ends with it.
            let _ = as_root(Path::new("kill"))
                .args(["-KILL", &member.sshd.id().to_string()])
                .stderr(Stdio::null())
                .status();
            let _ = member.sshd.wait();
        }
    }
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The output of a process, as text.
    #[must_use]
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Standard output of a program that exited with this status.
    ///
    /// # Panics
    /// Where it exited with another.
    #[must_use]
    pub fn exits(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// A command as root: by sudo where we aren't.
#[must_use]
pub fn as_root(program: &Path) -> Command {
    let root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}

fn keygen(path: &Path) {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
        .arg(path));
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// The first port of members.
const FIRST_PORT: u32 = 20_000;

/// A port on which nothing listens, and that no other member is given: sshd takes it a while later. None of those from which
/// connections go out.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const COUNT: u32 = 12_000;
    loop {
        // Other processes that test begin elsewhere.
        let next =
            std::process::id().wrapping_mul(97) % COUNT + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST_PORT + next % COUNT).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Reads a file of the lab.
///
/// # Panics
/// Where it can't be read.
#[must_use]
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes a file of the lab.
///
/// # Panics
/// Where it can't be written.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The time, in a test of real processes.
#[expect(
    clippy::disallowed_methods,
    reason = "the lab's processes live in real time"
)]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets real time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "the lab's processes live in real time"
)]
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Waits until this is so.
///
/// # Panics
/// Where it isn't so within a minute, with what is so `otherwise`.
pub fn wait_until(otherwise: &str, mut there: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !there() {
        assert!(now() < deadline, "{otherwise}");
        pause(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// sshd takes a port some time after it was found to be free.
    #[test]
    fn no_two_members_are_given_the_same_port() {
        let ports: BTreeSet<u16> = (0..2000).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 2000);
    }
}
