//! What travels over a connection: a POSIX shell script for a batch of commands, and frames around their outputs.
//!
//! The script is what `/bin/sh` reads from its standard input. As a word of its command line every user of the member could
//! read it in the list of processes, and with it what is fed to programs; and a word has a length that it can't go beyond.
//!
//! Login shells may print anything before and after (`.bashrc`, banners), so nothing outside a frame is believed.
//! A frame is a line that begins with a nonce of this batch, on both streams. The nonce travels on standard input alone:
//! whoever could know it could tell how a command ended.
//!
//! ```text
//! NONCE B            a command begins
//! NONCE E 0 12       it ended, with this status and after this many seconds; S instead of a status: sudo refused
//! NONCE E G 0        nothing was begun: a guard doesn't fit, and the frame holds what is there instead
//! ```
//!
//! A batch whose last frame is missing was cut off: the connection was lost, or its shell was killed. This is how a lost
//! connection is distinguished from a failed command, which the mux protocol can't do (an exit by signal has no message in it).

use std::time::Duration;

use super::tail::Tail;
use crate::contract::cmd::{Cmd, End, Guard, Output, quote};
use crate::contract::reach::Facts;

/// What is kept of each stream of a command: its end. What came before is read and dropped.
pub const CAP: usize = 8 * 1024 * 1024;

/// What is kept of what comes outside of frames: it tells why there are none.
const NOISE: usize = 4 * 1024;

/// The facts about a member are no more than this.
const FACTS: usize = 8 * 1024;

/// A frame's line ends before this many bytes, or it is none.
const LINE: usize = 64;

/// How long after a command's own time-out the member's `timeout` waits before it kills it for good.
const KILL_AFTER: u64 = 5;

/// How long the network may add to a batch before the connection counts as lost.
const GRACE: Duration = Duration::from_secs(20);

/// What the member's login shell is asked to run, whichever that is: it reads what [`script`] makes.
pub const SHELL: &str = "/bin/sh";

/// A mark that nobody can print who wasn't given it.
///
/// # Errors
/// Where the system has no random numbers.
pub fn nonce() -> std::io::Result<String> {
    Ok(format!("lockstep-{}", random()?))
}

/// 96 random bits, in hexadecimal.
///
/// # Errors
/// Where the system has no random numbers.
pub fn random() -> std::io::Result<String> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What makes programs print what parsers expect.
const ENGLISH: &str = "LC_ALL=C.UTF-8 LANGUAGE=";

/// What a script begins with: where programs are, if the login shell was given another `PATH`, their language, and how frames
/// are printed.
fn framed(nonce: &str) -> String {
    format!(
        "PATH=${{PATH:+$PATH:}}/usr/sbin:/usr/bin:/sbin:/bin; export {ENGLISH}; f() {{ printf \"\\n{nonce} %s\\n\" \"$*\"; printf \"\\n{nonce} %s\\n\" \"$*\" >&2; }}"
    )
}

