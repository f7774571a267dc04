//! A command for a member, and what came back: plain data that every transport understands.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::error::OpError;
use crate::contract::schema::Member;

/// How long a command may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A program with its arguments, to be run on a member. Never a shell string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cmd {
    /// Program (an absolute path, since login shells differ in `PATH`) and arguments.
    pub argv: Vec<String>,
    /// Whether it must run as root; `sudo -n` is put in front where the login user isn't.
    pub root: bool,
    /// Fed to standard input. Without it the program reads `/dev/null`.
    pub stdin: Option<String>,
    /// After this the member itself ends the program.
    pub timeout: Duration,
    /// The output holds keys or certificates: it isn't written to transcripts.
    pub private: bool,
    /// The output is JSON, of which transcripts leave out the values of these keys and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// What it prints is meant for people: whoever watches sees its last line while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub talks: bool,
    /// What a simulated cluster that doesn't know the program takes it to have done. Members never see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// The path of the step that it is run for, for example `MicroCeph/micro2/snap.refresh#1`. Members never see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// What must be so on the member, or neither it nor anything after it in its batch is begun.
    #[serde(skip)]
    pub guard: Option<Guard>,
}

/// A symbolic link that must say something. The member itself compares, in the same script that begins the command:
/// whatever arrives late, from whichever process, begins nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The link.
    pub link: &'static str,
    /// Its target, to the letter.
    pub says: String,
}

/// What a program is taken to have done where nobody can know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its exit status.
    #[serde(default)]
    pub code: i32,
    /// What it printed.
    #[serde(default)]
    pub stdout: String,
}

impl Cmd {
    /// A command that any user of the member may run.
    pub fn user<I, S>(argv: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            root: false,
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            private: false,
            hidden: Vec::new(),
            talks: false,
            planned: None,
            step: String::new(),
            guard: None,
        }
    }

    /// A command that needs root.
    pub fn root<I, S>(argv: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            root: true,
            ..Self::user(argv)
        }
    }

    /// Ends the program after `timeout` (whole seconds on the member, rounded up).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Feeds `text` to standard input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Keeps the output out of transcripts.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Keeps the values of these keys of its JSON out of transcripts, at whatever depth.
    #[must_use]
    pub fn hiding(mut self, keys: &[&str]) -> Self {
        self.hidden = keys.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// Shows its last line to whoever watches, while it runs.
    #[must_use]
    pub fn talks(mut self) -> Self {
        self.talks = true;
        self
    }

    /// What a simulated cluster that doesn't know the program takes it to print.
    #[must_use]
    pub fn planned(mut self, stdout: impl Into<String>) -> Self {
        self.planned = Some(Planned {
            code: 0,
            stdout: stdout.into(),
        });
        self
    }

    /// Whether there is a character in it that neither words nor scripts can have.
    pub(crate) fn holds_nul(&self) -> bool {
        self.argv
            .iter()
            .chain(&self.stdin)
            .any(|text| text.contains('\0'))
    }

    /// What the program is called: a line of the shell by the name that it was given (`$0`).
    fn program(&self) -> &str {
        let path = match self.argv.as_slice() {
            [shell, flag, _, name, ..] if shell == "/bin/sh" && flag == "-c" => name,
            [path, ..] => path,
            [] => "",
        };
        path.rsplit('/').next().unwrap_or(path)
    }

    /// The command as one could paste it into a shell on the member.
    #[must_use]
    pub fn display(&self) -> String {
        let mut line = String::new();
        for word in self
            .root
            .then_some("sudo")
            .into_iter()
            .chain(self.argv.iter().map(String::as_str))
        {
            if !line.is_empty() {
                line.push(' ');
            }
            push_quoted(&mut line, word);
        }
        line
    }
}

/// Quotes a word for a POSIX shell, leaving plain words as they are.
#[must_use]
pub fn quote(word: &str) -> String {
    let mut quoted = String::new();
    push_quoted(&mut quoted, word);
    quoted
}

fn push_quoted(line: &mut String, word: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        line.push_str(word);
        return;
    }
    line.push('\'');
    for (i, part) in word.split('\'').enumerate() {
        if i > 0 {
            line.push_str(r"'\''");
        }
        line.push_str(part);
    }
    line.push('\'');
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It exited with this status.
    Exit(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It was ended because its time was up.
    TimedOut,
}

