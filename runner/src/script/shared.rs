//! What the machine and its Lua callbacks share, and what it may grow to.

use std::collections::BTreeMap;
use std::fmt;

use lockstep_modules::contract::cx::LogLevel;

use crate::failure::Failure;
use crate::source::{Source, Sources};

/// What a strand may do between two steps: Lua's instructions, and the steps of matching patterns, which Lua's hook can't
/// see. Either takes about a second.
pub(super) const BUDGET: u64 = 50_000_000;

/// Memory for a playbook and all its values.
pub(super) const MEMORY: usize = 64 * 1024 * 1024;

/// A line of a playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) chunk: String,
    pub(super) line: usize,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chunk, self.line)
    }
}

/// What Rust knows of a strand that Lua asks it for.
pub(super) struct StrandState {
    pub(super) scope: Vec<String>,
    pub(super) catching: u32,
    /// How deep it is in what `finally` does last: that is carried out even when the run is aborted.
    pub(super) cleaning: u32,
    /// Where the function that it runs begins.
    pub(super) body: Option<Site>,
}

/// What the machine and its Lua callbacks share.
pub(super) struct Shared {
    pub(super) sources: Box<dyn Sources>,
    pub(super) loaded: BTreeMap<String, Source>,
    pub(super) loading: bool,
    pub(super) strands: Vec<StrandState>,
    current: usize,
    pub(super) logs: Vec<(LogLevel, String, String)>,
    /// What a strand may do between two steps.
    pub(super) budget: u64,
    spent: u64,
    /// Where the strand that runs was last seen with much memory in use.
    pub(super) heavy: Option<Site>,
    /// The run is being aborted: no step is asked for any more, but those that clean up.
    pub(super) cancelled: bool,
    pub(super) runaway: Option<Site>,
}

impl Shared {
    pub(super) fn new(sources: Box<dyn Sources>) -> Self {
        Self {
            sources,
            loaded: BTreeMap::new(),
            loading: true,
            strands: Vec::new(),
            current: 0,
            logs: Vec::new(),
            budget: BUDGET,
            spent: 0,
            heavy: None,
            cancelled: false,
            runaway: None,
        }
    }

    /// `id` runs next, with a full budget.
    pub(super) fn enter_strand(&mut self, id: usize) {
        self.current = id;
        self.spent = 0;
        self.heavy = None;
    }

    /// What is left of the budget of the strand that runs.
    pub(super) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.spent)
    }

    pub(super) fn spend(&mut self, steps: u64) {
        self.spent = self.spent.saturating_add(steps);
    }

    /// A failure, with the source that its line is in.
    pub(super) fn with_source(&self, failure: Failure) -> Failure {
        let chunk = failure
            .site
            .as_deref()
            .and_then(|site| site.rsplit_once(':'));
        let source = chunk.and_then(|(chunk, _)| self.loaded.values().find(|s| s.chunk == chunk));
        Failure {
            source: source.cloned().map(Box::new),
            ..failure
        }
    }

    /// What an error says that isn't the playbook's own. Where memory is used up there is no frame left to tell the line
    /// from: it is where that was seen to come, or where the function begins that the strand runs.
    pub(super) fn message(&mut self, error: &mlua::Value) -> String {
        let mut error = error.as_error();
        while let Some(mlua::Error::CallbackError { cause, .. }) = error {
            error = Some(cause);
        }
        match error {
            Some(mlua::Error::RuntimeError(message)) => message.clone(),
            Some(error) if !matches!(error, mlua::Error::MemoryError(_)) => error.to_string(),
            _ => {
                let begins = self.strand().and_then(|strand| strand.body.clone());
                let site = self.heavy.clone().or(begins);
                site.map_or_else(String::new, |site| format!("{site}: ")) + &too_much_memory()
            }
        }
    }

    pub(super) fn strand(&mut self) -> Option<&mut StrandState> {
        self.strands.get_mut(self.current)
    }
}

/// The message for a playbook that has no memory left.
pub(super) fn too_much_memory() -> String {
    let limit = MEMORY / (1024 * 1024);
    format!("the playbook uses more memory than it is given ({limit} MiB)")
}
