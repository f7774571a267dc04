//! A program as a process: lines to it, lines from it, and its end.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{Either, select};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The longest line that a program may print.
pub(super) const LONGEST: usize = 1024 * 1024;

/// How much of what it says on standard error is kept.
const EVIDENCE: usize = 16 * 1024;

/// What is still in the pipes of a program that has ended arrives within this time.
const REST: Duration = Duration::from_millis(500);

/// A file that another process has just written can't be executed until that has closed it.
const BUSY: (u32, Duration) = (50, Duration::from_millis(20));

/// A program that runs, in a process group of its own, which is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    line: Vec<u8>,
    stderr: Errors,
}

/// The interpreter that a script's first line names.
pub(super) fn interpreter(path: &Path) -> Option<String> {
    let mut beginning = [0; 256];
    let n = File::open(path).ok()?.read(&mut beginning).ok()?;
    let text = String::from_utf8_lossy(&beginning[..n]).into_owned();
    let line = text.strip_prefix("#!")?.lines().next()?.trim().to_owned();
    let word = line.split_whitespace().next();
    Some(word.unwrap_or_default().to_owned())
}

#[derive(Debug)]
pub(super) enum Received {
    /// A line, without its end.
    Line(Vec<u8>),
    /// More than [`LONGEST`] bytes without an end.
    Long,
    /// It has ended, or closed its standard output, without another line.
    Ended(Option<ExitStatus>),
    /// Nothing in time.
    Silence,
}

impl Process {
    /// Starts a program, which finds itself in the folder that it is in.
    pub(super) async fn start(file: &Path) -> std::io::Result<Self> {
        // A relative path would lead elsewhere from there.
        let file = std::path::absolute(file)?;
        let mut command = Command::new(&file);
        command
            .current_dir(file.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let (mut tries, pause) = BUSY;
        let mut child = loop {
            match command.spawn() {
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy && tries > 0 => {
                    tries -= 1;
                    within(pause, std::future::pending::<()>()).await;
                }
                other => break other?,
            }
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let none = || std::io::Error::other("it has no pipes");
        Ok(Self {
            group,
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().ok_or_else(none)?),
            line: Vec::new(),
            stderr: Errors::new(child.stderr.take()),
            child,
        })
    }

    /// Says a line and waits for one, for no longer than `limit` of real time.
    pub(super) async fn ask(&mut self, line: Option<&str>, limit: Duration) -> Received {
        let mut stdin = self.stdin.take();
        let received = {
            let exchange = async {
                if let (Some(line), Some(stdin)) = (line, &mut stdin) {
                    // One that doesn't listen any more is judged by what it says, and by its end.
                    let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
                }
                self.receive().await
            };
            within(limit, exchange).await.unwrap_or(Received::Silence)
        };
        self.stdin = stdin;
        received
    }

    async fn receive(&mut self) -> Received {
        let ended = {
            let line = pin!(next(&mut self.stdout, &mut self.line));
            let errors = pin!(async {
                self.stderr.collect().await;
                std::future::pending::<()>().await;
            });
            let end = pin!(self.child.wait());
            let end = select(end, errors);
            match select(line, end).await {
                Either::Left((Next::Line(line), _)) => return Received::Line(line),
                Either::Left((Next::Long, _)) => return Received::Long,
                Either::Right((Either::Left((status, _)), _)) => status.ok(),
                // Standard error is read for ever, so that side never comes first.
                Either::Left((Next::Closed, _)) | Either::Right((Either::Right(_), _)) => None,
            }
        };
        // What it printed before its end is still in the pipes, whoever else holds them.
        let line = within(REST, next(&mut self.stdout, &mut self.line)).await;
        within(REST, self.stderr.collect()).await;
        match (line, ended) {
            (Some(Next::Line(line)), _) => Received::Line(line),
            (Some(Next::Long), _) => Received::Long,
            (_, Some(status)) => Received::Ended(Some(status)),
            (_, None) => {
                Received::Ended(within(REST, self.child.wait()).await.and_then(Result::ok))
            }
        }
    }

    /// Nothing more is expected of it: it has a moment to end.
    pub(super) async fn part(&mut self) {
        self.stdin = None;
        let ended = async {
            let end = pin!(self.child.wait());
            let errors = pin!(self.stderr.collect());
            // With the end of standard error, it has ended or has nothing more to say.
            select(end, errors).await;
        };
        within(REST, ended).await;
        within(REST, self.stderr.collect()).await;
    }

    /// Whole lines that it printed on standard error since this was last asked.
    pub(super) fn errors(&mut self) -> Vec<String> {
        self.stderr.lines()
    }

    /// The end of what it printed on standard error.
    pub(super) fn evidence(&self) -> String {
        String::from_utf8_lossy(&self.stderr.tail).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever it began on this machine ends with it; one that has left its process group is on its own.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How a process ended, as a person says it.
pub(super) fn ended(status: Option<ExitStatus>) -> String {
    match status {
        None => "closed its standard output".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            (code, None) => format!("ended with exit status {}", code.unwrap_or_default()),
        },
    }
}

enum Next {
    Line(Vec<u8>),
    Long,
    Closed,
}

/// Reads to the end of a line. What was read of one is kept in `line` where this is dropped.
async fn next(from: &mut BufReader<impl AsyncRead + Unpin>, line: &mut Vec<u8>) -> Next {
    loop {
        let (used, whole) = match from.fill_buf().await {
            // An error ends the stream as its end does.
            Err(_) | Ok([]) if line.is_empty() => return Next::Closed,
            // The last line need not have an end.
            Err(_) | Ok([]) => (0, true),
            Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    line.extend_from_slice(&bytes[..at]);
                    (at + 1, true)
                }
                None => {
                    line.extend_from_slice(bytes);
                    (bytes.len(), false)
                }
            },
        };
        from.consume(used);
        if line.len() > LONGEST {
            return Next::Long;
        }
        if whole {
            return Next::Line(std::mem::take(line));
        }
    }
}

/// Standard error: its end, and what nobody was shown yet.
struct Errors {
    from: Option<ChildStderr>,
    tail: Vec<u8>,
    fresh: Vec<u8>,
}

impl Errors {
    fn new(from: Option<ChildStderr>) -> Self {
        Self {
            from,
            tail: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// Reads to the end of the stream.
    async fn collect(&mut self) {
        let Some(from) = &mut self.from else { return };
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            for kept in [&mut self.tail, &mut self.fresh] {
                kept.extend_from_slice(&buffer[..n]);
                let over = kept.len().saturating_sub(EVIDENCE);
                kept.drain(..over);
            }
        }
        self.from = None;
    }

    fn lines(&mut self) -> Vec<String> {
        let whole = match self.fresh.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => return Vec::new(),
        };
        let whole: Vec<u8> = self.fresh.drain(..whole).collect();
        String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Waits for `work` of a process, for no longer than `limit`.
///
/// The limit is one of real time, and a simulated cluster's time stands still meanwhile, as it does whenever something
/// blocks in the background: what happens on this machine takes none of the cluster's time.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (over, ended) = std::sync::mpsc::channel::<()>();
    let clock = tokio::task::spawn_blocking(move || ended.recv_timeout(limit));
    let result = match select(pin!(work), pin!(clock)).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    };
    drop(over);
    result
}
