//! Opening one connection: the user's own `ssh` as a master in the foreground, or the user's live master.
//!
//! The master is our child. Its remote side is a `cat` that reads from us, so that when lockstep ends, however it ends,
//! the connection ends too; a master left over would hold a member's session slot for ever. Its exit is the sign that
//! contact was lost, and the end of its standard error is the reason.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::local::{collect, nonce};
use super::reason::{self, Log};
use super::shells::Shells;
use super::wire::{self, Cut};
use crate::contract::cluster::{MemberConfig, SshConfig};
use crate::contract::cmd::{Cmd, Output};
use crate::contract::reach::{ContactError, Ear, Facts, deaf};

/// Batches at once over one connection: sshd allows 10 sessions (`MaxSessions`), of which the master's `cat` is one and the
/// spare shell another.
pub(super) const CHANNELS: usize = 8;

/// What an authentication may take beyond the time to connect.
const LOGIN: Duration = Duration::from_secs(30);

/// What a person may take to answer a prompt.
const PROMPT: Duration = Duration::from_secs(300);

/// What a live master may take to answer on its socket, and a member a command that does nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// How often a member is asked whether it is still there while a batch runs over a master whose keepalive isn't ours.
const WATCH: Duration = Duration::from_secs(10);

/// sshd drops connections at random before its banner while many log in (`MaxStartups`, 10:30:100 by default): pauses
/// before another try.
const DROPPED: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// ssh is kept from dying of an interrupt that a terminal sends to all of its foreground group: lockstep hears it, and what
/// is under way comes to its end. In a group of its own ssh couldn't ask for a password.
const DEAF_SSH: &str = "trap '' INT QUIT; exec ssh \"$@\"";

/// Bytes that are kept of what ssh prints.
const KEPT: usize = 16 * 1024;

/// An open connection.
pub(super) struct Connection {
    pub(super) shells: Shells,
    pub(super) facts: Facts,
    /// None where the user's own master was joined.
    master: Option<Mutex<Master>>,
}

/// The `ssh` that we started. Dropping it ends it.
struct Master {
    child: Child,
    /// Beside the child, which would close it when it is waited for: the member's `cat` ends with it.
    _stdin: Option<ChildStdin>,
    log: Arc<Shared<VecDeque<u8>>>,
    reader: Option<JoinHandle<()>>,
    host: String,
}

/// Everything that is needed to reach one member.
pub(super) struct Target<'a> {
    pub(super) member: &'a MemberConfig,
    pub(super) config: &'a SshConfig,
    /// Where the control socket goes. Unix socket paths end at about 100 bytes, and ssh appends 17 of its own.
    pub(super) socket: PathBuf,
    /// The member was reached before in this run.
    pub(super) known: bool,
    /// The user's own master may be used.
    pub(super) join: bool,
    /// Logins through what several members may share: each holds one of these.
    pub(super) shared: &'a Semaphore,
    /// Held by the one attempt that may ask a person something.
    pub(super) prompt: &'a Mutex<()>,
}

