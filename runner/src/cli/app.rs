//! What every command works with.

use std::cell::OnceCell;

use lockstep_modules::contract::op::Registry;

use super::exit::Fault;
use super::front::runs;
use super::global::Global;
use crate::runs::Runs;

/// The ops that there are, and what was typed for all commands.
pub(crate) struct App<'a> {
    /// The ops of lockstep itself, and of the site's programs.
    pub(crate) registry: &'a Registry,
    pub(crate) global: &'a Global,
    /// The runs, once they were asked for: a store is connected to once.
    runs: OnceCell<Runs>,
}

impl<'a> App<'a> {
    pub(crate) fn of(registry: &'a Registry, global: &'a Global) -> Self {
        Self {
            registry,
            global,
            runs: OnceCell::new(),
        }
    }

    pub(crate) fn runs(&self) -> Result<Runs, Fault> {
        if let Some(runs) = self.runs.get() {
            return Ok(runs.clone());
        }
        let runs = runs(self.global)?;
        Ok(self.runs.get_or_init(|| runs).clone())
    }
}
