//! Opening one connection: the user's own `ssh` as a master in the foreground, or the user's live master.
//!
//! The master is our child. Its remote side is a `cat` that reads from us, so that when lockstep ends, however it ends,
//! the connection ends too; a master left over would hold a member's session slot for ever. Its exit is the sign that
//! contact was lost, and its standard error (kept in a file, since nobody stands by to read a pipe) is the reason.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::local::{collect, feed};
use super::wire::{self, Cut};
use super::{ContactError, Ear, Facts, deaf};
use crate::cluster::{MemberConfig, Mux, SshConfig};
use crate::cmd::{Cmd, Output};

/// Channels at once over one connection: sshd allows 10 sessions (`MaxSessions`), of which the master's `cat` is one.
pub(super) const CHANNELS: usize = 8;

/// What an authentication may take beyond the time to connect.
const LOGIN: Duration = Duration::from_secs(30);

/// What a person may take to answer a prompt.
const PROMPT: Duration = Duration::from_secs(300);

/// An open connection.
pub(super) struct Connection {
    pub(super) session: openssh::Session,
    pub(super) facts: Facts,
    pub(super) nonce: String,
    /// None where the user's own master was joined.
    master: Option<Mutex<Master>>,
}

/// The `ssh` that we started. Dropping it ends it.
struct Master {
    child: Child,
    log: PathBuf,
}

/// Everything that is needed to reach one member.
pub(super) struct Target<'a> {
    pub(super) member: &'a MemberConfig,
    pub(super) config: &'a SshConfig,
    /// Where the control socket goes. Unix socket paths end at about 100 bytes, and ssh appends 17 of its own.
    pub(super) socket: PathBuf,
    /// The member was reached before in this run.
    pub(super) known: bool,
}

impl Target<'_> {
    /// Connects: over the user's live master, or a master of our own.
    pub(super) async fn connect(&self) -> Result<Connection, ContactError> {
        let settings = self.settings().await;
        if let Some(path) = settings.control_path
            && let Some(connection) = self.join(&path).await
        {
            return Ok(connection);
        }
        match self.open(settings.keepalive, false).await {
            // Someone is there to be asked for a password, a PIN or a second factor.
            Err(ContactError::Auth(_))
                if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() =>
            {
                self.open(settings.keepalive, true).await
            }
            result => result,
        }
    }

    /// Uses the user's own master where it is alive. It is never closed by us.
    async fn join(&self, path: &Path) -> Option<Connection> {
        let session = session(path, self.config.mux);
        session.check().await.ok()?;
        let nonce = nonce();
        let line = wire::hello(&nonce, false);
        let outputs = execute(&session, &nonce, &line, "", 1, LOGIN, &deaf)
            .await
            .ok()?;
        let facts = wire::facts(&outputs.first()?.stdout)?;
        Some(Connection {
            session,
            facts,
            nonce,
            master: None,
        })
    }

    async fn open(&self, keepalive: bool, interactive: bool) -> Result<Connection, ContactError> {
        let nonce = nonce();
        let log = self.socket.with_extension("log");
        let said =
            File::create(&log).map_err(|e| ContactError::Ssh(format!("{}: {e}", log.display())))?;
        let mut command = self.ssh();
        command
            .arg("-M")
            .arg("-S")
            .arg(&self.socket)
            .args(["-T", "-o", "ControlPersist=no"]);
        command.args(["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none"]);
        command.args([
            "-o",
            &format!(
                "ConnectTimeout={}",
                self.config.connect_timeout.0.as_secs().max(1)
            ),
        ]);
        if !interactive {
            command.args(["-o", "BatchMode=yes"]);
        }
        if keepalive {
            command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
        }
        command
            .arg("--")
            .arg(self.member.host())
            .arg(wire::hello(&nonce, true));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|e| ContactError::Ssh(format!("ssh can't be started: {e}")))?;

        let stdout = child.stdout.take();
        let limit = self.config.connect_timeout.0 + if interactive { PROMPT } else { LOGIN };
        let frames = tokio::time::timeout(limit, collect(stdout, &nonce, 1, &deaf)).await;
        let mut master = Master { child, log };
        let Ok(frames) = frames else {
            let reason = format!("the login did not finish within {} s", limit.as_secs());
            return Err(ContactError::TimedOut {
                reason,
                known: self.known,
            });
        };
        let Some(facts) = frames.text(0).and_then(|text| wire::facts(&text)) else {
            // Its output has ended, so it is on its way out; if it stays, something answered that is no shell.
            return Err(match master.last_words().await {
                Some(said) => classify(&said, self.known),
                None => ContactError::Shell("no answer to a first command".to_owned()),
            });
        };
        let session = session(&self.socket, self.config.mux);
        Ok(Connection {
            session,
            facts,
            nonce,
            master: Some(Mutex::new(master)),
        })
    }

    /// `ssh` with what the cluster file says about this member.
    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        // Messages are read to tell what failed, so they must not be translated.
        command.env("LC_ALL", "C");
        command.args(self.member.ssh_args(self.config));
        command
    }

    /// What ssh_config says about this member, as far as it concerns us.
    async fn settings(&self) -> Settings {
        let output = self
            .ssh()
            .arg("-G")
            .arg("--")
            .arg(self.member.host())
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
    /// Whether keepalives are ours to set: the user has set none.
    keepalive: bool,
}

