//! What a world keeps of files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A folder.
    Folder,
    /// A file with this text.
    File(String),
    /// A symbolic link to this target.
    Link(String),
}

/// The files of the members that are there beside those of a fresh system, by member and path.
pub(crate) type Files = BTreeMap<String, BTreeMap<String, Node>>;
