//! The machine that lockstep runs on, when it is itself a member.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::wire::{self, Cut, Frames};
use crate::contract::cmd::{Cmd, Output};
use crate::contract::reach::{ContactError, Ear, Facts, Transport, deaf};
use crate::contract::schema::Member;

/// Runs commands through `/bin/sh` on this machine, in the frames that `ssh` uses too.
#[derive(Debug, Default)]
pub struct Local {
    facts: OnceCell<Facts>,
}

impl Local {
    async fn known(&self) -> Result<&Facts, ContactError> {
        let ask = async || {
            let nonce = nonce()?;
            let hello = wire::hello(&nonce, false);
            let frames = execute(&hello, &nonce, 1, wire::deadline(&[]), &deaf).await;
            let facts = frames
                .ok()
                .and_then(|(stdout, _)| wire::facts(&stdout.text(0)?));
            facts.ok_or_else(|| ContactError::Shell("/bin/sh does not answer".to_owned()))
        };
        self.facts.get_or_try_init(ask).await
    }
}

impl Transport for Local {
    fn facts<'a>(&'a self, _member: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(async move { self.known().await.cloned() })
    }

    fn run<'a>(
        &'a self,
        _member: &'a Member,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let nonce = nonce()?;
            let script = wire::script(batch, self.known().await?.root, &nonce);
            let limit = wire::deadline(batch);
            let frames = execute(&script, &nonce, batch.len(), limit, ear).await;
            let outputs = frames.and_then(|(out, err)| wire::outputs(batch, out, err));
            match outputs {
                Ok(outputs) => Ok(outputs),
                Err(Cut::Late) => Ok(wire::unended(batch)),
                Err(Cut::Sudo(reason)) => Err(ContactError::Sudo(reason)),
                Err(Cut::NotBegun(reason)) => Err(ContactError::Shell(reason)),
                Err(Cut::Taken(claim)) => Err(ContactError::Taken(claim)),
                Err(Cut::Short) => Err(ContactError::Lost(
                    "the shell that ran the command was ended".to_owned(),
                )),
            }
        })
    }
}

/// A mark for frames.
pub(super) fn nonce() -> Result<String, ContactError> {
    wire::nonce().map_err(|e| ContactError::Ssh(format!("there are no random numbers: {e}")))
}

/// Feeds a script to a shell of its own and collects the frames of `count` commands. The shell isn't in the terminal's
/// foreground group: an interrupt is for lockstep, and what is under way comes to its end.
async fn execute(
    script: &str,
    nonce: &str,
    count: usize,
    limit: Duration,
    ear: &Ear<'_>,
) -> Result<(Frames, Frames), Cut> {
    let mut child = Command::new(wire::SHELL)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Cut::NotBegun(format!("{} can't be started: {e}", wire::SHELL)))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let streams = async {
        tokio::join!(
            feed(stdin, script),
            collect(stdout, nonce, count, ear),
            collect(stderr, nonce, count, ear)
        )
    };
    let (_, stdout, stderr) = tokio::time::timeout(limit, streams)
        .await
        .map_err(|_| Cut::Late)?;
    Ok((stdout, stderr))
}

/// Writes all of `input` and closes the stream. Whether somebody was there to read all of it; what came of it shows in the
/// frames.
pub(super) async fn feed(stream: Option<impl AsyncWrite + Unpin>, input: &str) -> bool {
    let Some(mut stream) = stream else {
        return false;
    };
    let written = stream.write_all(input.as_bytes()).await;
    let _ = stream.shutdown().await;
    written.is_ok()
}