impl Settings {
    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        Self {
            control_path: value("controlpath")
                .filter(|path| *path != "none")
                .map(PathBuf::from),
            keepalive: value("serveraliveinterval").is_none_or(|interval| interval == "0"),
        }
    }
}

impl Connection {
    /// Whether commands can still be sent.
    pub(super) async fn alive(&self) -> bool {
        match &self.master {
            Some(master) => matches!(master.lock().await.child.try_wait(), Ok(None)),
            None => self.session.check().await.is_ok(),
        }
    }

    /// Runs a batch. The inner error says that its end is not known.
    pub(super) async fn run(&self, batch: &[Cmd], ear: &Ear<'_>) -> Result<Vec<Output>, Cut> {
        let script = wire::script(batch, self.facts.root, &self.nonce);
        execute(
            &self.session,
            &self.nonce,
            wire::SHELL,
            &script,
            batch.len(),
            wire::deadline(batch),
            ear,
        )
        .await
    }

    /// Why a batch was cut off.
    pub(super) async fn autopsy(&self) -> ContactError {
        let joined_is_gone = self.master.is_none() && self.session.check().await.is_err();
        let reason = match &self.master {
            _ if joined_is_gone => "the ssh master that lockstep had joined is gone".to_owned(),
            Some(master) => match master.lock().await.last_words().await {
                Some(said) => classify(&said, true).to_string(),
                None => "the command ended without telling its status".to_owned(),
            },
            None => "the command ended without telling its status".to_owned(),
        };
        ContactError::Lost(reason)
    }
}

impl Master {
    /// What it said before it ended. It is given a moment to end where it is about to: its streams close first.
    async fn last_words(&mut self) -> Option<String> {
        let ended = tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await;
        ended.is_ok().then(|| {
            String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
        })
    }
}

/// What ssh's last words mean. There is nothing else to go by: it exits with 255 whatever happened.
fn classify(said: &str, known: bool) -> ContactError {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let line = |words: &[&str]| {
        lines
            .iter()
            .find(|line| words.iter().any(|w| line.contains(w)))
    };
    let reason = |line: &str| line.strip_prefix("ssh: ").unwrap_or(line).to_owned();
    let proxy = [
        "UNKNOWN port 65535",
        "stdio forwarding failed",
        "proxy dialer did not pass",
        "Proxy",
    ];
    if line(&proxy).is_some() {
        return ContactError::JumpHost {
            reason: lines.first().map_or_else(String::new, |l| reason(l)),
            known,
        };
    }
    if let Some(found) = line(&["Could not resolve hostname"]) {
        return ContactError::Resolve(reason(found));
    }
    if line(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]).is_some() {
        let place = line(&["Offending"]).map_or_else(String::new, |l| format!("; {l}"));
        return ContactError::HostKey(format!("it has changed since it was recorded{place}"));
    }
    if let Some(found) = line(&[
        "Host key verification failed",
        "host key is known",
        "Host key for",
    ]) {
        let unknown = line(&["host key is known"]).unwrap_or(found);
        return ContactError::HostKey(reason(unknown));
    }
    if let Some(found) = line(&[
        "Permission denied",
        "Too many authentication failures",
        "Authentication failed",
    ]) {
        return ContactError::Auth(reason(found));
    }
    if let Some(found) = line(&["Connection refused"]) {
        return ContactError::Refused {
            reason: reason(found),
            known,
        };
    }
    let away = [
        "timed out",
        "No route to host",
        "Network is unreachable",
        "not responding",
        "Host is down",
    ];
    if let Some(found) = line(&away) {
        return ContactError::TimedOut {
            reason: reason(found),
            known,
        };
    }
    if let Some(found) = line(&[
        "Connection closed",
        "Connection reset",
        "Broken pipe",
        "Connection to",
    ]) {
        return ContactError::Refused {
            reason: reason(found),
            known,
        };
    }
    ContactError::Ssh(
        lines
            .last()
            .map_or_else(|| "it ended without a word".to_owned(), |l| reason(l)),
    )
}

