//! What every command works with.

use lockstep_modules::contract::op::Registry;

use super::exit::Fault;
use super::front::state;
use super::global::Global;
use crate::runs::Runs;

/// The ops that there are, and what was typed for all commands.
pub(crate) struct App<'a> {
    /// The ops of lockstep itself, and of the site's programs.
    pub(crate) registry: &'a Registry,
    pub(crate) global: &'a Global,
}

impl App<'_> {
    pub(crate) fn runs(&self) -> Result<Runs, Fault> {
        Ok(Runs::in_state(&state(self.global)?))
    }
}
