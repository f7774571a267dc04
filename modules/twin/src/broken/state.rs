//! What a world keeps of programs that are broken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a broken program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broken {
    /// It prints something unreadable, and says that all went well.
    Garbage,
    /// It prints nothing, and says that all went well.
    Nothing,
    /// It prints more than anybody keeps.
    TooMuch,
    /// It fails.
    Fails,
    /// It is from before the command (cobra's `command.go`).
    Unknown,
    /// It never ends.
    Never,
    /// It does what it should, and what it prints is lost.
    Mute,
}

/// Which programs are broken, by words of their command.
pub(crate) type Programs = BTreeMap<String, Broken>;

/// What programs say instead of what they should, with a success, by the words of their whole command.
pub(crate) type Answers = BTreeMap<String, String>;
