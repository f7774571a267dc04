//! The table of quirks: each row a member of one lab, with the settings, shell, files or rules that somebody has met.

/// A quirk of a member, or of the user's settings for it, and what comes of three commands at once there, one of them as root:
/// their results, or words of the reason.
pub(super) struct Quirk {
    pub(super) what: &'static str,
    /// Further lines of its sshd_config.
    pub(super) sshd: &'static [&'static str],
    /// Lines of the user's ssh_config for it.
    pub(super) client: &'static [&'static str],
    /// The row whose member is the jump host.
    pub(super) through: Option<&'static str>,
    pub(super) shell: Option<&'static str>,
    pub(super) files: &'static [(&'static str, &'static str)],
    pub(super) says: Result<(), &'static str>,
}

impl Quirk {
    const fn new(what: &'static str) -> Self {
        Self {
            what,
            sshd: &[],
            client: &[],
            through: None,
            shell: None,
            files: &[],
            says: Ok(()),
        }
    }

    const fn says(self, words: &'static str) -> Self {
        Self {
            says: Err(words),
            ..self
        }
    }

    const fn through(self, what: &'static str) -> Self {
        Self {
            through: Some(what),
            ..self
        }
    }
}

const fn sshd(what: &'static str, sshd: &'static [&'static str]) -> Quirk {
    Quirk {
        sshd,
        ..Quirk::new(what)
    }
}

const fn client(what: &'static str, client: &'static [&'static str]) -> Quirk {
    Quirk {
        client,
        ..Quirk::new(what)
    }
}

const fn shell(shell: &'static str) -> Quirk {
    Quirk {
        shell: Some(shell),
        ..Quirk::new(shell)
    }
}

const fn files(what: &'static str, files: &'static [(&'static str, &'static str)]) -> Quirk {
    Quirk {
        files,
        ..Quirk::new(what)
    }
}

const BASHRC: &str = "/home/ubuntu/.bashrc";
const SUDOERS: &str = "/etc/sudoers.d/lab";

pub(super) const QUIRKS: &[Quirk] = &[
    Quirk::new("nothing"),
    sshd("four sessions", &["MaxSessions 4"]),
    sshd("two sessions", &["MaxSessions 2"]),
    sshd("one session", &["MaxSessions 1"]).says("lockstep needs MaxSessions 2 or more"),
    sshd(
        "another language",
        &["SetEnv LC_ALL=de_DE.UTF-8 LANGUAGE=de"],
    ),
    sshd("a banner with words of ssh's", &["Banner /etc/issue.net"]),
    sshd(
        "a banner, and no login",
        &["Banner /etc/issue.net", "PubkeyAuthentication no"],
    )
    .says("the login was refused: ubuntu@127.0.0.1: Permission denied"),
    sshd(
        "no shell",
        &["ForceCommand echo This service allows sftp connections only.; exit 1"],
    )
    .says("the login shell doesn't run commands: This service allows sftp connections only."),
    files(
        "a shell that leaves",
        &[(BASHRC, "echo Contact the security team; exit 3\n")],
    )
    .says("the login shell doesn't run commands: Contact the security team"),
    files(
        "a shell that is strict",
        &[(BASHRC, "set -eu; printf() { :; }\n")],
    ),
    sshd(
        "a command that wraps",
        &["ForceCommand sh -c \"$SSH_ORIGINAL_COMMAND\""],
    ),
    sshd(
        "a command that transfers files",
        &["ForceCommand internal-sftp"],
    )
    .says("This service allows sftp connections only."),
    sshd("nobody is let in", &["DenyUsers ubuntu"]).says("the login was refused"),
    sshd(
        "a key is not enough",
        &["AuthenticationMethods publickey,publickey"],
    )
    .says("the login was refused: ubuntu@127.0.0.1: Permission denied (publickey)"),
    sshd("one attempt", &["MaxAuthTries 1"]),
    sshd("no terminal", &["PermitTTY no"]),
    sshd(
        "nothing is forwarded",
        &["DisableForwarding yes", "PermitUserRC no"],
    ),
    sshd(
        "the server asks who is there",
        &["ClientAliveInterval 1", "ClientAliveCountMax 2"],
    ),
    sshd("keys that are used up", &["RekeyLimit 1K"]),
    sshd("old ciphers", &["Ciphers aes128-ctr", "MACs hmac-sha1"]),
    sshd("a root that isn't there", &["ChrootDirectory /nonexistent"])
        .says("the connection was closed: "),
    files(
        "a shell that reads its input",
        &[(BASHRC, "read -t 1 line\n")],
    )
    .says("the login shell runs nothing within 40 s: it may wait, or read its input"),
    files(
        "a shell that writes colours and no line end",
        &[(
            BASHRC,
            "printf '\\033[31mhello \\033]0;title\\007'; echo -n warning >&2; stty -echo\n",
        )],
    ),
    files(
        "a shell with functions of its own",
        &[(
            BASHRC,
            "timeout() { :; }; env() { :; }; cat() { :; }; alias exec=false; umask 777; cd /proc\n",
        )],
    ),
    shell("/bin/sh"),
    shell("/usr/bin/fish"),
    shell("/bin/rbash")
        .says("the login shell doesn't run commands: rbash: line 1: /bin/sh: restricted"),
    shell("/usr/sbin/nologin").says("This account is currently not available."),
    shell("/bin/false").says("the login shell doesn't run commands: it ended without a word"),
    shell("/nonexistent").says("the login was refused"),
    client("another command", &["RemoteCommand uname"]),
    client("a terminal is wanted", &["RequestTTY force"]),
    client(
        "a command here",
        &["PermitLocalCommand yes", "LocalCommand cat; echo local"],
    ),
    client(
        "a port that can't be forwarded",
        &["LocalForward 1 127.0.0.1:9", "ExitOnForwardFailure yes"],
    ),
    client("a picture of the key", &["VisualHostKey yes"]),
    client("no word of what fails", &["LogLevel QUIET"]),
    client("all that happens", &["LogLevel DEBUG3"]),
    client("no session", &["SessionType none"]),
    client("in the background", &["ForkAfterAuthentication yes"]),
    client("no standard input", &["StdinNull yes"]),
    client("no questions", &["BatchMode yes"]),
    client(
        "a master of its own",
        &["ControlMaster auto", "ControlPersist 10m"],
    ),
    client("a socket that can't be", &["ControlPath /nonexistent/%C"]),
    client(
        "all variables",
        &["SendEnv *", "Compression yes", "TCPKeepAlive no"],
    ),
    client("asked every second", &["ServerAliveInterval 1"]),
    sshd("modules of PAM", &["UsePAM yes"]),
    Quirk {
        files: &[("/etc/shadow", "ubuntu:*:0:0:99999:7:::\n")],
        ..sshd("a password that has expired", &["UsePAM yes"])
    }
    .says("the login shell doesn't run commands: Password change required but no TTY available."),
    Quirk {
        files: &[("/etc/nologin", "System is going down.\n")],
        ..sshd("a machine that goes down, and PAM", &["UsePAM yes"])
    }
    .says("System is going down."),
    files(
        "an account that has expired",
        &[("/etc/shadow", "ubuntu:*:19000:0:99999:7::1:\n")],
    )
    .says("the login was refused"),
    files(
        "a machine that goes down",
        &[("/etc/nologin", "System is going down.\n")],
    )
    .says("System is going down"),
    shell("/usr/bin/tcsh"),
    shell("/usr/bin/zsh"),
    Quirk {
        client: &["HostName ::1", "NoHostAuthenticationForLocalhost yes"],
        ..sshd(
            "an address of IPv6",
            &["ListenAddress ::1", "ListenAddress 127.0.0.1"],
        )
    },
    sshd("no programs", &["SetEnv PATH=/nonexistent"]),
    client("a host that isn't known", &["UserKnownHostsFile /dev/null"])
        .says("the host key was not accepted: No ED25519 host key is known for [127.0.0.1]:"),
    client("no key", &["PubkeyAuthentication no"]).says("the login was refused"),
    Quirk::new("behind a jump host").through("nothing"),
    Quirk::new("behind a jump host with a banner").through("a banner with words of ssh's"),
    Quirk::new("behind a jump host of one session").through("one session"),
    Quirk::new("behind one that lets nobody in")
        .through("nobody is let in")
        .says("the jump host or proxy failed: ubuntu@127.0.0.1: Permission denied (publickey)."),
    Quirk::new("behind one that forwards nothing")
        .through("nothing is forwarded")
        .says("the jump host or proxy failed: channel 0: open failed: administratively prohibited"),
    Quirk::new("behind one behind another").through("behind a jump host"),
    sshd("refused behind a jump host", &["DenyUsers ubuntu"])
        .through("a banner with words of ssh's")
        .says("the login was refused: ubuntu@127.0.0.1: Permission denied (publickey)."),
    client("nobody listens behind a jump host", &["Port 1"])
        .through("nothing")
        .says("the connection was refused: Connection refused, from the jump host, which works"),
    client(
        "no such host behind a jump host",
        &["HostName nowhere.invalid"],
    )
    .through("nothing")
    .says("Name or service not known, from the jump host, which works"),
    client(
        "a jump host that isn't there",
        &["ProxyJump nowhere.invalid"],
    )
    .says("the jump host or proxy failed: Could not resolve hostname nowhere.invalid"),
    client(
        "a proxy that fails",
        &["ProxyCommand sh -c \"echo no way through >&2; exit 1\""],
    )
    .says("the jump host or proxy failed: no way through"),
    files(
        "sudo that lectures",
        &[(
            SUDOERS,
            "Defaults lecture=always\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
        )],
    ),
    files(
        "sudo with a terminal and a log",
        &[(
            SUDOERS,
            "Defaults use_pty,log_input,log_output\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
        )],
    ),
    files(
        "sudo with a path of its own",
        &[(
            SUDOERS,
            "Defaults secure_path=/usr/bin\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
        )],
    ),
    files(
        "sudo that wants a terminal",
        &[(
            SUDOERS,
            "Defaults requiretty\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
        )],
    )
    .says("sudo: sorry, you must have a tty to run sudo"),
    files(
        "sudo that asks for a password",
        &[(SUDOERS, "ubuntu ALL=(ALL) ALL\n")],
    )
    .says("sudo asks for a password or refuses: sudo: a password is required"),
    files("sudo for others", &[(SUDOERS, "root ALL=(ALL) ALL\n")])
        .says("sudo asks for a password or refuses: sudo: a password is required"),
    files(
        "sudo for one program",
        &[(SUDOERS, "ubuntu ALL=(ALL) NOPASSWD: /usr/bin/snap\n")],
    )
    .says("sudo asks for a password or refuses: sudo: a password is required"),
    files(
        "sudo for all that env starts",
        &[(SUDOERS, "ubuntu ALL=(ALL) NOPASSWD: /usr/bin/env *\n")],
    ),
    files(
        "sudo with a mistake in its rules",
        &[(SUDOERS, "ubuntu ALL=ALL) NOPASSWD\n")],
    )
    .says("/etc/sudoers.d/lab:1:15: syntax error"),
];