/// Reads what [`End`] displays.
impl std::str::FromStr for End {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |number: &str| number.parse().map_err(|_| ());
        match text.split_once(' ') {
            Some(("exit", code)) => number(code).map(Self::Exit),
            Some(("signal", signal)) => number(signal).map(Self::Signal),
            _ if text == "timed out" => Ok(Self::TimedOut),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

/// What a program printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How it ended.
    pub end: End,
    /// Standard output, up to the transport's cap.
    pub stdout: String,
    /// Standard error, up to the transport's cap.
    pub stderr: String,
    /// Whether anything was cut off by the cap.
    pub truncated: bool,
    /// How long it ran, where it was the only command that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
}

impl Output {
    /// A program that exited with `code`.
    pub fn exit(code: i32, stdout: impl Into<String>, stderr: impl Into<String>) -> Self {
        Self {
            end: End::Exit(code),
            stdout: stdout.into(),
            stderr: stderr.into(),
            truncated: false,
            took: None,
        }
    }

    /// Whether the program exited with 0. That alone is never the proof of an effect.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exit(0)
    }

    /// Whether the program doesn't know a flag that it was given: how releases tell from before the flag. The words are those
    /// of pflag (`flag.go`), by which LXD's, MicroCeph's, MicroOVN's and MicroCloud's programs all read their flags.
    #[must_use]
    pub fn lacks_flag(&self) -> bool {
        let words = ["unknown flag: ", "unknown shorthand flag: "];
        !self.success() && words.iter().any(|words| self.stderr.contains(words))
    }

    /// Whether the program doesn't know the command that it was given, in the words of cobra (`command.go`).
    #[must_use]
    pub fn lacks_command(&self) -> bool {
        !self.success() && self.stderr.contains("unknown command \"")
    }

    /// Standard output of a program that exited with 0 and whose output is whole.
    ///
    /// # Errors
    /// With the command, how it ended and the end of what it printed, otherwise.
    pub fn text(&self, cmd: &Cmd, member: &Member) -> Result<&str, OpError> {
        if self.truncated {
            return Err(self.failure(cmd, member, "printed more than lockstep keeps"));
        }
        if self.success() {
            return Ok(&self.stdout);
        }
        Err(self.failure(cmd, member, &last_line(&self.stderr, &self.stdout)))
    }

    /// Standard output read as JSON. Ceph's begins with an empty line, which JSON allows.
    ///
    /// # Errors
    /// As [`Output::text`], and where the output isn't the JSON that `T` expects.
    pub fn json<'a, T: Deserialize<'a>>(
        &'a self,
        cmd: &Cmd,
        member: &Member,
    ) -> Result<T, OpError> {
        let text = self.text(cmd, member)?;
        serde_json::from_str(text).map_err(|e| {
            self.failure(
                cmd,
                member,
                &format!("printed something else than the JSON expected of it ({e})"),
            )
        })
    }

    /// What transcripts have of standard output and standard error.
    #[must_use]
    pub fn transcript(&self, cmd: &Cmd) -> (String, String) {
        let withheld = |text: &str| match text.len() {
            0 => String::new(),
            bytes => format!("[{bytes} bytes, withheld]"),
        };
        if cmd.private {
            return (withheld(&self.stdout), withheld(&self.stderr));
        }
        if cmd.hidden.is_empty() {
            return (self.stdout.clone(), self.stderr.clone());
        }
        let stdout = match serde_json::from_str::<Value>(&self.stdout) {
            Ok(mut value) => {
                hide(&mut value, &cmd.hidden);
                value.to_string()
            }
            // What isn't the JSON expected of it may hold anything.
            Err(_) => withheld(&self.stdout),
        };
        (stdout, self.stderr.clone())
    }

    /// The error for this output, with the evidence attached.
    #[must_use]
    pub fn failure(&self, cmd: &Cmd, member: &Member, reason: &str) -> OpError {
        let program = cmd.program();
        let message = match self.end {
            End::Exit(0) => format!("{program} {reason}"),
            End::TimedOut => format!(
                "{program} did not answer within {} s",
                cmd.timeout.as_millis().div_ceil(1000)
            ),
            end if reason.is_empty() => format!("{program} failed ({end})"),
            end => format!("{program} failed ({end}): {reason}"),
        };
        let error = match self.end {
            End::TimedOut => OpError::timeout(message),
            _ => OpError::command(message),
        };
        let error = error
            .on(member)
            .with("command", cmd.display())
            .with("end", self.end.to_string());
        let error = match self.took {
            Some(took) => error.with("ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            None => error,
        };
        if cmd.private {
            return error;
        }
        let error = if self.stderr.is_empty() {
            error
        } else {
            error.with("stderr", tail(&self.stderr, EVIDENCE))
        };
        let silent = self.stderr.trim().is_empty() && !self.stdout.is_empty();
        if self.success() || silent {
            error.with("stdout", tail(&self.transcript(cmd).0, EVIDENCE))
        } else {
            error
        }
    }
}

/// Replaces the values of these keys, at whatever depth.
fn hide(value: &mut Value, keys: &[String]) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if keys.contains(key) {
                    *value = Value::from("[withheld]");
                } else {
                    hide(value, keys);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, keys)),
        _ => {}
    }
}

