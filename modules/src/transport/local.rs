//! The machine that lockstep runs on, when it is itself a member.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::wire::{self, Cut, Frames};
use super::{ContactError, Ear, Facts, Transport, deaf};
use crate::cmd::{Cmd, Output};

/// Marks frames. Nobody else writes to these pipes, so it need not be a secret.
const NONCE: &str = "lockstep-local-frame";

/// Runs commands through `/bin/sh` on this machine, in the frames that `ssh` uses too.
#[derive(Debug, Default)]
pub struct Local {
    facts: OnceCell<Facts>,
}

impl Local {
    async fn known(&self) -> Result<&Facts, ContactError> {
        let ask = async || {
            let hello = wire::hello(NONCE, false);
            let outputs = execute(&hello, "", 1, wire::deadline(&[]), &deaf).await;
            let facts = outputs.ok().and_then(|o| wire::facts(&o.first()?.stdout));
            facts.ok_or_else(|| ContactError::Shell("/bin/sh does not answer".to_owned()))
        };
        self.facts.get_or_try_init(ask).await
    }
}

impl Transport for Local {
    fn facts<'a>(&'a self, _member: &'a str) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(async move { self.known().await.cloned() })
    }

    fn run<'a>(
        &'a self,
        _member: &'a str,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let script = wire::script(batch, self.known().await?.root, NONCE);
            let limit = wire::deadline(batch);
            let outputs = execute(wire::SHELL, &script, batch.len(), limit, ear).await;
            outputs.map_err(|cut| match cut {
                Cut::Sudo(reason) => ContactError::Sudo(reason),
                Cut::Short => {
                    ContactError::Lost("the shell that ran the command was ended".to_owned())
                }
            })
        })
    }
}

async fn execute(
    line: &str,
    input: &str,
    count: usize,
    limit: Duration,
    ear: &Ear<'_>,
) -> Result<Vec<Output>, Cut> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| Cut::Short)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let streams = async {
        tokio::join!(
            feed(stdin, input),
            collect(stdout, NONCE, count, ear),
            collect(stderr, NONCE, count, ear)
        )
    };
    let ((), stdout, stderr) = tokio::time::timeout(limit, streams)
        .await
        .map_err(|_| Cut::Short)?;
    wire::outputs(count, stdout, stderr)
}

/// Writes all of `input` and closes the stream. That it couldn't be written shows in the frames.
pub(super) async fn feed(stream: Option<impl AsyncWrite + Unpin>, input: &str) {
    if let Some(mut stream) = stream {
        let _ = stream.write_all(input.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Reads a stream until `count` frames have closed, or it ends. What comes meanwhile is told to `ear`.
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
    use crate::cmd::End;

    async fn run(batch: &[Cmd]) -> Vec<Output> {
        Local::default().run("here", batch, &deaf).await.unwrap()
    }

    #[tokio::test]
    async fn a_batch_runs_in_order_and_a_failure_doesn_t_stop_it() {
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

    /// The program goes on only when it was heard.
    #[tokio::test]
    async fn what_a_program_says_is_heard_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", heard.display());
        for stream in ["", " >&2"] {
            let script = format!("echo step 1 of 2{stream}; {wait}; echo done");
            let batch = [
                Cmd::user(["/bin/true"]),
                Cmd::user(["/bin/sh", "-c", &script]),
            ];
            let ear = |number: usize, lines: &str| {
                if (number, lines.trim()) == (1, "step 1 of 2") {
                    std::fs::write(&heard, "").unwrap();
                }
            };
            let outputs = Local::default().run("here", &batch, &ear).await.unwrap();
            assert!(outputs[1].success(), "{outputs:?}");
            std::fs::remove_file(&heard).unwrap();
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
        let script = wire::script(&batch, true, NONCE);
        let whole = script.trim_end().len();
        for end in (0..whole).step_by(7).chain([whole - 1]) {
            let result = execute(wire::SHELL, &script[..end], 2, wire::deadline(&[]), &deaf).await;
            assert_eq!(result, Err(Cut::Short), "{}", &script[..end]);
            assert!(!folder.path().join("mark").exists(), "{}", &script[..end]);
        }
        execute(wire::SHELL, &script[..whole], 2, wire::deadline(&[]), &deaf)
            .await
            .unwrap();
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
    async fn an_exit_by_signal_is_told() {
        let cmd = Cmd::user(["/bin/sh", "-c", "kill -9 $$"]);
        assert_eq!(run(&[cmd]).await[0].end, End::Signal(9));
    }

    #[tokio::test]
    async fn the_machine_tells_its_facts() {
        let facts = Local::default().facts("here").await.unwrap();
        assert!(!facts.hostname.is_empty());
        assert_eq!(facts.boot_id.len(), 36);
    }
}