impl Target<'_> {
    /// Connects: over the user's live master, or a master of our own.
    pub(super) async fn connect(&self) -> Result<Connection, ContactError> {
        let settings = self.settings().await;
        if let Some(path) = settings.control_path.as_ref().filter(|_| self.join)
            && let Some(connection) = self.join(path).await
        {
            return Ok(connection);
        }
        let _slot = match settings.shared {
            true => self.shared.acquire().await.ok(),
            // Each member's own sshd takes one login easily, and they wait for the network more than for a processor.
            false => None,
        };
        let mut pauses = DROPPED.iter();
        loop {
            match self.open(&settings, false).await {
                // Someone is there to be asked for a password, a PIN or a second factor.
                Err((ContactError::Auth(_), _))
                    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() =>
                {
                    // One after the other: two prompts at once read the same terminal.
                    let _one = self.prompt.lock().await;
                    return self.open(&settings, true).await.map_err(|(error, _)| error);
                }
                Err((error, dropped)) => match pauses.next().filter(|_| dropped) {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(error),
                },
                Ok(connection) => return Ok(connection),
            }
        }
    }

    /// Uses the user's own master where it is alive. It is never closed by us.
    async fn join(&self, path: &Path) -> Option<Connection> {
        let shells = Shells::over(path);
        let answer = tokio::time::timeout(ANSWER, shells.check()).await;
        answer.ok()?.ok()?;
        let facts = facts_over(&shells, LOGIN).await?;
        Some(Connection {
            shells,
            facts,
            master: None,
        })
    }

    /// A master of our own. A failure tells whether the connection was dropped before it was one.
    async fn open(
        &self,
        settings: &Settings,
        interactive: bool,
    ) -> Result<Connection, (ContactError, bool)> {
        let nonce = nonce().map_err(|e| (e, false))?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", DEAF_SSH, "ssh"]);
        let mut command = self.ssh(shell);
        command
            .arg("-M")
            .arg("-S")
            .arg(&self.socket)
            .args(["-T", "-o", "ControlPersist=no"]);
        command.args(["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none"]);
        // It would read what the member is to read.
        command.args(["-o", "PermitLocalCommand=no"]);
        // Who is root on one member must not come to the others with the operator's keys.
        command.args(["-o", "ForwardAgent=no", "-o", "ForwardX11=no"]);
        // Reasons are read from what it prints: no less of it, and no debug lines.
        command.args(["-o", "LogLevel=INFO"]);
        command.args([
            "-o",
            &format!(
                "ConnectTimeout={}",
                self.config.connect_timeout.0.as_secs().max(1)
            ),
        ]);
        for option in &settings.set_back {
            command.args(["-o", option]);
        }
        if !interactive {
            command.args(["-o", "BatchMode=yes"]);
        }
        if !settings.keepalive {
            command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
        }
        command.arg("--").arg(self.member.host()).arg(wire::SHELL);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| {
            (
                ContactError::Ssh(format!("ssh can't be started: {e}")),
                false,
            )
        })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let log = Arc::default();
        let stderr = child.stderr.take();
        #[expect(
            clippy::disallowed_methods,
            reason = "it has no effect: it listens, and ends with what it listens to"
        )]
        let reader = stderr.map(|stderr| tokio::spawn(listen(stderr, Arc::clone(&log))));
        let limit = self.config.connect_timeout.0 + if interactive { PROMPT } else { LOGIN };
        let greet = async {
            let mut stdin = stdin;
            if let Some(stdin) = &mut stdin {
                // That it couldn't be written shows in the frames.
                let _ = stdin.write_all(wire::hello(&nonce, true).as_bytes()).await;
            }
            (stdin, collect(stdout, &nonce, 1, &deaf).await)
        };
        let Ok((stdin, frames)) = tokio::time::timeout(limit, greet).await else {
            let limit = limit.as_secs();
            // ssh makes its socket once the login has worked.
            let reason = if self.socket.exists() {
                format!(
                    "the login shell runs nothing within {limit} s: it may wait, or read its input"
                )
            } else {
                format!("the login did not finish within {limit} s")
            };
            let known = self.known;
            return Err((ContactError::TimedOut { reason, known }, false));
        };
        let mut master = Master {
            child,
            _stdin: stdin,
            log,
            reader,
            host: self.member.host().to_owned(),
        };
        let Some(facts) = frames.text(0).and_then(|text| wire::facts(&text)) else {
            // Its output has ended, so it is on its way out; if it stays, something answered that is no shell.
            let log = master.last_words().await;
            let dropped = log.as_ref().is_some_and(Log::dropped);
            // ssh ends as the other side did, and with 255 where it failed itself.
            let status = master.child.try_wait().ok().flatten();
            let code = status.and_then(|status| status.code());
            let shell = code.is_some_and(|code| code != 255);
            let error = match (frames.noise(), log) {
                (noise, Some(log)) if log.logged_in() && (noise.is_some() || shell) => {
                    let complaint = log.complaint().or(noise);
                    ContactError::Shell(complaint.unwrap_or_else(|| log.silence()))
                }
                (_, Some(log)) => log.classify(self.known),
                (Some(noise), None) => ContactError::Shell(noise),
                (None, None) => ContactError::Shell("no answer to a first command".to_owned()),
            };
            return Err((error, dropped));
        };
        Ok(Connection {
            shells: Shells::over(&self.socket),
            facts,
            master: Some(Mutex::new(master)),
        })
    }

    /// `ssh`, or what starts it, with what the cluster file says about this member.
    fn ssh(&self, mut command: Command) -> Command {
        // Messages are read to tell what failed, so they must not be translated.
        command.env("LC_ALL", "C");
        command.args(self.member.ssh_args(self.config));
        command
    }

    /// What ssh_config says about this member, as far as it concerns us.
    async fn settings(&self) -> Settings {
        let output = self
            .ssh(Command::new("ssh"))
            // Some settings show only where there is a command, and only one.
            .args(["-G", "-o", "RemoteCommand=none", "--"])
            .arg(self.member.host())
            .arg(wire::SHELL)
            .stdin(Stdio::null())
            .output();
        let text = match tokio::time::timeout(LOGIN, output).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
            // The attempt to connect will say what is wrong.
            _ => String::new(),
        };
        Settings::parse(&text)
    }
}

