//! Lua sources, and where they are found.

/// The text of a Lua module, and the name under which its lines are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A path that a person can open, for example `playbooks/update.lua`.
    pub chunk: String,
    /// The text.
    pub text: String,
}

/// Finds the Lua modules of a playbook. Looking is all it may do.
pub trait Sources {
    /// The module of this name, as `require` gives it.
    ///
    /// # Errors
    /// With a sentence that says where it was looked for.
    fn find(&self, name: &str) -> Result<Source, String>;
}