/// A mark that the other side can't have printed before it was told.
fn nonce() -> String {
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| {
        let mut bytes = [0_u8; 12];
        std::io::Read::read_exact(&mut file, &mut bytes)?;
        Ok(bytes)
    });
    let bytes = random.unwrap_or_default();
    bytes.iter().fold("lockstep-".to_owned(), |text, byte| {
        format!("{text}{byte:02x}")
    })
}

fn session(socket: &Path, mux: Mux) -> openssh::Session {
    match mux {
        Mux::Native => openssh::Session::resume_mux(socket.into(), None),
        Mux::Process => openssh::Session::resume(socket.into(), None),
    }
}

/// Runs a line over an open session, feeds `input` to it and collects the frames of `count` commands.
async fn execute(
    session: &openssh::Session,
    nonce: &str,
    line: &str,
    input: &str,
    count: usize,
    limit: Duration,
    ear: &Ear<'_>,
) -> Result<Vec<Output>, Cut> {
    use openssh::Stdio;
    let mut command = session.raw_command(line);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let whole = async {
        let mut child = command.spawn().await.map_err(|_| Cut::Short)?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let ((), stdout, stderr) = tokio::join!(
            feed(stdin, input),
            collect(stdout, nonce, count, ear),
            collect(stderr, nonce, count, ear)
        );
        let outputs = wire::outputs(count, stdout, stderr);
        // The exit status says nothing that the frames don't, but the channel is only free once it has arrived.
        let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
        outputs
    };
    tokio::time::timeout(limit, whole)
        .await
        .unwrap_or(Err(Cut::Short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_of_ssh_are_classified() {
        let cases = [
            (
                "ssh: Could not resolve hostname nope: Name or service not known",
                "resolve",
            ),
            (
                "ssh: connect to host 10.77.0.13 port 22: Connection refused",
                "refused",
            ),
            (
                "ssh: connect to host 10.77.0.13 port 22: Connection timed out",
                "timed-out",
            ),
            (
                "Connection timed out during banner exchange\r\nConnection to 10.77.0.12 port 22 timed out",
                "timed-out",
            ),
            ("Timeout, server micro02 not responding.", "timed-out"),
            ("Host key verification failed.", "host-key"),
            (
                "No ED25519 host key is known for [127.0.0.1]:2201 and you have requested strict checking.\r\nHost key verification failed.",
                "host-key",
            ),
            ("ubuntu@10.0.0.1: Permission denied (publickey).", "auth"),
            (
                "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures",
                "auth",
            ),
            (
                "ssh: connect to host jump port 22: Connection refused\r\nConnection closed by UNKNOWN port 65535",
                "jump-host",
            ),
            (
                "mm_receive_fd: recvmsg: expected received 1 got 0\r\nproxy dialer did not pass back a connection",
                "jump-host",
            ),
            ("Connection closed by 10.0.0.1 port 22", "refused"),
            (
                "command-line: line 0: Bad configuration option: nonsense",
                "ssh",
            ),
            ("", "ssh"),
        ];
        for (said, word) in cases {
            assert_eq!(classify(said, false).word(), word, "{said}");
        }
    }

    #[test]
    fn a_changed_key_names_the_file_to_look_at() {
        let said = "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nOffending ED25519 key in /home/u/.ssh/known_hosts:3\nHost key verification failed.\n";
        let error = classify(said, true);
        assert_eq!(
            error.to_string(),
            "the host key was not accepted: it has changed since it was recorded; Offending ED25519 key in /home/u/.ssh/known_hosts:3"
        );
        assert!(!error.transient());
    }

    #[test]
    fn only_a_member_that_answered_before_is_waited_for() {
        let said = "ssh: connect to host x port 22: Connection refused";
        assert!(!classify(said, false).transient());
        assert!(classify(said, true).transient());
    }

    #[test]
    fn the_user_s_settings_are_read() {
        let text = "host micro1\ncontrolpath /run/user/0/cm-abc\nserveraliveinterval 30\n";
        let settings = Settings {
            control_path: Some("/run/user/0/cm-abc".into()),
            keepalive: false,
        };
        assert_eq!(Settings::parse(text), settings);
        assert_eq!(
            Settings::parse("serveraliveinterval 0\n"),
            Settings {
                control_path: None,
                keepalive: true
            }
        );
        assert_eq!(
            Settings::parse("controlpath none\n"),
            Settings {
                control_path: None,
                keepalive: true
            }
        );
    }
}
