//! Why ssh ended, read from what it printed: it exits with 255 whatever happened.
//!
//! Between its own lines stand the server's banner and what a jump host says. So only whole forms of its own are looked
//! for, at the beginning of a line, and from the end.

use crate::contract::reach::ContactError;

/// What ssh printed before it ended.
pub(super) struct Log {
    lines: Vec<String>,
    host: String,
}

/// No route, or nobody there (`strerror`).
const AWAY: [&str; 5] = [
    "Connection timed out",
    "No route to host",
    "Network is unreachable",
    "Host is down",
    "Operation timed out",
];

/// Nothing is known.
const SILENT: &str = "it ended without a word";

/// There is no such name (`gai_strerror`).
const NAMELESS: [&str; 3] = [
    "Name or service not known",
    "No address associated with hostname",
    "Temporary failure in name resolution",
];

impl Log {
    /// What `ssh HOST` printed. Debugging is no reason.
    pub(super) fn of(printed: &str, host: &str) -> Self {
        let lines = printed.lines().map(str::trim);
        let own = lines.filter(|line| !line.is_empty() && !line.starts_with("debug"));
        Self {
            lines: own.map(str::to_owned).collect(),
            host: host.to_owned(),
        }
    }

    /// The last line of this form.
    fn last(&self, is: impl Fn(&str) -> bool) -> Option<(usize, &str)> {
        let mut lines = self.lines.iter().enumerate();
        lines
            .rfind(|(_, line)| is(line))
            .map(|(at, line)| (at, line.as_str()))
    }

    /// Whether the server closed the connection before it had announced who it is: it may well take the next one.
    pub(super) fn dropped(&self) -> bool {
        const FORMS: [&str; 3] = [
            "kex_exchange_identification: ",
            "ssh_exchange_identification: ",
            "Connection reset by ",
        ];
        self.last(|line| FORMS.iter().any(|form| line.starts_with(form)) && !is_time_out(line))
            .is_some()
    }

    /// Whether nothing speaks against a login that worked: ssh ended since the other side did.
    pub(super) fn logged_in(&self) -> bool {
        let own = |line: &str| line.starts_with("ssh: ");
        matches!(self.classify(false), ContactError::Ssh(_)) && self.last(own).is_none()
    }

    /// What a shell that was begun says of itself, as shells do: with its name first.
    pub(super) fn complaint(&self) -> Option<String> {
        let is_shell = |line: &str| {
            line.split(' ')
                .next()
                .is_some_and(|name| name.ends_with("sh:"))
        };
        self.last(is_shell).map(|(_, line)| plain(line))
    }

