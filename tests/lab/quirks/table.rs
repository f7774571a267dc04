//! The table of quirks: each row a test, and a member of the one lab of all of them, with the settings, shell, files or rules
//! that somebody has met.

use lockstep_tests::lab::Odd;

/// A quirk of a member, or of the user's settings for it, and what comes of three commands at once there, one of them as root:
/// their results, or words of the reason.
pub(super) struct Quirk {
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

const PLAIN: Quirk = Quirk {
    sshd: &[],
    client: &[],
    through: None,
    shell: None,
    files: &[],
    says: Ok(()),
};

impl Quirk {
    /// What its member is like.
    pub(super) fn member(&self) -> Odd {
        const BANNER: &str =
            "Use the Proxy. Sessions are timed out. Connection to this system is logged.\n";
        let files = [("/etc/issue.net", BANNER)].into_iter();
        let files = files.chain(self.files.iter().copied());
        Odd {
            files: files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .collect(),
            shell: self.shell.map(str::to_owned),
            sshd: self.sshd.iter().map(|line| (*line).to_owned()).collect(),
            ..Odd::default()
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

const fn sshd(sshd: &'static [&'static str]) -> Quirk {
    Quirk { sshd, ..PLAIN }
}

const fn client(client: &'static [&'static str]) -> Quirk {
    Quirk { client, ..PLAIN }
}

const fn shell(shell: &'static str) -> Quirk {
    Quirk {
        shell: Some(shell),
        ..PLAIN
    }
}

const fn files(files: &'static [(&'static str, &'static str)]) -> Quirk {
    Quirk { files, ..PLAIN }
}

const BASHRC: &str = "/home/ubuntu/.bashrc";
const SUDOERS: &str = "/etc/sudoers.d/lab";

/// The rows by name, and a test for each.
macro_rules! quirks {
    ($($name:ident = $quirk:expr),* $(,)?) => {
        pub(super) const QUIRKS: &[(&str, Quirk)] = &[$((stringify!($name), $quirk)),*];

        $(
            #[test]
            fn $name() {
                super::is_met_or_reported(stringify!($name));
            }
        )*
    };
}

quirks!(
    nothing = PLAIN,
    four_sessions = sshd(&["MaxSessions 4"]),
    two_sessions = sshd(&["MaxSessions 2"]),
    three_sessions = sshd(&["MaxSessions 3"]),
    one_session = sshd(&["MaxSessions 1"]).says("lockstep needs MaxSessions 2 or more"),
    another_language = sshd(&["SetEnv LC_ALL=de_DE.UTF-8 LANGUAGE=de"]),
    a_banner_with_words_of_ssh = sshd(&["Banner /etc/issue.net"]),
    a_banner_and_no_login = sshd(&["Banner /etc/issue.net", "PubkeyAuthentication no"])
        .says("the login was refused: ubuntu@127.0.0.1: Permission denied"),
    no_shell = sshd(&["ForceCommand echo This service allows sftp connections only.; exit 1"])
        .says("the login shell doesn't run commands: This service allows sftp connections only."),
    a_shell_that_leaves = files(&[(BASHRC, "echo Contact the security team; exit 3\n")])
        .says("the login shell doesn't run commands: Contact the security team"),
    a_shell_that_is_strict = files(&[(BASHRC, "set -eu; printf() { :; }\n")]),
    a_command_that_wraps = sshd(&["ForceCommand sh -c \"$SSH_ORIGINAL_COMMAND\""]),
    a_command_that_transfers_files =
        sshd(&["ForceCommand internal-sftp"]).says("This service allows sftp connections only."),
    nobody_is_let_in = sshd(&["DenyUsers ubuntu"]).says("the login was refused"),
    a_key_is_not_enough = sshd(&["AuthenticationMethods publickey,publickey"])
        .says("the login was refused: ubuntu@127.0.0.1: Permission denied (publickey)"),
    one_attempt = sshd(&["MaxAuthTries 1"]),
    no_terminal = sshd(&["PermitTTY no"]),
    nothing_is_forwarded = sshd(&["DisableForwarding yes", "PermitUserRC no"]),
    the_server_asks_who_is_there = sshd(&["ClientAliveInterval 1", "ClientAliveCountMax 2"]),
    keys_that_are_used_up = sshd(&["RekeyLimit 1K"]),
    old_ciphers = sshd(&["Ciphers aes128-ctr", "MACs hmac-sha1"]),
    a_root_that_is_missing =
        sshd(&["ChrootDirectory /nonexistent"]).says("the connection was closed: "),
    a_shell_that_writes_colours_and_no_line_end = files(&[(
        BASHRC,
        "printf '\\033[31mhello \\033]0;title\\007'; echo -n warning >&2; stty -echo\n",
    )]),
    a_shell_with_functions_of_its_own = files(&[(
        BASHRC,
        "timeout() { :; }; env() { :; }; cat() { :; }; alias exec=false; umask 777; cd /proc\n",
    )]),
    a_shell_that_takes_its_time = files(&[(BASHRC, "sleep 3\n")]),
    the_shell_sh = shell("/bin/sh"),
    the_shell_fish = shell("/usr/bin/fish"),
    the_shell_rbash = shell("/bin/rbash")
        .says("the login shell doesn't run commands: rbash: line 1: /bin/sh: restricted"),
    the_shell_nologin = shell("/usr/sbin/nologin").says("This account is currently not available."),
    the_shell_false =
        shell("/bin/false").says("the login shell doesn't run commands: it ended without a word"),
    a_banner_and_a_silent_shell = Quirk {
        shell: Some("/bin/false"),
        ..sshd(&["Banner /etc/issue.net"])
    }
    .says("the login shell doesn't run commands: it ended; the last line before was: Use the Proxy."),
    a_shell_that_is_missing = shell("/nonexistent").says("the login was refused"),
    another_command = client(&["RemoteCommand uname"]),
    a_terminal_is_wanted = client(&["RequestTTY force"]),
    a_command_here = client(&["PermitLocalCommand yes", "LocalCommand cat; echo local"]),
    a_port_that_cannot_be_forwarded =
        client(&["LocalForward 1 127.0.0.1:9", "ExitOnForwardFailure yes"]),
    a_picture_of_the_key = client(&["VisualHostKey yes"]),
    no_word_of_what_fails = client(&["LogLevel QUIET"]),
    all_that_happens = client(&["LogLevel DEBUG3"]),
    no_session = client(&["SessionType none"]),
    in_the_background = client(&["ForkAfterAuthentication yes"]),
    no_standard_input = client(&["StdinNull yes"]),
    no_questions = client(&["BatchMode yes"]),
    a_master_of_its_own = client(&["ControlMaster auto", "ControlPersist 10m"]),
    a_socket_that_cannot_be = client(&["ControlPath /nonexistent/%C"]),
    all_variables = client(&["SendEnv *", "Compression yes", "TCPKeepAlive no"]),
    a_tunnel = client(&["Tunnel yes"]),
    asked_every_second = client(&["ServerAliveInterval 1"]),
    modules_of_pam = sshd(&["UsePAM yes"]),
    a_password_that_has_expired = Quirk {
        files: &[("/etc/shadow", "ubuntu:*:0:0:99999:7:::\n")],
        ..sshd(&["UsePAM yes"])
    }
    .says("the login shell doesn't run commands: it ended; the last line before was: Password change required but no TTY available."),
    a_machine_that_goes_down_and_pam = Quirk {
        files: &[("/etc/nologin", "System is going down.\n")],
        ..sshd(&["UsePAM yes"])
    }
    .says("System is going down."),
    an_account_that_has_expired =
        files(&[("/etc/shadow", "ubuntu:*:19000:0:99999:7::1:\n")]).says("the login was refused"),
    a_machine_that_goes_down =
        files(&[("/etc/nologin", "System is going down.\n")]).says("System is going down"),
    the_shell_tcsh = shell("/usr/bin/tcsh"),
    the_shell_zsh = shell("/usr/bin/zsh"),
    an_address_of_ipv6 = Quirk {
        client: &["HostName ::1", "NoHostAuthenticationForLocalhost yes"],
        ..sshd(&["ListenAddress ::1", "ListenAddress 127.0.0.1"])
    },
    no_programs = sshd(&["SetEnv PATH=/nonexistent"]),
    a_host_that_is_not_known = client(&["UserKnownHostsFile /dev/null"])
        .says("the host key was not accepted: No ED25519 host key is known for [127.0.0.1]:"),
    no_key = client(&["PubkeyAuthentication no"]).says("the login was refused"),
    behind_a_jump_host = PLAIN.through("nothing"),
    behind_a_jump_host_with_a_banner = PLAIN.through("a_banner_with_words_of_ssh"),
    behind_a_jump_host_of_one_session = PLAIN.through("one_session"),
    behind_one_that_lets_nobody_in = PLAIN
        .through("nobody_is_let_in")
        .says("the jump host or proxy failed: ubuntu@127.0.0.1: Permission denied (publickey)."),
    behind_one_that_forwards_nothing = PLAIN
        .through("nothing_is_forwarded")
        .says("the jump host or proxy failed: channel 0: open failed: administratively prohibited"),
    behind_a_jump_host_and_all_that_happens = client(&["LogLevel DEBUG3"]).through("nothing"),
    behind_one_behind_another = PLAIN.through("behind_a_jump_host"),
    refused_behind_a_jump_host = sshd(&["DenyUsers ubuntu"])
        .through("a_banner_with_words_of_ssh")
        .says("the login was refused: ubuntu@127.0.0.1: Permission denied (publickey)."),
    nobody_listens_behind_a_jump_host = client(&["Port 1"])
        .through("nothing")
        .says("the connection was refused: Connection refused, from the jump host, which works"),
    no_such_host_behind_a_jump_host = client(&["HostName nowhere.invalid"])
        .through("nothing")
        .says("Name or service not known, from the jump host, which works"),
    a_jump_host_that_is_missing = client(&["ProxyJump nowhere.invalid"])
        .says("the jump host or proxy failed: Could not resolve hostname nowhere.invalid"),
    a_proxy_that_fails = client(&["ProxyCommand sh -c \"echo no way through >&2; exit 1\""])
        .says("the jump host or proxy failed: no way through"),
    sudo_that_lectures = files(&[(
        SUDOERS,
        "Defaults lecture=always\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
    )]),
    sudo_with_a_terminal_and_a_log = files(&[(
        SUDOERS,
        "Defaults use_pty,log_input,log_output\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
    )]),
    sudo_with_a_path_of_its_own = files(&[(
        SUDOERS,
        "Defaults secure_path=/usr/bin\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
    )]),
    sudo_that_wants_a_terminal = files(&[(
        SUDOERS,
        "Defaults requiretty\nubuntu ALL=(ALL) NOPASSWD:ALL\n",
    )])
    .says("sudo: sorry, you must have a tty to run sudo"),
    sudo_that_asks_for_a_password = files(&[(SUDOERS, "ubuntu ALL=(ALL) ALL\n")])
        .says("sudo asks for a password or refuses: sudo: a password is required"),
    sudo_for_others = files(&[(SUDOERS, "root ALL=(ALL) ALL\n")])
        .says("sudo asks for a password or refuses: sudo: a password is required"),
    sudo_for_one_program = files(&[(SUDOERS, "ubuntu ALL=(ALL) NOPASSWD: /usr/bin/snap\n")])
        .says("sudo asks for a password or refuses: sudo: a password is required"),
    sudo_for_all_that_env_starts =
        files(&[(SUDOERS, "ubuntu ALL=(ALL) NOPASSWD: /usr/bin/env *\n")]),
    sudo_with_a_mistake_in_its_rules = files(&[(SUDOERS, "ubuntu ALL=ALL) NOPASSWD\n")])
        .says("/etc/sudoers.d/lab:1:15: syntax error"),
);
