//! Requests to a site's web servers, by the site's own `curl`: its certificates, proxies (from the environment) and `~/.netrc` are
//! those that everything else on the machine uses.
//!
//! What may be secret goes through curl's standard input and not into its words, which everybody on the machine sees.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seconds that a request may take.
const PATIENCE: &str = "10";

/// Seconds until it has to be connected.
const CONNECT: &str = "5";

/// Bytes of an answer that are kept: more than an Alertmanager's own configuration has, with which it says how it is.
const ANSWER: u64 = 1 << 20;

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
    Curl(io::Error),
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

impl PostError {
    /// Whether the same request is refused each time: a client's mistake, as HTTP has it, but for what passes by itself.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400..=499,
                ..
            }
        ) && !self.has_status(408)
            && !self.has_status(429)
    }

    /// Whether it is an answer with this status.
    pub(super) fn has_status(&self, code: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == code)
    }
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
        let (stdin, stdout, stderr) = {
            let mut line = self.line();
            if line.cut {
                return Err(PostError::Cut);
            }
            let mut curl = curl().spawn().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => PostError::NoCurl,
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
        let (body, complaint) = (text(stdout), text(stderr));
        let (curl, cut) = {
            let mut line = self.line();
            (line.curl.take(), line.cut)
        };
        let ended = curl.map(|mut curl| curl.wait()).transpose();
        let whole = ended
            .map_err(PostError::Curl)?
            .is_some_and(|ended| ended.success());
        let (complaint, status) = complaint.rsplit_once('\n').unwrap_or_default();
        match status.parse() {
            Ok(200..=299) if whole => Ok(body),
            _ if cut => Err(PostError::Cut),
            Ok(status) if whole => {
                let said: String = body.trim().chars().take(SAID).collect();
                let said = match said.is_empty() {
                    true => said,
                    false => format!(": {said}"),
                };
                Err(PostError::Refused { status, said })
            }
            // An answer that breaks off is none, whatever it begins with.
            _ => Err(PostError::Unanswered(reason(complaint))),
        }
    }
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    // Nothing of `~/.curlrc`, which is for people.
    curl.args(["-q", "--silent", "--show-error", "--netrc-optional"])
        .args(["--proto", "=http,https"])
        .args(["--max-time", PATIENCE, "--connect-timeout", CONNECT])
        // A URL is one URL, with its own brackets. The status comes apart from the body, which may be long.
        .args(["--globoff", "--write-out", "%{stderr}\\n%{http_code}"])
        .args(["--config", "-"])
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

/// What curl writes, as much as is kept of it. It is read to its end: as long as curl waits for a reader, it looks at no clock.
fn text(output: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut output) = output {
        let _ = output.by_ref().take(ANSWER).read_to_end(&mut bytes);
        let _ = io::copy(&mut output, &mut io::sink());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_not_refused_for_good() {
        let is_final = |status| {
            let said = String::new();
            PostError::Refused { status, said }.is_final()
        };
        assert!([400, 401, 404, 410, 413, 422].into_iter().all(is_final));
        assert!(![301, 408, 429, 500, 503].into_iter().any(is_final));
    }
}
