//! How a command reaches a member. One method; a transport knows nothing of steps.

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::cmd::{Cmd, Output};
pub use super::contact::ContactError;
use super::schema::Member;

/// What a transport learns of a member when it first reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What the machine calls itself.
    pub hostname: String,
    /// Whether the login user is root.
    pub root: bool,
    /// The kernel's id of this boot: the only sign of a reboot that containers don't fake.
    pub boot_id: String,
    /// Path of `curl`, where the member has it; otherwise snapd's API is read through `snap debug api`.
    pub curl: Option<String>,
}

/// The turn of a program: the next one begins when it is dropped.
pub type Turn = tokio::sync::OwnedMutexGuard<()>;

/// Hears what a command says while it runs: its number in the batch, and the end of what it has printed on one of its
/// streams, in whole lines. It may be called at any pace, and bears no correctness.
pub type Ear<'a> = dyn Fn(usize, &str) + 'a;

/// For whom it is enough to know what a command has printed when it is over.
pub fn deaf(_: usize, _: &str) {}

/// Reaches members. `ssh`, `local` and the twin implement it.
pub trait Transport {
    /// Connects if need be, and tells what the member is.
    fn facts<'a>(&'a self, member: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>>;

    /// Runs `batch` on `member`, one command after the other in a single exec, and returns as many outputs.
    ///
    /// A command that fails doesn't stop the ones after it. An error means that the outputs are not known:
    /// any of the commands may or may not have run.
    fn run<'a>(
        &'a self,
        member: &'a Member,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>>;

    /// Why the connection to `member` had to be made again since this was last asked, if it had to. Nothing was in doubt:
    /// it broke while nothing ran over it.
    fn reconnected(&self, _member: &Member) -> Option<String> {
        None
    }

    /// Waits for the turn of a program that works beside the members, on the machine of lockstep, and keeps it until what
    /// is returned is dropped. On a simulated cluster they take turns, so that a run is the same every time; on a real
    /// one nobody waits.
    fn turn(&self) -> LocalBoxFuture<'_, Option<Turn>> {
        Box::pin(std::future::ready(None))
    }

    /// Opens connections to all of `members` at once, so that later steps find them warm.
    fn warm<'a>(
        &'a self,
        members: &'a [Member],
    ) -> LocalBoxFuture<'a, Vec<(Member, Result<Facts, ContactError>)>> {
        Box::pin(futures_util::future::join_all(
            members
                .iter()
                .map(|m| async move { (m.clone(), self.facts(m).await) }),
        ))
    }
}