/// The part of `ssh -G` that matters here.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// Where the user's own master would listen.
    control_path: Option<PathBuf>,
    /// Whether the user's keepalive tells of a dead link within 20 seconds. Debian's ssh sets one of five minutes by itself
    /// where `BatchMode` is set.
    keepalive: bool,
    /// Whether the way goes through something else first, which other members' may, too.
    shared: bool,
    /// Options that must be set back. Only these: an older ssh knows none of them.
    set_back: Vec<&'static str>,
}

/// With other values of these there would be no shell to talk to: what `ssh -G` calls them, the value, and how it is set.
const NEEDED: [(&str, &str, &str); 3] = [
    ("stdinnull", "no", "StdinNull=no"),
    ("sessiontype", "default", "SessionType=default"),
    (
        "forkafterauthentication",
        "no",
        "ForkAfterAuthentication=no",
    ),
];

impl Settings {
    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let number = |key: &str| value(key).and_then(|number| number.parse::<u32>().ok());
        let interval = number("serveraliveinterval").unwrap_or(0);
        let silent = interval.saturating_mul(number("serveralivecountmax").unwrap_or(3));
        Self {
            control_path: value("controlpath")
                .filter(|path| *path != "none")
                .map(PathBuf::from),
            keepalive: (1..=20).contains(&silent),
            shared: ["proxyjump", "proxycommand"]
                .into_iter()
                .any(|key| value(key).is_some_and(|proxy| proxy != "none")),
            set_back: NEEDED
                .into_iter()
                .filter(|(key, needed, _)| value(key).is_some_and(|is| is != *needed))
                .map(|(_, _, option)| option)
                .collect(),
        }
    }
}

impl Connection {
    /// Whether commands can still be sent.
    pub(super) async fn alive(&self) -> bool {
        match &self.master {
            Some(master) => matches!(master.lock().await.child.try_wait(), Ok(None)),
            None => {
                let answer = tokio::time::timeout(ANSWER, self.shells.check()).await;
                matches!(answer, Ok(Ok(())))
            }
        }
    }

    /// Whether it is the user's own.
    pub(super) fn joined(&self) -> bool {
        self.master.is_none()
    }

    /// Runs a batch. The inner error says that its end is not known.
    pub(super) async fn run(&self, batch: &[Cmd], ear: &Ear<'_>) -> Result<Vec<Output>, Cut> {
        let nonce = nonce().map_err(|e| Cut::NotBegun(e.to_string()))?;
        let script = wire::script(batch, self.facts.root, &nonce);
        let limit = wire::deadline(batch);
        let run = self.shells.run(&nonce, &script, batch.len(), limit, ear);
        let (out, err) = match self.joined() {
            false => run.await?,
            true => tokio::select! {
                frames = run => frames?,
                () = self.silent() => return Err(Cut::Late),
            },
        };
        wire::outputs(batch, out, err)
    }