    /// What it means. `known`: the member answered before in this run.
    pub(super) fn classify(&self, known: bool) -> ContactError {
        let behind_a_jump = |line: &str| {
            const NOWHERE: &str = "UNKNOWN port 65535";
            line.ends_with(&format!("Connection closed by {NOWHERE}"))
                || line == format!("Connection to {NOWHERE} timed out")
                || line.starts_with(&format!("banner exchange: Connection to {NOWHERE}"))
                || line.starts_with("stdio forwarding failed")
                || line.starts_with("proxy dialer did not pass")
        };
        if let Some((at, last)) = self.last(behind_a_jump) {
            return self.jump(at, last, known);
        }
        if let Some((_, found)) = self.last(|l| l.starts_with("ssh: Could not resolve hostname")) {
            return ContactError::Resolve(plain(found));
        }
        if self
            .last(|l| l.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"))
            .is_some()
        {
            let place = self.last(|l| l.starts_with("Offending "));
            let place = place.map_or_else(String::new, |(_, line)| format!("; {line}"));
            return ContactError::HostKey(format!("it has changed since it was recorded{place}"));
        }
        if let Some((_, found)) =
            self.last(|l| l.starts_with("No ") && l.contains(" host key is known for "))
        {
            return ContactError::HostKey(plain(found));
        }
        if self
            .last(|l| l.starts_with("Host key verification failed"))
            .is_some()
        {
            return ContactError::HostKey(format!(
                "it isn't known here; check it and accept it once with: ssh {}",
                self.host
            ));
        }
        let refused = |l: &str| {
            l.contains(": Permission denied (")
                || l.ends_with(": Too many authentication failures")
                || l.starts_with("Authentication failed")
        };
        if let Some((_, found)) = self.last(refused) {
            return ContactError::Auth(plain(found));
        }
        if let Some((_, found)) = self.last(is_time_out) {
            let reason = plain(found);
            return ContactError::TimedOut { reason, known };
        }
        if let Some((_, found)) = self.last(|l| l.starts_with("ssh: connect to ")) {
            let reason = plain(found);
            return ContactError::Refused { reason, known };
        }
        let closed = |l: &str| {
            let forms = [
                "kex_exchange_identification: ",
                "ssh_exchange_identification: ",
                "banner exchange: Connection to ",
                "Connection closed by ",
                "Connection reset by ",
                "client_loop: send disconnect: ",
                "Received disconnect from ",
                "Disconnected from ",
            ];
            forms.iter().any(|form| l.starts_with(form))
                || (l.starts_with("Connection to ") && l.ends_with(" closed by remote host."))
        };
        if let Some((at, found)) = self.last(closed) {
            // What the machine printed before is its reason: that it isn't up yet, for example (pam_nologin).
            let before = self.lines[..at].iter().rfind(|line| !closed(line));
            let before = before.filter(|line| !line.starts_with("Warning: Permanently added"));
            let reason = match before {
                Some(printed) => format!("{}, which said: {printed}", plain(found)),
                None => plain(found),
            };
            return ContactError::Closed { reason, known };
        }
        let option = self.last(|l| l.contains("Bad configuration option: "));
        let last = option
            .map(|(_, line)| line)
            .or(self.lines.last().map(String::as_str));
        ContactError::Ssh(last.map_or_else(|| SILENT.to_owned(), plain))
    }

    /// What is known of a shell that said nothing as itself: the last line that came, which may be the server's banner.
    pub(super) fn silence(&self) -> String {
        let last = self.lines.last();
        last.map_or_else(
            || SILENT.to_owned(),
            |line| format!("it ended; the last line before was: {line}"),
        )
    }

    /// A jump host that works tells why it doesn't come to the member.
    fn jump(&self, at: usize, last: &str, known: bool) -> ContactError {
        const CONNECT: &str = ": open failed: connect failed: ";
        if let Some((_, why)) = self
            .last(|l| l.contains(CONNECT))
            .and_then(|(_, l)| l.split_once(CONNECT))
        {
            let reason = format!("{why}, from the jump host, which works");
            let is = |reasons: &[&str]| reasons.iter().any(|reason| why.starts_with(reason));
            return if is(&NAMELESS) {
                ContactError::Resolve(reason)
            } else if is(&AWAY) {
                ContactError::TimedOut { reason, known }
            } else {
                ContactError::Refused { reason, known }
            };
        }
        let follows = |l: &str| {
            l.starts_with("kex_exchange_identification: ")
                || l.starts_with("stdio forwarding failed")
        };
        let own = self.lines[..at].iter().rfind(|line| !follows(line));
        let reason = plain(own.or(self.lines[..at].last()).map_or(last, String::as_str));
        ContactError::JumpHost { reason, known }
    }
}

fn is_time_out(line: &str) -> bool {
    let connect =
        line.starts_with("ssh: connect to ") && AWAY.iter().any(|away| line.ends_with(away));
    let server = line.starts_with("Timeout, server ") && line.ends_with(" not responding.");
    let banner = line.starts_with("Connection timed out during banner exchange");
    let closed = line.starts_with("Connection to ") && line.ends_with(" timed out");
    connect || server || banner || closed
}

fn plain(line: &str) -> String {
    line.strip_prefix("ssh: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ssh's own complaint, or that of a machine without it, is no login shell's.
    #[test]
    fn an_ssh_that_is_not_there_is_no_login() {
        assert!(!Log::of("ssh: 1: exec: ssh: not found", "m1").logged_in());
        assert!(Log::of("rbash: line 1: /bin/sh: restricted", "m1").logged_in());
    }

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
                "no way\r\nbanner exchange: Connection to UNKNOWN port 65535: Broken pipe",
                "jump-host",
            ),
            (
                "banner exchange: Connection to 10.0.0.1 port 22: Broken pipe",
                "closed",
            ),
            (
                "mm_receive_fd: recvmsg: expected received 1 got 0\r\nproxy dialer did not pass back a connection",
                "jump-host",
            ),
            ("Connection closed by 10.0.0.1 port 22", "closed"),
            ("Connection to micro02 closed by remote host.", "closed"),
            (
                "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.1 port 22",
                "closed",
            ),
            // A banner is anybody's text.
            (
                "use the Proxy.\nubuntu@10.0.0.1: Permission denied (publickey).",
                "auth",
            ),
            (
                "Sessions that are idle are timed out.\nubuntu@10.0.0.1: Permission denied (publickey).",
                "auth",
            ),
            (
                "Connection to this system is logged.\nHost key verification failed.",
                "host-key",
            ),
            (
                "debug1: Reading configuration data /etc/ssh/ssh_config\r\nubuntu@10.0.0.1: Permission denied (publickey).\r\nConnection closed by UNKNOWN port 65535",
                "jump-host",
            ),
            (
                "#####\nchannel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\nConnection closed by UNKNOWN port 65535",
                "refused",
            ),
            (
                "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\nkex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535",
                "timed-out",
            ),
            (
                "channel 0: open failed: connect failed: Name or service not known\r\nstdio forwarding failed\r\nConnection closed by UNKNOWN port 65535",
                "resolve",
            ),
            (
                "command-line: line 0: Bad configuration option: nonsense",
                "ssh",
            ),
            ("", "ssh"),
        ];
        for (printed, word) in cases {
            assert_eq!(
                Log::of(printed, "m1").classify(false).word(),
                word,
                "{printed}"
            );
        }
    }

    #[test]
    fn a_changed_key_names_the_file_to_look_at() {
        let printed = "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nOffending ED25519 key in /home/u/.ssh/known_hosts:3\nHost key verification failed.\n";
        let error = Log::of(printed, "m1").classify(true);
        assert_eq!(
            error.to_string(),
            "the host key was not accepted: it has changed since it was recorded; Offending ED25519 key in /home/u/.ssh/known_hosts:3"
        );
        assert!(!error.transient());
    }

    #[test]
    fn only_a_member_that_answered_before_is_waited_for() {
        let printed = "ssh: connect to host x port 22: Connection refused";
        assert!(!Log::of(printed, "m1").classify(false).transient());
        assert!(Log::of(printed, "m1").classify(true).transient());
    }

    #[test]
    fn reasons_are_those_of_ssh_or_of_the_machine() {
        let classified = |printed: &str| Log::of(printed, "m1").classify(false).to_string();
        assert_eq!(
            classified("System is booting up.\nConnection closed by 10.0.0.1 port 22"),
            "the connection was closed: Connection closed by 10.0.0.1 port 22, which said: System is booting up."
        );
        assert_eq!(
            classified("Host key verification failed."),
            "the host key was not accepted: it isn't known here; check it and accept it once with: ssh m1"
        );
        assert_eq!(
            classified(
                "/home/u/.ssh/config: line 3: Bad configuration option: usekeychain\n/home/u/.ssh/config: terminating, 1 bad configuration options"
            ),
            "ssh failed: /home/u/.ssh/config: line 3: Bad configuration option: usekeychain"
        );
        assert_eq!(
            classified(
                "#####\nubuntu@jump: Permission denied (publickey).\nConnection closed by UNKNOWN port 65535"
            ),
            "the jump host or proxy failed: ubuntu@jump: Permission denied (publickey)."
        );
    }

    #[test]
    fn who_was_dropped_before_the_banner_may_come_again() {
        let dropped = |printed: &str| Log::of(printed, "m1").dropped();
        assert!(dropped(
            "kex_exchange_identification: Connection closed by remote host"
        ));
        assert!(dropped(
            "kex_exchange_identification: read: Connection reset by peer"
        ));
        assert!(!dropped(
            "ssh: connect to host x port 22: Connection refused"
        ));
        assert!(!dropped("u@x: Permission denied (publickey)."));
    }
}