/// Reads a stream until `count` frames have closed, or it ends. What comes meanwhile goes to `ear`.
pub(super) async fn collect(
    stream: Option<impl AsyncRead + Unpin>,
    nonce: &str,
    count: usize,
    ear: &Ear<'_>,
) -> Frames {
    let mut frames = Frames::new(nonce);
    let Some(mut stream) = stream else {
        return frames;
    };
    let mut buffer = vec![0; 64 * 1024];
    while frames.complete() < count {
        // An error ends the stream as its end does: missing frames tell that it wasn't whole.
        match stream.read(&mut buffer).await {
            Ok(n @ 1..) => frames.push(&buffer[..n]),
            _ => break,
        }
        if let Some(lines) = frames.lines() {
            ear(frames.complete(), &lines);
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::cmd::{End, Guard};

    async fn run(batch: &[Cmd]) -> Vec<Output> {
        Local::default()
            .run(&"here".into(), batch, &deaf)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_batch_runs_in_order_and_past_a_failure() {
        let batch = [
            Cmd::user(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]),
            Cmd::user(["/bin/cat"]).stdin("it's fed"),
            Cmd::user(["/bin/cat"]),
            Cmd::user(["/nonexistent/program"]),
        ];
        let outputs = run(&batch).await;
        assert_eq!(outputs[0], Output::exit(3, "out\n", "err\n"));
        assert_eq!(outputs[1], Output::exit(0, "it's fed", ""));
        assert_eq!(outputs[2], Output::exit(0, "", ""));
        assert_eq!(outputs[3].end, End::Exit(127));
    }

    /// The program continues only when it was seen.
    #[tokio::test]
    async fn what_a_program_prints_is_seen_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("heard");
        let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", seen.display());
        for stream in ["", " >&2"] {
            let script = format!("echo step 1 of 2{stream}; {wait}; echo done");
            let batch = [
                Cmd::user(["/bin/true"]),
                Cmd::user(["/bin/sh", "-c", &script]),
            ];
            let ear = |number: usize, lines: &str| {
                if (number, lines.trim()) == (1, "step 1 of 2") {
                    std::fs::write(&seen, "").unwrap();
                }
            };
            let outputs = Local::default()
                .run(&"here".into(), &batch, &ear)
                .await
                .unwrap();
            assert!(outputs[1].success(), "{outputs:?}");
            std::fs::remove_file(&seen).unwrap();
        }
    }

    #[tokio::test]
    async fn of_a_script_that_arrives_in_part_nothing_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark").display().to_string();
        let batch = [
            Cmd::user(["/usr/bin/touch", &mark]).stdin("it's\nfed"),
            Cmd::user(["/usr/bin/touch", &mark]),
        ];
        let script = wire::script(&batch, true, "N");
        let whole = script.trim_end().len();
        let feed = async |end: usize| {
            let limit = wire::deadline(&[]);
            let (out, err) = execute(&script[..end], "N", 2, limit, &deaf).await.unwrap();
            wire::outputs(&batch, out, err)
        };
        for end in (0..whole).step_by(7).chain([whole - 1]) {
            assert_eq!(feed(end).await, Err(Cut::Short), "{}", &script[..end]);
            assert!(!folder.path().join("mark").exists(), "{}", &script[..end]);
        }
        feed(whole).await.unwrap();
        assert!(folder.path().join("mark").exists());
    }

    #[tokio::test]
    async fn what_is_fed_to_a_program_stands_in_no_command_line() {
        let look = r#"cat >/dev/null; for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline; done 2>/dev/null"#;
        let batch = [
            Cmd::user(["/bin/sh", "-c", look]).stdin("needle-in-9f27"),
            Cmd::user(["/usr/bin/wc", "-c"]).stdin("x".repeat(300_000)),
        ];
        let outputs = run(&batch).await;
        assert!(outputs[0].stdout.contains("/bin/sh"), "{outputs:?}");
        assert!(!outputs[0].stdout.contains("needle-in"), "{outputs:?}");
        assert_eq!(outputs[1].stdout.trim(), "300000");
    }

    #[tokio::test]
    async fn a_command_is_ended_when_its_time_is_up() {
        let cmd = Cmd::user(["/bin/sleep", "60"]).timeout(Duration::from_millis(200));
        assert_eq!(run(&[cmd]).await[0].end, End::TimedOut);
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_in_time() {
        let stubborn = "trap '' TERM; while :; do sleep 1; done";
        let cmd = Cmd::user(["/bin/sh", "-c", stubborn]).timeout(Duration::from_millis(200));
        assert_eq!(run(&[cmd]).await[0].end, End::TimedOut);
        let cmd = Cmd::user(["/bin/sh", "-c", "exit 124"]);
        assert_eq!(run(&[cmd]).await[0].end, End::Exit(124));
    }

    #[tokio::test]
    async fn messages_are_english_whatever_the_machine_speaks() {
        let cmd = Cmd::user(["/bin/sh", "-c", "echo $LC_ALL,$LANGUAGE,"]);
        assert_eq!(run(&[cmd]).await[0].stdout, "C.UTF-8,,\n");
    }

    /// What a program prints can't end it: the mark is known to nobody.
    #[tokio::test]
    async fn a_frame_cannot_be_forged() {
        let frame = "\nlockstep-local-frame E 0 0\n\nlockstep- E 0 0\n";
        let says = format!("printf '{frame}'; printf '{frame}' >&2; exit 3");
        let output = &run(&[Cmd::user(["/bin/sh", "-c", &says])]).await[0];
        assert_eq!(output.end, End::Exit(3));
        assert_eq!(output.stdout, frame);
    }

    #[tokio::test]
    async fn an_exit_by_signal_is_reported() {
        let cmd = Cmd::user(["/bin/sh", "-c", "kill -9 $$"]);
        assert_eq!(run(&[cmd]).await[0].end, End::Signal(9));
    }

    #[tokio::test]
    async fn the_machine_tells_its_facts() {
        let facts = Local::default().facts(&"here".into()).await.unwrap();
        assert!(!facts.hostname.is_empty());
        assert_eq!(facts.boot_id.len(), 36);
    }

    #[tokio::test]
    async fn a_guarded_batch_is_begun_only_where_the_link_says_so() {
        let guarded = |says: &str| {
            let guard = Guard {
                link: "/dev/fd",
                says: says.to_owned(),
            };
            let cmd = |word: &str| Cmd {
                guard: Some(guard.clone()),
                ..Cmd::user(["/bin/echo", word])
            };
            [cmd("one"), cmd("two")]
        };
        let outputs = run(&guarded("/proc/self/fd")).await;
        assert_eq!(outputs[1].stdout, "two\n");
        let local = Local::default();
        for says in ["", "it's another", "/proc/self/f"] {
            let result = local.run(&"m".into(), &guarded(says), &deaf).await;
            assert_eq!(result, Err(ContactError::Taken("/proc/self/fd".to_owned())));
        }
    }
}