    /// Ends when the member doesn't answer any more.
    async fn silent(&self) {
        loop {
            tokio::time::sleep(WATCH).await;
            if !self.answers().await {
                return;
            }
        }
    }

    /// Whether the member does what it is asked now. That it has no room for another session is an answer too.
    pub(super) async fn answers(&self) -> bool {
        let Ok(nonce) = nonce() else { return false };
        let hello = wire::hello(&nonce, false);
        let asked = self.shells.run(&nonce, &hello, 1, ANSWER, &deaf).await;
        match asked {
            Ok((out, _)) => out.complete() == 1,
            Err(Cut::NotBegun(_)) => self.alive().await,
            Err(_) => false,
        }
    }

    /// Why a batch was cut off.
    pub(super) async fn autopsy(&self) -> ContactError {
        const UNTOLD: &str = "the command ended without reporting its status";
        let reason = match &self.master {
            None if !self.alive().await => {
                "the ssh master that lockstep had joined is gone".to_owned()
            }
            Some(master) => match master.lock().await.last_words().await {
                Some(log) => log.classify(true).to_string(),
                None => UNTOLD.to_owned(),
            },
            None => UNTOLD.to_owned(),
        };
        ContactError::Lost(reason)
    }
}

impl Master {
    /// What it printed before it ended. It is given a moment to end where it is about to: its streams close first.
    async fn last_words(&mut self) -> Option<Log> {
        let moment = Duration::from_secs(2);
        tokio::time::timeout(moment, self.child.wait())
            .await
            .ok()?
            .ok()?;
        if let Some(reader) = self.reader.take() {
            // A proxy that stays holds the other end open.
            let _ = tokio::time::timeout(Duration::from_millis(300), reader).await;
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = log.iter().copied().collect();
        Some(reason::Log::of(
            &String::from_utf8_lossy(&bytes),
            &self.host,
        ))
    }
}

/// Keeps the end of what ssh says: what comes of a member must not fill the controller's memory or disk.
async fn listen(mut stderr: ChildStderr, log: Arc<Shared<VecDeque<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend(&buffer[..n]);
        let beginning = log.len().saturating_sub(KEPT);
        log.drain(..beginning);
    }
}

/// What a member is, asked over a master that is there already.
async fn facts_over(shells: &Shells, limit: Duration) -> Option<Facts> {
    let nonce = nonce().ok()?;
    let hello = wire::hello(&nonce, false);
    let (out, _) = shells.run(&nonce, &hello, 1, limit, &deaf).await.ok()?;
    wire::facts(&out.text(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_user_are_read() {
        let of = |text: &str| {
            let Settings {
                control_path,
                keepalive,
                shared,
                set_back,
            } = Settings::parse(text);
            let options = set_back.join(" ");
            (control_path.is_some(), keepalive, shared, options)
        };
        let own = "host micro1\ncontrolpath /run/user/0/cm-abc\nserveraliveinterval 5\nserveralivecountmax 3\n";
        let none = String::new;
        assert_eq!(of(own), (true, true, false, none()));
        assert_eq!(
            of("serveraliveinterval 0\nsessiontype default\n"),
            (false, false, false, none())
        );
        assert_eq!(
            of("controlpath none\nstdinnull yes\nsessiontype none\n"),
            (
                false,
                false,
                false,
                "StdinNull=no SessionType=default".to_owned()
            )
        );
        for proxy in ["proxyjump gate", "proxycommand nc %h %p"] {
            assert_eq!(of(proxy), (false, false, true, none()), "{proxy}");
        }
        // What Debian's ssh sets by itself where BatchMode is set.
        assert!(!of("serveraliveinterval 300\nserveralivecountmax 3\n").1);
    }
}
