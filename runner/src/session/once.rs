//! One op on its own: a run of one step, by the same engine.

use lockstep_modules::contract::op::{Effect, OpDef, Registry};
use lockstep_modules::contract::schema::{Member, coerce};
use serde::Serialize;
use serde_json::{Value, json};

use super::draft::Draft;
use crate::bundle::{Finder, Playbooks};
use crate::failure::Failure;
use crate::programs;
use crate::script::Script;
use crate::target::Target;

/// The playbook that calls one op, and what its runs are called.
const PLAYBOOK: &str = "op";

/// A call of one op, as the playbook `op` is given it. Parameters that a playbook declares could not hold the arguments: no
/// command line has to.
#[derive(Serialize)]
pub struct Once {
    /// The op.
    pub op: String,
    /// Its arguments, but for the member.
    pub args: Value,
    /// The members that it is called for, one after the other; none where it takes no member.
    pub members: Vec<Member>,
}

impl Once {
    /// A call for no member in particular.
    #[must_use]
    pub fn of(op: &str, args: Value) -> Self {
        Self {
            op: op.to_owned(),
            args,
            members: Vec::new(),
        }
    }

    /// What doing it twice would mean, on any of the members.
    #[must_use]
    pub fn effect(&self, op: &OpDef) -> Effect {
        let mut whole = self.args.clone();
        if let Some(member) = self.members.first() {
            whole["member"] = Value::from(member.as_str());
        }
        op.call.effect(&whole)
    }

    /// The run of this one step.
    ///
    /// # Errors
    /// For arguments that don't fit.
    pub fn draft(&self, registry: &Registry, target: &Target) -> Result<Draft, Failure> {
        // No copy is kept of programs that it doesn't call.
        let registry = if programs::is_of_program(registry, &self.op) {
            registry.clone()
        } else {
            programs::native(registry)
        };
        let shipped = Box::new(Finder::shipped(Playbooks::Shipped));
        let script = Script::load(PLAYBOOK, shipped, &registry, 1)?;
        let name = || PLAYBOOK.to_owned();
        Draft::started(&registry, script, name(), name(), target, json!(self))
    }
}

/// What each call of an op returned. The values have been through Lua, where an empty list and an empty record are the same.
#[must_use]
pub fn results(op: &OpDef, value: Value) -> Vec<Value> {
    let Value::Array(mut results) = value else {
        return Vec::new();
    };
    for value in results
        .iter_mut()
        .filter_map(|result| result.get_mut("value"))
    {
        if let Ok(fitted) = coerce(&op.out, value.clone()) {
            *value = fitted;
        }
    }
    results
}
