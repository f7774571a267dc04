//! What every scheduler has: jobs that are submitted to it, and a client that is called.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lockstep_modules::contract::contact::ContactError;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// A job, as an executor is given it.
#[derive(Clone)]
pub(in crate::fleet) struct Submission {
    /// Its name, which is its run's.
    pub(in crate::fleet) name: String,
    /// What it runs: lockstep, with its words.
    pub(in crate::fleet) words: Vec<String>,
    /// Where what it complains of goes.
    pub(in crate::fleet) log: PathBuf,
    /// Jobs on other machines write to it as well.
    pub(in crate::fleet) shared: bool,
}

/// How many jobs are at once unless the file says otherwise.
pub(super) fn limit() -> u32 {
    20
}

/// How long a scheduler's client may take.
pub(super) const CLIENT: Duration = Duration::from_secs(60);

pub(super) fn failed(why: impl Into<String>) -> ContactError {
    ContactError::Executor(why.into())
}

/// Calls a scheduler's client, and returns what it printed.
pub(super) async fn call(
    program: &str,
    args: &[String],
    stdin: Option<&str>,
    limit: Duration,
) -> Result<String, ContactError> {
    let unstarted = |error: std::io::Error| failed(format!("{program} can't be started: {error}"));
    let mut client = Command::new(program);
    client.args(args).kill_on_drop(true);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    client.stdin(stdin.map_or_else(Stdio::null, |_| Stdio::piped()));
    let mut client = client.spawn().map_err(unstarted)?;
    let fed = client.stdin.take();
    let answered = timeout(limit, async {
        if let (Some(text), Some(mut fed)) = (stdin, fed) {
            // One that doesn't read to the end says why in a moment.
            let _ = fed.write_all(text.as_bytes()).await;
        }
        client.wait_with_output().await
    });
    let output = match answered.await {
        Err(_) => {
            return Err(failed(format!(
                "{program} did not answer within {} s",
                limit.as_secs()
            )));
        }
        Ok(output) => output.map_err(unstarted)?,
    };
    if output.status.success() {
        let printed = String::from_utf8(output.stdout);
        return printed.map_err(|_| failed(format!("{program} printed something that is no text")));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().next_back().unwrap_or("it said nothing");
    Err(failed(format!(
        "{program} failed ({}): {last}",
        output.status
    )))
}