/// How much of a failed program's output goes into the error.
const EVIDENCE: usize = 2000;

/// The last `bytes` of a text, from a character boundary on.
#[must_use]
pub fn tail(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len())
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(text.len());
    &text[from..]
}

/// The line of a failed program's output that most likely says why: the first one marked as an error, or the last.
pub(crate) fn last_line(stderr: &str, stdout: &str) -> String {
    let output = if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    };
    let mut lines = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let marked = output
        .lines()
        .map(str::trim)
        .find(|line| line.to_ascii_lowercase().contains("error:"));
    marked
        .or_else(|| lines.next_back())
        .unwrap_or_default()
        .chars()
        .take(400)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_command_can_be_pasted() {
        let cmd = Cmd::root(["/snap/bin/lxc", "query", "-d", r#"{"action":"it's"}"#]);
        assert_eq!(
            cmd.display(),
            r#"sudo /snap/bin/lxc query -d '{"action":"it'\''s"}'"#
        );
    }

    #[test]
    fn a_failure_names_program_end_and_reason() {
        let cmd = Cmd::root(["/usr/bin/snap", "refresh", "lxd"]);
        let output = Output::exit(
            1,
            "",
            "WARNING: x\nerror: cannot refresh \"lxd\": too many requests\n",
        );
        let error = output.text(&cmd, &"micro2".into()).unwrap_err();
        assert_eq!(
            error.message,
            "snap failed (exit 1): error: cannot refresh \"lxd\": too many requests"
        );
        assert_eq!(error.member, Some("micro2".into()));
        assert_eq!(error.detail["command"], "sudo /usr/bin/snap refresh lxd");
    }

    #[test]
    fn transcripts_leave_out_what_is_secret_and_nothing_else() {
        let list = Cmd::root(["microovn"]).hiding(&["certificate", "secret"]);
        let shown = |cmd: &Cmd, text: &str| Output::exit(0, text, "warn").transcript(cmd);
        let rows = r#"[{"certificate":"MIIB","name":"m1","status":"ONLINE"}]"#;
        let (stdout, stderr) = shown(&list, rows);
        assert_eq!(
            (stdout.as_str(), stderr.as_str()),
            (
                r#"[{"certificate":"[withheld]","name":"m1","status":"ONLINE"}]"#,
                "warn"
            )
        );
        assert_eq!(shown(&list, "MIIB").0, "[4 bytes, withheld]");
        let private = Cmd::root(["cat"]).private();
        assert_eq!(
            shown(&private, rows).0,
            format!("[{} bytes, withheld]", rows.len())
        );
        assert_eq!(shown(&private, "").0, "");
    }

    #[test]
    fn ceph_prints_an_empty_line_before_its_json() {
        let output = Output::exit(0, "\n{\"a\":1}\n", "");
        let value: serde_json::Value = output.json(&Cmd::root(["x"]), &"m".into()).unwrap();
        assert_eq!(value["a"], 1);
    }

    #[test]
    fn garbage_is_a_command_error_that_quotes_it() {
        let output = Output::exit(0, "Welcome to Ubuntu", "");
        let error = output
            .json::<serde_json::Value>(&Cmd::root(["/snap/bin/lxc"]), &"m".into())
            .unwrap_err();
        assert!(
            error
                .message
                .starts_with("lxc printed something else than the JSON expected of it")
        );
        assert_eq!(error.detail["stdout"], "Welcome to Ubuntu");
    }

    #[test]
    fn an_unknown_flag_is_distinguished_from_other_failures() {
        let fails = |printed: &str| Output::exit(1, "", printed);
        let old = [
            "Error: unknown shorthand flag: 'f' in -f\n",
            "Error: unknown flag: --format\n",
            "Error: unknown flag: --network\n",
        ];
        assert!(old.iter().all(|printed| fails(printed).lacks_flag()));
        let printed = "Error: Database is waiting for an upgrade\n";
        assert!(!fails(printed).lacks_flag());
        assert!(!Output::exit(0, "", old[0]).lacks_flag());
        let command = "Error: unknown command \"status\" for \"microcloud\"\n";
        assert!(fails(command).lacks_command() && !fails(old[0]).lacks_command());
    }

    #[test]
    fn the_tail_starts_at_a_character() {
        let text = format!("{}é{}", "x".repeat(10), "y".repeat(1999));
        assert_eq!(tail(&text, 2000).len(), 1999);
    }
}
