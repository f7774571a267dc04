//! Why a member can't be reached, or isn't any more.

use super::schema::Member;

/// Why a member could not be reached, or contact was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// The cluster file has no such member.
    #[error("there is no member {0:?} in this cluster")]
    NoSuchMember(Member),
    /// The name of the host doesn't resolve.
    #[error("the name doesn't resolve: {0}")]
    Resolve(String),
    /// Nothing listens on the port.
    #[error("the connection was refused: {reason}")]
    Refused {
        /// What ssh printed.
        reason: String,
        /// The member was reached before in this run.
        known: bool,
    },
    /// It was made, and closed by the other side before a login.
    #[error("the connection was closed: {reason}")]
    Closed {
        /// What ssh printed.
        reason: String,
        /// The member was reached before in this run.
        known: bool,
    },
    /// No answer in time, or no route.
    #[error("no answer: {reason}")]
    TimedOut {
        /// What ssh printed.
        reason: String,
        /// The member was reached before in this run.
        known: bool,
    },
    /// The host's key is unknown or isn't the one on record.
    #[error("the host key was not accepted: {0}")]
    HostKey(String),
    /// The server refused every credential.
    #[error("the login was refused: {0}")]
    Auth(String),
    /// A jump host or proxy command failed.
    #[error("the jump host or proxy failed: {reason}")]
    JumpHost {
        /// What ssh printed.
        reason: String,
        /// The member was reached before in this run.
        known: bool,
    },
    /// Another member answers: by a wrong address, or over a connection of the user's that is shared by both.
    #[error(
        "the machine that answers has hostname {0}, which is another member; fix the address in the cluster file"
    )]
    Another(Member),
    /// `sudo -n` doesn't let the login user become root.
    #[error("sudo asks for a password or refuses: {0}")]
    Sudo(String),
    /// The login works, but no POSIX shell answers.
    #[error("the login shell doesn't run commands: {0}")]
    Shell(String),
    /// The connection broke while a command ran.
    #[error("contact was lost: {0}")]
    Lost(String),
    /// Nothing was begun: the member's link of a command's guard says this instead.
    #[error("the member belongs to somebody else: {0:?}")]
    Taken(String),
    /// What begins the runs of a fleet's clusters doesn't, or doesn't answer.
    #[error("the executor failed: {0}")]
    Executor(String),
    /// A simulated cluster doesn't know the program.
    #[error("a simulated cluster can't tell what this does: {0}")]
    Unsimulated(String),
    /// `ssh` itself could not be started, or failed in a way without a name.
    #[error("ssh failed: {0}")]
    Ssh(String),
}

impl ContactError {
    /// The word of [`ContactError::TimedOut`].
    pub(crate) const TIMED_OUT: &str = "timed-out";

    /// One word for scripts.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoSuchMember(_) => "no-such-member",
            Self::Resolve(_) => "resolve",
            Self::Refused { .. } => "refused",
            Self::Closed { .. } => "closed",
            Self::TimedOut { .. } => Self::TIMED_OUT,
            Self::HostKey(_) => "host-key",
            Self::Auth(_) => "auth",
            Self::JumpHost { .. } => "jump-host",
            Self::Another(_) => "another",
            Self::Sudo(_) => "sudo",
            Self::Shell(_) => "shell",
            Self::Lost(_) => "lost",
            Self::Taken(_) => "taken",
            Self::Executor(_) => "executor",
            Self::Unsimulated(_) => "unsimulated",
            Self::Ssh(_) => "ssh",
        }
    }

    /// Whether there was no connection over which anything could have begun.
    #[must_use]
    pub fn kept_out(&self) -> bool {
        match self {
            Self::NoSuchMember(_)
            | Self::Resolve(_)
            | Self::HostKey(_)
            | Self::Auth(_)
            | Self::Another(_) => true,
            Self::Refused { known, .. }
            | Self::Closed { known, .. }
            | Self::TimedOut { known, .. }
            | Self::JumpHost { known, .. } => !*known,
            Self::Sudo(_)
            | Self::Shell(_)
            | Self::Lost(_)
            | Self::Taken(_)
            | Self::Executor(_)
            | Self::Unsimulated(_)
            | Self::Ssh(_) => false,
        }
    }

    /// Whether the same member may well answer in a while: it answered before, so it is rebooting or its link is down.
    #[must_use]
    pub fn transient(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { known, .. }
            | Self::Closed { known, .. }
            | Self::TimedOut { known, .. }
            | Self::JumpHost { known, .. } => *known,
            _ => false,
        }
    }
}