/// The script for a batch. It is one compound command, of which the shell runs nothing unless it has read it to its end: a
/// connection that breaks in the middle leaves nothing half done.
///
/// `timeout` programs end differently (GNU's, uutils', busybox's), so how long a command took is reported beside its status.
/// Parsers expect English; `LC_ALL` of the member would win over all other variables, and `LANGUAGE` over it.
#[must_use]
pub fn script(batch: &[Cmd], is_root: bool, nonce: &str) -> String {
    let sudo_checks = if is_root || !batch.iter().any(|c| c.root) {
        String::new()
    } else {
        // Exit 1 is also what sudo itself ends with: ask it again whether it was the one.
        "[ $r = 1 ] && { sudo -n /usr/bin/env true </dev/null 2>/dev/null || r=S; }; ".to_owned()
    };
    let mut line = format!(
        "{{ {}; t() {{ read -r t _ 2>/dev/null </proc/uptime || t=0; t=${{t%%.*}}; }}; b() {{ f B; t; s=$t; }}; \
         e() {{ r=$1; t; {sudo_checks}f E $r $((t - s)); }}",
        framed(nonce)
    );
    if let Some(Guard { link, says }) = batch.iter().find_map(|cmd| cmd.guard.as_ref()) {
        let says = quote(says);
        line.push_str(&format!(
            "; g=$(/usr/bin/readlink {link}); [ \"$g\" = {says} ] || {{ b; printf %s \"$g\"; f E G 0; exit; }}"
        ));
    }
    for cmd in batch {
        line.push_str("; b; ");
        if let Some(text) = &cmd.stdin {
            line.push_str(&format!("printf %s {} | ", quote(text)));
        }
        if cmd.root && !is_root {
            // sudo keeps little of the environment.
            line.push_str(&format!("sudo -n /usr/bin/env {ENGLISH} "));
        }
        line.push_str(&format!(
            "/usr/bin/timeout -k {KILL_AFTER} {}",
            seconds(cmd)
        ));
        for word in &cmd.argv {
            line.push(' ');
            line.push_str(&quote(word));
        }
        if cmd.stdin.is_none() {
            line.push_str(" </dev/null");
        }
        line.push_str("; e $?");
    }
    line.push_str("; }\n");
    line
}

