//! Requests to a site's web servers, by the site's own `curl`: its certificates, proxies (from the environment) and `~/.netrc` are
//! those that everything else on the machine uses.
//!
//! What may be secret goes through curl's standard input and not into its words, which everybody on the machine sees.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seconds that a request may take.
const PATIENCE: &str = "10";

/// Seconds until it has to be connected.
const CONNECT: &str = "5";

/// Bytes of an answer that are read.
const ANSWER: u64 = 64 << 10;

/// Characters of a refusal that are shown.
const SAID: usize = 200;

/// What is asked of a web server.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// JSON on one line.
    pub(super) body: &'a str,
}

/// Why a request wasn't answered as it was meant to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("curl isn't installed, with which it is sent")]
    NoCurl,
    #[error("curl can't be run: {0}")]
    Curl(std::io::Error),
    #[error("{0}")]
    Unanswered(String),
    #[error("it answered {status}{said}")]
    Refused { status: u16, said: String },
    #[error("it did not answer before lockstep ended")]
    Cut,
}

/// The way to one receiver: one request at a time, which can be cut off.
#[derive(Default)]
pub(super) struct Wire(Mutex<Line>);

#[derive(Default)]
struct Line {
    /// The curl that waits for an answer.
    curl: Option<Child>,
    cut: bool,
}

impl Wire {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the request that is under way, and lets no other begin.
    pub(super) fn cut(&self) {
        let mut line = self.line();
        line.cut = true;
        if let Some(curl) = &mut line.curl {
            // One that has just ended needs no end.
            let _ = curl.kill();
        }
    }

    /// Sends a request, and returns what was answered to it.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<String, PostError> {
        let (stdin, mut stdout, mut stderr) = {
            let mut line = self.line();
            if line.cut {
                return Err(PostError::Cut);
            }
            let mut curl = curl().spawn().map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => PostError::NoCurl,
                _ => PostError::Curl(error),
            })?;
            let ends = (curl.stdin.take(), curl.stdout.take(), curl.stderr.take());
            line.curl = Some(curl);
            ends
        };
        if let Some(mut stdin) = stdin {
            // A curl that reads none of it says why itself.
            let _ = stdin.write_all(config(request).as_bytes());
        }
        let (answer, complaint) = (text(&mut stdout), text(&mut stderr));
        let (curl, cut) = {
            let mut line = self.line();
            (line.curl.take(), line.cut)
        };
        let ended = curl.map(|mut curl| curl.wait()).transpose();
        let ended = ended.map_err(PostError::Curl)?;
        let (body, status) = answer.rsplit_once('\n').unwrap_or_default();
        match status.parse() {
            Ok(200..=299) if ended.is_some_and(|status| status.success()) => Ok(body.to_owned()),
            _ if cut => Err(PostError::Cut),
            Ok(0) | Err(_) => Err(PostError::Unanswered(reason(&complaint))),
            Ok(status) => {
                let said: String = body.trim().chars().take(SAID).collect();
                let said = match said.is_empty() {
                    true => said,
                    false => format!(": {said}"),
                };
                Err(PostError::Refused { status, said })
            }
        }
    }
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    // Nothing of `~/.curlrc`, which is for people.
    curl.args(["-q", "--silent", "--show-error", "--netrc-optional"])
        .args(["--proto", "=http,https"])
        .args(["--max-time", PATIENCE, "--connect-timeout", CONNECT])
        .args(["--write-out", "\\n%{http_code}", "--config", "-"])
        // An interrupt at the terminal is for the run.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    curl
}

/// The request, as a configuration of curl.
fn config(request: &Request<'_>) -> String {
    let mut config = String::new();
    let mut option = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(config, "{name} = \"{value}\"");
    };
    option("url", request.url);
    option("request", request.method);
    // No question first whether the body is wanted.
    option("header", "Expect:");
    for (name, value) in request.headers {
        option("header", &format!("{name}: {value}"));
    }
    if !request.body.is_empty() {
        option("data-raw", request.body);
    }
    config
}

fn text(output: &mut Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        let _ = output.take(ANSWER).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What curl complains of, without its number.
fn reason(complaint: &str) -> String {
    let line = complaint.trim().lines().next_back().unwrap_or_default();
    let reason = line.split_once(") ").map_or(line, |(_, reason)| reason);
    match reason {
        "" => "curl ended without a word".to_owned(),
        reason => reason.to_owned(),
    }
}
