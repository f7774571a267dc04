//! Shells on a member, each in a channel of its own, which ends with its batch.
//!
//! Opening one takes round trips, a login shell and the start of another one, longer than most commands take. From its second
//! batch on a connection therefore has a spare: the shell of the next batch is opened while one runs. It waits for its script
//! on its standard input, and ends with it.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, MaybeDone, maybe_done};
use openssh::{Session, Stdio};

use super::local::{collect, feed};
use super::wire::{self, Cut, Frames};
use crate::contract::reach::Ear;

/// A shell that waits for its script.
type Shell = openssh::Child<Arc<Session>>;

/// A shell that is being opened.
type Opening = MaybeDone<LocalBoxFuture<'static, Result<Shell, openssh::Error>>>;

/// The shells over one connection.
pub(super) struct Shells {
    session: Arc<Session>,
    /// Whether the next batch isn't the first one: most connections of a single command have no second.
    again: Cell<bool>,
    /// sshd refused a spare: each session that it allows is needed for a batch.
    refused: Cell<bool>,
    spare: RefCell<Option<Opening>>,
}

impl Shells {
    /// Over the master that listens on this control socket.
    ///
    /// lockstep speaks to the socket itself: an `ssh -S` for each command takes three times as long, and would die of an
    /// interrupt that a terminal sends to all of its foreground group.
    pub(super) fn over(socket: &Path) -> Self {
        Self {
            session: Arc::new(Session::resume_mux(socket.into(), None)),
            again: Cell::new(false),
            refused: Cell::new(false),
            spare: RefCell::new(None),
        }
    }

    /// Asks the master whether it is there.
    pub(super) async fn check(&self) -> Result<(), openssh::Error> {
        self.session.check().await
    }

    /// Feeds a script to a shell and collects the frames of `count` commands.
    ///
    /// # Errors
    /// Where no shell can be opened, or the frames aren't there within `limit`.
    pub(super) async fn run(
        &self,
        nonce: &str,
        script: &str,
        count: usize,
        limit: Duration,
        ear: &Ear<'_>,
    ) -> Result<(Frames, Frames), Cut> {
        let whole = async {
            let spare = self.spare.take();
            let wanted = self.again.replace(true) && !self.refused.get();
            let mut next = wanted.then(|| self.opening());
            let batch = async {
                if let Some(spare) = spare
                    && let Some(shell) = self.opened(spare).await
                    && let (true, frames) = talk(shell, nonce, script, count, ear).await
                {
                    return Ok(frames);
                }
                // The shell that waited had ended before it had its script, and ran nothing of it.
                let opened = open(Arc::clone(&self.session)).await;
                let shell = opened.map_err(|e| Cut::NotBegun(e.to_string()))?;
                Ok(talk(shell, nonce, script, count, ear).await.1)
            };
            let frames = tokio::select! {
                frames = batch => frames,
                never = beside(next.as_mut()) => match never {},
            };
            if self.spare.borrow().is_none() {
                self.spare.replace(next);
            }
            frames
        };
        tokio::time::timeout(limit, whole)
            .await
            .unwrap_or(Err(Cut::Late))
    }

    fn opening(&self) -> Opening {
        maybe_done(open(Arc::clone(&self.session)).boxed_local())
    }

    /// The spare, if sshd granted it.
    async fn opened(&self, mut spare: Opening) -> Option<Shell> {
        (&mut spare).await;
        let shell = Pin::new(&mut spare).take_output()?;
        self.refused.set(shell.is_err());
        shell.ok()
    }
}

async fn open(session: Arc<Session>) -> Result<Shell, openssh::Error> {
    let mut command = session.arc_raw_command(wire::SHELL);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().await
}

/// Opens the spare for as long as the batch beside it runs.
async fn beside(next: Option<&mut Opening>) -> std::convert::Infallible {
    if let Some(next) = next {
        next.await;
    }
    std::future::pending().await
}

/// The frames that a shell answers a script with, and whether it was there to read all of it.
async fn talk(
    mut shell: Shell,
    nonce: &str,
    script: &str,
    count: usize,
    ear: &Ear<'_>,
) -> (bool, (Frames, Frames)) {
    let stdin = shell.stdin().take();
    let (stdout, stderr) = (shell.stdout().take(), shell.stderr().take());
    let (fed, stdout, stderr) = tokio::join!(
        feed(stdin, script),
        collect(stdout, nonce, count, ear),
        collect(stderr, nonce, count, ear)
    );
    // The exit status says nothing that the frames don't, but the channel is only free once it has arrived.
    let _ = tokio::time::timeout(Duration::from_secs(1), shell.wait()).await;
    (fed, (stdout, stderr))
}