/// What a command is given on the member.
fn seconds(cmd: &Cmd) -> u64 {
    u64::try_from(cmd.timeout.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The script that a connection begins with: it prints the member's facts in a frame and then, if `hold`, stays until its
/// standard input ends, so that the connection ends with lockstep however that ends.
#[must_use]
pub fn hello(nonce: &str, hold: bool) -> String {
    let hold = if hold { "; exec cat >/dev/null" } else { "" };
    format!(
        "{{ {}; f B; uname -n; id -u; read -r i </proc/sys/kernel/random/boot_id; echo \"$i\"; command -v curl || echo; f E 0 0{hold}; }}\n",
        framed(nonce)
    )
}

/// Reads what [`hello`] printed.
#[must_use]
pub fn facts(text: &str) -> Option<Facts> {
    if text.len() > FACTS {
        return None;
    }
    let mut lines = text.lines().map(str::to_owned);
    let (hostname, uid, boot_id, curl) =
        (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    Some(Facts {
        hostname,
        root: uid == "0",
        boot_id,
        curl: Some(curl).filter(|path| path.starts_with('/')),
    })
}

/// After this without a last frame, a batch counts as lost.
#[must_use]
pub fn deadline(batch: &[Cmd]) -> Duration {
    batch
        .iter()
        .map(|c| c.timeout + Duration::from_secs(KILL_AFTER))
        .sum::<Duration>()
        + GRACE
}

/// One stream's frames, fed as bytes arrive.
#[derive(Debug)]
pub struct Frames {
    mark: Vec<u8>,
    pending: Vec<u8>,
    open: Option<Body>,
    closed: Vec<(Body, String)>,
    noise: Vec<u8>,
}

#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// Whether some of its beginning was dropped already.
    dropped: bool,
    tail: Tail,
}

impl Frames {
    /// A stream framed with `nonce`.
    #[must_use]
    pub fn new(nonce: &str) -> Self {
        Self {
            mark: format!("\n{nonce} ").into_bytes(),
            pending: Vec::new(),
            open: None,
            closed: Vec::new(),
            noise: Vec::new(),
        }
    }

    /// How many commands have ended so far.
    #[must_use]
    pub fn complete(&self) -> usize {
        self.closed.len()
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        while let Some(at) = find(&self.pending, &self.mark) {
            let after = at + self.mark.len();
            let line = &self.pending[after..];
            let Some(end) = line.iter().take(LINE).position(|b| *b == b'\n') else {
                if line.len() < LINE {
                    break;
                }
                let none: Vec<u8> = self.pending.drain(..after).collect();
                self.keep(&none);
                continue;
            };
            let word = String::from_utf8_lossy(&line[..end]).into_owned();
            let before: Vec<u8> = self.pending.drain(..=after + end).take(at).collect();
            self.keep(&before);
            match word.strip_prefix("E ") {
                Some(status) => {
                    let body = self.open.take().unwrap_or_default();
                    self.closed.push((body, status.to_owned()));
                }
                None => self.open = Some(Body::default()),
            }
        }
        self.settle();
    }

    /// Moves what can't be part of a mark any more out of the way, so that a long output isn't searched again and again.
    fn settle(&mut self) {
        let from = find(&self.pending, &self.mark).unwrap_or_else(|| {
            let last = self.pending.len().saturating_sub(self.mark.len());
            (last..self.pending.len())
                .find(|at| self.mark.starts_with(&self.pending[*at..]))
                .unwrap_or(self.pending.len())
        });
        let sure: Vec<u8> = self.pending.drain(..from).collect();
        self.keep(&sure);
    }

    /// What is outside of a frame is noise of the login shell.
    fn keep(&mut self, bytes: &[u8]) {
        match &mut self.open {
            Some(body) => body.keep(bytes),
            None => {
                let room = NOISE.saturating_sub(self.noise.len());
                self.noise
                    .extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
    }

    /// The last line of what came outside of frames, if anything did.
    #[must_use]
    pub fn noise(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.noise).into_owned()
            + &String::from_utf8_lossy(&self.pending);
        let mut lines = text.lines().map(str::trim);
        lines.rfind(|line| !line.is_empty()).map(str::to_owned)
    }

    /// The last whole lines of the command that is running, if it has printed any.
    #[must_use]
    pub fn lines(&self) -> Option<String> {
        // What may become a mark begins with a line's end.
        self.open.as_ref()?.tail.lines(!self.pending.is_empty())
    }

    /// What the command of this number printed, once it has ended.
    #[must_use]
    pub fn text(&self, number: usize) -> Option<String> {
        self.closed
            .get(number)
            .map(|(body, _)| String::from_utf8_lossy(body.end()).into_owned())
    }

    fn into_bodies(self) -> impl Iterator<Item = (String, bool, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.closed
            .into_iter()
            .map(move |(body, status)| (text(body.end()), body.cut(), status))
    }
}

impl Body {
    fn keep(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * CAP {
            let beginning = self.bytes.len() - CAP;
            self.bytes.drain(..beginning);
            self.dropped = true;
        }
    }

    /// What is kept of it.
    fn end(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(CAP)..]
    }

    /// Whether that isn't all of it.
    fn cut(&self) -> bool {
        self.dropped || self.bytes.len() > CAP
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Why the two streams of a batch don't make as many outputs as it had commands.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut {
    /// Frames are missing.
    Short,
    /// sudo refused; what it printed.
    Sudo(String),
    /// The other side began nothing of it; why.
    NotBegun(String),
    /// The member began nothing of it: this is what is where the guard says something else.
    Taken(String),
    /// Its time is long over.
    Late,
}

/// The outputs of a batch.
///
/// # Errors
/// Where a frame is missing, or sudo refused one of them.
pub fn outputs(batch: &[Cmd], stdout: Frames, stderr: Frames) -> Result<Vec<Output>, Cut> {
    if let Some((body, _)) = stdout.closed.first().filter(|(_, end)| end == "G 0") {
        return Err(Cut::Taken(String::from_utf8_lossy(body.end()).into_owned()));
    }
    if stdout.complete() != batch.len() || stderr.complete() != batch.len() {
        return Err(Cut::Short);
    }
    let pairs = stdout.into_bodies().zip(stderr.into_bodies()).zip(batch);
    pairs
        .map(|(((stdout, cut_out, end), (stderr, cut_err, _)), cmd)| {
            let (status, took) = end.split_once(' ').ok_or(Cut::Short)?;
            let end = match status {
                "S" => return Err(Cut::Sudo(stderr.trim().to_owned())),
                status => {
                    let took = took.parse().map_err(|_| Cut::Short)?;
                    end_of(status.parse().map_err(|_| Cut::Short)?, took, seconds(cmd))
                }
            };
            Ok(Output {
                end,
                stdout,
                stderr,
                truncated: cut_out || cut_err,
                took: None,
            })
        })
        .collect()
}

/// The outputs of a batch whose time is over though the connection is well: something in it doesn't end, not even when it is
/// killed. What came of the rest isn't known, and waiting on would not tell.
#[must_use]
pub fn unended(batch: &[Cmd]) -> Vec<Output> {
    let output = |_| Output {
        end: End::TimedOut,
        ..Output::exit(0, "", "it didn't end, nor when it was killed")
    };
    batch.iter().map(output).collect()
}

/// What a shell's `$?` says: 128 + n is a signal. A time-out is known by the time that it took, and by what the `timeout`s
/// there are end with: 124 (GNU), 125 and 15 (uutils), 143 (busybox), and 137 where the program had to be killed.
fn end_of(status: i32, took: u64, seconds: u64) -> End {
    match status {
        124 | 125 | 15 | 137 | 143 if took >= seconds => End::TimedOut,
        129..=192 => End::Signal(status - 128),
        code => End::Exit(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: usize) -> Vec<Cmd> {
        vec![Cmd::user(["/bin/true"]).timeout(Duration::from_secs(9)); count]
    }

    fn frames(text: &str) -> Frames {
        let mut frames = Frames::new("N");
        frames.push(text.as_bytes());
        frames
    }

    #[test]
    fn the_script_is_one_command_that_shows_all_of_them() {
        let batch = [
            Cmd::root(["/usr/bin/snap", "refresh", "--no-wait", "lxd"]),
            Cmd::user(["/usr/bin/curl", "http://x/?a=1&b"]).stdin("it's"),
        ];
        insta::assert_snapshot!(script(&batch[..1], true, "N"));
        insta::assert_snapshot!(script(&batch, false, "N"));
    }

    #[test]
    fn facts_are_read_from_the_hello() {
        let known = facts("micro1\n1000\n5e0c\n/usr/bin/curl\n").unwrap();
        let expected = Facts {
            hostname: "micro1".to_owned(),
            root: false,
            boot_id: "5e0c".to_owned(),
            curl: Some("/usr/bin/curl".to_owned()),
        };
        assert_eq!(known, expected);
        assert_eq!(facts("micro1\n0\n5e0c\n\n").unwrap().curl, None);
        assert_eq!(facts("This account is currently not available.\n"), None);
        let endless = format!("{}\n0\n5e0c\n\n", "m".repeat(CAP));
        assert_eq!(facts(&endless), None);
    }

    #[test]
    fn noise_outside_the_frames_is_dropped() {
        let out = frames("Welcome!\n\nN B\nhello\n\nN E 0 0\nlogout");
        let err = frames("motd\nN B\n\nN E 0 0\n");
        let outputs = outputs(&some(1), out, err).unwrap();
        assert_eq!(outputs, [Output::exit(0, "hello\n", "")]);
    }

    #[test]
    fn output_without_a_last_newline_is_kept_as_it_is() {
        let outputs = outputs(
            &some(1),
            frames("\nN B\nno newline\nN E 3 0\n"),
            frames("\nN B\n\nN E 3 0\n"),
        )
        .unwrap();
        assert_eq!(outputs, [Output::exit(3, "no newline", "")]);
    }

    #[test]
    fn an_exit_by_signal_and_a_time_out_are_distinguished() {
        let end = |status: &str| {
            let text = format!("\nN B\n\nN E {status}\n");
            outputs(&some(1), frames(&text), frames(&text)).unwrap()[0].end
        };
        assert_eq!(end("137 2"), End::Signal(9));
        assert_eq!(end("127 2"), End::Exit(127));
        // A program may end so itself, and one may take long.
        assert_eq!(end("124 8"), End::Exit(124));
        assert_eq!(end("0 14"), End::Exit(0));
        // GNU's, one that had to be killed, uutils', busybox'.
        for status in ["124", "137", "125", "15", "143"] {
            assert_eq!(end(&format!("{status} 9")), End::TimedOut, "{status}");
        }
    }

    #[test]
    fn a_missing_frame_means_that_contact_was_lost() {
        let whole = "\nN B\nx\nN E 0 0\n";
        assert_eq!(
            outputs(&some(1), frames("\nN B\nx"), frames(whole)),
            Err(Cut::Short)
        );
        assert_eq!(
            outputs(&some(2), frames(whole), frames(whole)),
            Err(Cut::Short)
        );
        assert_eq!(
            outputs(&some(1), frames("\nN B\nx\nN E 0 0"), frames(whole)),
            Err(Cut::Short)
        );
    }

    #[test]
    fn sudo_is_distinguished_from_the_command_after_it() {
        let out = frames("\nN B\n\nN E S 0\n");
        let err = frames("\nN B\nsudo: a password is required\n\nN E S 0\n");
        assert_eq!(
            outputs(&some(1), out, err),
            Err(Cut::Sudo("sudo: a password is required".to_owned()))
        );
    }

    #[test]
    fn what_a_command_says_is_known_while_it_runs() {
        let mut out = frames("noise\n");
        let mut after = |bytes: &str| {
            out.push(bytes.as_bytes());
            out.lines()
        };
        assert_eq!(after("\nN B\n"), None);
        assert_eq!(after("step 1 of 3\n").unwrap(), "step 1 of 3");
        assert_eq!(after("step 2 ").unwrap(), "step 1 of 3\n");
        assert_eq!(after("of 3\nNot").unwrap(), "step 1 of 3\nstep 2 of 3\n");
        assert_eq!(after("\nN E 0 0\n"), None);
        assert_eq!(after("\nN B\n"), None);
        assert_eq!(after("another\n").unwrap(), "another");
    }

    #[test]
    fn a_flood_is_cut_and_its_end_still_found() {
        let mut out = Frames::new("N");
        out.push(b"\nN B\n");
        let chunk = vec![b'x'; 1024 * 1024];
        (0..20).for_each(|_| out.push(&chunk));
        out.push(b"the end");
        out.push(b"\nN E 0 0\n");
        let outputs = outputs(&some(1), out, frames("\nN B\n\nN E 0 0\n")).unwrap();
        assert!(outputs[0].truncated);
        assert_eq!(outputs[0].stdout.len(), CAP);
        assert!(outputs[0].stdout.ends_with("the end"));
    }

    #[test]
    fn a_mark_without_an_end_is_none_and_is_searched_once() {
        let mut out = Frames::new("N");
        out.push(b"\nN B\n\nN ");
        for _ in 0..64 {
            out.push(&[b'x'; 64 * 1024]);
            assert!(out.pending.len() < 2 * LINE, "{}", out.pending.len());
        }
        out.push(b"\nN E 0 0\n");
        let outputs = outputs(&some(1), out, frames("\nN B\n\nN E 0 0\n")).unwrap();
        assert!(outputs[0].stdout.starts_with("\nN xxx"));
    }

    #[test]
    fn what_a_shell_says_instead_of_a_frame_is_kept() {
        let out = frames("\x1b[0m\nThis account is currently not available.\n\n");
        assert_eq!(
            out.noise().unwrap(),
            "This account is currently not available."
        );
        assert_eq!(frames("").noise(), None);
    }

    #[test]
    fn no_two_batches_have_the_same_mark() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }

    proptest::proptest! {
        #[test]
        fn frames_do_not_depend_on_how_the_bytes_arrive(
            cuts in proptest::collection::vec(1_usize..9, 1..200),
            body in "[NBE0-9 \n]{0,60}",
        ) {
            // A body that could itself hold a frame proves nothing: the nonce of a connection can't be guessed.
            proptest::prop_assume!(!format!("\n{body}\n").contains("\nN "));
            let text = format!("noise\nN B\n{body}\nN E 7 0\n");
            let mut pieces = Frames::new("N");
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            let outputs = outputs(&some(1), pieces, frames(&text)).unwrap();
            proptest::prop_assert_eq!(&outputs[0].stdout, &body);
        }
    }
}
